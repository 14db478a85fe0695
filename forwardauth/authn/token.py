"""Tokens that stand in the configuration, in any header, Bearer or cookie. Knows digests only, once it is built."""

import re
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from forwardauth.authn.building import (
    Materials,
    ScopeSettings,
    build_expiry,
    build_limit,
    build_scopes,
    build_sources,
    check_realm,
)
from forwardauth.authn.lookup import Entry, Lookup
from forwardauth.authn.words import Words, token_words
from forwardauth.core.credentials import Source
from forwardauth.core.keys import digest, fingerprint
from forwardauth.core.model import Client, Facts, Identity, Now, RequestView, Verdict
from forwardauth.core.secret import Secret

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:-]{0,63}")
_SENDABLE = re.compile(r"[!-~]{1,4096}")


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """One token. `value` or `sha256` (64 hex digits) is the secret; `expires` a date, a time or `never`.

    `rate` replaces the authenticator's; without `scopes` it may do everything that the routes allow.
    """

    name: str
    value: Secret | None = None
    sha256: str | None = None
    expires: str | date | datetime | None = None
    rate: str | None = None
    scopes: list[ScopeSettings] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Settings:
    """`token:`. `from` says where the token stands, in the order of looking; `rate` holds for each token by itself."""

    tokens: list[TokenEntry]
    from_: list[str | dict[str, str]] = field(default_factory=lambda: ["bearer"], metadata={"key": "from"})
    rate: str | None = None
    realm: str = ""


class Token(Lookup):
    """Looks the digest of what is presented up in an index."""

    def __init__(self, name: str, sources: tuple[Source, ...], words: Words, index: dict[bytes, Entry]) -> None:
        super().__init__(name, sources, words)
        self._find = index.get

    def judge(self, view: RequestView, client: Client, facts: Facts, now: Now) -> Verdict:
        """The identity of the first value that is nobody else's; known ones behind it must be the same."""
        return self.look_up(view, now, self._find)

    def foreign(self, header: bytes, value: bytes) -> bool | None:
        """Whether a value is skipped here; None where the header is not read."""
        return self.skips(header, value, self._find)


def build(name: str, settings: Settings, materials: Materials) -> Token:
    """The authenticator of these settings; mistakes go to `materials`."""
    sources = build_sources(settings.from_, materials)
    limit = build_limit(settings.rate, "rate", materials)
    index: dict[bytes, Entry] = {}
    names: set[str] = set()
    if not settings.tokens:
        materials.mistake("tokens", "expected at least one token")
    for position, entry in enumerate(settings.tokens):
        where = f"tokens[{position}]"
        if not _NAME.fullmatch(entry.name) or entry.name in names:
            materials.mistake(f"{where}.name", "expected a name of its own, of letters, digits and ._@:-")
        names.add(entry.name)
        secret_digest = _digest(entry, where, materials)
        if secret_digest in index:
            materials.mistake(where, "the same secret stands there twice")
        if secret_digest is None:
            continue
        identity = Identity(
            authenticators=(name,),
            key=entry.name,
            credential=f"{name}\n{entry.name}",
            fingerprint=fingerprint(materials.process_key, name.encode(), secret_digest),
            limit=build_limit(entry.rate, f"{where}.rate", materials) or limit,
            scopes=build_scopes(entry.scopes, f"{where}.scopes", materials),
        )
        index[secret_digest] = Entry(
            identity,
            replace(identity, ambient=True) if any(source.ambient for source in sources) else identity,
            build_expiry(entry.expires, f"{where}.expires", materials),
        )
    words = token_words(sources[0], check_realm(settings.realm, materials))
    return Token(name, sources, words, index)


def _digest(entry: TokenEntry, where: str, materials: Materials) -> bytes | None:
    if (entry.value is None) == (entry.sha256 is None):
        materials.mistake(where, "expected either value or sha256")
        return None
    if entry.value is not None:
        if not _SENDABLE.fullmatch(entry.value):
            materials.mistake(f"{where}.value", "expected printable ASCII without spaces: nothing else can be sent")
            return None
        return digest(entry.value.encode())
    if not re.fullmatch(r"[0-9a-fA-F]{64}", entry.sha256 or ""):
        materials.mistake(f"{where}.sha256", "expected 64 hex digits, as sha256sum prints them")
        return None
    return bytes.fromhex(entry.sha256 or "")
