"""Which header names a decision wants, and which imitate one that decides. Knows names, no values.

Gateways let `X_Auth_User` and `X.Auth.User` through beside `X-Auth-User`, and CGI and WSGI backends cannot tell them
apart, so a name that is equal to a protected one once every character that is no letter or digit is dropped is refused.
"""

import re
from enum import Enum
from typing import Final, Literal

from forwardauth.core.memo import Memo
from forwardauth.core.model import RequestView


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


class HeaderNames:
    """The names of one endpoint in one configuration, and a bounded memo of what every raw name is.

    `gateway` names are the endpoint's own and `credentials` the ones that carry secrets: both are read. `protected`
    names have no look-alikes; `banned` ones (remapped identity names, which a gateway's file may not strip) are refused
    even under their own name. All in lower case.
    """

    __slots__ = ("_banned", "_memo", "_overrides", "_protected", "_wanted", "credentials")

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

    def read(self, headers: list[tuple[bytes, bytes]], view: RequestView) -> None:
        """Sort a subrequest's headers into a view: wanted fields, repeated credentials, a look-alike, a fault."""
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
