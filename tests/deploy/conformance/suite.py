"""The tests of one way. A file for each way has a class for it, so that ways run in parallel."""

from __future__ import annotations

from typing import ClassVar

import pytest

from tests.deploy.rig.deployment import Deployment

from . import page
from .case import Case
from .cases import CASES
from .way import Way


class Conformance:
    """Every case on one way; `gateway` is its name in the rig's registry."""

    gateway: ClassVar[str]

    @pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
    def test_follows_the_table(self, way: Way, site: Deployment, case: Case) -> None:
        assert way.differences(case) == []
        if case.exception(way.name) is not None:
            assert not way.conforms(case), "an exception that is none any more"

    def test_the_page_shows_what_was_seen(self, way: Way) -> None:
        shown = page.read()
        assert {case.name: way.cell(case) for case in CASES} == {
            case.name: shown[case.name, way.name] for case in CASES
        }
