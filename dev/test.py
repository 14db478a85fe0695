"""Every check of a change: ruff, mypy and pytest, and one summary at the end.

Further arguments go to pytest, for example `./test tests/core/test_routes.py -k slash`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable


@dataclass(frozen=True)
class Result:
    """What one check had to say."""

    name: str
    passed: bool
    says: str


class Check:
    """A check that runs by itself and keeps its output until it is asked."""

    def __init__(self, name: str, *module: str) -> None:
        self.name = name
        self._program = subprocess.Popen(
            [PYTHON, "-m", *module],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def result(self) -> Result:
        output, _ = self._program.communicate()
        passed = self._program.returncode == 0
        if not passed:
            print(f"\n{self.name}:\n{output}", flush=True)
        return Result(self.name, passed, last_line(output))


def pytest(arguments: Sequence[str], report: Path) -> Result:
    """Shown while it runs: it takes longest, and a failure is worth seeing before the end."""
    program = subprocess.Popen(
        # A file's tests stay in one worker: they may share the real gateways that they started.
        [PYTHON, "-m", "pytest", "-n", "2", "--dist", "loadfile", f"--junitxml={report}", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert program.stdout is not None
    output = []
    for line in program.stdout:
        print(line, end="", flush=True)
        output.append(line)
    return Result("pytest", program.wait() == 0, last_line("".join(output)))


def last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1].strip(" =") if lines else ""


def skipped(report: Path) -> list[str]:
    """Every test that did not run, with its reason, from pytest's own report."""
    if not report.exists():
        return []
    return [
        f"{case.get('classname')}.{case.get('name')}: {skip.get('message')}"
        for case in ElementTree.parse(report).iter("testcase")
        for skip in case.iter("skipped")
    ]


def main() -> int:
    options = argparse.ArgumentParser(prog="./test", description=__doc__, allow_abbrev=False)
    options.add_argument(
        "--no-skips",
        action="store_true",
        default=os.environ.get("CI") == "true",
        help="a skipped test is a failure; also with CI=true in the environment",
    )
    chosen, for_pytest = options.parse_known_args()

    began = time.monotonic()
    # mypy takes one core for its time while pytest's workers mostly wait for programs to start.
    background = [
        Check("ruff check", "ruff", "check", "."),
        Check("ruff format", "ruff", "format", "--check", "."),
        Check("mypy", "mypy", "--strict", "forwardauth"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "pytest.xml"
        tests = pytest(for_pytest, report)
        results = [check.result() for check in background]
        missed = skipped(report)
    if missed and chosen.no_skips:
        results.append(Result("skips", False, f"{len(missed)} skipped, and here none may be:"))

    print(f"\nAfter {time.monotonic() - began:.0f} s:")
    for result in [*results, tests]:
        print(f"  {'ok    ' if result.passed else 'FAILED'}  {result.name:<12} {result.says}")
        if result.name == "skips":
            print(*(f"            {each}" for each in missed), sep="\n")
    return 0 if all(result.passed for result in [*results, tests]) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
