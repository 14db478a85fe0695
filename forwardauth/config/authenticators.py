"""`authenticators:` to authenticators. Knows the registry of kinds, and no kind."""

import re
from importlib.util import find_spec
from types import ModuleType

from forwardauth.authn import KINDS
from forwardauth.authn.building import Materials
from forwardauth.config.materials import ConfigurationMaterials, Files, Records
from forwardauth.config.mistakes import Mistakes, join
from forwardauth.config.reader import Reader
from forwardauth.config.settings import UNBUILT_KINDS, Settings
from forwardauth.core.model import Authenticator

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""Names of authenticators and routes: they are joined by `+` and commas in headers and labels."""


def build_authenticators(
    settings: Settings, reader: Reader, mistakes: Mistakes, files: Files, process_key: bytes, records: Records
) -> dict[str, Authenticator | None]:
    """Authenticators by name; None for one that is disabled, which is not looked at any further."""
    built: dict[str, Authenticator | None] = {}
    for name, entry in settings.authenticators.items():
        path = join("authenticators", name)
        built[name] = None
        if not NAME.fullmatch(name):
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
            _check_extra(module, join(path, kind), mistakes)
            words = reader.read(module.Settings, entry[kind], join(path, kind))
            if words is not None:
                materials: Materials = ConfigurationMaterials(
                    join(path, kind), mistakes, process_key, files, records, settings.database is not None
                )
                built[name] = module.build(name, words, materials)
    return built


def _check_extra(module: ModuleType, path: str, mistakes: Mistakes) -> None:
    """Note an extra that is not installed: the first request is too late to learn it."""
    extra, libraries = getattr(module, "EXTRA", ("", ()))
    if any(find_spec(library) is None for library in libraries):
        mistakes.add(path, f"needs more libraries: pip install 'forwardauth[{extra}]'")
