"""The shell around the decision: facts, turns, reservations, faults, and what a swap keeps."""

import asyncio
import base64
import gc
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from forwardauth.config.load import Configuration, Overrides, load
from forwardauth.config.snapshot import Snapshot
from forwardauth.core.model import Need, Subrequest
from forwardauth.core.reply import Reply
from forwardauth.server.lane import Lane
from forwardauth.service import Service
from forwardauth.stores.passwords import PasswordChecks
from forwardauth.telemetry.audit import AuditLog
from forwardauth.telemetry.metrics import Metrics
from forwardauth.waiting import CHECKS, CHECKS_PER_CLIENT
from tests.server.transport import connect

# {SHA} of `correct`: as slow as this suite needs.
CONFIGURATION = """
authenticators:
  staff: {basic: {users: ["alice:{SHA}MXmmXv8lI7veU8mbKZtxnBCjUjU="]}}
  ci:
    token: {from: [{header: X-API-Token}], tokens: [{name: ci, value: right-token}, {name: two, value: other-token}]}
routes:
  - {name: health, path: /health, public: true}
  - {name: staff, path: /staff/*, require: staff}
  - {name: dual, path: /dual/*, require: {all: [staff, ci]}}
  - {name: limited, path: /limited/*, require: ci, rate: 2/h}
  - {path: /shared, host: a.example.com, require: ci, rate: 1/h}
  - {path: /shared, host: b.example.com, require: ci, rate: 1/h}
  - {name: all, path: /*, require: ci}
lockout: {exempt: [198.51.100.0/24]}
"""

Build = Callable[..., Service]


class Checks:
    """Answers password needs when it is told to; counts them."""

    def __init__(self) -> None:
        self.asked: list[Need] = []
        self.gate = asyncio.Event()
        self.right = {"correct"}
        self.running = 0
        self.most_running = 0

    async def fetch(self, need: Need) -> bool:
        self.asked.append(need)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await self.gate.wait()
        self.running -= 1
        return need.args[1] in self.right and need.args[2] is True


@pytest.fixture
def checks() -> Checks:
    return Checks()


def loaded(folder: Path, more: str = "") -> Configuration:
    file = folder / "forwardauth.yml"
    file.write_text(CONFIGURATION + more)
    return load(Overrides(config=str(file)), {}, b"k" * 32)


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    return loaded(tmp_path)


@pytest.fixture
def audit(tmp_path: Path) -> AuditLog:
    return AuditLog(str(tmp_path / "audit.log"))


@pytest.fixture
def service(configuration: Configuration, checks: Checks, audit: AuditLog) -> Service:
    return Service(configuration.snapshot, {"password": checks.fetch}, audit, Metrics("test"))


def basic(password: str, user: str = "alice") -> tuple[bytes, bytes]:
    return b"Authorization", b"Basic " + base64.b64encode(f"{user}:{password}".encode())


TOKEN = (b"X-API-Token", b"right-token")


def asked(
    uri: str, *credentials: tuple[bytes, bytes], client: str = "192.0.2.7", peer: str | None = "127.0.0.1"
) -> Subrequest:
    headers = [
        (b"Host", b"127.0.0.1:9000"),
        (b"X-Forwarded-Method", b"GET"),
        (b"X-Forwarded-Proto", b"https"),
        (b"X-Forwarded-Host", b"api.example.com"),
        (b"X-Forwarded-Uri", uri.encode()),
        (b"X-Forwarded-For", client.encode()),
        *credentials,
    ]
    return Subrequest(b"GET", b"/verify/traefik", headers, peer)


async def answer(service: Service, subrequest: Subrequest) -> Reply:
    reply = service.answer(subrequest)
    return reply if isinstance(reply, Reply) else await reply


def message(subrequest: Subrequest) -> bytes:
    lines = [subrequest.method + b" " + subrequest.target + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in subrequest.headers]
    return b"\r\n".join([*lines, b"", b""])


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_memory_answers_needs_no_await(service: Service) -> None:
    for subrequest in (asked("/v1", TOKEN), asked("/v1"), asked("/health"), asked("/nowhere/../x")):
        assert isinstance(service.answer(subrequest), Reply)


async def test_a_right_password_is_checked_once_and_then_known(service: Service, checks: Checks) -> None:
    checks.gate.set()
    for _ in range(3):
        assert (await answer(service, asked("/staff/x", basic("correct")))).status == 200
    assert len(checks.asked) == 1
    assert isinstance(service.answer(asked("/staff/x", basic("correct"))), Reply)


async def test_a_wrong_password_is_never_remembered(service: Service, checks: Checks) -> None:
    checks.gate.set()
    for _ in range(3):
        assert (await answer(service, asked("/staff/x", basic("wrong")))).status == 401
    assert len(checks.asked) == 3


