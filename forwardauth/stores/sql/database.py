"""One engine: where it is, its schema, its transactions. Knows no row.

Every call blocks: callers that serve requests use a thread of their own.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, inspect, make_url, text

from forwardauth.stores.sql import postgresql, sqlite
from forwardauth.stores.sql.errors import StoreError, told
from forwardauth.stores.sql.tables import metadata

NEWEST = "0001"
"""The schema that `tables` describes: the last step of `migrations/versions`."""

WAIT_SECONDS = 30.0
_VERSION_TABLE = "forwardauth_version"

# Taken to the letter: a path may hold any % and #.
_FILE = re.compile(r"sqlite(?:\+\w+)?:///(?!:memory:)([^?]+)")
_EXPECTED = (
    "`database:` expects sqlite:///path or postgresql://user:password@host/name; "
    "in a password write @ as %40 and % as %25"
)


class Database:
    """An open database with the newest schema. Threads may share it.

    `place` names it for operators: the path of a file, or server and name, never a user or a password.
    """

    def __init__(self, engine: Engine, place: str) -> None:
        self.place = place
        self._engine = engine

    @classmethod
    def open(cls, url: str, folder: Path, wait: float = WAIT_SECONDS) -> "Database":
        """Open `sqlite:///relative` (below `folder`), `sqlite:////absolute` or `postgresql://user:password@host/name`.

        A file that does not exist is made, for its owner alone, and so is its folder; a schema that is not the newest
        is led there. `wait` is how many seconds a writer waits for others. Raises StoreError.
        """
        database = cls(*_engine(url, folder, wait))
        try:
            database._migrate()
        except BaseException:
            database.close()
            raise
        return database

    @staticmethod
    def is_made(url: str, folder: Path) -> bool:
        """Whether there is anything to open: a file that nobody made yet has no key. A server is always there."""
        file = _FILE.fullmatch(url)
        return file is None or (folder / file[1]).exists()

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection without a transaction. Raises StoreError, whatever fails in the block."""
        with told(self.place), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that reads."""
        with self.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes, all or nothing: it is on the disk when the block was left."""
        with self.connect() as connection:
            connection.execution_options(writes=True)
            with connection.begin():
                yield connection

    def _migrate(self) -> None:
        with self.reading() as connection:
            if _version(connection, self.place) == NEWEST:
                return
        with self.writing() as connection:
            if connection.dialect.name == "postgresql":
                postgresql.wait_to_migrate(connection)
            # Whoever came first may have done it.
            if _version(connection, self.place) != NEWEST:
                _upgrade(connection)


def _engine(url: str, folder: Path, wait: float) -> tuple[Engine, str]:
    """The engine of a URL, and its place."""
    file = _FILE.fullmatch(url)
    if file:
        path = folder / file[1]
        with told(str(path)):
            return sqlite.open_engine(path, wait), str(path)
    server = _server(url)
    place = f"PostgreSQL at {server.host or 'its socket'}:{server.port or 5432}/{server.database or ''}"
    with told(place):
        return postgresql.open_engine(server, wait), place


def _server(url: str) -> URL:
    """The parts of a URL. What is wrong is said without the URL: a password may stand anywhere in it."""
    try:
        server = make_url(url)
        kind = server.get_backend_name()
    except Exception:
        raise StoreError(_EXPECTED) from None
    if kind not in ("postgresql", "postgres") or "@" in f"{server.host}{server.database}":
        raise StoreError(_EXPECTED)
    return server


def _version(connection: Connection, place: str) -> str | None:
    """The schema that the database has, None for none. Raises StoreError where it is none of ours."""
    tables = set(inspect(connection).get_table_names())
    if _VERSION_TABLE not in tables:
        strangers = sorted(tables & set(metadata.tables))
        if strangers:
            raise StoreError(
                f"{place} holds {', '.join(strangers)} of another program: give forwardauth a database of its own"
            )
        return None
    version = str(connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar_one())  # noqa: S608
    if version > NEWEST:
        raise StoreError(
            f"{place} has schema {version}, and this forwardauth knows {NEWEST}: run the newer forwardauth again"
        )
    return version


def _upgrade(connection: Connection) -> None:
    # A database with the newest schema costs nobody the 0.1 s and 9 MB of Alembic.
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "version_table": _VERSION_TABLE})
    config.set_main_option("script_location", "forwardauth.stores.sql:migrations")
    command.upgrade(config, "head")
