"""The keys of a database, and their life. Knows digests, never a secret."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict

from sqlalchemy import Connection, bindparam, case, func, insert, literal, or_, select, update

from forwardauth.core.key_index import Row
from forwardauth.stores.sql.changes import changed_secrets, current_revision, next_revision
from forwardauth.stores.sql.database import Database
from forwardauth.stores.sql.errors import DuplicateKeyError, StoreError, UnknownKeyError
from forwardauth.stores.sql.importing import import_keys
from forwardauth.stores.sql.records import KeyRow, NewKey
from forwardauth.stores.sql.tables import keys, old_secrets

_BATCH = 10_000
_last = select(func.max(old_secrets.c.until)).where(old_secrets.c.key == keys.c.number).scalar_subquery()
_ROWS = select(
    keys.c.id,
    keys.c.name,
    keys.c.owner,
    keys.c.tenant,
    keys.c.created,
    keys.c.expires,
    keys.c.disabled,
    keys.c.revoked,
    keys.c.scopes,
    keys.c.rate,
    keys.c.metadata,
    keys.c.last_used,
    case((keys.c.expires < _last, keys.c.expires), else_=_last).label("overlap_until"),
)
"""The fields of a KeyRow."""


class KeyStore:
    """The keys of a database. Times are seconds since 1970.

    Every method may raise StoreError, and has changed nothing then; only of a server that was lost in between nobody
    knows, and the sentence says so.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def create(self, key: NewKey) -> KeyRow:
        """Store a key. Raises DuplicateKeyError."""
        key.check()
        with self._database.writing() as connection:
            revision = next_revision(connection)
            _refuse_known(connection, key.digest, key.id)
            connection.execute(insert(keys).values(**asdict(key), disabled=False, revision=revision))
            return _row(connection, key.id)

    def add_all(
        self, new_keys: Iterable[NewKey], progress: Callable[[int], None] = lambda _: None, skip_existing: bool = False
    ) -> tuple[int, int]:
        """Store many keys, all of them or none. Answers how many were added, and how many skipped.

        One whose id or secret is there already, or stands above it, is skipped with `skip_existing`, and raises
        DuplicateKeyError otherwise. They are read as a stream; `progress` gets how many were read, and once the last
        one was, merging them takes about as long again.
        """
        return import_keys(self._database, new_keys, progress, skip_existing)

    def rows(self, *, owner: str | None = None, tenant: str | None = None, name: str | None = None) -> Iterator[KeyRow]:
        """Keys as a stream, in the order in which they came."""
        query = _ROWS.order_by(keys.c.number)
        for column, wanted in ((keys.c.owner, owner), (keys.c.tenant, tenant), (keys.c.name, name)):
            if wanted is not None:
                query = query.where(column == wanted)
        # The result is closed even if its reader leaves early: PostgreSQL keeps a cursor for it.
        with (
            self._database.reading() as connection,
            connection.execution_options(yield_per=_BATCH).execute(query) as result,
        ):
            for row in result.mappings():
                yield KeyRow(**row)

    def get(self, key_id: str) -> KeyRow:
        """One key. Raises UnknownKeyError."""
        with self._database.reading() as connection:
            return _row(connection, key_id)

    def rotate(self, key_id: str, digest: bytes, pepper: str, now: float, until: float) -> KeyRow:
        """Give a key a new secret. The present one works until `until`, and not past the key's own expiry.

        Older secrets that still work keep their ends, unless this one's is earlier: an `until` that is not after `now`
        ends them all at once. Raises UnknownKeyError; a revoked key is refused.
        """
        with self._database.writing() as connection:
            revision = next_revision(connection)
            key = _changeable(connection, key_id)
            _refuse_known(connection, digest)
            end = max(now, until) if key.expires is None else min(max(now, until), key.expires)
            older = old_secrets.c.key.in_(select(keys.c.number).where(keys.c.id == key_id))
            connection.execute(update(old_secrets).where(older, old_secrets.c.until > end).values(until=end))
            # Copied within the database: no digest comes out where it could be logged.
            present = select(keys.c.digest, keys.c.number, keys.c.pepper, literal(end)).where(keys.c.id == key_id)
            connection.execute(insert(old_secrets).from_select(["digest", "key", "pepper", "until"], present))
            return _changed(connection, key_id, revision, digest=digest, pepper=pepper)

    def revoke(self, key_id: str, now: float) -> KeyRow:
        """End a key for ever. A second time changes nothing. Raises UnknownKeyError."""
        with self._database.writing() as connection:
            revision = next_revision(connection)
            first = _row(connection, key_id).revoked
            return _changed(connection, key_id, revision, revoked=now if first is None else first)

    def disable(self, key_id: str) -> KeyRow:
        """Refuse a key until it is enabled. Raises UnknownKeyError; a revoked key is refused."""
        return self._change(key_id, disabled=True)

    def enable(self, key_id: str) -> KeyRow:
        """Take a key again that was disabled. Raises UnknownKeyError; a revoked key is refused."""
        return self._change(key_id, disabled=False)

    def expire(self, key_id: str, at: float | None) -> KeyRow:
        """Let a key end at a time, None for never. Raises UnknownKeyError; a revoked key is refused."""
        return self._change(key_id, expires=at)

    def revision(self) -> int:
        """The number of the last change."""
        with self._database.reading() as connection:
            return current_revision(connection)

    def changes(self, since: int, batch: int = _BATCH) -> Iterator[list[Row]]:
        """The secrets of every key that changed after revision `since`, as a stream; 0 is before the first key.

        Replaced secrets are among them: they end with their overlap, or with their key. To follow, ask for
        `revision()` first, then for the changes since the last one: what is told twice is told alike.
        """
        with self._database.reading() as connection:
            yield from changed_secrets(connection, since, batch)

    def note_uses(self, uses: Mapping[str, float]) -> None:
        """Remember when keys were last used, unless a later use is known. It is no change that others follow."""
        if not uses:
            return
        later = or_(keys.c.last_used.is_(None), keys.c.last_used < bindparam("at"))
        statement = update(keys).where(keys.c.id == bindparam("key_id"), later).values(last_used=bindparam("at"))
        with self._database.writing() as connection:
            # In one order everywhere: two services that lock rows of PostgreSQL crosswise would wait for each other.
            connection.execute(statement, [{"key_id": key_id, "at": at} for key_id, at in sorted(uses.items())])

    def counts(self, now: float) -> dict[str, int]:
        """How many keys are in each state."""
        state = case(
            (keys.c.revoked.is_not(None), "revoked"),
            (keys.c.disabled, "disabled"),
            (keys.c.expires <= now, "expired"),
            else_="active",
        ).label("state")
        with self._database.reading() as connection:
            counted = connection.execute(select(state, func.count().label("keys")).group_by("state")).mappings()
            found = {row["state"]: row["keys"] for row in counted}
        return dict.fromkeys(("active", "expired", "disabled", "revoked"), 0) | found

    def _change(self, key_id: str, **values: object) -> KeyRow:
        with self._database.writing() as connection:
            revision = next_revision(connection)
            _changeable(connection, key_id)
            return _changed(connection, key_id, revision, **values)


