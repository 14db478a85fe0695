"""The door of the room: a file, or the environment alone, to a configuration. Raises ConfigurationError."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from forwardauth.authn.building import HEADER_NAME
from forwardauth.config.document import parse
from forwardauth.config.interpolate import Whole, expand
from forwardauth.config.materials import Files, Records
from forwardauth.config.mistakes import ConfigurationError, Mistake, Mistakes
from forwardauth.config.reader import Reader
from forwardauth.config.settings import UNBUILT, Address, ServerSettings, Settings, parse_listen
from forwardauth.config.snapshot import Snapshot, build_snapshot
from forwardauth.stores.files import Stamp

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off", ""})
_LISTENERS = ("listen", "public", "admin")
_VARIABLES = {
    "authenticators.token.token.from[0]": "FORWARDAUTH_HEADER",
    "authenticators.token.token.tokens[0].value": "FORWARDAUTH_TOKEN",
}
"""Where in the configuration of the environment alone the value of a variable stands."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says; it beats the environment, which beats the file."""

    config: str | None = None
    listen: str | None = None
    public: str | None = None
    admin: str | None = None
    disable_auth: bool = False


@dataclass(frozen=True, slots=True)
class Configuration:
    """A snapshot, and the stamps of every file that it was read from (None: the file was not there)."""

    snapshot: Snapshot
    stamps: dict[Path, Stamp | None]
    source: str
    folder: Path


def load(
    overrides: Overrides, environment: Mapping[str, str], process_key: bytes, records: Records | None = None
) -> Configuration:
    """Read and build a configuration. Raises ConfigurationError with every mistake, and the files that it read.

    `records` are what the one before it left behind.
    """
    mistakes = Mistakes()
    given, overrides = overrides, _with_environment(overrides, environment, mistakes)
    path = Path(overrides.config).absolute() if overrides.config else None
    files = Files(path.parent if path is not None else Path.cwd())
    try:
        document = _read(path, files) if path is not None else _from_environment(overrides, environment, mistakes)
        reader = Reader(mistakes, lambda text: _encodable(expand(text, environment, files.text)), UNBUILT)
        # Partly: what is readable is built all the same, so that its mistakes are told with the others.
        settings = reader.read_partly(Settings, document, "") or Settings()
        settings = _overridden(settings, overrides, given, mistakes)
        snapshot = build_snapshot(settings, reader, mistakes, files, process_key, records or Records())
        if path is None:
            mistakes.found = [each._replace(path=_VARIABLES.get(each.path, each.path)) for each in mistakes.found]
        mistakes.check()
        assert snapshot is not None
    except ConfigurationError as failure:
        failure.stamps = files.stamps
        raise
    return Configuration(snapshot, files.stamps, overrides.config or "the environment", files.folder)


def _read(path: Path, files: Files) -> dict[str, Any]:
    try:
        text = files.text(path.name)
    except ValueError as failure:
        raise ConfigurationError([Mistake("", str(failure))]) from None
    return parse(text)


def _encodable(text: str) -> str:
    """The text. Raises ValueError where it is none: Python keeps bytes of the environment that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("expected UTF-8 text; there are bytes in it that are none") from None
    return text


def _with_environment(overrides: Overrides, environment: Mapping[str, str], mistakes: Mistakes) -> Overrides:
    switch = environment.get("FORWARDAUTH_DISABLE_AUTH", "").strip().lower()
    if switch not in _TRUE | _FALSE:
        mistakes.add("FORWARDAUTH_DISABLE_AUTH", "expected true or false")
    return Overrides(
        config=overrides.config or environment.get("FORWARDAUTH_CONFIG") or None,
        listen=overrides.listen or environment.get("FORWARDAUTH_LISTEN") or None,
        public=overrides.public or environment.get("FORWARDAUTH_PUBLIC") or None,
        admin=overrides.admin or environment.get("FORWARDAUTH_ADMIN") or None,
        disable_auth=overrides.disable_auth or switch in _TRUE,
    )


def _from_environment(overrides: Overrides, environment: Mapping[str, str], mistakes: Mistakes) -> dict[str, Any]:
    """A whole configuration out of `FORWARDAUTH_TOKEN` and `FORWARDAUTH_HEADER`, or the open one."""
    token = environment.get("FORWARDAUTH_TOKEN", "")
    if overrides.disable_auth:
        return {"routes": [{"name": "all", "path": "/*", "public": True}]}
    if not token:
        what = (
            "nothing says who may pass: set FORWARDAUTH_TOKEN to a secret (and FORWARDAUTH_HEADER to the header that "
            "carries it), or name a configuration with --config or FORWARDAUTH_CONFIG; FORWARDAUTH_DISABLE_AUTH=true "
            "lets everybody through"
        )
        mistakes.add("", what)
        raise ConfigurationError(mistakes.found)
    header = environment.get("FORWARDAUTH_HEADER") or "Authorization"
    if not HEADER_NAME.fullmatch(header) or header.lower() == "cookie":
        mistakes.add(
            "FORWARDAUTH_HEADER", "expected the name of the header that carries the token, such as X-API-Token"
        )
        header = "Authorization"
    source: Any = "bearer" if header.lower() in ("authorization", "bearer") else {"header": Whole(header)}
    # Whole: a token with `${` in it is what it is, and no reference.
    entry = {"name": "token", "value": Whole(token)}
    return {
        "authenticators": {"token": {"token": {"from": [source], "tokens": [entry]}}},
        "routes": [
            {"name": "health", "path": "/health", "public": True},
            {"name": "all", "path": "/*", "require": "token"},
        ],
    }


def _overridden(settings: Settings, overrides: Overrides, given: Overrides, mistakes: Mistakes) -> Settings:
    """The settings with what beats them; `given` is what of it stands on the command line."""
    server: ServerSettings = settings.server
    places = {key: f"server.{key}" for key in _LISTENERS}
    for key in _LISTENERS:
        text = getattr(overrides, key)
        if text is None:
            continue
        places[key] = f"--{key}" if getattr(given, key) else f"FORWARDAUTH_{key.upper()}"
        try:
            parse_listen(text)
        except ValueError as mistake:
            mistakes.add(places[key], str(mistake))
        server = replace(server, **{key: text})
    _check_listeners(server, places, mistakes)
    return replace(settings, server=server, disable_auth=settings.disable_auth or overrides.disable_auth)


def _check_listeners(server: ServerSettings, places: Mapping[str, str], mistakes: Mistakes) -> None:
    """Note two listeners at one address; `places` are where each is set. Port 0 is another port each time."""
    seen: dict[Address, str] = {}
    for key in _LISTENERS:
        try:
            address = parse_listen(getattr(server, key))
        except ValueError:
            # Told already.
            continue
        first = seen.setdefault(address, places[key])
        if first != places[key] and (address.port or address.unix):
            mistakes.add(places[key], f"{address} is {first} too; expected an address of its own")
