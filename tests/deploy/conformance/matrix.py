"""Sends the table through every way, and holds docs/conformance.md to what was seen.

python -m tests.deploy.conformance.matrix            # says what is not as the page has it, and ends with 1
python -m tests.deploy.conformance.matrix --write    # writes it; not while a way differs from the table
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import pytest

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.deployment import Sources
from tests.deploy.rig.gateways import PLAIN

from . import page
from .cases import CASES
from .way import Way


def seen() -> tuple[dict[tuple[str, str], str], list[str]]:
    """The cell of every case and way, and the differences from the table, one line each."""
    cells: dict[tuple[str, str], str] = {}
    complaints: list[str] = []
    backend, sources = Backend(), Sources()
    backend.start()
    try:
        for name in PLAIN:
            with tempfile.TemporaryDirectory() as folder, Way.open(name, Path(folder), backend, sources) as way:
                for case in CASES:
                    complaints += [f"{name}: {case.name}: {each}" for each in way.differences(case)]
                    cells[case.name, name] = way.cell(case)
            print(f"{name}: {sum(cells[case.name, name] == page.SAME for case in CASES)} of {len(CASES)} the same")
    finally:
        backend.stop()
    return cells, complaints


def main() -> int:
    """Compare, or write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--write", action="store_true", help="write the page")
    write = options.parse_args().write
    try:
        cells, complaints = seen()
    except pytest.skip.Exception as missing:
        print(missing)
        return 1
    print(*complaints, sep="\n", end="\n" if complaints else "")
    if complaints:
        return 1
    print(f"{len(CASES)} cases \u00d7 {len(PLAIN)} ways = {len(cells)}, all as the table says")
    old = page.PAGE.read_text()
    new = page.made(old, lambda case, way: cells[case.name, way])
    if new == old:
        return 0
    print(f"{page.PAGE.name}: {'written' if write else f'stale; run {page.REMAKE}'}")
    if write:
        page.PAGE.write_text(new)
    return 0 if write else 1


if __name__ == "__main__":
    sys.exit(main())
