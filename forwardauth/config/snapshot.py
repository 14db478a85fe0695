"""Settings to a snapshot: the immutable thing that requests are decided by. Reports every mistake.

A reload builds a new one and swaps one reference; a request keeps the one that it started with.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from forwardauth.authn import KINDS
from forwardauth.authn.building import HEADER_NAME
from forwardauth.config.authenticators import build_authenticators, check_extra
from forwardauth.config.materials import Files, Records
from forwardauth.config.mistakes import Mistakes, join
from forwardauth.config.reader import Reader
from forwardauth.config.routing import build_routes, check_format
from forwardauth.config.settings import Settings
from forwardauth.core.client_ip import ClientReader, parse_address, parse_networks, within
from forwardauth.core.credentials import AUTHORIZATION, COOKIE, CookieSource, HeaderSource, QuerySource
from forwardauth.core.guard import COMMON, METHOD_OVERRIDE, HeaderNames
from forwardauth.core.memo import Memo
from forwardauth.core.model import Authenticator
from forwardauth.core.reply import IDENTITY_FIELDS
from forwardauth.core.routes import RouteTable
from forwardauth.gateways import GATEWAYS
from forwardauth.gateways.dialect import Dialect
from forwardauth.gateways.lines import Names

# The names that every shipped gateway file strips; what a configuration adds, its own lines must strip.
_ALWAYS_CREDENTIALS = {"Authorization": AUTHORIZATION, "X-API-Key": b"x-api-key", "X-API-Token": b"x-api-token"}
_GATEWAY_HEADERS = frozenset(name for dialect in GATEWAYS.values() for name in dialect.headers)
_NOT_FOR_CREDENTIALS = (
    _GATEWAY_HEADERS
    | COMMON
    | {name.lower().encode() for name in IDENTITY_FIELDS.values()}
    | {b"host", b"connection", b"content-length", b"transfer-encoding", b"content-type", b"x-real-ip"}
    # Under this name the guard tells that there is an override of the method, whatever its header is called.
    | {METHOD_OVERRIDE}
)
_GUARD = HeaderNames(frozenset(), frozenset(), frozenset())


@dataclass(slots=True, eq=False)
class Snapshot:
    """One configuration, ready to decide by.

    `credential_headers` are the names under which clients send secrets, as they are written (lower-case name to written
    name); `credential_cookies` and `credential_parameters` (of the query) are what else holds a secret. `further_names`
    are more identity headers for a field.
    """

    routes: RouteTable
    clients: ClientReader
    require_auth: bool
    authenticators: dict[str, Authenticator]
    header_names: dict[str, HeaderNames]
    dialects: dict[str, Dialect]
    credential_headers: dict[bytes, str]
    credential_cookies: frozenset[bytes]
    credential_parameters: frozenset[bytes]
    further_names: dict[str, tuple[str, ...]]
    gateway_user: bytes | None
    errors: str
    settings: Settings
    trusted: tuple[Any, ...]
    _trust: Memo[str, bool] = field(default_factory=lambda: Memo(4096))

    @property
    def names(self) -> Names:
        """The header names that a gateway's file must hold."""
        further = [name for names in self.further_names.values() for name in names]
        return Names((*IDENTITY_FIELDS.values(), *further), tuple(self.credential_headers.values()))

    def trusts(self, peer: str | None) -> bool:
        """Whether a TCP neighbour may ask; a unix socket (None) is guarded by its file's mode."""
        if peer is None:
            return True
        trusted = self._trust.get(peer)
        if trusted is None:
            try:
                trusted = within(parse_address(peer.partition("%")[0]), self.trusted)
            except ValueError:
                trusted = False
            self._trust.put(peer, trusted)
        return trusted


def build_snapshot(
    settings: Settings, reader: Reader, mistakes: Mistakes, files: Files, process_key: bytes, records: Records
) -> Snapshot | None:
    """The snapshot of these settings, or None when mistakes were noted."""
    if settings.database is not None:
        check_extra(KINDS["virtual_key"], "database", mistakes)
    authenticators = build_authenticators(settings, reader, mistakes, files, process_key, records)
    routes = build_routes(settings, authenticators, mistakes)
    dialects = _build_dialects(settings, mistakes)
    trusted = _networks(settings.server.trusted_peers, "server.trusted_peers", mistakes)
    exempt = _networks(settings.lockout.exempt, "lockout.exempt", mistakes)
    check_format(settings.errors, "errors", mistakes)
    token_file = settings.server.admin_token
    if token_file is not None and not token_file.strip():
        mistakes.add("server.admin_token", "expected the path of a file; leave the key out to have no control calls")
    built = [authenticator for authenticator in authenticators.values() if authenticator is not None]
    headers, cookies = _credential_names(built)
    # Headers that decide without being secret: read, held to one line and guarded like those that are.
    read = {name.lower().encode(): name for authenticator in built for name in authenticator.reads}
    _check_headers(built, settings, {*headers, COOKIE}, mistakes)
    gateway_user = _build_gateway_user(settings.server.gateway_user_header, {*headers, COOKIE}, mistakes)
    wanted = frozenset(headers) | frozenset(read) | (frozenset() if gateway_user is None else {gateway_user})
    further = _build_further_names(settings.identity_headers, wanted | {COOKIE}, mistakes)
    if mistakes.found:
        return None
    banned = frozenset(name.lower().encode() for names in further.values() for name in names)
    protected = _GATEWAY_HEADERS | {name.lower().encode() for name in IDENTITY_FIELDS.values()}
    return Snapshot(
        routes=RouteTable(tuple(routes)),
        clients=ClientReader(settings.server.forwarded_depth, exempt),
        require_auth=settings.asks,
        authenticators={authenticator.name: authenticator for authenticator in built},
        header_names={
            name: HeaderNames(dialect.headers, wanted, protected, banned) for name, dialect in dialects.items()
        },
        dialects=dialects,
        credential_headers=headers,
        credential_cookies=cookies,
        credential_parameters=frozenset(
            source.parameter for each in built for source in each.sources if isinstance(source, QuerySource)
        ),
        further_names=further,
        gateway_user=gateway_user,
        errors=settings.errors,
        # Without what the authenticators were built from: nobody needs the secrets again.
        settings=replace(settings, authenticators={}),
        trusted=trusted,
    )


