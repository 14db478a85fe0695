"""What only SQLite needs: its file, and the pragmas of a connection. Knows no table."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection

from forwardauth.stores.sql.errors import StoreError

_OWNER_ONLY = 0o600


def open_engine(path: Path, wait: float) -> Engine:
    """The engine of a file, which is made where there is none. `wait` is in seconds, for other writers."""
    _make_file(path)
    _use_write_ahead_log(path, wait)
    url = URL.create("sqlite+pysqlite", database=str(path))
    engine = create_engine(url, connect_args={"timeout": wait}, hide_parameters=True)
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _make_file(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        # The files of the write-ahead log get the same mode from SQLite.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _OWNER_ONLY))
    except FileExistsError:
        if not path.is_file():
            raise StoreError(f"{path} is no file: correct `database:`") from None
    except OSError as failure:
        raise StoreError(f"{path} cannot be made: {os.strerror(failure.errno or 0)}") from None


def _use_write_ahead_log(path: Path, wait: float) -> None:
    """Switch the file over, once and for all: readers and a writer do not wait for each other."""
    end = time.monotonic() + wait
    with closing(sqlite3.connect(path, timeout=wait, isolation_level=None)) as connection:
        while True:
            try:
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
                break
            except sqlite3.OperationalError as failure:
                # SQLite does not wait here for a second one that switches too, lest both wait for ever.
                if failure.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
                time.sleep(0.02)
    if mode != "wal":
        raise StoreError(f"{path} lies where SQLite keeps no write-ahead log: put it on a disk of this machine")


def _set_up(connection: DBAPIConnection, _: object) -> None:
    # The driver would begin transactions by itself, too late and never IMMEDIATE.
    connection.isolation_level = None
    cursor = connection.cursor()
    # FULL: a commit is on the disk before it returns, so that a power cut loses no key that was shown.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    # A large import leaves no large log behind.
    cursor.execute("PRAGMA journal_size_limit = 16777216")
    cursor.close()


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once where another one wrote in between.
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def prepare_import(connection: Connection) -> None:
    """Settings of a connection that is thrown away after one large transaction."""
    # Digests come in no order, and an index that does not fit into memory is written over and over: a million keys take
    # 21 s with 16 MB, and 13 s with 64 MB or more.
    connection.connection.cursor().execute("PRAGMA cache_size = -65536")


def copy_rows(connection: Connection, table: str, batches: Iterator[list[tuple[object, ...]]]) -> None:
    """Insert rows into an empty table, as they come."""
    first = next(batches, [])
    if first:
        places = ", ".join("?" * len(first[0]))
        statement = f"INSERT INTO {table} VALUES ({places})"  # noqa: S608, the name is our own
        for batch in chain([first], batches):
            connection.exec_driver_sql(statement, batch)
