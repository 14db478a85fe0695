"""Whole messages that need no parser: those that come again, and those of a known shape. Knows no verdict."""

from forwardauth.core.memo import Memo
from forwardauth.core.model import Subrequest
from forwardauth.server.shapes import Shapes

_LONGEST_MESSAGE = 4096


class Messages:
    """Messages as they were parsed: half of the lane's time is parsing.

    A message is one packet that held one whole request without a body on a connection that went on. One that came
    before, byte by byte, is remembered when it comes for the second time, so that a flood of different ones fills no
    memory. While none comes again only every sixteenth is looked at, because a look costs 1 µs. No verdict is
    remembered. Bounded: twice 512 messages of at most 4 kB, and the shapes.
    """

    __slots__ = ("_misses", "_once", "_parsed", "shapes")

    def __init__(self) -> None:
        self.shapes = Shapes()
        self._misses = 0
        self._once: Memo[int, bool] = Memo(4096)
        self._parsed: Memo[tuple[str | None, bytes], Subrequest] = Memo(512)

    def read(self, peer: str | None, message: bytes) -> Subrequest | None:
        """The request that these bytes of this peer are, where nothing must be parsed for it."""
        self._misses += 1
        if self._misses >= 64 and self._misses & 15:
            return self.shapes.read(peer, message)
        key = (peer, message)
        found = self._parsed.young.get(key) or self._parsed.get(key)
        if found is not None:
            self._misses = 0
            return found
        found = self.shapes.read(peer, message)
        if found is not None:
            self._remember(peer, message, found)
        return found

    def note(self, peer: str | None, message: bytes, subrequest: Subrequest, second: int) -> None:
        """Take a request that had to be parsed; `second` is any clock's."""
        self._remember(peer, message, subrequest)
        self.shapes.note(message, subrequest, second)

    def forget(self) -> None:
        """Drop the requests that are remembered, with all that was read from them. The shapes stay."""
        self._parsed = Memo(self._parsed.size)

    def _remember(self, peer: str | None, message: bytes, subrequest: Subrequest) -> None:
        if len(message) > _LONGEST_MESSAGE:
            return
        shape = hash(message)
        if self._once.get(shape):
            self._parsed.put((peer, message), subrequest)
        else:
            self._once.put(shape, True)

    def __len__(self) -> int:
        return len(self._parsed)
