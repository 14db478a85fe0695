"""Brute force: the table of failures and blocks. Knows keys of clients and monotonic seconds, no request.

Five failures inside `ttl` arm a block of `initial_block` seconds; each further failure after a block doubles it, up to
`max_block`. A record ends at max(last failure + ttl, blocked until). Blocked requests never reach this table, so they
lengthen nothing. The table is bounded: the oldest records without a live block go first, a live block never; a failure
that finds only live blocks is counted by `overflowed` alone.
"""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from forwardauth.core.memo import Memo

TABLE_SIZE = 100_000

# An IPv6 /48 is one customer's site, 65,536 networks of /64, so it is counted as a whole too, with this multiple.
WIDE_MULTIPLE = 20

Keys = tuple[tuple[bytes, int], ...]
"""Whom an attempt counts against: keys, each with its multiple of `max_failed_attempts`."""

KNOWN_SECONDS = 24 * 3600.0
FRESH_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class LockoutSettings:
    """`lockout:`. Failures count per client address (IPv6: /64, and /48 with twenty times the limit).

    `enabled: false` or `max_failed_attempts: 0` counts nothing. `reset_on_success` forgets a client's failures when it
    succeeds, which lets a holder of one key guess others for ever. At an `exempt` address (a CDN's edge, say) failures
    count per user name instead, never for the address as a whole.
    """

    enabled: bool = True
    max_failed_attempts: int = 5
    ttl_seconds: float = 900
    initial_block_seconds: float = 30
    block_multiplier: float = 2.0
    max_block_seconds: float = 3600
    reset_on_success: bool = False
    exempt: list[str] = field(default_factory=list)

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """What is wrong with the numbers, by key."""
        if self.max_failed_attempts < 0:
            yield "max_failed_attempts", "expected 0 (off) or more"
        for key in ("ttl_seconds", "initial_block_seconds", "max_block_seconds"):
            if not 1 <= getattr(self, key) <= 31_536_000:
                yield key, "expected 1 to 31536000 seconds"
        if not 1 <= self.block_multiplier <= 100:
            yield "block_multiplier", "expected 1 to 100"
        if self.max_block_seconds < self.initial_block_seconds:
            yield "max_block_seconds", "expected no less than initial_block_seconds"


@dataclass(slots=True)
class _Record:
    failures: int = 0
    blocked_until: float = 0.0
    ends: float = 0.0


