"""Whether one address carries nearly all requests. Knows addresses for a thousand decisions at a time.

That is what a gateway looks like that does not tell its clients' addresses: then a lockout of one is a lockout of all.
"""

from collections import Counter
from collections.abc import Iterable

SAMPLE = 1000
SHARE = 0.95


class Crowd:
    """Samples the clients of decisions. `one_client` is the address that has 95 % of the last thousand, or None."""

    def __init__(self) -> None:
        self.one_client: str | None = None
        self._counts: Counter[str] = Counter()
        self._total = 0

    def observe(self, addresses: Iterable[str]) -> None:
        """Take the addresses of one batch of decisions."""
        self._counts.update(addresses)
        self._total = self._counts.total()
        if self._total >= SAMPLE:
            ((address, count),) = self._counts.most_common(1)
            self.one_client = address if count >= SHARE * self._total else None
            self._counts.clear()
