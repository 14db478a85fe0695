"""`routes:` to routes, with what they require. Knows authenticators by name only."""

import re
from pathlib import Path
from typing import Any

from forwardauth.authn.building import build_limit, build_methods
from forwardauth.config.authenticators import NAME
from forwardauth.config.interpolate import Whole
from forwardauth.config.materials import ConfigurationMaterials, Files
from forwardauth.config.mistakes import Mistakes, join
from forwardauth.config.presets import expand, preset_mistakes
from forwardauth.config.settings import RouteSettings, Settings, is_address
from forwardauth.core.model import Authenticator
from forwardauth.core.requirement import AllOf, AnyOf, One, Requirement
from forwardauth.core.routes import AmbiguousPath, Route, normalise_path, parse_host
from forwardauth.core.scopes import path_pattern
from forwardauth.replies import FORMATS

_PASS = ("false", "foreign", "true")
_MOST = 100
"""Authenticators of one route, which a request may ask all of."""


def build_routes(
    settings: Settings, authenticators: dict[str, Authenticator | None], mistakes: Mistakes
) -> list[Route]:
    """The routes in order; authenticators that are disabled (None) fall out of what they require."""
    if not settings.routes:
        mistakes.add("routes", "expected at least one route; what matches none is denied")
    routes: list[Route] = []
    seen: dict[tuple[Any, ...], str] = {}
    names: set[str] = set()
    for index, entry in enumerate(settings.routes):
        if not entry.enabled:
            continue
        path = f"routes[{index}]"
        for key, text in preset_mistakes(entry):
            mistakes.add(join(path, key), text)
        built = [_build_route(each, path, settings, authenticators, mistakes) for each in expand(entry)]
        if built and all(route.paths and _place(route) in seen for route in built):
            mistakes.add(path, f"never reached: {seen[_place(built[0])]} matches the same requests before it", *_PLACE)
        for route in built:
            seen.setdefault(_place(route), path)
            if route.name in names and (entry.name or entry.preset) is not None:
                mistakes.add(join(path, "name"), "another route has this name")
            names.add(route.name)
            # One rate for the entry, however many routes it means.
            route.limit_key = built[0].limit_key
        routes += built
    return routes


_PLACE = ("host", "methods", "path", "preset")


def _place(route: Route) -> tuple[Any, ...]:
    return route.host, route.methods, route.paths


def _build_route(
    entry: RouteSettings,
    path: str,
    settings: Settings,
    authenticators: dict[str, Authenticator | None],
    mistakes: Mistakes,
) -> Route:
    patterns = _build_patterns(entry, join(path, "path"), mistakes)
    if entry.name is not None and not NAME.fullmatch(entry.name):
        mistakes.add(join(path, "name"), "expected a name of letters, digits, _, . and -")
    requirement: Requirement | None = None
    if entry.public and entry.require is not None:
        mistakes.add(path, "either public or require, not both", "public", "require")
    elif entry.require is not None:
        requirement = _build_requirement(entry.require, join(path, "require"), settings, authenticators, mistakes)
    elif not entry.public:
        open_way = "" if entry.preset else " or public: true"
        mistakes.add(path, f"expected require (who may pass){open_way}", "public", "require")
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
        check_format(entry.errors, join(path, "errors"), mistakes)
    materials = ConfigurationMaterials(path, mistakes, b"", Files(Path()))
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
        login=_login_address(entry.login, settings.server.public_url, join(path, "login"), mistakes),
    )


def _login_address(entry: bool | str, public_url: str | None, path: str, mistakes: Mistakes) -> str:
    if str(entry).lower() == "true":
        if public_url is None:
            mistakes.add(path, "true means /auth/login of server.public_url, which is not set; or name an address")
        return f"{public_url}".rstrip("/") + "/auth/login"
    if isinstance(entry, str) and not is_address(entry):
        mistakes.add(path, "expected true, or an address such as https://auth.example.com/oauth2/start")
    return str(entry) if entry else ""


def _build_patterns(entry: RouteSettings, path: str, mistakes: Mistakes) -> tuple[str, ...]:
    if entry.path is None:
        mistakes.add(path, "is missing")
        return ()
    if isinstance(entry.path, str):
        _check_pattern(entry.path, path, mistakes)
        return (entry.path,)
    if not entry.path:
        mistakes.add(path, "expected at least one path")
    for index, pattern in enumerate(entry.path):
        _check_pattern(pattern, f"{path}[{index}]", mistakes)
    return tuple(entry.path)


def _check_pattern(pattern: str, path: str, mistakes: Mistakes) -> None:
    if not path_pattern(pattern):
        mistakes.add(path, f"{pattern!r}: expected a path that begins with / and has * only at its end")
        return
    if "?" in pattern:
        mistakes.add(path, f"{pattern!r} never matches: a query is no part of the path that is matched")
        return
    try:
        normal = normalise_path(pattern.removesuffix("*").encode())
    except AmbiguousPath as refusal:
        mistakes.add(path, f"{pattern!r} never matches: requests with {refusal} are refused")
        return
    if normal != pattern.removesuffix("*"):
        mistakes.add(path, f"{pattern!r} never matches: requests are matched in the form {normal}")


def _build_requirement(
    entry: Any, path: str, settings: Settings, authenticators: dict[str, Authenticator | None], mistakes: Mistakes
) -> Requirement | None:
    """The tree of a `require`; members that are disabled fall out, and nothing left is a mistake where it is asked."""
    requirement = _requirement(entry, path, authenticators, mistakes)
    if requirement is None:
        told = any(mistake.path.startswith((path, "authenticators")) for mistake in mistakes.found)
        if settings.asks and not told:
            mistakes.add(path, "every authenticator here is disabled; enable one, or say public: true")
    elif sum(1 for _ in requirement.authenticators()) > _MOST:
        mistakes.add(path, f"expected at most {_MOST} authenticators, each counted as often as it stands there")
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
    if isinstance(entries, Whole):
        entries = entries.parts()
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


def check_format(name: str, path: str, mistakes: Mistakes) -> None:
    """Note a body format that does not exist."""
    if name not in FORMATS:
        mistakes.add(path, f"unknown format; known here: {', '.join(FORMATS)}")
