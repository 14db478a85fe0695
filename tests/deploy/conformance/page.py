"""docs/conformance.md: the table and what every way makes of it. Starts nothing; `matrix.py` sees, and writes it.

Between the two marks of the page everything is made from the table, with a cell for each case and way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from tests.deploy.rig.gateways import PLAIN
from tests.deploy.rig.programs import ROOT

from .case import Case, Group
from .cases import CASES, GROUPS

PAGE = ROOT / "docs" / "conformance.md"
REMAKE = "python -m tests.deploy.conformance.matrix --write"
SAME = "\u2713"

_REGION = re.compile(r"(<!-- seen: matrix -->\n).*(<!-- /seen -->)", re.DOTALL)
_SUPERSCRIPTS = str.maketrans("0123456789", "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")

Cell = Callable[[Case, str], str]
"""What stands in the row of a case and the column of a way."""


def stated(case: Case, way: str) -> str:
    """The cell as the table has it."""
    exception = case.exception(way)
    if exception is None:
        return SAME
    number = _REASONS[case.name].index(exception.why) + 1
    return f"{exception.expect.text} {str(number).translate(_SUPERSCRIPTS)}"


def reasons(group: Group) -> list[str]:
    """Why ways differ in this group, each once, in the order of the table."""
    return list(dict.fromkeys(instead.why for case in group.cases for instead in case.instead))


_REASONS = {case.name: reasons(group) for group in GROUPS for case in group.cases}


def made(text: str, cell: Cell = stated) -> str:
    """A page with its region made anew."""
    return _REGION.sub(lambda match: match[1] + "\n" + "\n".join(_lines(cell)) + "\n" + match[2], text)


def read(text: str | None = None) -> dict[tuple[str, str], str]:
    """The cells of the page by case and way."""
    found: dict[tuple[str, str], str] = {}
    ways: Sequence[str] = ()
    for line in (PAGE.read_text() if text is None else text).splitlines():
        cells = [part.strip() for part in line.strip("|").split(" | ")] if line.startswith("| ") else []
        if cells[:2] == ["request", "answer"]:
            ways = cells[2:]
        elif not cells:
            ways = ()
        elif ways and cells[0] != "---":
            found |= {(cells[0], way): cell for way, cell in zip(ways, cells[2:], strict=True)}
    return found


def _lines(cell: Cell) -> Iterator[str]:
    yield f"{len(CASES)} cases \u00d7 {len(PLAIN)} ways = {len(CASES) * len(PLAIN)} answers."
    yield ""
    yield from _summary(cell)
    for group in GROUPS:
        yield f"## {group.name}"
        yield ""
        yield from _table(("request", "answer", *PLAIN), (_row(case, cell) for case in group.cases))
        for number, why in enumerate(reasons(group), 1):
            yield f"{number}. {why}"
        if reasons(group):
            yield ""


def _summary(cell: Cell) -> Iterator[str]:
    def same(group: Group, way: str) -> str:
        count = sum(cell(case, way) == SAME for case in group.cases)
        return SAME if count == len(group.cases) else f"{count} of {len(group.cases)}"

    rows = [(group.name, *(same(group, way) for way in PLAIN)) for group in GROUPS]
    yield from _table(("cases about", *PLAIN), rows)


def _row(case: Case, cell: Cell) -> Sequence[str]:
    return case.name, case.expect.text, *(cell(case, way) for way in PLAIN)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for cells in (header, ["---"] * len(header), *rows):
        yield f"| {' | '.join(cells)} |"
    yield ""
