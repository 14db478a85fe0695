"""Keys of one file that other programs write, with a switch and networks in it. Knows what the file says now.

The file is read by `stores/key_files`, live. A key has no name there: it is known by the beginning of its digest.
"""

from dataclasses import dataclass, field, replace

from forwardauth.authn.building import HEADER_NAME, LiveKeys, Materials, build_limit, build_sources
from forwardauth.authn.lookup import Entry, Lookup
from forwardauth.authn.network import Neighbours
from forwardauth.authn.words import Words, token_words
from forwardauth.core.client_ip import Network
from forwardauth.core.credentials import Source
from forwardauth.core.key_lists import KeyList
from forwardauth.core.keys import fingerprint
from forwardauth.core.memo import Memo
from forwardauth.core.model import Client, Facts, Identity, Now, Rejected, RequestView, Verdict
from forwardauth.core.rate import Limit
from forwardauth.core.reasons import INVALID_CREDENTIAL

_REMEMBERED = 8192
_HEADER = "X-API-Key"


@dataclass(frozen=True, slots=True)
class Settings:
    """`key_file:`. `path` is the file; `header` says where the key stands, or `from` all places, in order of looking.

    `rate` holds for each key by itself.
    """

    path: str
    header: str = _HEADER
    from_: list[str | dict[str, str]] = field(default_factory=list, metadata={"key": "from"})
    rate: str | None = None


class KeyFile(Lookup):
    """Looks what is presented up in the file's keys."""

    def __init__(
        self,
        name: str,
        sources: tuple[Source, ...],
        words: Words,
        live: LiveKeys,
        limit: Limit | None,
        process_key: bytes,
    ) -> None:
        super().__init__(name, sources, words)
        self._live = live
        self._limit = limit
        self._process_key = process_key
        self._nobody = Identity(authenticators=(name,), ambient=True)
        self._neighbours = Neighbours(())
        # What a digest stands for is the same whatever the file says, so that nothing needs to be forgotten.
        self._entries: Memo[bytes, Entry] = Memo(_REMEMBERED)

    def judge(self, view: RequestView, client: Client, facts: Facts, now: Now) -> Verdict:
        """The key's identity; nobody's for a neighbour, or where the file asks nobody for a key; 503 without a file."""
        said = self._live.now
        if said is None:
            return self.unavailable(view)
        verdict = self.look_up(view, now, lambda found: self._entry(found, said))
        if verdict is None or (isinstance(verdict, Rejected) and verdict.denial.reason is INVALID_CREDENTIAL):
            if self._neighbours.networks is not said.local_networks:
                self._neighbours = Neighbours(said.local_networks)
            if not said.require_auth or self._neighbours.hold(view, client):
                return self._nobody
        return verdict

    def foreign(self, header: bytes, value: bytes) -> bool | None:
        """Whether a value is skipped here; None where the header is not read."""
        said = self._live.now
        return self.skips(header, value, lambda found: None if said is None else self._entry(found, said))

    @property
    def bypass(self) -> tuple[Network, ...]:
        """The networks whose clients pass by their address alone, as they are now."""
        said = self._live.now
        return () if said is None else said.local_networks

    def _entry(self, sha256_digest: bytes, said: KeyList) -> Entry | None:
        if sha256_digest not in said.digests:
            return None
        entry = self._entries.get(sha256_digest)
        if entry is None:
            entry = digest_entry(self.name, "", sha256_digest, self._limit, self._process_key)
            self._entries.put(sha256_digest, entry)
        return entry


def digest_entry(name: str, tenant: str, sha256_digest: bytes, limit: Limit | None, process_key: bytes) -> Entry:
    """What a key without a name stands for. It is counted by its whole digest, and shown by 48 bits of it."""
    identity = Identity(
        authenticators=(name,),
        tenant=tenant,
        key=f"sha256:{sha256_digest.hex()[:12]}",
        credential=f"{name}\n{tenant}\n{sha256_digest.hex()}",
        fingerprint=fingerprint(process_key, name.encode(), tenant.encode(), sha256_digest),
        limit=limit,
    )
    return Entry(identity, replace(identity, ambient=True))


def build(name: str, settings: Settings, materials: Materials) -> KeyFile:
    """The authenticator of these settings; mistakes go to `materials`."""
    header = settings.header
    if not HEADER_NAME.fullmatch(header) or header.lower() == "cookie":
        materials.mistake("header", "expected a header name")
        header = _HEADER
    elif settings.from_ and header != _HEADER:
        materials.mistake("header", "says the same as from: keep one of them")
    sources = build_sources(settings.from_ or [{"header": header}], materials)
    return KeyFile(
        name,
        sources,
        token_words(sources[0], ""),
        materials.live_keys(check_path(settings.path, "path", materials)),
        build_limit(settings.rate, "rate", materials),
        materials.process_key,
    )


def check_path(path: str, where: str, materials: Materials) -> str:
    """The path of a file or folder, which need not exist yet."""
    if not path.strip() or "\0" in path:
        materials.mistake(where, "expected a path")
        return "."
    return path
