"""Records in a database: SQLite as a file of our own, or PostgreSQL. The only room that knows SQLAlchemy and Alembic.

Knows keys as rows, no secret and no request. Nobody imports it unless `database:` is set: it costs what SQLAlchemy
costs.
"""

from forwardauth.stores.sql.database import Database
from forwardauth.stores.sql.errors import DuplicateKeyError, StoreError, UnknownKeyError
from forwardauth.stores.sql.keys import KeyStore
from forwardauth.stores.sql.records import KeyRow, NewKey

__all__ = ["Database", "DuplicateKeyError", "KeyRow", "KeyStore", "NewKey", "StoreError", "UnknownKeyError"]
