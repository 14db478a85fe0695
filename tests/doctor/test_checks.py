"""Every check finds the hole that it is for, and nothing where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from forwardauth.doctor import CHECKS, examine
from forwardauth.doctor.finding import Finding
from forwardauth.doctor.remedies import REMEDIES
from forwardauth.doctor.site import STRANGER, Unfit
from tests.doctor.fake import HOST, IDENTITY, TOKEN, Asked, Fake, Said, error, served, visited

Hole = Callable[[Fake, Asked], Any]


async def findings(fake: Fake, **told: object) -> dict[str, tuple[Finding, ...]]:
    async with visited(fake, **({"burst": 8} | told)) as site:
        return {outcome.check: outcome.findings async for outcome in examine(site) if outcome.findings}


async def test_nothing_is_found_where_there_is_nothing() -> None:
    async with visited(Fake(), burst=8) as site:
        outcomes = [outcome async for outcome in examine(site)]
    assert [outcome.check for outcome in outcomes] == [check.name for check in CHECKS]
    assert {outcome.check: outcome.word for outcome in outcomes if outcome.word != "ok"} == {
        "backend-reachable": "skipped"
    }


def opens(condition: Callable[[Asked], bool]) -> type[Fake]:
    """A gateway that asks nobody about such requests."""

    class Open(Fake):
        def service(self, asked: Asked) -> Said | None:
            return None if condition(asked) else super().service(asked)

    return Open


def has(name: str, value: str = "") -> Callable[[Asked], bool]:
    return lambda asked: any(value in found for found in asked.all(name))


def hands_on(change: Callable[[Asked, dict[str, list[str]]], None]) -> type[Fake]:
    """A backend that gets other headers than it should."""

    class HandedOn(Fake):
        def handed_on(self, asked: Asked) -> dict[str, list[str]]:
            headers = super().handed_on(asked)
            change(asked, headers)
            return headers

    return HandedOn


def passes(*names: str) -> type[Fake]:
    """A client's own headers of these names reach the backend."""
    return hands_on(lambda asked, headers: headers.update({name: asked.all(name) for name in names if asked.all(name)}))


def routes(condition: Callable[[Asked], bool], change: Callable[[Asked], Asked]) -> type[Fake]:
    """A gateway that understands some requests as others."""

    class Routed(Fake):
        def gateway(self, asked: Asked) -> Said:
            return super().gateway(change(asked) if condition(asked) else asked)

    return Routed


def at_closed_host(asked: Asked) -> Asked:
    others = tuple(header for header in asked.headers if header[0] != "Host")
    return Asked(asked.method, asked.target, (("Host", HOST), *others))


def says(change: Callable[[Said], Said]) -> type[Fake]:
    """A gateway that changes denials."""

    class Changed(Fake):
        def service(self, asked: Asked) -> Said | None:
            said = super().service(asked)
            return said and change(said)

    return Changed


def cut(*names: str, body: str | None = None) -> Callable[[Said], Said]:
    def change(said: Said) -> Said:
        status, headers, text = said
        kept = {name: value for name, value in headers.items() if name not in names}
        return status, kept, text if body is None else body

    return change


def answers(path: str, said: Said) -> type[Fake]:
    """Something else answers at a path."""

    class Else(Fake):
        def gateway(self, asked: Asked) -> Said:
            return said if asked.path == path else super().gateway(asked)

    return Else


class LastOfTwo(Fake):
    def credential(self, asked: Asked) -> Said | None:
        return None if asked.all("X-API-Token")[-1:] == [TOKEN] else super().credential(asked)


class JudgesHost(Fake):
    """A gateway that goes by the target, and a service that goes by Host."""

    def service(self, asked: Asked) -> Said | None:
        return super().service(asked) if asked.all("Host") == [HOST] else error(403, "no_route")


class Cut(Fake):
    """A gateway whose buffer ends at 16 kB."""

    def gateway(self, asked: Asked) -> Said:
        return error(500, "") if sum(len(value) for _, value in asked.headers) > 16_000 else super().gateway(asked)


