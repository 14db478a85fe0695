"""The last line of a run: how many cases on how many ways were as the table says. Knows pytest's reports alone."""

from __future__ import annotations

from collections import Counter

import pytest

COUNTED = "conformance"
"""Under this name a test's report says which way it was about."""


def ways_of(reports: list[pytest.TestReport]) -> Counter[str]:
    """How many cases each way was asked."""
    return Counter(str(way) for report in reports for name, way in report.user_properties if name == COUNTED)


def sentence(passed: Counter[str], failed: Counter[str]) -> str:
    """Cases times ways, and whether all were as the table says. Ways are asked the same cases, unless pytest chose."""
    asked = passed + failed
    cases = max(asked.values(), default=0)
    verdict = f"{failed.total()} not as the table says" if failed else "all as the table says"
    return f"{cases} cases \u00d7 {len(asked)} ways = {asked.total()}, {verdict}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line, where cases were sent at all."""
    stats = terminalreporter.stats
    passed = ways_of([report for report in stats.get("passed", []) if report.when == "call"])
    # An error may be that of a file which could not be read: it is about no way.
    wrong = [*stats.get("failed", []), *stats.get("error", [])]
    failed = ways_of([report for report in wrong if isinstance(report, pytest.TestReport)])
    if passed or failed:
        terminalreporter.section("conformance")
        terminalreporter.write_line(sentence(passed, failed))
