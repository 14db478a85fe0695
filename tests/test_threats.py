"""The threat model says what the tests try, and the tests name rows that are there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from docs import threats

FOUND = threats.claims(threats.TESTS)
PAGE = threats.PAGE.read_text()
ROWS = threats.rows(PAGE)

SMALL = """# Page

## 1. Built

**Attack.** A.

**Defence.** B.

<!-- tests -->
- `tests/test_x.py::test_a`
<!-- /tests -->

## 2. Not built

**Attack.** A.

**Defence.** B.

**With** `delegate`.
"""
SMALL_FOUND = {1: ["tests/test_x.py::test_a"]}


def test_the_page_is_what_the_tests_say() -> None:
    assert list(threats.mistakes(PAGE, FOUND)) == [], "run: python docs/threats.py"


def test_every_row_is_tried_at_the_service_or_waits_for_a_feature() -> None:
    assert len(ROWS) == 56
    for row in ROWS:
        tests = FOUND.get(row.number, [])
        assert bool(tests) != bool(row.features)
        assert not tests or any("tests/deploy/" not in test for test in tests), f"row {row.number}: gateways alone"


def test_the_tests_that_are_named_are_collected() -> None:
    """A name out of the source is a test that pytest runs: none is hidden by another one of its name."""
    named = sorted({test for tests in FOUND.values() for test in tests if test.startswith("tests/attacks/")})
    environment = {**os.environ, "PYTHONPATH": str(threats.ROOT)}
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", "-p", "no:cacheprovider", "tests/attacks"],
        cwd=threats.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    collected = {line.partition("[")[0] for line in listed.stdout.splitlines()}
    assert set(named) <= collected, listed.stdout[-2000:]


def test_the_small_page_of_these_tests_is_right() -> None:
    assert list(threats.mistakes(SMALL, SMALL_FOUND)) == []


@pytest.mark.parametrize(
    ("page", "found", "mistake"),
    [
        (SMALL, {}, "row 1: no test claims it"),
        (SMALL, {1: ["tests/test_x.py::test_b"]}, "stale"),
        (SMALL, {**SMALL_FOUND, 3: ["tests/test_x.py::test_c"]}, "no row 3, which tests/test_x.py::test_c claims"),
        (SMALL, {**SMALL_FOUND, 2: ["tests/test_x.py::test_c"]}, "begins with delegate, and tests/test_x.py::test_c"),
        (SMALL.replace("`delegate`", "`token`"), SMALL_FOUND, "row 2: token is built, so its attacks need tests"),
        (SMALL.replace("**With** `delegate`.", ""), SMALL_FOUND, "row 2: no test claims it"),
        (SMALL.replace("## 2.", "## 3."), SMALL_FOUND, "not numbered one after the other"),
        (SMALL.replace("**Defence.** B.", "", 1), SMALL_FOUND, "row 1: it has no **Defence.**"),
        (SMALL.replace("<!-- tests -->", "", 1), SMALL_FOUND, "row 1: it has a list of tests, or a feature"),
        (SMALL.replace("**With**", "**More with**"), SMALL_FOUND, "row 2: no test claims it"),
    ],
)
def test_what_rots_is_found(page: str, found: dict[int, list[str]], mistake: str) -> None:
    assert any(mistake in told for told in threats.mistakes(page, found)), list(threats.mistakes(page, found))


def test_claims_stand_in_docstrings_of_tests_and_their_classes(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_x.py").write_text(
        '''
def test_plain() -> None:
    """Attack: one (CVE-1, THREATS 1,
    2)."""

async def test_later() -> None:
    """Attack: two (THREATS 2)."""

def helps() -> None:
    """Not a test (THREATS 9)."""

class TestMany:
    """Attack: three (THREATS 3)."""

    def test_one(self) -> None: ...

    def test_two(self) -> None:
        """And more (THREATS 3, 4)."""

    # A comment is no claim (THREATS 9).
'''
    )
    assert threats.claims(folder) == {
        1: ["tests/test_x.py::test_plain"],
        2: ["tests/test_x.py::test_plain", "tests/test_x.py::test_later"],
        3: ["tests/test_x.py::TestMany::test_one", "tests/test_x.py::TestMany::test_two"],
        4: ["tests/test_x.py::TestMany::test_two"],
    }


def test_the_lists_are_written_where_they_belong() -> None:
    made = threats.written(SMALL, {1: ["tests/test_x.py::test_b", "tests/test_x.py::test_c"]})
    assert "- `tests/test_x.py::test_b`\n- `tests/test_x.py::test_c`\n" in made
    assert "test_a" not in made
    assert threats.written(made, SMALL_FOUND) == SMALL
