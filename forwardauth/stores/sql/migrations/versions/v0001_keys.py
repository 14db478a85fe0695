"""Keys, what rotations replaced, and the revision."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables, and the one row of the revision."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "keys",
        sa.Column("number", number, primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("pepper", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expires", sa.Double),
        sa.Column("disabled", sa.Boolean, nullable=False),
        sa.Column("revoked", sa.Double),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("rate", sa.Text, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("last_used", sa.Double),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("id", name="keys_id"),
        sa.UniqueConstraint("digest", name="keys_digest"),
        sa.CheckConstraint("length(digest) = 32", name="keys_digest_is_sha256"),
    )
    op.create_index("keys_revision", "keys", ["revision"])
    op.create_table(
        "old_secrets",
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("key", sa.BigInteger, sa.ForeignKey("keys.number", name="old_secrets_key_number"), nullable=False),
        sa.Column("pepper", sa.Text, nullable=False),
        sa.Column("until", sa.Double, nullable=False),
    )
    op.create_index("old_secrets_key", "old_secrets", ["key"])
    counter = op.create_table(
        "revision",
        sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.CheckConstraint("one = 1", name="revision_is_one"),
    )
    op.bulk_insert(counter, [{"one": 1, "number": 0}])
