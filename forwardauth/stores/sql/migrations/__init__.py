"""The way from an empty database to the newest schema. Knows Alembic, and is imported only where there is way to go."""