class Lockout:
    """The table of one process. Settings may change while it runs; counts and blocks stay."""

    __slots__ = ("_blocked", "_failing", "_releases", "_reserved", "_size", "overflowed", "settings")

    def __init__(self, settings: LockoutSettings, size: int = TABLE_SIZE) -> None:
        self.settings = settings
        self.overflowed = 0
        self._size = size
        # In order of the last failure, so that the first is the oldest.
        self._failing: dict[bytes, _Record] = {}
        self._blocked: dict[bytes, _Record] = {}
        self._releases: list[tuple[float, bytes]] = []
        self._reserved: dict[bytes, int] = {}

    def blocked_for(self, keys: Keys, now: float) -> float:
        """Seconds that the longest live block of any of `keys` still lasts; 0 without one."""
        if not self._blocked or self._is_off():
            return 0.0
        longest = 0.0
        for key, _ in keys:
            record = self._blocked.get(key)
            if record is not None:
                longest = max(longest, record.blocked_until - now)
        return longest

    def must_wait(self, keys: Keys, now: float) -> bool:
        """Whether reserved attempts, should they all fail, would reach the limit of one of `keys`."""
        if not self._reserved or self._is_off():
            return False
        for key, multiple in keys:
            reserved = self._reserved.get(key, 0)
            if reserved and self._failures(key, now) + reserved >= self._limit(multiple):
                return True
        return False

    def forgives(self, keys: Keys) -> bool:
        """Whether a success clears failures of one of `keys` (`reset_on_success`)."""
        return self.settings.reset_on_success and any(key in self._failing or key in self._blocked for key, _ in keys)

    def reserve(self, keys: Keys) -> None:
        """Hold a place for an attempt that is being checked."""
        for key, _ in keys:
            self._reserved[key] = self._reserved.get(key, 0) + 1

    def settle(self, keys: Keys) -> None:
        """Give back what `reserve` held."""
        for key, _ in keys:
            left = self._reserved.get(key, 0) - 1
            if left > 0:
                self._reserved[key] = left
            else:
                self._reserved.pop(key, None)

    def fail(self, keys: Keys, now: float) -> None:
        """Count one failed attempt against each of `keys`."""
        if self._is_off():
            return
        self._release(now)
        for key, multiple in keys:
            self._fail(key, self._limit(multiple), now)

    def forget(self, keys: Keys) -> int:
        """Drop the failures and blocks of `keys` (`reset_on_success`, `lockouts clear`); says how many there were."""
        before = len(self)
        for key, _ in keys:
            self._failing.pop(key, None)
            self._blocked.pop(key, None)
        if len(self._releases) > 2 * len(self._blocked) + 1024:
            self._releases = [(record.blocked_until, key) for key, record in self._blocked.items()]
            heapq.heapify(self._releases)
        return before - len(self)

    def clear(self) -> int:
        """Drop every record; says how many there were."""
        count = len(self)
        self._failing.clear()
        self._blocked.clear()
        self._releases.clear()
        return count

    def active(self, now: float) -> dict[bytes, float]:
        """The live blocks: key to the seconds that are left."""
        self._release(now)
        return {key: record.blocked_until - now for key, record in self._blocked.items()}

    def __len__(self) -> int:
        return len(self._failing) + len(self._blocked)

    def _is_off(self) -> bool:
        return not self.settings.enabled or self.settings.max_failed_attempts <= 0

    def _limit(self, multiple: int) -> int:
        return self.settings.max_failed_attempts * multiple

    def _failures(self, key: bytes, now: float) -> int:
        record = self._failing.get(key) or self._blocked.get(key)
        return record.failures if record is not None and record.ends > now else 0

    def _fail(self, key: bytes, limit: int, now: float) -> None:
        if key in self._blocked:  # Another check of the same client armed the block while this one ran.
            return
        record = self._failing.pop(key, None)
        if record is None or record.ends <= now:
            if len(self) >= self._size and not self._evict():
                self.overflowed += 1
                return
            record = _Record()
        record.failures += 1
        record.ends = now + self.settings.ttl_seconds
        if record.failures < limit:
            self._failing[key] = record
            return
        record.blocked_until = now + self._block_seconds(record.failures - limit)
        record.ends = max(record.ends, record.blocked_until)
        self._blocked[key] = record
        heapq.heappush(self._releases, (record.blocked_until, key))

    def _block_seconds(self, earlier_blocks: int) -> float:
        settings = self.settings
        doublings = math.log(settings.max_block_seconds / settings.initial_block_seconds)
        growth = earlier_blocks * math.log(settings.block_multiplier)
        # Compared as logarithms: the power itself overflows a float after a thousand failures.
        if growth >= doublings:
            return settings.max_block_seconds
        return settings.initial_block_seconds * math.exp(growth)

    def _release(self, now: float) -> None:
        """Move the records whose block has ended back among those that only count."""
        while self._releases and self._releases[0][0] <= now:
            until, key = heapq.heappop(self._releases)
            record = self._blocked.get(key)
            if record is not None and record.blocked_until <= until:
                del self._blocked[key]
                self._failing[key] = record

    def _evict(self) -> bool:
        # Some at once: the first key of a dictionary is looked for behind all that were deleted before it.
        oldest = list(islice(self._failing, max(1, self._size // 1000)))
        for key in oldest:
            del self._failing[key]
        return bool(oldest)


class Known:
    """Credentials that were allowed from a client within 24 hours, by keyed digest; bounded.

    They pass a block of that client, so that one typo does not stop a whole office behind one address.
    """

    __slots__ = ("_seen",)

    def __init__(self, size: int = 65_536) -> None:
        self._seen: Memo[tuple[bytes, bytes], float] = Memo(size)

    def knows(self, client: bytes, fingerprint: bytes, now: float) -> bool:
        """Whether this credential was allowed from this client within 24 hours."""
        seen = self._seen.get((client, fingerprint))
        return seen is not None and now - seen < KNOWN_SECONDS

    def fresh(self, client: bytes, fingerprint: bytes, now: float) -> bool:
        """Whether that was noted within the last hour."""
        key = (client, fingerprint)
        seen = self._seen.young.get(key) or self._seen.get(key)
        return seen is not None and now - seen < FRESH_SECONDS

    def note(self, client: bytes, fingerprint: bytes, now: float) -> None:
        """Note that the credential was allowed."""
        self._seen.put((client, fingerprint), now)
