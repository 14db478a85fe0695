"""`authenticators:` to authenticators. Knows the registry of kinds, and no kind."""

import re
from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import Any

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
    """Authenticators by name; None for one that is disabled, which is not looked at any further.

    Where authentication is disabled as a whole, one that cannot be built is disabled too: it needs no secret.
    """

    def materials(path: str) -> Materials:
        return ConfigurationMaterials(path, mistakes, process_key, files, records, settings.database is not None)

    built: dict[str, Authenticator | None] = {}
    for name, entry in settings.authenticators.items():
        before = len(mistakes.found)
        built[name] = _build(name, entry, reader, mistakes, materials)
        if not settings.asks and len(mistakes.found) > before:
            mistakes.keep(before)
            built[name] = None
    return built


def _build(
    name: str, entry: Any, reader: Reader, mistakes: Mistakes, materials: Callable[[str], Materials]
) -> Authenticator | None:
    path = join("authenticators", name)
    if not NAME.fullmatch(name):
        mistakes.add(path, "expected a name of letters, digits, _, . and -")
    if not isinstance(entry, dict):
        mistakes.add(path, f"expected a kind below it: {', '.join(sorted(KINDS))}")
        return None
    if reader.read(bool, entry.get("enabled", True), join(path, "enabled")) is not True:
        return None
    kinds = [key for key in entry if key != "enabled"]
    if len(kinds) != 1:
        mistakes.add(path, f"expected exactly one kind below it: {', '.join(sorted(KINDS))}")
        return None
    kind = kinds[0]
    path = join(path, kind)
    if kind in UNBUILT_KINDS:
        mistakes.add(path, "is not built into this version yet")
        return None
    if kind not in KINDS:
        mistakes.add(path, f"unknown kind; known here: {', '.join(sorted(KINDS))}")
        return None
    module = KINDS[kind]
    check_extra(module, path, mistakes)
    before = len(mistakes.found)
    words = reader.read_partly(module.Settings, entry[kind], path)
    if words is None:
        return None
    is_read = len(mistakes.found) == before
    # Built all the same, so that the mistakes of what is readable are told with the others.
    authenticator: Authenticator = module.build(name, words, materials(path))
    return authenticator if is_read else None


def check_extra(module: ModuleType, path: str, mistakes: Mistakes) -> None:
    """Note an extra of a kind that is not installed: the first request is too late to learn it."""
    extra, libraries = getattr(module, "EXTRA", ("", ()))
    if any(find_spec(library) is None for library in libraries):
        mistakes.add(path, f"needs more libraries: pip install 'forwardauth[{extra}]'")
