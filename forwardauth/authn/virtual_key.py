"""API keys that live in a database. Knows the index of them in memory, and asks no database.

The index is kept as the database is by `stores/following`, so that a key that was revoked is refused at its next use.
"""

from dataclasses import dataclass, field, replace

from forwardauth.authn.building import Materials, build_limit, build_sources, check_realm
from forwardauth.authn.lookup import Entry, Lookup
from forwardauth.authn.words import Words, token_words
from forwardauth.core.credentials import Source
from forwardauth.core.key_index import DISABLED, REVOKED, KeyIndex
from forwardauth.core.keys import PREFIX, KeyFormat, Pepper, fingerprint
from forwardauth.core.memo import Memo
from forwardauth.core.model import Client, Facts, Identity, Now, RequestView, Verdict
from forwardauth.core.rate import Limit

EXTRA = ("database", ("sqlalchemy", "alembic"))
"""The extra that this kind needs, and the libraries by which it is found."""

_REMEMBERED = 8192


@dataclass(frozen=True, slots=True)
class Settings:
    """`virtual_key:`. Keys of `database:`, made by `forwardauth keys create`.

    `prefix` begins every key and brings its own separator; `pepper` is a secret without which the digests of a stolen
    database are worth nothing (empty: none); `rate` holds for each key that has none of its own.
    """

    from_: list[str | dict[str, str]] = field(default_factory=lambda: ["bearer"], metadata={"key": "from"})
    prefix: str = "fa_"
    pepper: str = field(default="", repr=False)
    rate: str | None = None
    realm: str = ""


class VirtualKey(Lookup):
    """Looks what is presented up in the index of a database."""

    format: KeyFormat

    def __init__(
        self,
        name: str,
        sources: tuple[Source, ...],
        words: Words,
        key_format: KeyFormat,
        index: KeyIndex,
        pepper: Pepper | None,
        limit: Limit | None,
        process_key: bytes,
    ) -> None:
        super().__init__(name, sources, words, key_format)
        self.pepper = pepper
        self._index = index
        self._limit = limit
        self._process_key = process_key
        self._ambient = any(source.ambient for source in sources)
        # By the packed record, so that a key that changed is another one, and nothing needs to be forgotten.
        self._entries: Memo[bytes, Entry] = Memo(_REMEMBERED)

    def judge(self, view: RequestView, client: Client, facts: Facts, now: Now) -> Verdict:
        """The key's identity; 503 until the database was read."""
        if not self._index.ready:
            return self.unavailable(view)
        return self.look_up(view, now, self._find)

    def foreign(self, header: bytes, value: bytes) -> bool | None:
        """Whether a value is skipped here; None where the header is not read."""
        return self.skips(header, value, self._find)

    def _find(self, sha256_digest: bytes) -> Entry | None:
        stored = sha256_digest if self.pepper is None else self.pepper.digest(sha256_digest)
        packed = self._index.find(stored)
        if packed is None and self.pepper is not None:
            # A key from before there was a pepper.
            packed = self._index.find(sha256_digest)
        if packed is None:
            return None
        entry = self._entries.young.get(packed) or self._entries.get(packed)
        if entry is None:
            entry = self._entry(packed, stored)
            self._entries.put(packed, entry)
        return entry

    def _entry(self, packed: bytes, stored: bytes) -> Entry:
        record = self._index.unpack(packed)
        identity = Identity(
            authenticators=(self.name,),
            user=record.owner,
            tenant=record.tenant,
            key=record.id,
            credential=f"{self.name}\n{record.id}",
            fingerprint=fingerprint(self._process_key, self.name.encode(), stored),
            limit=record.profile.limit or self._limit,
            scopes=record.profile.scopes,
            record=record.id,
        )
        denial = {DISABLED: self.words.disabled, REVOKED: self.words.revoked}.get(record.state)
        ambient = replace(identity, ambient=True) if self._ambient else identity
        return Entry(identity, ambient, record.expires, denial)


def build(name: str, settings: Settings, materials: Materials) -> VirtualKey:
    """The authenticator of these settings; mistakes go to `materials`."""
    if not PREFIX.fullmatch(settings.prefix):
        materials.mistake("prefix", "expected up to 32 letters, digits, _, . and -, such as fa_")
    if not materials.has_database:
        materials.mistake("", "needs database: (sqlite:///data/forwardauth.db, for example)")
    sources = build_sources(settings.from_, materials)
    return VirtualKey(
        name,
        sources,
        token_words(sources[0], check_realm(settings.realm, materials)),
        KeyFormat(settings.prefix),
        materials.key_index,
        Pepper(settings.pepper) if settings.pepper else None,
        build_limit(settings.rate, "rate", materials),
        materials.process_key,
    )
