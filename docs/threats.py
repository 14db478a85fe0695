"""The tests of every row of the threat model, found in the tests themselves, so that no row can claim what nobody runs.

    python docs/threats.py            # writes the lists of tests into docs/threat-model.md
    python docs/threats.py --check    # says what is stale or missing, and ends with 1

A test claims a row by `(THREATS 6)` or `(…, THREATS 6, 7)` in its docstring; in that of a class, for all tests of the
class. A row has tests, or says with which feature it begins, by the feature's word in the configuration.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from forwardauth.config.settings import UNBUILT, UNBUILT_KINDS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "threat-model.md"
TESTS = ROOT / "tests"
PLANNED = frozenset(word.replace("[]", "").rpartition(".")[2] for word in UNBUILT | UNBUILT_KINDS)
"""Words of the configuration that nothing implements yet."""

_CLAIM = re.compile(r"THREATS (\d+(?:, \d+)*)\)")
_HEADING = re.compile(r"(?m)^## (\d+)\. (.+)$")
_REGION = re.compile(r"<!-- tests -->\n.*?<!-- /tests -->", re.DOTALL)
_FEATURES = re.compile(r"(?m)^\*\*(With|More with)\*\* (.+)\.$")

Claims = Mapping[int, list[str]]


class Row(NamedTuple):
    """One row of the page. `features` are awaited by all of it, `more` by a part."""

    number: int
    text: str
    features: tuple[str, ...]
    more: tuple[str, ...]


def claims(folder: Path) -> Claims:
    """The tests below a folder that claim a row, as `file::name`, in order."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted(folder.rglob("test_*.py")):
        name = path.relative_to(folder.parent).as_posix()
        for number, test in _claims_of(ast.parse(path.read_text(), str(path)).body, ()):
            found[number].append(f"{name}::{test}")
    return found


def _claims_of(body: list[ast.stmt], inherited: tuple[int, ...]) -> Iterator[tuple[int, str]]:
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            for number, name in _claims_of(node.body, _claimed(node)):
                yield number, f"{node.name}::{name}"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for number in dict.fromkeys((*inherited, *_claimed(node))):
                yield number, node.name


def _claimed(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[int, ...]:
    text = " ".join((ast.get_docstring(node) or "").split())
    return tuple(int(number) for claim in _CLAIM.findall(text) for number in claim.split(", "))


def rows(page: str) -> list[Row]:
    """The rows of the page, in order."""
    parts = _HEADING.split(page)[1:]
    return [_row(int(number), text) for number, text in zip(parts[::3], parts[2::3], strict=True)]


def _row(number: int, text: str) -> Row:
    words: dict[str, tuple[str, ...]] = {
        kind: tuple(re.findall(r"`([a-z_]+)`", features)) for kind, features in _FEATURES.findall(text)
    }
    return Row(number, text, words.get("With", ()), words.get("More with", ()))


def written(page: str, found: Claims) -> str:
    """The page with every list of tests as the tests have it now."""

    def section(match: re.Match[str]) -> str:
        number = int(match[1])
        listed = "\n".join(f"- `{test}`" for test in found.get(number, []))
        return _REGION.sub(lambda _: f"<!-- tests -->\n{listed}\n<!-- /tests -->", match[0])

    return re.sub(r"(?ms)^## (\d+)\. .*?(?=^## |\Z)", section, page)


def mistakes(page: str, found: Claims) -> Iterator[str]:
    """What the page says that is not so, or does not say."""
    told = rows(page)
    numbers = [row.number for row in told]
    if numbers != list(range(1, len(numbers) + 1)):
        yield "the rows are not numbered one after the other"
    for number in sorted(set(found) - set(numbers)):
        yield f"there is no row {number}, which {found[number][0]} claims"
    for row in told:
        yield from (f"row {row.number}: {mistake}" for mistake in _mistakes_of(row, found.get(row.number, [])))
    if written(page, found) != page:
        yield "a list of tests is stale; run python docs/threats.py"


def _mistakes_of(row: Row, tests: list[str]) -> Iterable[str]:
    for word in ("**Attack.** ", "**Defence.** "):
        if row.text.count(word) != 1:
            yield f"it has no {word.strip()}"
    for word in (*row.features, *row.more):
        if word not in PLANNED:
            yield f"{word} is built, so its attacks need tests"
    if row.features and tests:
        yield f"it says that it begins with {row.features[0]}, and {tests[0]} claims it"
    if not row.features and not tests:
        yield "no test claims it"
    if bool(row.features) == bool(_REGION.search(row.text)):
        yield "it has a list of tests, or a feature that it begins with: one of them"


def main() -> int:
    """Write, or check."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--check", action="store_true", help="write nothing; 1 if something is wrong")
    only_check = options.parse_args().check
    found = claims(TESTS)
    if not only_check:
        PAGE.write_text(written(PAGE.read_text(), found))
    wrong = list(mistakes(PAGE.read_text(), found))
    for mistake in wrong:
        print(f"{PAGE.relative_to(ROOT)}: {mistake}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
