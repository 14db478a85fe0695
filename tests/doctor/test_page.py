"""docs/doctor.md lists the checks as they are."""

from __future__ import annotations

import re
from pathlib import Path

from forwardauth.doctor import CHECKS, Check

PAGE = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()

OPTIONS = {
    "credential": ("-H",),
    "passing": ("-H",),
    "echo": ("--echo",),
    "echo_of_credential": ("-H", "--echo"),
    "open_path": ("--open",),
    "backend": ("--backend",),
    "burst": ("-H", "--burst"),
}


def row(check: Check) -> tuple[str, str, str]:
    needed = dict.fromkeys(option for need in check.needs for option in OPTIONS.get(need.__name__, ()))
    return f"`{check.name}`", check.attack, ", ".join(f"`{option}`" for option in needed)


def test_every_check_is_told_in_its_order() -> None:
    table = PAGE[PAGE.index("| check | attack | needs |") :]
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|")) for line in re.findall(r"^\| `.*\|$", table, re.M)
    ]
    assert rows == [row(check) for check in CHECKS]