async def test_ten_parallel_requests_with_one_right_password_are_ten_times_200(
    service: Service, checks: Checks
) -> None:
    waiting = [asyncio.ensure_future(answer(service, asked("/staff/x", basic("correct")))) for _ in range(10)]
    await settle()
    checks.gate.set()
    assert [reply.status for reply in await asyncio.gather(*waiting)] == [200] * 10
    assert len(checks.asked) == 1


async def test_parallel_guesses_do_not_slip_through_the_lockout(service: Service, checks: Checks) -> None:
    """Twelve guesses at once: without reservations all twelve would be hashed before the first failure counts.

    (THREATS 19)
    """
    checks.right = {"guess11"}
    waiting = [asyncio.ensure_future(answer(service, asked("/staff/x", basic(f"guess{n}")))) for n in range(12)]
    await settle()
    checks.gate.set()
    assert [reply.status for reply in await asyncio.gather(*waiting)] == [401] * 5 + [429] * 7
    assert len(checks.asked) == 5


async def test_at_most_one_check_of_a_client_is_in_flight_and_others_go_on(service: Service, checks: Checks) -> None:
    waiting = [
        asyncio.ensure_future(answer(service, asked("/staff/x", basic(f"guess{n}"), client=f"192.0.2.{n % 3}")))
        for n in range(9)
    ]
    await settle()
    assert checks.running == 3
    checks.gate.set()
    await asyncio.gather(*waiting)
    assert checks.most_running == 3


async def test_a_token_guess_waits_while_a_password_check_could_fill_the_limit(
    service: Service, checks: Checks
) -> None:
    """Four failures, and a fifth in a slow check: a sixth attempt by token must not be judged before it is settled.

    (THREATS 19)
    """
    for _ in range(4):
        await answer(service, asked("/v1", (b"X-API-Token", b"wrong")))
    slow = asyncio.ensure_future(answer(service, asked("/staff/x", basic("wrong"))))
    await settle()
    guess = asyncio.ensure_future(answer(service, asked("/v1", (b"X-API-Token", b"right-token"))))
    await settle()
    assert not guess.done()
    checks.gate.set()
    assert (await slow).status == 401
    assert (await guess).status == 429


async def test_the_waiting_line_is_bounded_and_busy_is_nobodys_failure(service: Service, checks: Checks) -> None:
    waiting = [
        asyncio.ensure_future(answer(service, asked("/staff/x", basic("wrong"), client=f"192.0.2.{n}")))
        for n in range(CHECKS)
    ]
    await settle()
    late = await answer(service, asked("/staff/x", basic("correct"), client="203.0.113.1"))
    assert late.status == 503
    assert dict(late.headers)["Retry-After"] == "1"
    assert json.loads(late.body)["error"]["code"] == "busy"
    checks.gate.set()
    await asyncio.gather(*waiting)
    assert (await answer(service, asked("/staff/x", basic("correct"), client="203.0.113.1"))).status == 200


async def test_one_client_cannot_fill_the_line_for_all_others(service: Service, checks: Checks) -> None:
    """Attack: queue so many slow checks that nobody else is judged (THREATS 20)."""
    waiting = [asyncio.ensure_future(answer(service, asked("/staff/x", basic(f"guess{n}")))) for n in range(CHECKS)]
    await settle()
    assert sum(task.done() for task in waiting) == CHECKS - CHECKS_PER_CLIENT
    other = asyncio.ensure_future(answer(service, asked("/staff/x", basic("correct"), client="203.0.113.1")))
    await settle()
    checks.gate.set()
    assert (await other).status == 200
    await asyncio.gather(*waiting)


async def test_behind_a_cdn_nobody_waits_for_what_another_user_reserved(
    configuration: Configuration, audit: AuditLog
) -> None:
    """Attack: four wrong passwords of one's own, and slow checks, to hold the others behind the same edge up."""
    gates: dict[object, asyncio.Event] = {}

    async def fetch(need: Need) -> bool:
        await gates.setdefault(need.args[1], asyncio.Event()).wait()
        return True

    service = Service(configuration.snapshot, {"password": fetch}, audit, Metrics("test"))

    def ask(user: str) -> asyncio.Future[Reply]:
        subrequest = asked("/staff/x", basic(f"of {user}", user), client="198.51.100.1")
        return asyncio.ensure_future(answer(service, subrequest))

    # One attempt fills the limit, so the second of each user waits until the first is settled.
    service.lockout.settings = replace(service.lockout.settings, max_failed_attempts=1)
    waiting = []
    for user in ("alice", "bob", "alice", "bob"):
        waiting.append(ask(user))
        await settle()
    gates["of bob"].set()
    await settle()
    assert [task.done() for task in waiting] == [False, True, False, True]
    gates["of alice"].set()
    await asyncio.gather(*waiting)