class Unlimited(Fake):
    def limited(self) -> Said:
        return error(401, "invalid_token", WWW_Authenticate="ApiKey")


class BelievesAddress(Fake):
    def credential(self, asked: Asked) -> Said | None:
        if asked.all("X-Forwarded-For"):
            self.failures = 0
        return super().credential(asked)


class BareLimit(Fake):
    def limited(self) -> Said:
        return 429, {}, ""


class ReadsQuery(Fake):
    def credential(self, asked: Asked) -> Said | None:
        if "token=" in asked.target:
            asked = Asked(asked.method, asked.target, (("X-API-Token", asked.target.rpartition("=")[2]),))
        return super().credential(asked)


class Preflights(Fake):
    def service(self, asked: Asked) -> Said | None:
        return None if asked.all("Access-Control-Request-Method") else super().service(asked)

    def handed_on(self, asked: Asked) -> dict[str, list[str]]:
        """The same to everybody, so that a preflight can get what the path is closed for."""
        return {}


HOLES = [
    ("no-credential lookalike-names reflecting-methods", opens(lambda asked: True)),
    (
        "wrong-credential lookalike-names repeated-credential reflecting-methods",
        opens(lambda asked: bool(asked.all("X-API-Token"))),
    ),
    (
        "right-credential",
        routes(has("X-API-Token"), lambda asked: Asked(asked.method, asked.target, (("Host", HOST),))),
    ),
    ("query-credential", ReadsQuery),
    ("decision-listener", answers("/verify/nginx", (401, {"X-Deny-Status": "401"}, ""))),
    ("decision-listener", answers("/verify/traefik", error(400, "malformed_subrequest"))),
    ("admin-listener", answers("/metrics", (200, {}, "forwardauth_build_info 1"))),
    ("admin-listener", answers("/control/lockouts", (401, {}, "the admin token is needed"))),
    ("identity-arrives", hands_on(lambda asked, headers: [headers.pop(name, None) for name in IDENTITY])),
    ("spoofed-identity", passes("X-Auth-Groups")),
    ("spoofed-identity", passes("x-auth-user")),
    ("lookalike-names", opens(lambda asked: any("_" in name for name, _ in asked.headers))),
    ("lookalike-names", opens(lambda asked: any("." in name for name, _ in asked.headers))),
    (
        "hop-by-hop",
        hands_on(lambda asked, headers: "Key" in str(asked.all("Connection")) and headers.pop("X-Auth-Key", None)),
    ),
    ("credential-ends-here", passes("X-API-Token")),
    ("credential-ends-here", passes("Authorization")),
    ("repeated-credential", LastOfTwo),
    ("closed-path-tricks", opens(lambda asked: asked.target.startswith("//"))),
    ("closed-path-tricks", opens(lambda asked: "%00" in asked.target and "health" not in asked.target)),
    ("open-path-tricks", opens(lambda asked: asked.target.startswith("/health/"))),
    ("open-path-tricks", opens(lambda asked: asked.target.startswith("/health%2f"))),
    ("query-tricks", opens(lambda asked: "health" in asked.target and "?" in asked.target)),
    ("other-methods", opens(lambda asked: asked.method == "HEAD")),
    ("other-methods", opens(lambda asked: asked.method == "DOCTOR")),
    ("reflecting-methods", opens(lambda asked: asked.method == "TRACE")),
    ("method-override", opens(has("X-HTTP-Method-Override"))),
    ("preflight forged-request", Preflights),
    ("forged-request", opens(has("X-Forwarded-Uri", "/health"))),
    ("forged-request", opens(has("X-Original-URL", "/health"))),
    ("forged-request", opens(has("CF-Connecting-IP"))),
    ("forged-address", passes("X-Forwarded-For")),
    ("forged-origin", passes("X-Forwarded-Host")),
    ("forged-origin", passes("X-Forwarded-Proto")),
    ("host-confusion", opens(lambda asked: asked.all("Host") == [STRANGER])),
    ("judged-host", JudgesHost),
    ("two-hosts", routes(lambda asked: len(asked.all("Host")) == 2, at_closed_host)),
    ("large-headers", Cut),
    ("announced-body", opens(has("Expect"))),
    ("announced-body", opens(has("Transfer-Encoding"))),
    ("websocket", opens(has("Upgrade", "websocket"))),
    ("other-upgrades", passes("Upgrade")),
    ("denial-intact", says(cut("WWW-Authenticate"))),
    ("denial-intact lockout", says(cut(body=""))),
    ("denial-intact lockout", says(cut(body="<html><body>401</body></html>"))),
    ("denial-intact", says(lambda said: (said[0], said[1] | {"X-Deny-Status": "401"}, said[2]))),
    (
        "denial-intact repeated-credential",
        says(lambda said: (302, {"Location": "http://login.example.com/"}, "")),
    ),
    ("denial-intact repeated-credential", says(lambda said: (500, {}, ""))),
    ("lockout", Unlimited),
    ("lockout", BelievesAddress),
    ("lockout", BareLimit),
]


