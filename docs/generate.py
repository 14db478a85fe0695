"""Tables of the documentation that are made from the code, so that they cannot say anything else.

    python docs/generate.py            # writes them into the pages
    python docs/generate.py --check    # says which page is stale, and ends with 1

A page says where a table belongs: `<!-- generated: NAME -->`, and `<!-- /generated -->` below it. The names are the
keys of TABLES.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click

from forwardauth.authn import KINDS
from forwardauth.authn.building import ScopeSettings
from forwardauth.authn.token import TokenEntry
from forwardauth.cli import main as command
from forwardauth.config import load
from forwardauth.config.presets import PRESETS
from forwardauth.config.settings import UNBUILT, UNBUILT_KINDS, RouteSettings, ServerSettings, Settings
from forwardauth.core.decide import STATIONS
from forwardauth.core.lockout import LockoutSettings
from forwardauth.core.reasons import REASONS, Reason
from forwardauth.core.reply import IDENTITY_FIELDS
from forwardauth.core.secret import Secret
from forwardauth.replies import FORMATS
from forwardauth.telemetry.audit import AuditSettings
from forwardauth.telemetry.metrics import METRICS

ROOT = Path(__file__).resolve().parent.parent

SETTINGS: dict[str, type] = {
    "file": Settings,
    "server": ServerSettings,
    "routes": RouteSettings,
    "lockout": LockoutSettings,
    "audit": AuditSettings,
    "token": KINDS["token"].Settings,
    "token.tokens": TokenEntry,
    "token.scopes": ScopeSettings,
    "basic": KINDS["basic"].Settings,
    "network": KINDS["network"].Settings,
    "key_file": KINDS["key_file"].Settings,
    "tenant_keys": KINDS["tenant_keys"].Settings,
    "virtual_key": KINDS["virtual_key"].Settings,
}
"""Classes of settings by the name of their table."""

VARIABLES = {
    "FORWARDAUTH_TOKEN": "Without a file: the token that everything but `/health` needs.",
    "FORWARDAUTH_HEADER": "Without a file: the header that carries the token. Default: `Authorization`, as Bearer.",
}
"""What environment variables mean that no command option mentions."""

_WORDS = {
    str: "text",
    int: "number",
    float: "number",
    bool: "true or false",
    Secret: "secret",
    date: "date",
    datetime: "time",
    Any: "settings",
}


def pages() -> list[Path]:
    """Every page that may hold a table."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def code(text: str) -> str:
    """A text as code."""
    return f"`{text}`"


# Settings.


def keys(settings: type) -> dict[str, dataclasses.Field[Any]]:
    """The keys of a class as they stand in a file."""
    return {each.metadata.get("key", each.name): each for each in dataclasses.fields(settings)}


def settings_table(settings: type) -> str:
    """What the class says of its keys, and their types and defaults."""
    hints = typing.get_type_hints(settings)
    rows = [(code(key), type_name(hints[each.name]), default(each)) for key, each in keys(settings).items()]
    return f"{' '.join((inspect.getdoc(settings) or '').split())}\n\n{table(('key', 'type', 'default'), rows)}"


def type_name(hint: Any) -> str:
    """A type in words: `text`, `list of text`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_name(each) for each in arguments if each is not type(None)))
    if origin is list:
        return f"list of {type_name(arguments[0])}"
    if origin is dict:
        inside = type_name(arguments[1])
        return "settings by name" if inside == "settings" else f"{inside} by name"
    return _WORDS.get(hint, "settings")


def default(each: dataclasses.Field[Any]) -> str:
    """A default as it would be written in a file."""
    if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING:
        return "required"
    value = each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
    if dataclasses.is_dataclass(value):
        return "its defaults"
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, list):
        return code(f"[{', '.join(value)}]")
    return code(f"{value:g}" if isinstance(value, float) else str(value))


def planned() -> str:
    """What the contract has and this version refuses by name."""
    words = [code(word.replace("[]", "")) for word in sorted(UNBUILT)]
    kinds = [code(word) for word in sorted(UNBUILT_KINDS)]
    return f"Settings: {', '.join(words)}. Kinds of authenticators: {', '.join(kinds)}."


def presets() -> str:
    """The routes of every preset."""
    parts = []
    for name, routes in PRESETS.items():
        rows = [
            (
                code("-".join(filter(None, (name, each.word)))),
                " ".join(each.methods),
                " ".join(map(code, each.paths)),
                "everybody" if each.public else code("require"),
            )
            for each in routes
        ]
        parts.append(f"### {name}\n\n{table(('route', 'methods', 'path', 'who may pass'), rows)}")
    return "\n\n".join(parts)


# What callers and operators read.


def reasons_table() -> str:
    """Every reason for a denial."""

    def row(reason: Reason) -> tuple[str, ...]:
        retry = {None: "", True: "`true`", False: "`false`"}[reason.retry]
        own = reason.code or reason.word
        return code(reason.word), str(reason.status), code(own), reason.message, "yes" if reason.counts else "", retry

    header = ("reason", "status", "code", "message", "counts as a failed attempt", "`x-should-retry`")
    return table(header, map(row, REASONS))


def formats_table() -> str:
    """Every body format."""
    return table(("format", "content type"), ((code(name), code(kind)) for name, (kind, _) in FORMATS.items()))


def metrics_table() -> str:
    """Every metric."""
    rows = [(code(name), " ".join(map(code, labels)), text) for name, (text, labels) in METRICS.items()]
    return table(("metric", "labels", "meaning"), rows)


def identity_table() -> str:
    """Every identity header."""
    return table(("field", "header"), ((code(field), code(name)) for field, name in IDENTITY_FIELDS.items()))


def stations_list() -> str:
    """The order of checks."""
    return "\n".join(f"{number}. {station}" for number, station in enumerate(STATIONS, 1))


# What operators type.


def leaves(group: click.Group = command, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by what is typed for it."""
    context = click.Context(group)
    for name in sorted(group.list_commands(context)):
        each = group.get_command(context, name)
        assert each is not None
        if isinstance(each, click.Group):
            yield from leaves(each, f"{before}{name} ")
        else:
            yield f"{before}{name}", each


