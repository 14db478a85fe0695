"""Settings to a snapshot: the immutable thing that requests are decided by. Reports every mistake.

A reload builds a new one and swaps one reference; a request keeps the one that it started with.
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from forwardauth.authn import KINDS
from forwardauth.authn.building import HEADER_NAME, Materials, build_limit, build_methods, path_pattern
from forwardauth.authn.network import Network
from forwardauth.config.mistakes import Mistakes, join
from forwardauth.config.reader import Reader
from forwardauth.config.settings import UNBUILT_KINDS, RouteSettings, Settings
from forwardauth.core.client_ip import ClientReader, parse_address, parse_networks, within
from forwardauth.core.credentials import AUTHORIZATION, COOKIE, CookieSource, HeaderSource
from forwardauth.core.guard import COMMON, HeaderNames
from forwardauth.core.memo import Memo
from forwardauth.core.model import Authenticator
from forwardauth.core.reply import IDENTITY_FIELDS
from forwardauth.core.requirement import AllOf, AnyOf, One, Requirement
from forwardauth.core.routes import AmbiguousPath, Route, RouteTable, normalise_path, parse_host
from forwardauth.gateways import GATEWAYS
from forwardauth.gateways.dialect import Dialect
from forwardauth.replies import FORMATS
from forwardauth.stores.files import Stamp, read_text, stamp

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PASS = ("false", "foreign", "true")

# The names that every shipped gateway file strips; what a configuration adds, its own lines must strip.
_ALWAYS_CREDENTIALS = {"Authorization": AUTHORIZATION, "X-API-Key": b"x-api-key", "X-API-Token": b"x-api-token"}
_GATEWAY_HEADERS = frozenset(name for dialect in GATEWAYS.values() for name in dialect.headers)
_NOT_FOR_CREDENTIALS = (
    _GATEWAY_HEADERS
    | COMMON
    | {name.lower().encode() for name in IDENTITY_FIELDS.values()}
    | {b"host", b"connection", b"content-length", b"transfer-encoding", b"content-type", b"x-real-ip"}
)


@dataclass(slots=True, eq=False)
class Snapshot:
    """One configuration, ready to decide by.

    `credential_headers` are the names under which clients send secrets, as they are written (lower-case name to written
    name); `credential_cookies` the cookies that are secrets. `further_names` are more identity headers for a field.
    """

    routes: RouteTable
    clients: ClientReader
    require_auth: bool
    authenticators: dict[str, Authenticator]
    header_names: dict[str, HeaderNames]
    dialects: dict[str, Dialect]
    credential_headers: dict[bytes, str]
    credential_cookies: frozenset[bytes]
    further_names: dict[str, tuple[str, ...]]
    gateway_user: bytes | None
    errors: str
    settings: Settings
    trusted: tuple[Any, ...]
    _trust: Memo[str, bool] = field(default_factory=lambda: Memo(4096))

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


@dataclass(slots=True)
class _Materials:
    """What one authenticator is built from."""

    path: str
    mistakes: Mistakes
    process_key: bytes
    files: "Files"

    def mistake(self, where: str, what: str) -> None:
        self.mistakes.add(join(self.path, where), what)

    def text_of(self, path: str, where: str) -> str | None:
        try:
            return self.files.text(path)
        except ValueError as failure:
            self.mistake(where, str(failure))
            return None


@dataclass(slots=True)
class Files:
    """Reads the files that a configuration names, below its folder, and remembers which they were."""

    folder: Path
    stamps: dict[Path, Stamp | None] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """The text of a file. Raises ValueError with what is wrong."""
        path = self.folder / name
        # Taken before the text is read: a save in between shows as a change afterwards.
        self.stamps.setdefault(path, stamp(path))
        return read_text(path)


def build_snapshot(
    settings: Settings, reader: Reader, mistakes: Mistakes, files: Files, process_key: bytes
) -> Snapshot | None:
    """The snapshot of these settings, or None when mistakes were noted."""
    authenticators = _build_authenticators(settings.authenticators, reader, mistakes, files, process_key)
    routes = _build_routes(settings, authenticators, mistakes)
    dialects = _build_dialects(settings, mistakes)
    further = _build_further_names(settings.identity_headers, mistakes)
    trusted = _networks(settings.server.trusted_peers, "server.trusted_peers", mistakes)
    exempt = _networks(settings.lockout.exempt, "lockout.exempt", mistakes)
    _check_format(settings.errors, "errors", mistakes)
    gateway_user = settings.server.gateway_user_header
    if gateway_user is not None and not HEADER_NAME.fullmatch(gateway_user):
        mistakes.add("server.gateway_user_header", "expected a header name")
    built = [authenticator for authenticator in authenticators.values() if authenticator is not None]
    headers, cookies = _credential_names(built)
    for header in headers:
        if header in _NOT_FOR_CREDENTIALS:
            mistakes.add(
                "authenticators", f"the header {headers[header]} has another meaning and cannot carry a secret"
            )
    if mistakes.found:
        return None
    banned = frozenset(name.lower().encode() for names in further.values() for name in names)
    wanted = frozenset(headers) | (frozenset({gateway_user.lower().encode()}) if gateway_user else frozenset())
    protected = _GATEWAY_HEADERS | {name.lower().encode() for name in IDENTITY_FIELDS.values()}
    return Snapshot(
        routes=RouteTable(tuple(routes)),
        clients=ClientReader(settings.server.forwarded_depth, exempt),
        require_auth=settings.require_auth and not settings.disable_auth,
        authenticators={authenticator.name: authenticator for authenticator in built},
        header_names={
            name: HeaderNames(dialect.headers, wanted, protected, banned) for name, dialect in dialects.items()
        },
        dialects=dialects,
        credential_headers=headers,
        credential_cookies=cookies,
        further_names=further,
        gateway_user=gateway_user.lower().encode() if gateway_user else None,
        errors=settings.errors,
        # Without what the authenticators were built from: nobody needs the secrets again.
        settings=replace(settings, authenticators={}),
        trusted=trusted,
    )


def _build_authenticators(
    entries: dict[str, Any], reader: Reader, mistakes: Mistakes, files: Files, process_key: bytes
) -> dict[str, Authenticator | None]:
    """Authenticators by name; None for one that is disabled, which is not looked at any further."""
    built: dict[str, Authenticator | None] = {}
    for name, entry in entries.items():
        path = join("authenticators", name)
        built[name] = None
        if not _NAME.fullmatch(name):
            mistakes.add(path, "expected a name of letters, digits, _, . and -")
        if not isinstance(entry, dict):
            mistakes.add(path, f"expected a kind below it: {', '.join(sorted(KINDS))}")
            continue
        if reader.read(bool, entry.get("enabled", True), join(path, "enabled")) is not True:
            continue
        kinds = [key for key in entry if key != "enabled"]
        if len(kinds) != 1:
            mistakes.add(path, f"expected exactly one kind below it: {', '.join(sorted(KINDS))}")
            continue
        kind = kinds[0]
        if kind in UNBUILT_KINDS:
            mistakes.add(join(path, kind), "is not built into this version yet")
        elif kind not in KINDS:
            mistakes.add(join(path, kind), f"unknown kind; known here: {', '.join(sorted(KINDS))}")
        else:
            module = KINDS[kind]
            settings = reader.read(module.Settings, entry[kind], join(path, kind))
            if settings is not None:
                materials: Materials = _Materials(join(path, kind), mistakes, process_key, files)
                built[name] = module.build(name, settings, materials)
    return built


def _build_routes(
    settings: Settings, authenticators: dict[str, Authenticator | None], mistakes: Mistakes
) -> list[Route]:
    if not settings.routes and not any(mistake.path.startswith("routes") for mistake in mistakes.found):
        mistakes.add("routes", "expected at least one route; what matches none is denied")
    routes: list[Route] = []
    seen: dict[tuple[Any, ...], str] = {}
    names: set[str] = set()
    for index, entry in enumerate(settings.routes):
        if entry is None:
            continue
        path = f"routes[{index}]"
        route = _build_route(entry, path, settings, authenticators, mistakes)
        key = (route.host, route.methods, route.paths)
        if key in seen:
            mistakes.add(path, f"never reached: {seen[key]} matches the same requests before it")
        seen.setdefault(key, path)
        if route.name in names and entry.name is not None:
            mistakes.add(join(path, "name"), "another route has this name")
        names.add(route.name)
        routes.append(route)
    return routes


def _build_route(
    entry: RouteSettings,
    path: str,
    settings: Settings,
    authenticators: dict[str, Authenticator | None],
    mistakes: Mistakes,
) -> Route:
    patterns = tuple([entry.path] if isinstance(entry.path, str) else entry.path)
    if not patterns:
        mistakes.add(join(path, "path"), "expected at least one path")
    for pattern in patterns:
        _check_pattern(pattern, join(path, "path"), mistakes)
    if entry.name is not None and not _NAME.fullmatch(entry.name):
        mistakes.add(join(path, "name"), "expected a name of letters, digits, _, . and -")
    requirement: Requirement | None = None
    if entry.public and entry.require is not None:
        mistakes.add(path, "either public or require, not both")
    elif entry.require is not None:
        requirement = _build_requirement(entry.require, join(path, "require"), authenticators, mistakes)
    elif not entry.public:
        mistakes.add(path, "expected require (who may pass) or public: true")
    if entry.public and entry.encoded_slashes:
        mistakes.add(join(path, "encoded_slashes"), "never on a public route: it could lead to a closed one")
    host = entry.host
    if host is not None:
        try:
            parse_host(host.removeprefix("*.").encode())
        except ValueError:
            mistakes.add(join(path, "host"), "expected a host name or address, with *. before it for one label")
            host = None
    pass_credentials = str(entry.pass_credentials).lower()
    if pass_credentials not in _PASS:
        mistakes.add(join(path, "pass_credentials"), "expected true, false or foreign")
    for position, origin in enumerate(entry.origins):
        if not re.fullmatch(r"https?://[a-z0-9.-]+(:[0-9]+)?", origin):
            mistakes.add(f"{path}.origins[{position}]", "expected an origin such as https://app.example.com")
    if entry.errors is not None:
        _check_format(entry.errors, join(path, "errors"), mistakes)
    materials = _Materials(path, mistakes, b"", Files(Path()))
    return Route(
        name=entry.name or (patterns[0] if patterns else "-"),
        paths=patterns,
        host=host,
        methods=build_methods(entry.methods, "methods", materials),
        requirement=requirement,
        preflight=entry.preflight,
        limit=build_limit(entry.rate, "rate", materials),
        errors=entry.errors or settings.errors,
        origins=frozenset(origin.encode() for origin in entry.origins),
        pass_credentials=pass_credentials,
        encoded_slashes=entry.encoded_slashes,
    )


def _check_pattern(pattern: str, path: str, mistakes: Mistakes) -> None:
    if not path_pattern(pattern):
        mistakes.add(path, f"{pattern!r}: expected a path that begins with / and has * only at its end")
        return
    try:
        normal = normalise_path(pattern.removesuffix("*").encode())
    except AmbiguousPath as refusal:
        mistakes.add(path, f"{pattern!r} never matches: requests with {refusal} are refused")
        return
    if normal != pattern.removesuffix("*"):
        mistakes.add(path, f"{pattern!r} never matches: requests are matched in the form {normal}")


def _build_requirement(
    entry: Any, path: str, authenticators: dict[str, Authenticator | None], mistakes: Mistakes
) -> Requirement | None:
    """The tree of a `require`; members that are disabled fall out, and nothing left is a mistake."""
    before = len(mistakes.found)
    requirement = _requirement(entry, path, authenticators, mistakes)
    told = len(mistakes.found) > before or any(mistake.path.startswith("authenticators") for mistake in mistakes.found)
    if requirement is None and not told:
        mistakes.add(path, "every authenticator here is disabled; enable one, or say public: true")
    return requirement


def _requirement(
    entry: Any, path: str, authenticators: dict[str, Authenticator | None], mistakes: Mistakes
) -> Requirement | None:
    if isinstance(entry, str):
        if entry not in authenticators:
            mistakes.add(
                path, f"no authenticator has the name {entry!r}; known here: {', '.join(authenticators) or '-'}"
            )
            return None
        authenticator = authenticators[entry]
        return None if authenticator is None else One(authenticator)
    if not isinstance(entry, dict) or len(entry) != 1 or next(iter(entry)) not in ("any", "all"):
        mistakes.add(path, "expected the name of an authenticator, any: […] or all: […]")
        return None
    ((word, entries),) = entry.items()
    if not isinstance(entries, list) or not entries:
        mistakes.add(join(path, word), "expected a list of authenticators")
        return None
    members = [
        _requirement(member, f"{path}.{word}[{index}]", authenticators, mistakes)
        for index, member in enumerate(entries)
    ]
    enabled = tuple(member for member in members if member is not None)
    if len(enabled) < 2:
        return enabled[0] if enabled else None
    return AnyOf(enabled) if word == "any" else AllOf(enabled)


def _build_dialects(settings: Settings, mistakes: Mistakes) -> dict[str, Dialect]:
    names = settings.server.gateways if settings.server.gateways is not None else list(GATEWAYS)
    for index, name in enumerate(names):
        if name not in GATEWAYS:
            mistakes.add(f"server.gateways[{index}]", f"{name!r} is not here; known: {', '.join(GATEWAYS)}")
    return {name: GATEWAYS[name] for name in names if name in GATEWAYS}


def _build_further_names(entries: dict[str, list[str]], mistakes: Mistakes) -> dict[str, tuple[str, ...]]:
    """More header names for identity fields; each name means one thing only."""
    owners = {name.lower(): field_name for field_name, name in IDENTITY_FIELDS.items()}
    refused = (_NOT_FOR_CREDENTIALS | set(_ALWAYS_CREDENTIALS.values())) - {name.encode() for name in owners}
    for field_name, names in entries.items():
        path = join("identity_headers", field_name)
        if field_name not in IDENTITY_FIELDS:
            mistakes.add(path, f"unknown field; known here: {', '.join(IDENTITY_FIELDS)}")
        for index, name in enumerate(names):
            if not HEADER_NAME.fullmatch(name) or name.lower().encode() in refused:
                mistakes.add(f"{path}[{index}]", "expected a header name without another meaning")
            elif owners.setdefault(name.lower(), field_name) != field_name:
                mistakes.add(f"{path}[{index}]", "another field has this name")
    standard = {name.lower() for name in IDENTITY_FIELDS.values()}
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


def _check_format(name: str, path: str, mistakes: Mistakes) -> None:
    if name not in FORMATS:
        mistakes.add(path, f"unknown format; known here: {', '.join(FORMATS)}")


def bypasses(snapshot: Snapshot) -> list[Network]:
    """The authenticators that accept an address alone, where a route asks them."""
    asked = [
        authenticator
        for route in snapshot.routes.routes
        if route.requirement is not None
        for authenticator in route.requirement.authenticators()
        if isinstance(authenticator, Network)
    ]
    return list(dict.fromkeys(asked))