async def test_behind_a_cdn_every_user_name_waits_for_itself(service: Service, checks: Checks) -> None:
    waiting = [
        asyncio.ensure_future(answer(service, asked("/staff/x", basic("wrong", f"user{n}"), client="198.51.100.1")))
        for n in range(20)
    ]
    await settle()
    assert checks.running == 20
    checks.gate.set()
    assert [reply.status for reply in await asyncio.gather(*waiting)] == [401] * 20


async def test_a_fault_inside_the_decision_is_503_and_nobodys_failure(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, audit: AuditLog
) -> None:
    """Attack: find what makes us fail: it denies, and locks nobody out (THREATS 34)."""

    def broken(*arguments: object) -> None:
        raise RuntimeError("a bug with right-token in its text")

    with monkeypatch.context() as patch:
        patch.setattr("forwardauth.service.decide", broken)
        for _ in range(6):
            reply = await answer(service, asked("/v1", TOKEN))
            assert reply.status == 503
            assert json.loads(reply.body)["error"]["code"] == "fault"
    assert (await answer(service, asked("/v1", TOKEN))).status == 200
    audit.close()
    lines = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    assert [line["decision"] for line in lines] == ["fault"] * 6 + ["allow"]


async def test_a_fetcher_that_fails_is_503_and_nobodys_failure(configuration: Configuration, audit: AuditLog) -> None:
    """Attack: exhaust what the decision needs: it denies, and locks nobody out (THREATS 34)."""

    async def broken(need: Need) -> bool:
        raise OSError("no threads left")

    service = Service(configuration.snapshot, {"password": broken}, audit, Metrics("test"))
    for _ in range(6):
        assert (await answer(service, asked("/staff/x", basic("correct")))).status == 503
    assert service.lockout.active(0) == {}
    assert not service.lockout.must_wait(((b"\xc0\x00\x02\x07", 1),), 0)


async def test_an_untrusted_peer_is_refused_and_nothing_that_it_sent_is_read(
    service: Service, audit: AuditLog, tmp_path: Path
) -> None:
    """Attack: ask for a verdict from outside, with a good token (THREATS 1)."""
    reply = await answer(service, asked("/health", TOKEN, peer="8.8.8.8"))
    assert reply.status == 403
    audit.close()
    line = json.loads((tmp_path / "audit.log").read_text())
    assert (line["reason"], line["client"], line["path"], line["host"]) == ("untrusted_peer", None, None, None)


async def test_dual_authentication_names_both_in_the_audit(
    service: Service, checks: Checks, audit: AuditLog, tmp_path: Path
) -> None:
    checks.gate.set()
    reply = await answer(service, asked("/dual/x", basic("correct"), TOKEN))
    assert reply.status == 200
    assert dict(reply.headers)["X-Auth-Method"] == "staff+ci"
    audit.close()
    line = json.loads((tmp_path / "audit.log").read_text())
    assert (line["user"], line["key"], line["authenticators"]) == ("alice", "ci", ["staff", "ci"])


async def test_counters_and_blocks_outlive_a_reload(service: Service, configuration: Configuration) -> None:
    for _ in range(5):
        await answer(service, asked("/v1", (b"X-API-Token", b"wrong")))
    for _ in range(2):
        assert (await answer(service, asked("/limited/x", TOKEN, client="192.0.2.9"))).status == 200
    service.swap(configuration.snapshot)
    assert (await answer(service, asked("/v1", (b"X-API-Token", b"wrong")))).status == 429
    assert (await answer(service, asked("/limited/x", TOKEN, client="192.0.2.9"))).status == 429