@pytest.mark.parametrize(
    ("checks", "fake"), HOLES, ids=[f"{number} {checks}" for number, (checks, _) in enumerate(HOLES)]
)
async def test_a_hole_is_found(checks: str, fake: type[Fake]) -> None:
    found = await findings(fake(), echo="preflight" not in checks)
    assert set(found) == set(checks.split())
    assert all(finding.remedy in REMEDIES for each in found.values() for finding in each)


def test_every_check_has_a_hole() -> None:
    assert {check for checks, _ in HOLES for check in checks.split()} == {check.name for check in CHECKS} - {
        "backend-reachable"  # needs a second server, below
    }


def test_every_check_tells_its_attack() -> None:
    assert all(check.attack and len(check.attack) <= 200 for check in CHECKS)
    assert len({check.name for check in CHECKS}) == len(CHECKS)


@pytest.mark.parametrize(("status", "found"), [(200, True), (404, True), (401, False), (403, False)])
async def test_the_backends_own_address(status: int, found: bool) -> None:
    """A backend that asks for a credential itself is no way around the gateway."""
    async with served(answers("/v1/models", (status, {}, ""))()) as backend:
        assert ("backend-reachable" in await findings(Fake(), backend=backend)) is found


async def test_a_backend_that_nobody_reaches_is_no_finding() -> None:
    async with served(Fake()) as backend:
        pass
    async with visited(Fake(), backend=backend) as site:
        outcomes = {outcome.check: outcome async for outcome in examine(site)}
    assert outcomes["backend-reachable"].word == "ok"


async def test_further_identity_headers_are_tried() -> None:
    """A name of `identity_headers` that the gateway's file does not strip."""
    identity = (*IDENTITY, "Remote-User")
    (finding,) = (await findings(passes("Remote-User")(), identity=identity))["spoofed-identity"][:1]
    assert (finding.remedy, finding.names) == ("further", ("Remote-User",))
    assert "Remote-User" in finding.what


async def test_a_finding_names_the_headers_that_came_through() -> None:
    found = await findings(passes("X-Auth-Groups", "X-API-Key")())
    assert {finding.names for finding in found["spoofed-identity"]} == {("X-Auth-Groups",)}
    assert {finding.names for finding in found["credential-ends-here"]} == {("X-API-Key",)}


async def test_without_a_credential_half_of_the_checks_are_made() -> None:
    async with visited(Fake(), credential=()) as site:
        outcomes = {outcome.check: outcome async for outcome in examine(site)}
    assert not any(outcome.findings for outcome in outcomes.values())
    assert {name for name, outcome in outcomes.items() if "-H" in outcome.skipped} == {
        "wrong-credential",
        "right-credential",
        "query-credential",
        "repeated-credential",
        "judged-host",
        "two-hosts",
        "lockout",
    }


