"""Keys of tenants, a file for each, and a header that names the tenant. Knows what the files say now.

The files are read by `stores/key_files`, live: the name in the header is looked up among those that were listed, and
is never part of a path. A key of one tenant is worth nothing for another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from forwardauth.authn.building import HEADER_NAME, LiveTenants, Materials, build_limit, build_sources, check_realm
from forwardauth.authn.key_file import check_path, digest_entry
from forwardauth.authn.lookup import Entry, Lookup
from forwardauth.authn.words import Words, token_words
from forwardauth.core.credentials import Source
from forwardauth.core.key_lists import TENANT
from forwardauth.core.memo import Memo
from forwardauth.core.model import Client, Facts, Now, RequestView, Verdict
from forwardauth.core.rate import Limit

_REMEMBERED = 8192
_NO_KEYS: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Settings:
    """`tenant_keys:`. `directory` holds the files, `<tenant>.client-keys.json`; `tenant_header` names the tenant.

    `default_tenant` is meant where that header is absent or empty. `from` says where the key stands, in the order of
    looking; `rate` holds for each key by itself.
    """

    directory: str
    tenant_header: str = "MSL-Train-Id"
    default_tenant: str = "default"
    from_: list[str | dict[str, str]] = field(default_factory=lambda: ["bearer"], metadata={"key": "from"})
    rate: str | None = None
    realm: str = ""


class TenantKeys(Lookup):
    """Looks what is presented up in the keys of the tenant that the request names."""

    def __init__(
        self,
        name: str,
        sources: tuple[Source, ...],
        words: Words,
        live: LiveTenants,
        tenant_header: str,
        default_tenant: str,
        limit: Limit | None,
        process_key: bytes,
    ) -> None:
        super().__init__(name, sources, words)
        self.reads = (tenant_header,)
        self._live = live
        self._header = tenant_header.lower().encode()
        self._default = default_tenant.encode()
        self._limit = limit
        self._process_key = process_key
        # What a digest stands for is the same whatever the files say, so that nothing needs to be forgotten.
        self._entries: Memo[tuple[bytes, bytes], Entry] = Memo(_REMEMBERED)

    def judge(self, view: RequestView, client: Client, facts: Facts, now: Now) -> Verdict:
        """The key's identity, with the tenant; 503 where the tenant's file is broken, or the folder is not there."""
        tenants = self._live.now
        tenant = view.fields.get(self._header, b"").strip(b" \t") or self._default
        digests = None if tenants is None else tenants.get(tenant, _NO_KEYS)
        if digests is None:
            return self.unavailable(view)
        return self.look_up(view, now, lambda found: self._entry(tenant, found) if found in digests else None)

    def foreign(self, header: bytes, value: bytes) -> bool | None:
        """Whether a value is skipped here; None where the header is not read. The key of any tenant is ours."""
        tenants: Mapping[bytes, frozenset[bytes] | None] = self._live.now or {}

        def find(found: bytes) -> Entry | None:
            owner = next((tenant for tenant, digests in tenants.items() if digests and found in digests), None)
            return None if owner is None else self._entry(owner, found)

        return self.skips(header, value, find)

    def _entry(self, tenant: bytes, sha256_digest: bytes) -> Entry:
        entry = self._entries.get((tenant, sha256_digest))
        if entry is None:
            entry = digest_entry(self.name, tenant.decode(), sha256_digest, self._limit, self._process_key)
            self._entries.put((tenant, sha256_digest), entry)
        return entry


def build(name: str, settings: Settings, materials: Materials) -> TenantKeys:
    """The authenticator of these settings; mistakes go to `materials`."""
    if not HEADER_NAME.fullmatch(settings.tenant_header):
        materials.mistake("tenant_header", "expected a header name")
    if not TENANT.fullmatch(settings.default_tenant):
        materials.mistake("default_tenant", "expected a name of letters, digits and ._:-")
    sources = build_sources(settings.from_, materials)
    return TenantKeys(
        name,
        sources,
        token_words(sources[0], check_realm(settings.realm, materials)),
        materials.live_tenants(check_path(settings.directory, "directory", materials)),
        settings.tenant_header,
        settings.default_tenant,
        build_limit(settings.rate, "rate", materials),
        materials.process_key,
    )