def test_a_configuration_that_was_replaced_is_freed_at_once(tmp_path: Path, audit: AuditLog) -> None:
    """Attack: none. A file that is rewritten every minute must not fill the memory, and no collector comes by."""
    service = Service(loaded(tmp_path).snapshot, {}, audit, Metrics("test"))
    lane = Lane(service, 10)
    connection, transport = connect(lane)

    def load_it_again() -> None:
        for client in range(3):
            for credential in (TOKEN, (b"X-API-Token", b"wrong"), (b"X-API-Token", b"other-token")):
                connection.data_received(message(asked("/v1", credential, client=f"192.0.2.{client}")))
        service.swap(loaded(tmp_path).snapshot)
        lane.forget()
        audit.flush()

    def snapshots() -> int:
        return sum(isinstance(each, Snapshot) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = snapshots()
        for _ in range(5):
            load_it_again()
        assert snapshots() == before
    finally:
        gc.enable()
    assert {200, 401} <= set(transport.statuses)


async def test_each_token_has_a_quota_of_its_own(service: Service) -> None:
    for _ in range(2):
        assert (await answer(service, asked("/limited/x", TOKEN))).status == 200
    limited = await answer(service, asked("/limited/x", TOKEN))
    assert limited.status == 429
    headers = dict(limited.headers)
    assert int(headers["Retry-After"]) <= 1800
    assert int(headers["retry-after-ms"]) <= 1_800_000
    assert headers["RateLimit-Policy"] == '"route";q=2;w=3600'
    assert headers["RateLimit"] == f'"route";r=0;t={headers["Retry-After"]}'
    assert "x-should-retry" not in headers
    assert (await answer(service, asked("/limited/x", (b"X-API-Token", b"other-token")))).status == 200


async def test_routes_that_share_a_path_do_not_share_a_quota(service: Service) -> None:
    """Unnamed routes are called by their path, which two hosts may have."""
    for host in (b"a.example.com", b"b.example.com"):
        statuses = []
        for _ in range(2):
            subrequest = asked("/shared", TOKEN)
            subrequest.headers = [(n, host if n == b"X-Forwarded-Host" else v) for n, v in subrequest.headers]
            statuses.append((await answer(service, subrequest)).status)
        assert statuses == [200, 429]


async def test_a_stranger_cannot_make_the_gateways_user_long(service: Service, audit: AuditLog, tmp_path: Path) -> None:
    """Attack: user names of 30 kB, each another one, kept with the templates of audit lines."""
    service.swap(loaded(tmp_path, "server: {gateway_user_header: Authorization}\n").snapshot)
    await answer(service, asked("/v1", basic("x", "u" * 30_000)))
    await answer(service, asked("/v1", basic("x", "bob")))
    audit.close()
    lines = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    assert [line["gateway_user"] for line in lines] == ["u" * 256, "bob"]


async def test_a_known_credential_passes_a_block_and_an_unknown_one_does_not(service: Service) -> None:
    """One typo in an office must not stop the office; a guesser must not learn that a guess was right.

    (THREATS 22, 50)
    """
    assert (await answer(service, asked("/v1", TOKEN))).status == 200
    for _ in range(5):
        assert (await answer(service, asked("/v1", (b"X-API-Token", b"wrong")))).status == 401
    assert (await answer(service, asked("/v1", TOKEN))).status == 200
    blocked = await answer(service, asked("/v1", (b"X-API-Token", b"other-token")))
    assert blocked.status == 429
    assert dict(blocked.headers)["x-should-retry"] == "false"
    wrong = await answer(service, asked("/v1", (b"X-API-Token", b"wrong")))
    assert (wrong.status, wrong.body) == (blocked.status, blocked.body)
    assert (await answer(service, asked("/health"))).status == 200


async def test_an_unknown_password_is_not_even_hashed_during_a_block(service: Service, checks: Checks) -> None:
    checks.gate.set()
    for _ in range(5):
        await answer(service, asked("/staff/x", basic("wrong")))
    hashed = len(checks.asked)
    assert (await answer(service, asked("/staff/x", basic("correct")))).status == 429
    assert len(checks.asked) == hashed


async def test_real_hashes_are_compared_in_a_thread(configuration: Configuration, audit: AuditLog) -> None:
    passwords = PasswordChecks()
    service = Service(configuration.snapshot, {"password": passwords.fetch}, audit, Metrics("test"))
    assert (await answer(service, asked("/staff/x", basic("correct")))).status == 200
    assert (await answer(service, asked("/staff/x", basic("wrong")))).status == 401
    assert (await answer(service, asked("/staff/x", basic("correct", "nobody")))).status == 401
    passwords.close()


async def test_no_secret_reaches_audit_metrics_or_replies(
    service: Service, checks: Checks, audit: AuditLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Attack: read the logs, the metrics or an answer instead of guessing (THREATS 38)."""
    checks.gate.set()
    secrets = ("right-token", "hunter2-guess", "correct", "hunter3-guess")
    replies = [
        await answer(service, asked("/v1?key=right-token", TOKEN)),
        await answer(service, asked("/v1", (b"X-API-Token", b"hunter2-guess"))),
        await answer(service, asked("/staff/x", basic("correct"))),
        await answer(service, asked("/staff/x", basic("hunter3-guess"))),
    ]
    audit.close()
    shown = [replies, checks.asked, asked("/v1?key=right-token", TOKEN), service.snapshot.settings, service.snapshot]
    written = (tmp_path / "audit.log").read_text() + service._metrics.render().decode() + caplog.text + repr(shown)
    assert not [secret for secret in secrets if secret in written]