async def test_nobody_is_locked_out_unless_that_is_allowed() -> None:
    """Whoever shares the tester's address would be denied as well."""
    fake = Fake()
    async with visited(fake, burst=0) as site:
        outcomes = {outcome.check: outcome async for outcome in examine(site)}
    assert "--burst" in outcomes["lockout"].skipped
    assert fake.failures <= 2


async def test_no_other_credential_than_the_right_one_is_sent_whole() -> None:
    """The right one stands in its own header alone: a query, or another header, would be logged."""
    heard: list[Asked] = []

    class Listening(Fake):
        def gateway(self, asked: Asked) -> Said:
            heard.append(asked)
            return super().gateway(asked)

    await findings(Listening())
    assert any(TOKEN in asked.all("X-API-Token") for asked in heard)
    assert not any(TOKEN in asked.target for asked in heard)
    assert not any(TOKEN in value for asked in heard for name, value in asked.headers if name != "X-API-Token")


class TestRateLimits:
    async def test_a_check_that_meets_one_says_so(self) -> None:
        """An answer of 429 tells nothing of what was tried: it is no proof that a path is closed."""

        class Busy(Fake):
            def gateway(self, asked: Asked) -> Said:
                limited = asked.method == "DOCTOR" or asked.target.startswith("//")
                return self.limited() if limited else super().gateway(asked)

        async with visited(Busy()) as site:
            outcomes = {outcome.check: outcome async for outcome in examine(site)}
        assert {name for name, outcome in outcomes.items() if "429" in outcome.skipped} == {
            "closed-path-tricks",
            "other-methods",
        }

    async def test_what_was_found_before_is_kept(self) -> None:
        class Busy(Fake):
            def gateway(self, asked: Asked) -> Said:
                return self.limited() if asked.target.startswith("///") else super().gateway(asked)

            def service(self, asked: Asked) -> Said | None:
                return None if asked.target.startswith("//") else super().service(asked)

        (finding,) = (await findings(Busy()))["closed-path-tricks"]
        assert finding.what == "/v1/models opens as //v1/models"

    async def test_a_locked_out_tester_is_told_so_at_once(self) -> None:
        fake = Fake()
        fake.failures = 5
        with pytest.raises(Unfit, match=r"locked out.*30 s"):
            async with visited(fake):
                pass


class TestDeploymentsThatAreOpen:
    async def test_but_for_named_paths_have_no_finding(self) -> None:
        """A path of no meaning is open there, and so is many an odd target: only what is closed tells something."""

        class OpenBut(Fake):
            def credential(self, asked: Asked) -> Said | None:
                return super().credential(asked) if asked.path.lower().startswith("/v1") else None

            def backend(self, asked: Asked) -> Said:
                page = "closed" if asked.path == "/v1/models" else "page"
                return 200, {}, json.dumps({"page": page, "headers": self.handed_on(asked)})

            def handed_on(self, asked: Asked) -> dict[str, list[str]]:
                return {}

        assert await findings(OpenBut(), echo=False) == {}

    async def test_and_show_what_is_closed_by_another_name(self) -> None:
        class OpenBut(Fake):
            def service(self, asked: Asked) -> Said | None:
                return super().service(asked) if asked.path == "/v1/models" else None

            def backend(self, asked: Asked) -> Said:
                return 200, {}, "closed" if asked.path.lower() == "/v1/models" else "page"

        found = await findings(OpenBut(), echo=False)
        assert "/V1/MODELS" in found["closed-path-tricks"][0].what


async def test_a_404_of_the_backend_is_a_way_through() -> None:
    """The backend does not resolve the path, another one would: the question was not asked."""
    fake = opens(lambda asked: asked.target.startswith("/health/"))
    (finding,) = (await findings(fake()))["open-path-tricks"]
    assert finding.what.startswith("/v1/models opens as /health/")
