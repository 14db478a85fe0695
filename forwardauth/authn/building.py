"""What authenticators are built from. Knows the words that several kinds share: `from`, `scopes`, `rate`, `expires`.

Mistakes are reported to `Materials`, all of them, with the YAML path below the authenticator.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Protocol

from forwardauth.core.credentials import (
    BearerSource,
    CookieSource,
    HeaderSource,
    PasswordSource,
    QuerySource,
    Source,
)
from forwardauth.core.key_index import KeyIndex
from forwardauth.core.key_lists import KeyList
from forwardauth.core.keys import parse_expiry
from forwardauth.core.model import Scope
from forwardauth.core.rate import Limit, parse_limit
from forwardauth.core.scopes import METHOD_NAME, ScopeError, make_scope

# RFC 9110 5.1: a field name is a token; only those that no gateway drops are useful (nginx drops underscores).
HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_PARAMETER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PLACES = "bearer, basic, {header: NAME}, {cookie: NAME} or {query: NAME}"


class LiveKeys(Protocol):
    """An `api_keys.json` that is read again when it changes."""

    @property
    def now(self) -> KeyList | None:
        """What it says; None while it is missing or broken."""
        ...


class LiveTenants(Protocol):
    """A folder of tenants' key files that are read again when they change."""

    @property
    def now(self) -> Mapping[bytes, frozenset[bytes] | None] | None:
        """The digests of each tenant's keys, None for a broken file; None where the folder cannot be listed."""
        ...


class Materials(Protocol):
    """What a configuration hands to a builder. `process_key` is random for each process, for keyed digests.

    `key_index` holds the keys of the database, where there is one (`has_database`).
    """

    process_key: bytes
    has_database: bool

    @property
    def key_index(self) -> KeyIndex:
        """The keys of the database."""
        ...

    def live_keys(self, path: str) -> LiveKeys:
        """The key file at a path below the configuration's folder."""
        ...

    def live_tenants(self, directory: str) -> LiveTenants:
        """The folder of tenants' key files at a path below the configuration's folder."""
        ...

    def mistake(self, where: str, what: str) -> None:
        """Report a mistake at a YAML path below the authenticator."""
        ...

    def text_of(self, path: str, where: str) -> str | None:
        """The text of a file that the configuration names; None when that was reported as a mistake."""
        ...


@dataclass(frozen=True, slots=True)
class ScopeSettings:
    """One thing that a credential may do: a path pattern, and methods, hosts and client networks (absent: all)."""

    path: str = "/*"
    methods: list[str] | None = None
    hosts: list[str] | None = None
    clients: list[str] | None = None


def build_sources(entries: list[str | dict[str, str]], materials: Materials) -> tuple[Source, ...]:
    """The places of `from`, in order: `bearer`, `basic` (its password), or a header, cookie or query by name."""
    sources: list[Source] = []
    for index, entry in enumerate(entries):
        source = _source(entry)
        if source is None:
            materials.mistake(f"from[{index}]", f"expected {_PLACES}")
        elif source in sources:
            materials.mistake(f"from[{index}]", "this place stands there twice")
        else:
            sources.append(source)
    if not entries:
        materials.mistake("from", "expected at least one place to look for the credential")
    return tuple(sources) or (BearerSource(),)


def _source(entry: str | dict[str, str]) -> Source | None:
    if entry == "bearer":
        return BearerSource()
    if entry == "basic":
        return PasswordSource()
    if not isinstance(entry, dict) or len(entry) != 1:
        return None
    ((kind, name),) = entry.items()
    if kind == "header" and HEADER_NAME.fullmatch(name) and name.lower() != "cookie":
        # A raw `Authorization` value would be a scheme and a token in one, so the name means Bearer.
        is_bearer = name.lower() == "authorization"
        return BearerSource() if is_bearer else HeaderSource(name.lower().encode(), name)
    if kind == "cookie" and _COOKIE_NAME.fullmatch(name):
        return CookieSource(name.encode())
    if kind == "query" and _PARAMETER.fullmatch(name):
        return QuerySource(name.encode())
    return None


def build_scopes(entries: list[ScopeSettings], where: str, materials: Materials) -> tuple[Scope, ...]:
    """Scopes in the form in which they are compared."""
    scopes = []
    for index, entry in enumerate(entries):
        try:
            scopes.append(make_scope(asdict(entry)))
        except ScopeError as mistake:
            materials.mistake(f"{where}[{index}].{mistake.where}", mistake.what)
    return tuple(scopes)


def build_methods(methods: list[str] | None, where: str, materials: Materials) -> frozenset[bytes] | None:
    """Methods as exact tokens; None where all are meant."""
    if methods is None:
        return None
    for index, method in enumerate(methods):
        if not METHOD_NAME.fullmatch(method):
            materials.mistake(f"{where}[{index}]", f"{method!r} is no method; they are in capitals: GET, POST")
    if not methods:
        materials.mistake(where, "expected at least one method; leave the key out to allow all")
    return frozenset(method.encode() for method in methods)


def check_realm(realm: str, materials: Materials) -> str:
    """The realm, which stands in quotes in a challenge (RFC 9110 5.6.4)."""
    if not re.fullmatch(r"[ !#-\[\]-~]*", realm):
        materials.mistake("realm", "expected printable ASCII without quotes and backslashes")
    return realm


def build_limit(text: str | None, where: str, materials: Materials) -> Limit | None:
    """A rate limit, or None where none is set."""
    if text is None:
        return None
    try:
        return parse_limit(text)
    except ValueError as mistake:
        materials.mistake(where, str(mistake))
        return None


def build_expiry(value: str | date | datetime | None, where: str, materials: Materials) -> float | None:
    """Seconds since 1970, or None for never."""
    if value is None:
        return None
    try:
        return parse_expiry(value)
    except ValueError as mistake:
        materials.mistake(where, str(mistake))
        return None
