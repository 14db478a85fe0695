"""Host, path and method to a route; the only place that normalises a path. Knows no credential and no gateway.

Gateways and backends disagree on dot segments, escapes and separators, so a path that could be read in two ways is
refused on every route, public ones too, and matching runs on one normal form (RFC 3986 6.2.2: unreserved characters
decoded once, hex in upper case; empty segments collapsed; the query cut off).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from forwardauth.core.memo import Memo
from forwardauth.core.model import RequestView
from forwardauth.core.rate import Limit
from forwardauth.core.reasons import AMBIGUOUS_PATH, DENIALS, MALFORMED_SUBREQUEST, NO_ROUTE, Denial
from forwardauth.core.requirement import Requirement

# RFC 9110 9.1: a method is a token.
METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")

# They echo or tunnel what the gateway added to a request, credentials included (RFC 9110 9.3.6, 9.3.8).
_REFUSED_METHODS = frozenset({b"TRACE", b"TRACK", b"CONNECT"})

_PATH_BYTES = re.compile(rb"/[!\"$-:<-\[\]-~]*")
_QUERY_BYTES = re.compile(rb"[ -\"$-~]*")
_ESCAPE = re.compile(rb"%(?:([0-9A-Fa-f]{2}))?")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_REFUSED_ESCAPES = frozenset([*range(0x20), 0x7F, *b"\\;"])
_NESTED_ESCAPE = re.compile(r"%25[0-9A-Fa-f]{2}")
# Some backends trim spaces before they look at dots.
_DOT_SEGMENT = re.compile(r"(?:%20)*\.{1,2}(?:%20)*")
_SEPARATOR = re.compile(r"/|%2F")
_EMPTY_SEGMENTS = re.compile(r"//+")

DEFAULT_PORTS = {b"http": 80, b"ws": 80, b"https": 443, b"wss": 443}
"""The port that a scheme means where none is written (RFC 9110 4.2)."""

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")

_MEMO_KEY_BYTES = 512
_MEMO_SIZE = 8192


class AmbiguousPath(ValueError):
    """A path that two programs can read in two ways."""


def normalise_path(path: bytes) -> str:
    """The one form in which a raw path is matched; `%2F` stays as it is. Raises AmbiguousPath.

    `path` has no query. Dot segments in any encoding, backslash, semicolon, spaces, control bytes, escapes that
    would decode again, broken or non-UTF-8 escapes and an absolute URI are refused.
    """
    if _PATH_BYTES.fullmatch(path) is None:
        raise AmbiguousPath("a byte that no path has")
    if b"%" not in path:
        text = path.decode("ascii")
    else:
        text = _decode_unreserved(path)
        if _NESTED_ESCAPE.search(text):
            raise AmbiguousPath("an escape that would decode again")
    if "." in text and any(_DOT_SEGMENT.fullmatch(segment) for segment in _SEPARATOR.split(text)):
        raise AmbiguousPath("a dot segment")
    return _EMPTY_SEGMENTS.sub("/", text) if "//" in text else text


def _decode_unreserved(path: bytes) -> str:
    decoded = bytearray()
    end = 0

    def normal(match: re.Match[bytes]) -> bytes:
        nonlocal end
        if match[1] is None:
            raise AmbiguousPath("a broken escape")
        byte = int(match[1], 16)
        if byte in _REFUSED_ESCAPES:
            raise AmbiguousPath("an escaped byte that no path has")
        decoded.extend(path[end : match.start()])
        decoded.append(byte)
        end = match.end()
        return bytes((byte,)) if byte in _UNRESERVED else b"%%%02X" % byte

    text = _ESCAPE.sub(normal, path)
    decoded.extend(path[end:])
    try:
        decoded.decode("utf-8")
    except UnicodeDecodeError:
        raise AmbiguousPath("escapes that are no UTF-8") from None
    return text.decode("ascii")


@dataclass(frozen=True, slots=True)
class Host:
    """A host name or address in lower case, and the port that it means (None: unknown scheme and no port)."""

    name: str
    port: int | None


def parse_host(raw: bytes, scheme: bytes = b"") -> Host:
    """A host with an optional port, as a gateway names it. Raises ValueError for anything else (RFC 3986 3.2.2)."""
    text = raw.decode("ascii").lower()
    if text.startswith("["):
        name, bracket, rest = text.partition("]")
        name = f"[{IPv6Address(_without_zone(name[1:]))}]"
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("an address that does not end")
        separator, port = rest[:1], rest[1:]
    else:
        name, separator, port = text.partition(":")
        name = name.removesuffix(".")
        _check_name(name)
    if not separator:
        return Host(name, DEFAULT_PORTS.get(scheme))
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError("no port from 1 to 65535")
    return Host(name, int(port))


def _without_zone(text: str) -> str:
    if "%" in text:
        raise ValueError("an address with a zone")
    return text


def _check_name(name: str) -> None:
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("no host name")
    # A last label of digits means an address (WHATWG URL 3.5); `127.1` and `0x7f.1` mean one to some programs only.
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        IPv4Address(name)


class HostPattern:
    """A host name or address, with `*.` before it for one label; without a port it means every port.

    Raises ValueError for anything else.
    """

    __slots__ = ("_name", "_port", "_wildcard")

    def __init__(self, text: str) -> None:
        self._wildcard = text.startswith("*.")
        host = parse_host(text.removeprefix("*.").encode())
        self._name, self._port = host.name, host.port

    def matches(self, host: Host) -> bool:
        """Whether a request's host is meant."""
        if self._port is not None and host.port != self._port:
            return False
        if self._wildcard:
            # One label exactly, as in a certificate (RFC 6125 6.4.3).
            first, _, rest = host.name.partition(".")
            return bool(first) and rest == self._name
        return host.name == self._name


