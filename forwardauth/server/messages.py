"""The memo of whole messages. Knows bytes and what they were parsed to, no parser and no verdict."""

from forwardauth.core.memo import Memo
from forwardauth.core.model import Subrequest

_LONGEST_MESSAGE = 4096


class Messages:
    """Requests that came before, byte by byte, as they were parsed: half of the lane's time is parsing.

    A message is one packet that held one whole request without a body on a connection that went on, and is remembered
    when it comes for the second time, so that a flood of different ones fills no memory. While none comes again only
    every sixteenth is looked at, because a look costs 1 µs. No verdict is remembered. Bounded: twice 512 messages of at
    most 4 kB.
    """

    __slots__ = ("_misses", "_once", "_parsed")

    def __init__(self) -> None:
        self._misses = 0
        self._once: Memo[int, bool] = Memo(4096)
        self._parsed: Memo[tuple[str | None, bytes], Subrequest] = Memo(512)

    def looks(self) -> bool:
        """Whether the next message is worth a look."""
        self._misses += 1
        return self._misses < 64 or not self._misses & 15

    def get(self, peer: str | None, message: bytes) -> Subrequest | None:
        """The request that these bytes of this peer are, if they are known."""
        found = self._parsed.get((peer, message))
        if found is not None:
            self._misses = 0
        return found

    def note(self, peer: str | None, message: bytes, subrequest: Subrequest) -> None:
        """Remember a request, if it came before."""
        if len(message) > _LONGEST_MESSAGE:
            return
        shape = hash(message)
        if self._once.get(shape):
            self._parsed.put((peer, message), subrequest)
        else:
            self._once.put(shape, True)

    def __len__(self) -> int:
        return len(self._parsed)
