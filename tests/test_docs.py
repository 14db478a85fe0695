"""The documentation says what the code does: tables, examples, outputs, links, commands."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import click
import pytest
import yaml

from docs import generate
from forwardauth.authn import KINDS
from forwardauth.authn.words import token_words
from forwardauth.cli import main as command
from forwardauth.config.load import Configuration, Overrides, load
from forwardauth.config.mistakes import ConfigurationError
from forwardauth.config.settings import Settings
from forwardauth.core.credentials import HeaderSource
from forwardauth.core.reasons import REASONS
from forwardauth.gateways import GATEWAYS
from forwardauth.replies import FORMATS
from forwardauth.telemetry.audit import Line
from forwardauth.telemetry.metrics import METRICS
from forwardauth.web.admin import admin_application

ROOT = generate.ROOT
PAGES = generate.pages()
MORE_PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md"]

_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`(forwardauth [^`\n]+)`")
_HASH = "$2y$05$mzolW8U6P8zbhSd7pVPzser3hE9LxAH9xxVSsOl3YFL8CMcWlOOu2"

# What examples may lean on: files beside the configuration, and authenticators that a fragment does not define.
FILES = {
    "users.htpasswd": f"admin:{_HASH}\nalice:{_HASH}\n",
    "secrets/docker-token": "a-token-of-docker\n",
}
AUTHENTICATORS: dict[str, Any] = {
    "ci": {"token": {"from": [{"header": "X-API-Token"}], "tokens": [{"name": "ci", "value": "a-token-of-ci"}]}},
    "staff": {"basic": {"htpasswd": "users.htpasswd"}},
    "office": {"network": {"allow": ["198.51.100.0/24"]}},
}


class Block(NamedTuple):
    """One fenced block of a page."""

    page: Path
    line: int
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in _FENCE.finditer(text):
        yield Block(page, text.count("\n", 0, match.start()) + 1, match[1].strip(), match[2])


def is_ours(block: Block) -> bool:
    """Gateways' pages hold other programs' YAML too: ours is what has no key that the file does not have."""
    if block.info == "yaml other":
        return False
    if block.page.parent.name != "gateways":
        return True
    document = yaml.safe_load(block.text)
    return isinstance(document, dict) and set(document) <= set(generate.keys(Settings))


def as_ids(found: list[Block]) -> Any:
    return pytest.mark.parametrize("block", found, ids=map(str, found))


ALL_BLOCKS = [block for page in [*PAGES, *MORE_PAGES] for block in blocks(page)]
YAML = [block for block in ALL_BLOCKS if block.info.split(" ")[0] == "yaml"]
OURS = [block for block in YAML if is_ours(block)]
CONSOLE = [block for block in ALL_BLOCKS if block.info == "console" and "$ forwardauth" in block.text]


def environment(text: str) -> dict[str, str]:
    """A value for every variable that an example names without a default, no two the same."""
    return {name: f"value-of-{name}" for name in re.findall(r"\$\{([A-Z_]+)\}", text)}


def lay_files(folder: Path) -> None:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)


def load_text(text: str, folder: Path, variables: Mapping[str, str] | None = None) -> Configuration:
    lay_files(folder)
    path = folder / "forwardauth.yml"
    path.write_text(text)
    return load(Overrides(config=str(path)), environment(text) if variables is None else variables, bytes(32))


def completed(fragment: str) -> str:
    """A fragment as a whole configuration."""
    document = yaml.safe_load(fragment)
    document["authenticators"] = AUTHENTICATORS | document.get("authenticators", {})
    document.setdefault("routes", [{"name": "all", "path": "/*", "require": "ci"}])
    return yaml.safe_dump(document)


# Tables.


def test_no_page_is_stale() -> None:
    assert [str(page.relative_to(ROOT)) for page in generate.stale()] == [], "run: python docs/generate.py"


def test_every_table_stands_on_some_page() -> None:
    used = {match[2] for page in PAGES for match in generate.REGION.finditer(page.read_text())}
    assert used == set(generate.TABLES)


def test_a_stale_table_is_found() -> None:
    page = f"before\n<!-- generated: stations -->\n{generate.stations_list()}, and more\n<!-- /generated -->\nafter"
    made = generate.generated(page)
    assert made != page
    assert generate.generated(made) == made
    assert "and more" not in made


# Examples.


@as_ids(YAML)
def test_every_yaml_block_is_readable(block: Block) -> None:
    assert block.info in ("yaml", "yaml fragment", "yaml mistakes", "yaml other")
    yaml.safe_load(block.text)


@as_ids([block for block in OURS if block.info == "yaml" and "routes" in yaml.safe_load(block.text)])
def test_every_configuration_loads(block: Block, tmp_path: Path) -> None:
    load_text(block.text, tmp_path)


@as_ids([block for block in OURS if block.info == "yaml fragment" or block.page.parent.name == "gateways"])
def test_every_fragment_loads_once_it_is_completed(block: Block, tmp_path: Path) -> None:
    load_text(completed(block.text), tmp_path)


@as_ids([block for block in OURS if block.info == "yaml mistakes"])
def test_every_example_of_mistakes_is_refused(block: Block, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        load_text(block.text, tmp_path)


def test_an_example_without_routes_is_marked_as_fragment() -> None:
    unmarked = [
        str(block)
        for block in OURS
        if block.info == "yaml" and block.page.parent.name != "gateways" and "routes" not in yaml.safe_load(block.text)
    ]
    assert unmarked == []


def test_the_lockout_example_shows_the_defaults(tmp_path: Path) -> None:
    fragment = next(b for b in OURS if b.page.name == "decisions.md" and b.text.startswith("lockout:"))
    shown = load_text(completed(fragment.text), tmp_path).snapshot.settings.lockout
    assert shown == type(shown)()
    assert set(yaml.safe_load(fragment.text)["lockout"]) == set(generate.keys(type(shown)))


SETUPS = [
    block
    for block in ALL_BLOCKS
    if block.page.name == "README.md" and re.fullmatch(r"((export )?FORWARDAUTH_[A-Z_]+=\S+\n)+", block.text)
]


@as_ids(SETUPS)
def test_every_setup_by_variables_alone_loads(block: Block) -> None:
    variables = dict(line.removeprefix("export ").split("=", 1) for line in block.text.splitlines())
    snapshot = load(Overrides(), variables, bytes(32)).snapshot
    assert snapshot.require_auth is ("FORWARDAUTH_DISABLE_AUTH" not in variables)


def test_the_bodies_of_denials_are_real() -> None:
    denial = token_words(HeaderSource(b"x-api-token", "X-API-Token"), "").missing
    text = (ROOT / "docs" / "denials.md").read_text()
    for name in ("openai", "anthropic", "detail", "plain"):
        body = FORMATS[name][1](denial).decode()
        assert re.search(rf"^`{name}`[^\n]*\n\n```(json)?\n{re.escape(body)}\n```$", text, re.MULTILINE), name
    assert FORMATS["openai"][1](denial).decode() in (ROOT / "README.md").read_text()
    assert denial.challenge in (ROOT / "README.md").read_text()


def test_the_audit_line_has_every_field_in_order() -> None:
    shown = next(b for b in ALL_BLOCKS if b.page.name == "operations.md" and b.info == "json")
    assert tuple(json.loads(shown.text)) == Line.__struct_fields__


def test_the_readme_has_a_place_for_the_benchmark() -> None:
    assert re.search(r"^<!-- benchmark -->$.*^<!-- /benchmark -->$", (ROOT / "README.md").read_text(), re.M | re.S)


# Commands.


def lines_of_commands() -> Iterator[tuple[str, str]]:
    """Every command line of the pages, and where it stands."""
    for block in ALL_BLOCKS:
        if block.info in ("sh", "console", "bash", ""):
            for line in re.sub(r"\\\n\s*", "", block.text).splitlines():
                line = re.sub(r"^(\$ )?((export )?[A-Z_]+=\S* +)*", "", line.strip())
                line = re.sub(r"^\S*python -m forwardauth\b", "forwardauth", line)
                if re.match(r"forwardauth( |$)", line):
                    yield str(block), line
    for page in [*PAGES, *MORE_PAGES]:
        text = _FENCE.sub("", page.read_text())
        for match in _SPAN.finditer(text):
            yield str(page.relative_to(ROOT)), match[1]


COMMAND_LINES = sorted(set(lines_of_commands()))


@pytest.mark.parametrize(("where", "line"), COMMAND_LINES, ids=[f"{where}: {line}" for where, line in COMMAND_LINES])
def test_every_command_line_parses(where: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    if words in (["--version"], ["--help"], []):
        return
    each: click.Command = command
    while isinstance(each, click.Group) and words:
        # In running text several commands may stand as one: `keys disable/enable`.
        named = [each.get_command(click.Context(each), name) for name in words.pop(0).split("/")]
        assert None not in named, f"{where}: there is no such command"
        each = cast(click.Command, named[0])
    # In running text a command may stand without what it needs.
    try:
        each.make_context(where, words, resilient_parsing=not words)
    except click.exceptions.Exit:
        pass
    except click.ClickException as failure:
        pytest.fail(f"{where}: {line}: {failure.format_message()}")


def named_files(page: Path) -> Iterator[tuple[str, str]]:
    """Configurations that begin with a comment with their name: the files of the page's sessions."""
    for block in blocks(page):
        if block.info in ("yaml", "yaml mistakes") and (match := re.match(r"# (\S+\.yml)\n", block.text)):
            yield match[1], block.text


