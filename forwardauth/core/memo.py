"""Bounded memory for pure answers. Knows nothing of what it remembers.

A stranger chooses the keys (paths, hosts, client addresses), so a memo never holds more than twice its size,
and dropping an entry only costs the work of finding the answer again.
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memo(Generic[K, V]):
    """A bounded map with two generations: what was used since the last turn survives the next one.

    It costs one dictionary look-up on a hit, where an LRU list would write on every hit. `size` is the number of
    entries of one generation; `get` answers None for what it does not hold. `young` may be read directly where a call
    for each look-up is too much, and holds another dictionary after a turn.
    """

    __slots__ = ("_old", "size", "young")

    def __init__(self, size: int) -> None:
        self.size = size
        self.young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """The remembered answer, or None."""
        found = self.young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Remember an answer; the generation before the last one is forgotten when this one is full."""
        if len(self.young) >= self.size:
            self._old = self.young
            self.young = {}
        self.young[key] = value

    def __len__(self) -> int:
        return len(self.young) + len(self._old)
