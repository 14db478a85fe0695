"""Stations on the request's path: imports run one way, and every library has one door (DESIGN, part 2)."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "forwardauth"

STEPS: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            {"__init__"},
            {"core"},
            {"authn", "gateways", "replies"},
            {"stores", "upstream", "telemetry"},
            {"config"},
            {"waiting", "endpoint", "explanation"},
            {"service", "doors", "wire"},
            {"server", "web", "inject_proxy", "doctor"},
            {"app"},
            {"cli"},
            {"__main__"},
        ),
    )
)
"""The rooms, from the one that everybody may import to the one that nobody may; those on one step are strangers."""

PURE = frozenset({"core", "authn", "gateways", "replies"})
WORLD = frozenset(
    {"asyncio", "io", "logging", "multiprocessing", "os", "pathlib", "queue", "random", "secrets", "select", "signal"}
    | {"socket", "sqlite3", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib.request"}
)
"""What a pure room never imports: clock, log, environment, files, threads, chance."""

DOORS: dict[str, tuple[str, ...]] = {
    "alembic": ("stores/sql",),
    "aiohttp": ("web/", "app.py", "upstream/", "inject_proxy/"),
    "argon2": ("stores/passwords.py",),
    "bcrypt": ("stores/passwords.py",),
    "click": ("cli/",),
    "httptools": ("server/",),
    "msgspec": ("core/model.py", "config/reader.py", "telemetry/audit.py"),
    "passlib": ("stores/passwords.py",),
    "psycopg": ("stores/sql",),
    "prometheus_client": ("telemetry/",),
    "redis": ("stores/redis.py",),
    "rich": ("cli/",),
    "sqlalchemy": ("stores/sql",),
    "uvloop": ("app.py",),
    "yaml": ("config/document.py",),
}
"""Every library, with the only files that import it."""

UNUSED_WORDS = frozenset({"handler", "manager", "helper", "util", "utils", "common", "context", "info", "base"})


def room(place: str) -> str:
    """The room of a path below the package: its folder, or the module that is a room of its own."""
    return place.partition("/")[0].removesuffix(".py")


def step(name: str) -> int | None:
    return next((number for number, rooms in enumerate(STEPS) if name in rooms), None)


def imports(tree: ast.AST) -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """Every import, wherever it stands: module, the names taken from it, and whether it is relative."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, (), False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", tuple(alias.name for alias in node.names), node.level > 0


def own_rooms(module: str, names: tuple[str, ...]) -> list[str]:
    """The rooms that an import of our own package enters."""
    parts = module.split(".")
    if len(parts) > 1:
        return [parts[1]]
    return [name if step(name) is not None else "__init__" for name in names] or ["__init__"]


def faults(place: str, source: str) -> Iterator[str]:
    """What is wrong with the imports of a file at a path below the package."""
    here = room(place)
    mine = step(here)
    if mine is None:
        yield f"{place}: nobody placed the room {here}"
        return
    tree = ast.parse(source)
    for module, names, relative in imports(tree):
        top = module.partition(".")[0]
        if relative:
            yield f"{place}: a relative import"
        elif top == "forwardauth":
            for there in own_rooms(module, names):
                target = step(there)
                if target is None:
                    yield f"{place}: nobody placed the room {there}"
                elif there != here and target >= mine:
                    yield f"{place}: imports {there}, which is not below it"
        elif top in sys.stdlib_module_names:
            if here in PURE and (top in WORLD or module in WORLD):
                yield f"{place}: imports {module}, and is pure"
        elif here in PURE and place not in DOORS.get(top, ()):
            yield f"{place}: imports {module}, and is pure"
        elif top not in DOORS:
            yield f"{place}: nobody placed the library {top}"
        elif not place.startswith(DOORS[top]):
            yield f"{place}: imports {top}, whose door is {' or '.join(DOORS[top])}"
    if here in PURE:
        yield from (f"{place}: {fault}, and is pure" for fault in impurities(tree))


def impurities(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await):
            yield "awaits"
        elif isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in ("open", "print", "input", "__import__", "exec", "eval"):
                yield f"calls {called.id}"
            elif isinstance(called, ast.Attribute) and called.attr in ("now", "today", "utcnow"):
                yield "asks for the time"