@as_ids(CONSOLE)
def test_every_session_prints_what_stands_there(block: Block, tmp_path: Path) -> None:
    lay_files(tmp_path)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("FORWARDAUTH_")}
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), variables.get("PYTHONPATH")]))
    for name, content in named_files(block.page):
        (tmp_path / name).write_text(content)
        variables |= environment(content)
    for session in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        line, _, output = session.partition("\n")
        program = f"{shlex.quote(sys.executable)} -m forwardauth"
        done = subprocess.run(
            ["sh", "-c", re.sub("^forwardauth", program, line)],
            env=variables,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert done.stdout == output, line


# Mentions.


def written(page: Path) -> str:
    """What somebody wrote, without the tables."""
    return generate.REGION.sub("", page.read_text())


WRITTEN = "\n".join(map(written, PAGES))
ALL_TEXT = "\n".join(page.read_text() for page in PAGES)


@pytest.mark.parametrize(
    ("where", "key"), [(name, key) for name, settings in generate.SETTINGS.items() for key in generate.keys(settings)]
)
def test_every_setting_is_explained_or_shown(where: str, key: str) -> None:
    assert re.search(rf"\b{re.escape(key)}\b(`|:|[^\n`]*`)", WRITTEN), f"{where}: {key} stands in a table only"


@pytest.mark.parametrize("reason", [reason.word for reason in REASONS])
def test_every_reason_is_explained(reason: str) -> None:
    assert f"| `{reason}` |" in written(ROOT / "docs" / "denials.md")


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_is_documented(metric: str) -> None:
    assert f"`{metric}`" in (ROOT / "docs" / "operations.md").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_page(kind: str) -> None:
    page = ROOT / "docs" / "authenticators" / f"{kind}.md"
    assert page.read_text().startswith(f"# {kind}\n")
    assert f"authenticators/{kind}.md" in written(ROOT / "docs" / "configuration.md")


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_every_gateway_has_a_page(gateway: str) -> None:
    assert f"/verify/{gateway}" in ALL_TEXT
    assert (ROOT / "docs" / "gateways" / f"{gateway}.md").exists()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_shown(name: str) -> None:
    assert f"`{name}`" in written(ROOT / "docs" / "denials.md")


@pytest.mark.parametrize(
    "option",
    sorted({name for _, each in generate.leaves() for option in each.params for name in option.opts if name[0] == "-"}),
)
def test_every_option_is_documented(option: str) -> None:
    assert f"`{option}`" in ALL_TEXT


@pytest.mark.parametrize("field", Line.__struct_fields__)
def test_every_audit_field_is_documented(field: str) -> None:
    assert re.search(rf"^\|[^|]*`{field}`", written(ROOT / "docs" / "operations.md"), re.MULTILINE)


def test_every_control_call_is_documented() -> None:
    class Nothing:
        def __getattr__(self, name: str) -> Any:
            return None

    text = written(ROOT / "docs" / "operations.md")
    for route in admin_application(Nothing(), None, "127.0.0.1").router.routes():
        path = route.resource.canonical if route.resource is not None else ""
        if route.method != "HEAD":
            assert path in text
            assert not path.startswith("/control") or f"`{route.method} {path}`" in text


def test_nothing_that_is_missing_looks_finished() -> None:
    """A word of the contract that the code refuses by name stands on a page only where that is said."""
    kinds = generate.UNBUILT_KINDS
    for block in OURS:
        document = yaml.safe_load(block.text)
        used = {kind for entry in document.get("authenticators", {}).values() for kind in entry}
        assert not used & kinds, str(block)


# Links.


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *MORE_PAGES], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_internal_link_resolves(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert broken == []


def test_every_page_is_reached_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if page != "index.md" and f"]({page})" not in index] == []


def test_dataclass_fields_are_what_the_generator_reads() -> None:
    """The key of `from_` is `from`, which Python keeps for itself."""
    assert "from" in generate.keys(KINDS["token"].Settings)
    assert {each.name for each in dataclasses.fields(Settings)} == set(generate.keys(Settings))
