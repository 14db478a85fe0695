"""Many keys at once, all of them or none. Knows no life of a key.

They are read into a table of this connection alone, so that others wait only while they are merged, and never for a
slow source. Which of them are there already is then one question to the database.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from operator import attrgetter

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    MetaData,
    Select,
    Table,
    cast,
    exists,
    false,
    func,
    literal,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite

from forwardauth.stores.sql import postgresql, sqlite
from forwardauth.stores.sql.changes import next_revision
from forwardauth.stores.sql.database import Database
from forwardauth.stores.sql.errors import DuplicateKeyError
from forwardauth.stores.sql.records import NewKey
from forwardauth.stores.sql.tables import keys, old_secrets

_BATCH = 10_000
_TAKEN = ("id", "name", "owner", "tenant", "digest", "pepper", "created", "expires", "scopes", "rate", "metadata")

_incoming = Table(
    "incoming",
    MetaData(),
    Column("position", Integer, primary_key=True, autoincrement=False),
    *(Column(name, keys.c[name].type) for name in _TAKEN),
    prefixes=["TEMPORARY"],
)
"""What an import brings, numbered from 1."""

_values = attrgetter(*_TAKEN)


def import_keys(
    database: Database, new_keys: Iterable[NewKey], progress: Callable[[int], None], skip_existing: bool
) -> tuple[int, int]:
    """How many keys were added, and how many skipped because they were there. `progress` gets how many were read."""
    with database.connect() as connection:
        # Out of the pool: it is closed afterwards, and with it go the table and the settings.
        connection.detach()
        engine = postgresql if connection.dialect.name == "postgresql" else sqlite
        engine.prepare_import(connection)
        with connection.begin():
            _incoming.create(connection)
            engine.copy_rows(connection, _incoming.name, _batches(new_keys, progress))
            read = connection.execute(select(func.count()).select_from(_incoming)).scalar_one()
        connection.execution_options(writes=True)
        with connection.begin():
            revision = next_revision(connection)
            added = _merge(connection, revision)
            if added < read and not skip_existing:
                raise _first_duplicate(connection, revision)
    return added, read - added


def _batches(new_keys: Iterable[NewKey], progress: Callable[[int], None]) -> Iterator[list[tuple[object, ...]]]:
    numbered = enumerate(new_keys, 1)
    while batch := list(islice(numbered, _BATCH)):
        for position, key in batch:
            key.check(f"key {position}")
        yield [(position, *_values(key)) for position, key in batch]
        progress(batch[-1][0])


def _merge(connection: Connection, revision: int) -> int:
    """How many keys of `incoming` are new, and are now there; of two that are equal the first."""
    replaced = exists().where(old_secrets.c.digest == _incoming.c.digest)
    taken = (_incoming.c[name] for name in _TAKEN)
    new = select(*taken, false(), literal(revision)).where(~replaced).order_by(_incoming.c.position)
    insert = insert_postgresql if connection.dialect.name == "postgresql" else insert_sqlite
    statement = insert(keys).from_select([*_TAKEN, "disabled", "revision"], new).on_conflict_do_nothing()
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount


def _first_duplicate(connection: Connection, revision: int) -> DuplicateKeyError:
    """The first key of `incoming` that is not new; what was merged has this revision, and does not count."""
    there = select(_incoming.c.position, keys.c.id, cast(None, Integer).label("above"))
    known = (
        there.join(keys, keys.c.digest == _incoming.c.digest).where(keys.c.revision < revision),
        there.join(keys, keys.c.id == _incoming.c.id).where(keys.c.revision < revision),
        there.join(old_secrets, old_secrets.c.digest == _incoming.c.digest).join(keys),
        _twice(_incoming.c.digest),
        _twice(_incoming.c.id),
    )
    found = union_all(*known).subquery()
    position, key_id, above = connection.execute(select(found).order_by(found.c.position).limit(1)).one()
    return DuplicateKeyError(key_id, position, above)


def _twice(value: ColumnElement[object]) -> Select[tuple[int, str, int]]:
    """Keys of `incoming` with a value that one above them has."""
    above = func.min(_incoming.c.position).over(partition_by=value).label("above")
    numbered = select(_incoming.c.position, _incoming.c.id, above).subquery()
    first = _incoming.alias()
    return (
        select(numbered.c.position, first.c.id, numbered.c.above)
        .join(first, first.c.position == numbered.c.above)
        .where(numbered.c.above < numbered.c.position)
    )