@dataclass(slots=True, eq=False)
class Route:
    """What a host, path and method require. `requirement` is None where the route is public.

    `login` is where browsers are sent that may not pass, empty where they read a 401 like everybody.

    `limit_key` tells its rate limit from that of every other route, and stays the same through a reload: routes without
    a name are called by their path, which two hosts may share.
    """

    name: str
    paths: tuple[str, ...]
    host: str | None = None
    methods: frozenset[bytes] | None = None
    requirement: Requirement | None = None
    preflight: bool = False
    limit: Limit | None = None
    errors: str = "openai"
    origins: frozenset[bytes] = frozenset()
    pass_credentials: str = "false"
    encoded_slashes: bool = False
    login: str = ""
    limit_key: str = field(init=False, default="")
    _host: HostPattern | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        methods = b",".join(sorted(self.methods or ())).decode()
        self.limit_key = "\n".join((self.name, self.host or "", methods))
        if self.host is not None:
            self._host = HostPattern(self.host)

    def matches(self, method: bytes, host: Host, path: str) -> bool:
        """Whether this route is the one for a request in normal form."""
        return (
            (self.methods is None or method in self.methods)
            and (self._host is None or self._host.matches(host))
            and matches_path(self.paths, path)
        )


def matches_path(patterns: Iterable[str], path: str) -> bool:
    """Whether a normal path matches one pattern: exactly, or up to a `*` at its end."""
    return any(path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern for pattern in patterns)


@dataclass(slots=True, eq=False)
class Place:
    """Where a request goes: its route, with host and path in normal form.

    `stamp` is this place for whoever must not keep it, and a configuration with it.
    """

    route: Route
    host: Host
    path: str
    stamp: object = field(init=False, repr=False, default_factory=object)


class RouteTable:
    """The routes of one configuration; the first match wins, no match is a denial."""

    __slots__ = ("_memo", "routes")

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self.routes = routes
        self._memo: Memo[tuple[bytes, bytes, bytes, bytes], Place | Denial] = Memo(_MEMO_SIZE)

    def locate(self, view: RequestView, method: bytes) -> Place | Denial:
        """The place of a request, or why there is none. Remembers its answers, bounded."""
        path, mark, query = view.target.partition(b"?")
        if mark and _QUERY_BYTES.fullmatch(query) is None:
            return DENIALS[AMBIGUOUS_PATH]
        key = (method, view.scheme, view.host, path)
        place = self._memo.young.get(key) or self._memo.get(key)
        if place is None:
            place = self._locate(method, view.scheme, view.host, path)
            if sum(map(len, key)) <= _MEMO_KEY_BYTES:
                self._memo.put(key, place)
        return place

    def _locate(self, method: bytes, scheme: bytes, raw_host: bytes, raw_path: bytes) -> Place | Denial:
        if METHOD.fullmatch(method) is None:
            return DENIALS[MALFORMED_SUBREQUEST]
        try:
            host = parse_host(raw_host, scheme)
        except ValueError:
            return DENIALS[MALFORMED_SUBREQUEST]
        try:
            path = normalise_path(raw_path)
        except AmbiguousPath:
            return DENIALS[AMBIGUOUS_PATH]
        route = self._first(method, host, path)
        if "%2F" in path and (route is None or not route.encoded_slashes):
            return DENIALS[AMBIGUOUS_PATH]
        if route is None or method in _REFUSED_METHODS:
            return DENIALS[NO_ROUTE]
        return Place(route, host, path)

    def _first(self, method: bytes, host: Host, path: str) -> Route | None:
        return next((route for route in self.routes if route.matches(method, host, path)), None)
