"""Messages of a known shape: the method, the header names and their order of one that the parser read before.

Knows bytes, and what no name means. What a gateway asks for one client after the other differs in values alone, and a
regular expression reads them in half of the time that the parser and its callbacks take. It is made from a message that
the parser read, and is stricter than the parser: one blank, then visible ASCII and blanks, and nothing at all that a
message could end at. Whatever it does not match is left to the parser.
"""

import re
from collections.abc import Callable

from forwardauth.core.memo import Memo
from forwardauth.core.model import Record, Shaped, Subrequest

_LONGEST_MESSAGE = 4096
_MOST_HEADERS = 64
_LITERAL_BYTES = 1024
_MOST_SHAPES = 8
_SEEN_BEFORE = 16

_METHOD = re.compile(rb"[A-Z]{1,32}")
_TARGET = rb"(/[A-Za-z0-9!$&-;=?@_~%]*+)"
# Possessive, so that nothing is tried twice; a blank at the end is part of the value to some programs only.
_VALUE = rb"([!-~][ -~]*+)(?<! )"

# They tell where a message ends and whether the connection goes on (RFC 9112 6.3, 9.3): never with another value.
_FRAMING = frozenset({b"connection", b"content-length", b"proxy-connection", b"transfer-encoding", b"upgrade"})


class _Shape(Record):
    method: bytes
    names: tuple[bytes, ...]
    match: Callable[[bytes], re.Match[bytes] | None]


class Shapes:
    """The shapes that come most, at most 8. A stranger chooses names, and to learn a shape costs up to 3 ms.

    So one is learned when it came 16 times, one a second at most, and takes the place of the one that came least.
    """

    __slots__ = ("_learned", "_seen", "_shapes")

    def __init__(self) -> None:
        self._shapes: list[_Shape] = []
        self._seen: Memo[tuple[bytes, ...], int] = Memo(256)
        self._learned = -1

    def read(self, peer: str | None, data: bytes) -> Subrequest | None:
        """The request that these bytes of this peer are; None where they have no known shape."""
        if len(data) > _LONGEST_MESSAGE:
            return None
        shapes = self._shapes
        for position, shape in enumerate(shapes):
            found = shape.match(data)
            if found is not None:
                if position:
                    shapes[position - 1 : position + 1] = shape, shapes[position - 1]
                return Subrequest(shape.method, found[1], Shaped(shape.names, found), peer)
        return None

    def note(self, data: bytes, subrequest: Subrequest, second: int) -> None:
        """Learn the shape of a whole message that the parser read, if it came often; `second` is any clock's."""
        headers = subrequest.headers
        if len(data) > _LONGEST_MESSAGE or second == self._learned:
            return
        if not isinstance(headers, list) or len(headers) > _MOST_HEADERS:
            return
        names = tuple(name for name, _ in headers)
        framing = (len(value) for name, value in headers if name.lower() in _FRAMING)
        if sum(map(len, names)) + sum(framing) > _LITERAL_BYTES:
            return
        seen = (self._seen.get((subrequest.method, *names)) or 0) + 1
        self._seen.put((subrequest.method, *names), seen)
        if seen < _SEEN_BEFORE:
            return
        self._learned = second
        shape = _shape(subrequest.method, headers)
        if shape is not None and shape.match(data) is not None:
            self._shapes[_MOST_SHAPES - 1 :] = [shape]

    def __len__(self) -> int:
        return len(self._shapes)


def _shape(method: bytes, headers: list[tuple[bytes, bytes]]) -> _Shape | None:
    if _METHOD.fullmatch(method) is None:
        return None
    lines = [
        re.escape(name) + b": " + (b"(" + re.escape(value) + b")" if name.lower() in _FRAMING else _VALUE)
        for name, value in headers
    ]
    whole = rb"\r\n".join([method + b" " + _TARGET + rb" HTTP/1\.1", *lines, b"", b""])
    return _Shape(method, tuple(name for name, _ in headers), re.compile(whole).fullmatch)
