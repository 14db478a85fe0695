"""The only place where a shipped file is changed: names that Docker's DNS would resolve, ports and paths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from .programs import ROOT

DEPLOY = ROOT / "deploy"
DOCS = ROOT / "docs" / "gateways"


def shipped(name: str, changes: Mapping[str, str]) -> str:
    """A file of `deploy/` with every regular expression of `changes` replaced; each must occur."""
    text = (DEPLOY / name).read_text()
    for pattern, replacement in changes.items():
        text, count = re.subn(pattern, replacement.replace("\\", r"\\"), text)
        assert count, f"deploy/{name} has nothing like {pattern!r}"
    return text


def copied(name: str, folder: Path, changes: Mapping[str, str]) -> Path:
    path = folder / Path(name).name
    path.write_text(shipped(name, changes))
    return path


def fenced(page: str, language: str) -> list[str]:
    """The code blocks of a page of `docs/gateways/` in one language, as a reader copies them."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", (DOCS / page).read_text())
