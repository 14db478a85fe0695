"""Which header names a decision wants, and which imitate one that decides. Knows names, no values.

Gateways let `X_Auth_User` and `X.Auth.User` through beside `X-Auth-User`, and CGI and WSGI backends cannot tell them
apart, so a name that is equal to a protected one once every character that is no letter or digit is dropped is refused.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from operator import methodcaller
from typing import Final, Literal

from forwardauth.core.memo import Memo
from forwardauth.core.model import Headers, RequestView


class _Mark(Enum):
    IGNORED = "ignored"
    LOOKALIKE = "look-alike"


IGNORED: Final = _Mark.IGNORED
LOOKALIKE: Final = _Mark.LOOKALIKE
Kind = bytes | Literal[_Mark.IGNORED, _Mark.LOOKALIKE]

METHOD_OVERRIDE = b"method-override"

_NO_LETTER_OR_DIGIT = re.compile(rb"[^a-z0-9]+")
_MEMO_KEY_BYTES = 64
_MEMO_SIZE = 4096
_SHAPE_BYTES = 1024
_SHAPES = 64

# Read for their meaning on every endpoint. Origin and Sec-Fetch-Site tell a foreign page (Fetch, 3.1 and W3C Fetch
# Metadata); Sec-WebSocket-Key survives at Traefik and nginx, which drop Upgrade from the subrequest.
COMMON: frozenset[bytes] = frozenset(
    {
        b"accept",
        b"access-control-request-method",
        b"cf-connecting-ip",
        b"forwarded",
        b"host",
        b"origin",
        b"sec-fetch-site",
        b"sec-websocket-key",
        b"true-client-ip",
        b"upgrade",
        b"x-request-id",
    }
)
# Only their presence decides, or nothing: a second line changes no answer.
_MAY_REPEAT = frozenset(
    {
        b"accept",
        b"cf-connecting-ip",
        b"forwarded",
        b"sec-websocket-key",
        b"true-client-ip",
        b"upgrade",
        b"x-request-id",
    }
)
_METHOD_OVERRIDES = (b"x-http-method-override", b"x-http-method", b"x-method-override")


def folded(name: bytes) -> bytes:
    """A header name without case and punctuation: what a careless backend may make of it."""
    return _NO_LETTER_OR_DIGIT.sub(b"", name.lower())


@dataclass(frozen=True, slots=True)
class _Shape:
    """Names in one order: the fields that are wanted of them, and what picks the values of these."""

    fields: tuple[bytes, ...]
    pick: Callable[[re.Match[bytes]], tuple[bytes, ...]]


class HeaderNames:
    """The names of one endpoint in one configuration, and a bounded memo of what every raw name is.

    `gateway` names are the endpoint's own and `credentials` the ones that carry secrets: both are read. `protected`
    names have no look-alikes; `banned` ones (remapped identity names, which a gateway's file may not strip) are refused
    even under their own name. All in lower case.
    """

    __slots__ = ("_banned", "_memo", "_overrides", "_protected", "_shapes", "_wanted", "credentials")

    def __init__(
        self,
        gateway: frozenset[bytes],
        credentials: frozenset[bytes],
        protected: frozenset[bytes],
        banned: frozenset[bytes] = frozenset(),
    ) -> None:
        self.credentials = credentials
        self._wanted = gateway | credentials | COMMON
        self._banned = banned
        self._protected = {folded(name): name for name in gateway | credentials | protected | banned}
        self._overrides = frozenset(map(folded, _METHOD_OVERRIDES))
        self._memo: Memo[bytes, Kind] = Memo(_MEMO_SIZE)
        self._shapes: Memo[tuple[bytes, ...], _Shape] = Memo(_SHAPES)

    def kind(self, name: bytes) -> Kind:
        """What a raw header name is: the lower-case name that is wanted, IGNORED or LOOKALIKE."""
        kind = self._memo.get(name)
        if kind is None:
            kind = self._kind(name.lower())
            if len(name) <= _MEMO_KEY_BYTES:
                self._memo.put(name, kind)
        return kind

    def _kind(self, name: bytes) -> Kind:
        if name in self._banned:
            return LOOKALIKE
        if name in self._wanted:
            return name
        shape = folded(name)
        if shape in self._overrides:
            return METHOD_OVERRIDE
        if self._protected.get(shape, name) != name:
            return LOOKALIKE
        return IGNORED

    def read(self, headers: Headers, view: RequestView) -> None:
        """Sort a subrequest's headers into a view: wanted fields, repeated credentials, a look-alike, a fault."""
        if isinstance(headers, list):
            self._sort(headers, view)
            return
        shape = self._shapes.young.get(headers.names) or self._shapes.get(headers.names)
        if shape is None:
            self._sort(zip(headers.names, headers.values, strict=True), view)
            self._note(headers.names, view)
        else:
            view.fields = dict(zip(shape.fields, shape.pick(headers.match), strict=True))

    def _note(self, names: tuple[bytes, ...], view: RequestView) -> None:
        """Remember what names in this order are, where nothing but the values is left to look at."""
        faultless = view.lookalike is None and view.repeated is None and view.unreadable is None
        wanted = [(place, kind) for place, kind in enumerate(map(self.kind, names)) if isinstance(kind, bytes)]
        # Of names that may repeat only the first is read.
        if faultless and len(wanted) == len(view.fields) > 1 and sum(map(len, names)) <= _SHAPE_BYTES:
            places, fields = zip(*wanted, strict=True)
            self._shapes.put(names, _Shape(fields, methodcaller("group", *(place + 2 for place in places))))

    def _sort(self, headers: Iterable[tuple[bytes, bytes]], view: RequestView) -> None:
        fields = view.fields
        remembered = self._memo.young
        for name, value in headers:
            # A subscript, because a call of `get` for each header is a third of the guard's time.
            try:
                kind = remembered[name]
            except KeyError:
                kind = self.kind(name)
            if kind is IGNORED:
                continue
            if kind is LOOKALIKE:
                view.lookalike = name
            elif kind not in fields:
                fields[kind] = value
            elif kind in self.credentials:
                view.repeated = kind
            elif kind not in _MAY_REPEAT:
                view.unreadable = f"{kind.decode()} stands there twice"
        if b"host" not in fields:
            view.unreadable = "host is missing"
