"""Answers to needs, remembered for a while. Bounded; knows keyed digests, never a secret."""

from collections.abc import Callable, Mapping

from forwardauth.core.memo import Memo

SECONDS = 15 * 60.0
_SIZE = 10_000


class FactCache:
    """Holds successes only: a remembered failure would let a stranger fill the memory of others.

    `clock` is monotonic seconds. A fact ends 15 minutes after it was found out.
    """

    __slots__ = ("_clock", "_facts")

    def __init__(self, clock: Callable[[], float], size: int = _SIZE) -> None:
        self._clock = clock
        self._facts: Memo[bytes, float] = Memo(size)

    def get(self, key: bytes, /) -> bool | None:
        """True for a fact that still holds, None otherwise."""
        until = self._facts.get(key)
        return True if until is not None and self._clock() < until else None

    def put(self, key: bytes) -> None:
        """Remember a success."""
        self._facts.put(key, self._clock() + SECONDS)


class WithFresh:
    """The fact cache, with what was found out for one decision in front of it."""

    __slots__ = ("_cache", "_fresh")

    def __init__(self, fresh: Mapping[bytes, bool], cache: FactCache) -> None:
        self._fresh = fresh
        self._cache = cache

    def get(self, key: bytes, /) -> bool | None:
        """The fresh answer, or the remembered one."""
        found = self._fresh.get(key)
        return found if found is not None else self._cache.get(key)