def commands() -> str:
    """Every command with its options."""
    parts = []
    for name, each in leaves():
        rows = []
        for parameter in each.params:
            if isinstance(parameter, click.Option):
                written = ", ".join(map(code, parameter.opts))
                preset = f" Default: {code(str(parameter.default))}." if parameter.show_default else ""
                rows.append((written, parameter.metavar or "", f"{parameter.help or ''}{preset}"))
            else:
                rows.append((parameter.human_readable_name, "", "required"))
        parts.append(f"### `forwardauth {name}`\n\n{each.help}\n\n{table(('option', 'value', 'meaning'), rows)}")
    return "\n\n".join(parts)


def variables_table() -> str:
    """Every environment variable that the code reads."""
    found = set(re.findall(r'"(FORWARDAUTH_[A-Z_]+)"', inspect.getsource(load)))
    options = {
        match[1]: (option.opts[0], (option.help or "").replace(match[0], "").strip())
        for _, each in leaves()
        for option in each.params
        if isinstance(option, click.Option) and (match := re.search(r" ?\((FORWARDAUTH_[A-Z_]+)\)", option.help or ""))
    }
    rows = []
    for name in sorted(found | set(options)):
        option, meaning = options.get(name, ("", VARIABLES.get(name)))
        if meaning is None:
            raise SystemExit(f"docs/generate.py: nobody says what {name} means")
        rows.append((code(name), code(option) if option else "", meaning))
    return table(("variable", "option", "meaning"), rows)


TABLES: dict[str, Callable[[], str]] = {
    **{f"settings {name}": lambda settings=settings: settings_table(settings) for name, settings in SETTINGS.items()},
    "commands": commands,
    "formats": formats_table,
    "identity": identity_table,
    "metrics": metrics_table,
    "planned": planned,
    "presets": presets,
    "reasons": reasons_table,
    "stations": stations_list,
    "variables": variables_table,
}
"""Tables by the name in their marker."""

REGION = re.compile(r"(<!-- generated: ([^>]*?) -->\n).*?(<!-- /generated -->)", re.DOTALL)


def generated(text: str) -> str:
    """A page with every table as the code has it now."""

    def region(match: re.Match[str]) -> str:
        if match[2] not in TABLES:
            raise SystemExit(f"docs/generate.py: there is no table {match[2]!r}; known: {', '.join(TABLES)}")
        return f"{match[1]}\n{TABLES[match[2]]()}\n\n{match[3]}"

    return REGION.sub(region, text)


def stale() -> dict[Path, str]:
    """The pages that are not as they should be, and what they should be."""
    texts = {page: page.read_text() for page in pages()}
    return {page: made for page, text in texts.items() if (made := generated(text)) != text}


def main() -> int:
    """Write, or check."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--check", action="store_true", help="write nothing; 1 if a page is stale")
    only_check = options.parse_args().check
    pages_to_write = stale()
    for page, text in pages_to_write.items():
        print(f"{page.relative_to(ROOT)}: {'stale; run python docs/generate.py' if only_check else 'written'}")
        if not only_check:
            page.write_text(text)
    return 1 if only_check and pages_to_write else 0


if __name__ == "__main__":
    sys.exit(main())