def _row(connection: Connection, key_id: str) -> KeyRow:
    # PostgreSQL takes no NUL, not even to look for it.
    found = None if "\0" in key_id else connection.execute(_ROWS.where(keys.c.id == key_id)).mappings().one_or_none()
    if found is None:
        raise UnknownKeyError
    return KeyRow(**found)


def _changed(connection: Connection, key_id: str, revision: int, **values: object) -> KeyRow:
    connection.execute(update(keys).where(keys.c.id == key_id).values(revision=revision, **values))
    return _row(connection, key_id)


def _changeable(connection: Connection, key_id: str) -> KeyRow:
    row = _row(connection, key_id)
    if row.revoked is not None:
        raise StoreError(f"key {key_id} is revoked, which is for ever: nothing was changed; create a new key")
    return row


def _refuse_known(connection: Connection, digest: bytes, key_id: str | None = None) -> None:
    """Raise DuplicateKeyError where a key has this id, or has or had this secret."""
    had = select(old_secrets.c.key).where(old_secrets.c.digest == digest)
    same = or_(keys.c.id == key_id, keys.c.digest == digest, keys.c.number.in_(had))
    known = connection.scalars(select(keys.c.id).where(same).limit(1)).first()
    if known is not None:
        raise DuplicateKeyError(known)
