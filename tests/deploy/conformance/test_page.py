"""The page and the table, before anything is sent. What the gateways really do is held to both by the other files."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.deploy.conformance import page
from tests.deploy.conformance.case import Case, Outcome, allowed, denied, differences, own
from tests.deploy.conformance.cases import CASES, CI, GROUPS, MADE_UNAMBIGUOUS, MODELS, UNKNOWN
from tests.deploy.conformance.summary import sentence
from tests.deploy.rig.backend import Seen
from tests.deploy.rig.client import HOST
from tests.deploy.rig.gateways import PLAIN


def test_the_page_is_made_from_the_table() -> None:
    text = page.PAGE.read_text()
    assert page.made(text) == text, f"run: {page.REMAKE}"


def test_the_page_has_every_case_and_way_once() -> None:
    assert set(page.read()) == {(case.name, way) for case in CASES for way in PLAIN}


def test_a_stale_cell_is_found() -> None:
    text = page.PAGE.read_text()
    case = next(case for case in CASES if not case.instead)
    stale = re.sub(rf"(?m)^(\| {re.escape(case.name)} \|.*?){page.SAME} \|$", r"\g<1>200 |", text)
    assert stale != text
    assert page.read(stale)[case.name, PLAIN[-1]] == "200"
    assert page.made(stale) == text


def test_names_are_unique_and_fit_into_a_table() -> None:
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []
    assert [case.name for case in CASES if "|" in case.name] == []
    assert len(CASES) == sum(len(group.cases) for group in GROUPS)


@pytest.mark.parametrize("case", [case for case in CASES if case.instead], ids=lambda case: case.name)
def test_an_exception_names_ways_that_exist_once_and_differs(case: Case) -> None:
    ways = [way for instead in case.instead for way in instead.ways]
    assert len(ways) == len(set(ways))
    assert set(ways) <= set(PLAIN)
    assert all(instead.why and instead.expect != case.expect for instead in case.instead)


def test_an_exception_lets_nothing_pass_that_other_ways_refuse() -> None:
    """But for what the gateway has made readable in one way before it asked."""
    weaker = {
        (case.name, instead.why)
        for case in CASES
        for instead in case.instead
        if case.expect.caller is None and instead.expect.caller is not None
    }
    assert {why for _, why in weaker} == MADE_UNAMBIGUOUS


def test_every_way_has_a_file_of_its_own() -> None:
    files = {file.stem.removeprefix("test_") for file in Path(__file__).parent.glob("test_*.py")} - {"page"}
    assert files == {way.replace("-", "_") for way in PLAIN}


def test_the_last_line_counts_what_failed() -> None:
    assert sentence(Counter(caddy=3, nginx=3), Counter()) == "3 cases \u00d7 2 ways = 6, all as the table says"
    assert sentence(Counter(caddy=2, nginx=3), Counter(caddy=1)).endswith("= 6, 1 not as the table says")
    assert sentence(Counter(nginx=3), Counter(caddy=3)).endswith("= 6, 3 not as the table says")


class TestDifferences:
    """What the suite would notice: an outcome that is wrong in one thing, for each thing."""

    DENIED = Case("denied", UNKNOWN, denied(401, "missing_token_header", "ApiKey"))
    BODY = b'{"error": {"code": "missing_token_header"}}'
    HEADERS = (
        ("Content-Type", "application/json"),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("WWW-Authenticate", "ApiKey"),
    )
    DENIAL = Outcome(401, "HTTP/1.1", HEADERS, BODY)

    ALLOWED = Case("allowed", MODELS, allowed(CI))
    IDENTITY = [("Host", HOST), ("X-Auth-Key", "ci"), ("X-Auth-Method", "ci"), ("X-Auth-User", "")]
    ARRIVED = Seen("GET", "/v1/models", IDENTITY, b"")

    def arrived(self, *headers: tuple[str, str], target: str = "/v1/models", body: bytes = b"") -> Outcome:
        return Outcome(200, "HTTP/1.1", reached=(Seen("GET", target, [*self.IDENTITY, *headers], body),))

    def test_none_where_there_is_none(self) -> None:
        assert differences(self.DENIED, self.DENIED.expect, self.DENIAL) == []
        assert differences(self.ALLOWED, self.ALLOWED.expect, self.arrived()) == []

    @pytest.mark.parametrize("name", [name for name, _ in HEADERS])
    def test_a_header_of_a_denial_that_is_missing_or_there_twice(self, name: str) -> None:
        for headers in (
            tuple(header for header in self.HEADERS if header[0] != name),
            (*self.HEADERS, *(header for header in self.HEADERS if header[0] == name)),
        ):
            assert differences(self.DENIED, self.DENIED.expect, Outcome(401, "HTTP/1.1", headers, self.BODY)) != []

    @pytest.mark.parametrize(
        "outcome",
        [
            Outcome(403, "HTTP/1.1", HEADERS, BODY),
            Outcome(401, "HTTP/1.0", HEADERS, BODY),
            Outcome(401, "HTTP/1.1", HEADERS, b'{"error": {"code": "invalid_token"}}'),
            Outcome(401, "HTTP/1.1", HEADERS, BODY, early="100"),
            Outcome(401, "HTTP/1.1", (*HEADERS, ("X-Auth-User", "")), BODY),
            Outcome(401, "HTTP/1.1", (*HEADERS, ("x-deny-status", "401")), BODY),
            Outcome(401, "HTTP/1.1", HEADERS, BODY, reached=(ARRIVED,)),
            Outcome(0),
        ],
    )
    def test_a_denial_that_is_another(self, outcome: Outcome) -> None:
        assert differences(self.DENIED, self.DENIED.expect, outcome) != []

    def test_a_request_that_arrived_otherwise(self) -> None:
        for outcome in (
            Outcome(200, "HTTP/1.1"),
            Outcome(200, "HTTP/1.1", reached=(self.ARRIVED, self.ARRIVED)),
            self.arrived(target="/v1/other"),
            self.arrived(body=b"more"),
            self.arrived(("X-Auth-Key", "ci")),
            self.arrived(("X-Auth-Email", "a@example.com")),
            self.arrived(("X-API-Token", "t")),
            self.arrived(("Authorization", "Bearer k")),
            self.arrived(("X-Anything", "mallory")),
            self.arrived(("Connection", "close, X-Auth-Key")),
        ):
            assert differences(self.ALLOWED, self.ALLOWED.expect, outcome) != []

    def test_the_services_answer_where_the_gateways_own_is_expected(self) -> None:
        assert differences(self.DENIED, own(401), self.DENIAL) != []
        assert differences(self.DENIED, own(401), Outcome(401, "HTTP/1.1")) == []