FILES = {str(path.relative_to(PACKAGE)): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}


@pytest.mark.parametrize("place", FILES)
def test_a_file_imports_only_what_is_below_it(place: str) -> None:
    assert list(faults(place, FILES[place])) == []


@pytest.mark.parametrize(
    ("place", "source", "fault"),
    [
        ("core/decide.py", "from forwardauth.authn import KINDS", "imports authn, which is not below it"),
        ("core/decide.py", "def f():\n    import time", "imports time, and is pure"),
        ("core/decide.py", "import msgspec", "imports msgspec, and is pure"),
        ("core/decide.py", "import urllib.request", "imports urllib.request, and is pure"),
        ("core/decide.py", "async def f(): ...", "awaits, and is pure"),
        ("replies/plain.py", "from datetime import datetime\ndatetime.now()", "asks for the time, and is pure"),
        ("authn/basic.py", "open('x')", "calls open, and is pure"),
        ("authn/basic.py", "from forwardauth.gateways import GATEWAYS", "imports gateways, which is not below it"),
        ("stores/facts.py", "from forwardauth.telemetry import audit", "imports telemetry, which is not below it"),
        ("config/load.py", "from forwardauth import service", "imports service, which is not below it"),
        ("config/load.py", "import forwardauth.web.admin", "imports web, which is not below it"),
        ("service.py", "from forwardauth.doors import FAILED", "imports doors, which is not below it"),
        ("server/lane.py", "from forwardauth.web import verify", "imports web, which is not below it"),
        ("server/lane.py", "import aiohttp", "imports aiohttp, whose door is"),
        ("config/load.py", "import yaml", "imports yaml, whose door is config/document.py"),
        ("stores/files.py", "if True:\n    from passlib import hash", "imports passlib, whose door is"),
        ("web/admin.py", "import requests", "nobody placed the library requests"),
        ("web/admin.py", "from . import verify", "a relative import"),
        ("web/admin.py", "from forwardauth.attic import x", "nobody placed the room attic"),
        ("attic/chest.py", "", "nobody placed the room attic"),
        ("attic.py", "", "nobody placed the room attic"),
    ],
)
def test_a_room_or_an_import_that_nobody_placed_is_found(place: str, source: str, fault: str) -> None:
    (found,) = faults(place, source)
    assert found.startswith(f"{place}: {fault}")


@pytest.mark.parametrize(
    ("place", "source"),
    [
        (
            "cli/check.py",
            "from forwardauth.service import Service\nfrom forwardauth.core.model import Now\nimport click",
        ),
        ("core/decide.py", "from forwardauth.core.model import Now\nimport re, hmac"),
        ("app.py", "from forwardauth import __version__\nimport uvloop, asyncio"),
    ],
)
def test_what_is_below_may_be_imported(place: str, source: str) -> None:
    assert list(faults(place, source)) == []


def test_no_module_imports_itself_through_others() -> None:
    graph: dict[str, set[str]] = {}
    modules = {"forwardauth/" + place for place in FILES}
    for place, source in FILES.items():
        needed = graph.setdefault("forwardauth/" + place, set())
        for module, names, _ in imports(ast.parse(source)):
            path = module.replace(".", "/")
            for candidate in (f"{path}.py", *(f"{path}/{name}.py" for name in names)):
                if candidate in modules:
                    needed.add(candidate)
    assert sum(map(len, graph.values())) > len(FILES)
    TopologicalSorter(graph).prepare()


def test_no_drawer_takes_what_has_no_place() -> None:
    words = {word for place in FILES for part in Path(place).with_suffix("").parts for word in part.split("_")}
    assert not words & UNUSED_WORDS


@pytest.mark.parametrize("module", ["forwardauth.app", "forwardauth.cli"])
def test_what_a_configuration_does_not_use_is_not_imported(module: str) -> None:
    lazy = ("bcrypt", "passlib", "argon2", "sqlalchemy", "redis", "jwt", "cryptography")
    code = f"import sys, {module}; print([name for name in {lazy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert ran.stdout.strip() == "[]"
