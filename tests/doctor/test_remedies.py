"""The lines that the doctor names are the shipped ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from forwardauth.core.reply import IDENTITY_FIELDS
from forwardauth.doctor import remedies
from forwardauth.doctor.finding import Finding
from forwardauth.doctor.remedies import REMEDIES, USUAL_CREDENTIALS, lines
from forwardauth.gateways import GATEWAYS

DEPLOY = Path(__file__).parents[2] / "deploy"
DOCTOR = Path(remedies.__file__).parent

NAMES = {"identity": tuple(IDENTITY_FIELDS.values()), "further": ("X-Auth-Key",), "credentials": USUAL_CREDENTIALS}


def shipped(gateway: str, file: str) -> list[str]:
    return [line.strip() for line in (DEPLOY / gateway / file).read_text().splitlines()]


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("remedy", REMEDIES)
def test_every_line_stands_in_the_shipped_file_or_must_not(remedy: str, gateway: str) -> None:
    for line in lines(Finding("", remedy, NAMES.get(remedy, ())), gateway):
        if line.where == "the backend":
            continue  # its own file, which nobody ships
        # In YAML a list's first key stands behind a dash, and a label may be one of a long line.
        there = [each for each in shipped(gateway, line.file) if not each.startswith(("#", "--"))]
        stands = any(line.text in each for each in there)
        assert stands is not line.absent, f"{line.file}: {line.text}"


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("remedy", REMEDIES)
def test_every_remedy_says_something(remedy: str, gateway: str) -> None:
    assert REMEDIES[remedy].advice.endswith(".")
    assert lines(Finding("", remedy, NAMES.get(remedy, ("X-Auth-User",))), gateway)


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize(("remedy", "name"), [("further", "Remote-User"), ("credentials", "X-Goog-Api-Key")])
def test_names_of_the_configuration_have_their_own_lines(remedy: str, name: str, gateway: str) -> None:
    texts = [line.text.lower().replace("_", "-") for line in lines(Finding("", remedy, (name,)), gateway)]
    assert any(name.lower() in text for text in texts)
    assert not any("x-auth-email" in text and name.lower() not in text for text in texts)


def test_every_word_of_a_check_is_a_remedy() -> None:
    written = {
        word
        for path in DOCTOR.glob("*.py")
        for call in re.findall(r"Finding\((?:[^()]|\([^()]*\))*\)", path.read_text())
        for word in re.findall(r', "([a-z]+)"[,)]', call)
    }
    assert written | {"further", "identity"} == set(REMEDIES)
