"""The newest schema, as queries see it; `migrations/` leads there. Rows are never deleted."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

keys = Table(
    "keys",
    metadata,
    # SQLite takes a column for its row id only if the type is INTEGER to the letter.
    Column("number", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("pepper", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double),
    Column("disabled", Boolean, nullable=False),
    Column("revoked", Double),
    Column("scopes", Text, nullable=False),
    Column("rate", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("last_used", Double),
    Column("revision", BigInteger, nullable=False),
    UniqueConstraint("id", name="keys_id"),
    UniqueConstraint("digest", name="keys_digest"),
    CheckConstraint("length(digest) = 32", name="keys_digest_is_sha256"),
    Index("keys_revision", "revision"),
)
"""A row for each key, with the digest of its current secret. Times are seconds since 1970."""

old_secrets = Table(
    "old_secrets",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("key", BigInteger, ForeignKey("keys.number", name="old_secrets_key_number"), nullable=False),
    Column("pepper", Text, nullable=False),
    Column("until", Double, nullable=False),
    Index("old_secrets_key", "key"),
)
"""What rotations replaced, and until when it still works. A digest stands in one of the two tables, once."""

revision = Table(
    "revision",
    metadata,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    CheckConstraint("one = 1", name="revision_is_one"),
)
"""One row. Whoever changes a key counts it up first, so that writers wait for each other there."""
