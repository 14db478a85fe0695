"""What goes wrong in a database, in sentences for operators. Knows the engines' error codes, no table.

The drivers' own exceptions go no further than here: they carry statements and values.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc


class StoreError(Exception):
    """A sentence that says what to do. It never holds a secret or the password of a URL."""


class UnknownKeyError(StoreError):
    """No key has the id that was asked for."""

    def __init__(self) -> None:
        # The id is not repeated: whole keys are pasted in its place.
        super().__init__("no key has this id: `forwardauth keys list` shows them")


class DuplicateKeyError(StoreError):
    """A new key has the id or the secret of another one, whose `id` this is.

    `position` is that of the refused key in an import, from 1; None where there is only one.
    """

    def __init__(self, key_id: str, position: int | None = None, above: int | None = None) -> None:
        self.id = key_id
        self.position = position
        if position is None:
            super().__init__(f"key {key_id} has this id or this secret already: nothing was changed")
        elif above is None:
            super().__init__(f"key {position} is there already, as {key_id}: nothing was imported")
        else:
            super().__init__(f"key {position} has the id or the secret of key {above}, {key_id}: nothing was imported")


# https://www.sqlite.org/rescode.html: the low byte of every extended code is its kind.
_SQLITE = {
    sqlite3.SQLITE_BUSY: "was locked by another writer for too long: nothing was changed; try again",
    sqlite3.SQLITE_LOCKED: "was locked by another writer for too long: nothing was changed; try again",
    sqlite3.SQLITE_FULL: "has no room, its disk is full: nothing was changed; free space and try again",
    sqlite3.SQLITE_IOERR: "cannot be read or written, its disk reports an error or is full: nothing was changed",
    sqlite3.SQLITE_READONLY: "cannot be written: nothing was changed; let this user write the file and its folder",
    sqlite3.SQLITE_PERM: "cannot be opened: let this user read and write the file and its folder",
    sqlite3.SQLITE_AUTH: "cannot be opened: let this user read and write the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: let this user read and write the file and its folder",
    sqlite3.SQLITE_NOTADB: "is no SQLite database: nothing was changed; correct `database:`",
    sqlite3.SQLITE_CORRUPT: "is damaged: stop the service and restore a backup, or what `sqlite3 FILE .recover` saves",
}

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL = {
    "25006": "cannot be written, it is read-only: nothing was changed; name the primary server in `database:`",
    "3F000": "does not allow that to this user: nothing was changed; let it create and change tables",
    "42501": "does not allow that to this user: nothing was changed; let it create and change tables",
    "53100": "has no room, its disk is full: nothing was changed; free space and try again",
    "53200": "has no memory left: nothing was changed; try again",
    "53300": "has no connection left: nothing was changed; raise max_connections or try again",
    "53400": "has reached a limit of its configuration: nothing was changed",
    "55P03": "was locked by another writer for too long: nothing was changed; try again",
    "57014": "took too long, or was told to stop: nothing was changed; try again",
}


@contextmanager
def told(place: str) -> Iterator[None]:
    """Turn whatever the driver of the database at `place` raises into a StoreError."""
    try:
        yield
    except (exc.DBAPIError, exc.TimeoutError) as failure:
        raise StoreError(f"{place} {_sentence(failure)}") from None
    except UnicodeEncodeError:
        raise StoreError("a text holds what UTF-8 cannot say: nothing was changed") from None
    except Exception as failure:
        # What a cursor raises while rows are fetched reaches us as the driver's own.
        if isinstance(failure, sqlite3.Error) or hasattr(failure, "sqlstate"):
            raise StoreError(f"{place} {_sentence(failure)}") from None
        raise


def _sentence(failure: Exception) -> str:
    cause = failure.orig if isinstance(failure, exc.DBAPIError) and failure.orig else failure
    if isinstance(cause, sqlite3.Error):
        kind = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        return _SQLITE.get(kind, f"refused: {cause}")
    state = getattr(cause, "sqlstate", None)
    if state in _POSTGRESQL:
        return _POSTGRESQL[state]
    if isinstance(failure, exc.DBAPIError) and failure.connection_invalidated:
        return f"was lost in between ({_reason(cause)}): look whether the last change was made, and try again"
    if state is None or state.startswith(("08", "28", "3D", "57")):
        return f"cannot be reached: {_reason(cause)}"
    return f"refused: {_reason(cause)}"


def _reason(cause: BaseException) -> str:
    """The server's own words without their details, which repeat values; libpq's first line otherwise."""
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    return str(primary or next(iter(str(cause).splitlines()), "no reason given"))
