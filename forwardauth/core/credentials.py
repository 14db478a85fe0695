"""Request to the credentials it presents. Knows where a secret stands in a request, and judges none.

A source answers the value, None where nothing is there, or FOREIGN where the shape of what is there belongs to somebody
else: skipped, and never a failed attempt. An empty header, or a scheme without a value, is nothing.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal, Protocol
from urllib.parse import unquote_to_bytes

from forwardauth.core.model import RequestView, SourceName

AUTHORIZATION = b"authorization"
COOKIE = b"cookie"

# RFC 7519 3: a JWT is three base64url parts, and its header, a JSON object, begins with `{"`.
_JWT = re.compile(rb"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
# 64 kB of `a&a&…` would be 30 ms of everybody's time; nobody's key stands behind so many.
_MOST_PARAMETERS = 256
# Browsers keep some 200 for a site (RFC 6265 6.1 asks for 50); 64 kB of `a;a;…` would be 11 ms.
_MOST_COOKIES = 1000
# Claude's OAuth tokens, which its clients send beside a gateway's own key.
_PROVIDER_PREFIXES = (b"sk-ant-oat",)


class _Foreign(Enum):
    FOREIGN = "foreign"


FOREIGN: Final = _Foreign.FOREIGN
Presented = bytes | Literal[_Foreign.FOREIGN] | None


def foreign_shape(value: bytes) -> bool:
    """Whether an unknown value looks like somebody else's: a provider's OAuth token, or a JWT."""
    return value.startswith(_PROVIDER_PREFIXES) or _JWT.fullmatch(value) is not None


def authorization(value: bytes) -> tuple[bytes, bytes]:
    """Scheme in lower case, and what follows it (RFC 9110 11.4)."""
    scheme, _, rest = value.strip(b" \t").partition(b" ")
    return scheme.lower(), rest.strip(b" \t")


def basic_pair(value: bytes) -> tuple[str, str] | None:
    """User name and password of a Basic value (RFC 7617), or None where it is unreadable."""
    try:
        text = base64.b64decode(value, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None
    user, colon, password = text.partition(":")
    if not colon or any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        return None
    return user, password


def basic_user(view: RequestView) -> str | None:
    """The user name that a request claims by Basic, unverified; None without one."""
    scheme, value = authorization(view.fields.get(AUTHORIZATION, b""))
    pair = basic_pair(value) if scheme == b"basic" else None
    return None if pair is None else pair[0]


class Source(SourceName, Protocol):
    """One place where a credential can stand."""

    def find(self, view: RequestView) -> Presented:
        """What the request presents there."""
        ...


@dataclass(frozen=True, slots=True)
class BearerSource:
    """`Authorization: Bearer` (RFC 6750 2.1); the scheme in any case, other schemes are foreign."""

    header: bytes = field(default=AUTHORIZATION, init=False)
    ambient: bool = field(default=False, init=False)

    def find(self, view: RequestView) -> Presented:
        """The token after the scheme."""
        value = view.fields.get(AUTHORIZATION)
        if not value:
            return None
        if value[:7] == b"Bearer " and value[7:8] > b" ":
            return value[7:].rstrip(b" \t")
        scheme, token = authorization(value)
        if scheme == b"bearer":
            return token or None
        return FOREIGN if token else None


@dataclass(frozen=True, slots=True)
class BasicSource:
    """`Authorization: Basic` (RFC 7617 2); other schemes are foreign."""

    header: bytes = field(default=AUTHORIZATION, init=False)
    ambient: bool = field(default=True, init=False)

    def find(self, view: RequestView) -> Presented:
        """The base64 text after the scheme."""
        value = view.fields.get(AUTHORIZATION)
        if not value:
            return None
        scheme, token = authorization(value)
        if not token:
            return None
        return token if scheme == b"basic" else FOREIGN


@dataclass(frozen=True, slots=True)
class PasswordSource:
    """The password of `Authorization: Basic`, whatever the user name: for programs that know no other way."""

    header: bytes = field(default=AUTHORIZATION, init=False)
    ambient: bool = field(default=True, init=False)

    def find(self, view: RequestView) -> Presented:
        """The password; an unreadable pair is read as one that nobody knows."""
        presented = BasicSource().find(view)
        if presented is None or presented is FOREIGN:
            return presented
        pair = basic_pair(presented)
        return presented if pair is None else pair[1].encode() or None


@dataclass(frozen=True, slots=True)
class HeaderSource:
    """The raw value of any other header; `name` is how people write it."""

    header: bytes
    name: str
    ambient: bool = field(default=False, init=False)

    def find(self, view: RequestView) -> Presented:
        """The header's value."""
        value = view.fields.get(self.header)
        return value.strip(b" \t") or None if value else None


@dataclass(frozen=True, slots=True)
class CookieSource:
    """One cookie (RFC 6265 4.2).

    Which of two cookies of one name a server picks is not defined, so two values read as one that nobody knows.
    """

    cookie: bytes
    header: bytes = field(default=COOKIE, init=False)
    ambient: bool = field(default=True, init=False)

    def find(self, view: RequestView) -> Presented:
        """The cookie's value."""
        line = view.fields.get(COOKIE)
        if not line or line.count(b";") >= _MOST_COOKIES:
            return None
        values = {value for name, value in cookie_pairs(line) if name == self.cookie and value}
        if len(values) > 1:
            return b";".join(sorted(values))
        return values.pop() if values else None


@dataclass(frozen=True, slots=True)
class QuerySource:
    """One parameter of the query (RFC 6750 2.3 advises against it: addresses are written into logs).

    Programs differ in which of two parameters of one name they take, so two values read as one that nobody knows.
    """

    parameter: bytes
    header: bytes = field(default=b"", init=False)
    ambient: bool = field(default=False, init=False)

    def find(self, view: RequestView) -> Presented:
        """The parameter's value, decoded once."""
        query = view.target.partition(b"?")[2]
        if query.count(b"&") >= _MOST_PARAMETERS:
            return None
        values = {_decoded(value) for name, value in _parameters(query) if _decoded(name) == self.parameter and value}
        if len(values) > 1:
            return b"&".join(sorted(values))
        return values.pop() if values else None


def _parameters(query: bytes) -> list[tuple[bytes, bytes]]:
    """Names and values as they stand in a query (WHATWG URL, urlencoded parsing: `&` alone separates)."""
    pairs = [part.partition(b"=") for part in query.split(b"&")] if query else []
    return [(name, value) for name, _, value in pairs]


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def without_parameters(target: bytes, names: frozenset[bytes]) -> bytes:
    """A path and query without the parameters that are credentials of ours."""
    path, _, query = target.partition(b"?")
    parts = query.split(b"&")
    kept = [part for part in parts if _decoded(part.partition(b"=")[0]) not in names]
    if len(kept) == len(parts):
        return target
    return path + b"?" + b"&".join(kept) if kept else path


def cookie_pairs(line: bytes) -> list[tuple[bytes, bytes]]:
    """Names and values of a Cookie header, quotes around a value removed."""
    pairs = []
    for part in line.split(b";"):
        name, _, value = part.partition(b"=")
        value = value.strip(b" \t")
        if len(value) > 1 and value[:1] == value[-1:] == b'"':
            value = value[1:-1]
        pairs.append((name.strip(b" \t"), value))
    return pairs


def without_cookies(line: bytes, names: frozenset[bytes]) -> bytes:
    """A Cookie header without the cookies that are credentials of ours."""
    kept = [part.strip(b" \t") for part in line.split(b";") if part.partition(b"=")[0].strip(b" \t") not in names]
    return b"; ".join(part for part in kept if part)
