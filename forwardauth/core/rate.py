"""Rate limits: GCRA on plain numbers. Knows no identity and no clock: keys and `now` (monotonic seconds) are given.

The generic cell rate algorithm (ITU-T I.371, appendix) keeps one number for each key, the theoretical arrival time:
when the bucket would be empty again. It needs no timer and no window edges.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LIMIT = re.compile(r"\s*([1-9]\d{0,8})\s*/\s*([1-9][0-9]{0,5})?([smhd])(?:\s+burst\s+([1-9]\d{0,8}))?\s*")

TABLE_SIZE = 100_000


@dataclass(frozen=True, slots=True)
class Limit:
    """`count` requests in `period` seconds, at most `burst` of them at once.

    `interval` is in how many seconds one request comes free again, `tolerance` how far ahead of them a burst may run.
    """

    count: int
    period: float
    burst: int
    interval: float = field(init=False)
    tolerance: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "interval", self.period / self.count)
        object.__setattr__(self, "tolerance", self.burst * self.interval)


def parse_limit(text: str) -> Limit:
    """`N/s|m|h|d [burst B]` as a limit; the burst is N where it is not given. Raises ValueError.

    A number before the unit counts several of them: `100/3600s`.
    """
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise ValueError("expected a rate such as 100/h or 20/s burst 40")
    count = int(match[1])
    return Limit(count, int(match[2] or 1) * _PERIODS[match[3]], int(match[4] or count))


Charge = tuple[str, float]
"""One request against one limit: the key, and the arrival time that it gets if the request is allowed."""

Limits = tuple[tuple[str, Limit, str], ...]
"""Key, limit and scope (`credential`, `route` or `client`) of each."""

Price = tuple[list[Charge], float, tuple[str, Limit, str] | None]
"""What a request costs, the seconds until all limits allow it (0: at once), and the limit that takes longest."""


class RateTable:
    """Theoretical arrival times by key, bounded: keys that are free again go first, then the oldest."""

    __slots__ = ("_arrivals", "_size")

    def __init__(self, size: int = TABLE_SIZE) -> None:
        self._size = size
        self._arrivals: dict[str, float] = {}

    def price(self, limits: Limits, now: float) -> Price:
        """What one more request costs of every limit, and the one that takes longest. Changes nothing."""
        charges: list[Charge] = []
        longest = 0.0
        tightest: tuple[str, Limit, str] | None = None
        for entry in limits:
            key, limit, _ = entry
            arrival = self._arrivals.get(key, now)
            if arrival < now:
                arrival = now
            arrival += limit.interval
            charges.append((key, arrival))
            wait = arrival - now - limit.tolerance
            # Sums of intervals are off by rounding: without the margin the 100th of 100 is refused now and then.
            if wait > 1e-6 and wait > longest:
                longest, tightest = wait, entry
        return charges, longest, tightest

    def charge(self, charges: Sequence[Charge], now: float) -> None:
        """Take what `price` said."""
        arrivals = self._arrivals
        for key, arrival in charges:
            # Taken out first, so that the order is that of the last use and a flood of new keys frees no busy one.
            if arrivals.pop(key, None) is None and len(arrivals) >= self._size:
                self._make_room(now)
            arrivals[key] = arrival

    def _make_room(self, now: float) -> None:
        for key in [key for key, arrival in self._arrivals.items() if arrival <= now]:
            del self._arrivals[key]
        # A tenth at once, so that a flood of new keys pays for the sweep only once in ten thousand.
        for key in list(self._arrivals)[: max(len(self._arrivals) - self._size * 9 // 10, 0)]:
            del self._arrivals[key]

    def __len__(self) -> int:
        return len(self._arrivals)