def _build_dialects(settings: Settings, mistakes: Mistakes) -> dict[str, Dialect]:
    names = settings.server.gateways if settings.server.gateways is not None else list(GATEWAYS)
    for index, name in enumerate(names):
        if name not in GATEWAYS:
            mistakes.add(f"server.gateways[{index}]", f"{name!r} is not here; known: {', '.join(GATEWAYS)}")
    return {name: GATEWAYS[name] for name in names if name in GATEWAYS}


def _is_taken(name: str) -> bool:
    """Whether a header means the same in every configuration, so that none can give it another meaning."""
    lower = name.lower().encode()
    return lower in _NOT_FOR_CREDENTIALS or _GUARD.kind(lower) == METHOD_OVERRIDE


def _check_headers(
    authenticators: list[Authenticator], settings: Settings, secret: Collection[bytes], mistakes: Mistakes
) -> None:
    """Note what authenticators read from headers that mean something else; `secret` ones hold credentials."""
    for authenticator in authenticators:
        names = [source.name for source in authenticator.sources if isinstance(source, HeaderSource)]
        taken = [name for name in names if _is_taken(name)]
        taken += [name for name in authenticator.reads if _is_taken(name) or name.lower().encode() in secret]
        for name in taken:
            path = _path_of(name, authenticator.name, settings)
            mistakes.add(path, f"the header {name} has another meaning here; expected one of its own")


def _path_of(header: str, name: str, settings: Settings) -> str:
    """Where an authenticator names a header; the authenticator's own path where a reference stands there instead."""
    entry = settings.authenticators[name]
    kind = next(key for key in entry if key != "enabled")
    path = join(join("authenticators", name), kind)
    for index, place in enumerate(entry[kind].get("from", ())):
        if place == {"header": header}:
            return f"{path}.from[{index}]"
    keys = (key for key, value in entry[kind].items() if key.endswith("header") and value == header)
    return join(path, next(keys, ""))


def _build_gateway_user(name: str | None, secret: Collection[bytes], mistakes: Mistakes) -> bytes | None:
    """The header of the gateway's user in lower case. Its value is written to the audit, so it is none that is secret.

    Of Authorization only the user name of Basic is read.
    """
    if name is None:
        return None
    path, lower = "server.gateway_user_header", name.lower().encode()
    if not HEADER_NAME.fullmatch(name):
        mistakes.add(path, "expected a header name")
    elif lower in secret and lower != AUTHORIZATION:
        mistakes.add(
            path, f"{name} carries credentials, and the audit would hold them; expected a header that names a user"
        )
    elif _is_taken(name):
        mistakes.add(path, f"the header {name} has another meaning here; expected one of its own")
    return lower


def _build_further_names(
    entries: dict[str, list[str]], read: Collection[bytes], mistakes: Mistakes
) -> dict[str, tuple[str, ...]]:
    """More header names for identity fields; each means one thing only, and is none that is `read` from requests."""
    owners = {name.lower(): field_name for field_name, name in IDENTITY_FIELDS.items()}
    standard = frozenset(owners)
    for field_name, names in entries.items():
        path = join("identity_headers", field_name)
        if field_name not in IDENTITY_FIELDS:
            mistakes.add(path, f"unknown field; known here: {', '.join(IDENTITY_FIELDS)}")
        for index, name in enumerate(names):
            if not HEADER_NAME.fullmatch(name) or (name.lower() not in standard and _is_taken(name)):
                mistakes.add(f"{path}[{index}]", "expected a header name without another meaning")
            elif name.lower().encode() in read:
                mistakes.add(f"{path}[{index}]", "is read from requests; expected a header that nothing else needs")
            elif owners.setdefault(name.lower(), field_name) != field_name:
                mistakes.add(f"{path}[{index}]", "another field has this name")
    return {
        field_name: tuple(name for name in dict.fromkeys(names) if name.lower() not in standard)
        for field_name, names in entries.items()
    }


def _credential_names(authenticators: list[Authenticator]) -> tuple[dict[bytes, str], frozenset[bytes]]:
    headers = {lower: written for written, lower in _ALWAYS_CREDENTIALS.items()}
    cookies: set[bytes] = set()
    for authenticator in authenticators:
        for source in authenticator.sources:
            if isinstance(source, HeaderSource):
                headers.setdefault(source.header, source.name)
            elif isinstance(source, CookieSource):
                cookies.add(source.cookie)
    if cookies:
        headers[COOKIE] = "Cookie"
    return headers, frozenset(cookies)


def _networks(names: list[str], path: str, mistakes: Mistakes) -> tuple[Any, ...]:
    networks: list[Any] = []
    for index, name in enumerate(names):
        try:
            networks += parse_networks([name])
        except ValueError as mistake:
            mistakes.add(f"{path}[{index}]", str(mistake))
    return tuple(networks)


def bypasses(snapshot: Snapshot) -> list[Authenticator]:
    """The authenticators that accept an address alone, where a route asks them."""
    asked = [
        authenticator
        for route in snapshot.routes.routes
        if route.requirement is not None
        for authenticator in route.requirement.authenticators()
        if authenticator.bypass
    ]
    return list(dict.fromkeys(asked))
