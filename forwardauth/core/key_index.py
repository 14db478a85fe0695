"""The keys of a database, in memory: digest to what a decision needs of a key. Knows no database and no request.

A million keys are a million entries of one dictionary from 16 bytes of digest to some 60 bytes of record (measured:
209 MB in this shape, 393 MB as objects with slots). What many keys share (scopes and rate) is kept once, by number.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from struct import Struct

from forwardauth.core.model import Scope
from forwardauth.core.rate import Limit, parse_limit
from forwardauth.core.scopes import parse_scopes

Row = tuple[bytes, str, str, str, float | None, int, str, str]
"""Digest, id, owner, tenant, expires (seconds since 1970), state, scopes (JSON) and rate, as a database tells them."""

ACTIVE, DISABLED, REVOKED = range(3)

# 128 bits of an HMAC or SHA-256: nobody finds a second key for one of a million of them.
_DIGEST_BYTES = 16
_NEVER = float("inf")
_HEAD = Struct("<dBI")


@dataclass(frozen=True, slots=True)
class Profile:
    """What many keys have in common."""

    scopes: tuple[Scope, ...]
    limit: Limit | None


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What a decision needs of a key. `expires` is in seconds since 1970."""

    id: str
    owner: str
    tenant: str
    expires: float | None
    state: int
    profile: Profile


# A key whose scopes nobody can read may do nothing.
_NOTHING = Profile((Scope("/", frozenset()),), None)


class KeyIndex:
    """The index of one database; not `ready` until it was loaded, and nobody is let in before.

    `pack` may run in another thread, one at a time; everything else belongs to the thread that decides.
    """

    __slots__ = ("_numbers", "_packed", "_profiles", "ready", "unreadable")

    def __init__(self) -> None:
        self.ready = False
        self.unreadable: set[str] = set()
        self._packed: dict[bytes, bytes] = {}
        self._profiles: list[Profile] = []
        self._numbers: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        return len(self._packed)

    def find(self, stored: bytes) -> bytes | None:
        """The packed record of a digest as the database stores it. Equal records are equal bytes."""
        return self._packed.get(stored[:_DIGEST_BYTES])

    def unpack(self, packed: bytes) -> KeyRecord:
        """What a packed record says."""
        expires, state, profile = _HEAD.unpack_from(packed)
        # No database here takes a NUL into a text.
        key_id, owner, tenant = packed[_HEAD.size :].decode().split("\0")
        ends = None if expires == _NEVER else expires
        return KeyRecord(key_id, owner, tenant, ends, state, self._profiles[profile])

    def pack(self, rows: Iterable[Row]) -> dict[bytes, bytes]:
        """Rows of the database in the form in which `merge` takes them."""
        return {
            row[0][:_DIGEST_BYTES]: _HEAD.pack(
                _NEVER if row[4] is None else row[4], row[5], self._profile(row[6], row[7], row[1])
            )
            + f"{row[1]}\0{row[2]}\0{row[3]}".encode()
            for row in rows
        }

    def merge(self, packed: Mapping[bytes, bytes]) -> None:
        """Take new and changed records; from the next look-up on they hold."""
        self._packed.update(packed)

    def replace(self, packed: dict[bytes, bytes]) -> None:
        """Take these records in the place of all others."""
        self._packed = packed

    def _profile(self, scopes: str, rate: str, key_id: str) -> int:
        key = (scopes, rate)
        number = self._numbers.get(key)
        if number is None:
            try:
                profile = Profile(parse_scopes(scopes), parse_limit(rate) if rate else None)
            except ValueError:
                self.unreadable.add(key_id)
                profile = _NOTHING
            number = len(self._profiles)
            self._profiles.append(profile)
            self._numbers[key] = number
        return number


class Uses:
    """When keys were last used, until somebody writes it down. Bounded by the number of keys."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: dict[str, float] = {}

    def note(self, record: str, wall: float) -> None:
        """Note a use of the key with a public id, at `wall` (seconds since 1970)."""
        self._pending[record] = wall

    def take(self) -> dict[str, float]:
        """What was noted since the last call, public id to seconds since 1970."""
        taken, self._pending = self._pending, {}
        return taken

    def give_back(self, taken: Mapping[str, float]) -> None:
        """Keep what could not be written for the next time."""
        self._pending = {**taken, **self._pending}
