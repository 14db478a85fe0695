"""Audit lines: every field, bounded, without a secret, and at most a second late."""

import json
import os
import threading
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.decide import Decision
from forwardauth.core.model import RequestView
from forwardauth.core.reasons import DENIALS, FAULT
from forwardauth.telemetry.audit import BATCH, AuditLog, Entry, line_of, template_of
from forwardauth.telemetry.crowd import Crowd
from forwardauth.telemetry.writer import MOST_BATCHES
from tests.building import SHA_OF_PASSWORD, Bench, basic, bearer

CONFIGURATION = f"""
authenticators:
  ci: {{token: {{from: [{{header: X-API-Token}}, {{cookie: key}}, bearer], tokens: [{{name: build, value: hunter2}}]}}}}
  staff: {{basic: {{users: ["bob:{SHA_OF_PASSWORD}"]}}}}
routes:
  - {{name: chat, path: /v1/*, require: {{all: [staff, ci]}}}}
  - {{name: ci, path: /ci/*, require: ci}}
"""
BENCH = Bench(CONFIGURATION)
WALL = 1_800_000_000.25
FIELDS = [
    "time",
    "decision",
    "status",
    "reason",
    "route",
    "client",
    "method",
    "host",
    "path",
    "user",
    "email",
    "tenant",
    "key",
    "authenticators",
    "gateway_user",
    "request_id",
    "duration_us",
]


def entry(method: str, url: str, *headers: tuple[str, str], peer: str = "127.0.0.1", user: str | None = None) -> Entry:
    """As the service records it: what repeats is rendered already, unless the gateway names a user."""
    view = BENCH.view(method, url, headers, peer=peer)
    decision = BENCH.decide(view)
    is_shared = user is None and decision.place is not None and decision.client is not None
    return WALL, 0.000_123, view, decision, user, template_of(view, decision) if is_shared else None


def written(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def line(tmp_path: Path, one: Entry) -> dict[str, object]:
    path = tmp_path / "audit.log"
    log = AuditLog(str(path))
    log.add(one)
    log.close()
    (found,) = written(path)
    return found


def test_an_allowed_request_is_told_whole(tmp_path: Path) -> None:
    asked = entry(
        "POST",
        "https://API.example.com/%76%31//chat?q=1",
        basic("bob", "password"),
        ("X-API-Token", "hunter2"),
        ("X-Request-ID", "abc-1"),
        user="proxied",
    )
    found = line(tmp_path, asked)
    assert list(found) == FIELDS
    assert found == {
        "time": "2027-01-15T08:00:00.250Z",
        "decision": "allow",
        "status": 200,
        "reason": None,
        "route": "chat",
        "client": "192.0.2.1",
        "method": "POST",
        "host": "api.example.com",
        "path": "/v1/chat",
        "user": "bob",
        "email": None,
        "tenant": None,
        "key": "build",
        "authenticators": ["staff", "ci"],
        "gateway_user": "proxied",
        "request_id": "abc-1",
        "duration_us": 123,
    }


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        pytest.param(
            lambda: entry("GET", "https://a.example/ci/x"),
            {"decision": "deny", "status": 401, "reason": "missing_credential", "route": "ci", "path": "/ci/x"},
            id="a denial",
        ),
        pytest.param(
            lambda: entry("GET", "https://a.example/none?x"),
            {"reason": "no_route", "route": None, "host": "a.example", "path": "/none"},
            id="no route",
        ),
        pytest.param(
            lambda: entry("GET", "https://a.example/ci/../x?y"),
            {"reason": "ambiguous_path", "route": None, "path": "/ci/../x"},
            id="an ambiguous path, as it was sent",
        ),
        pytest.param(
            lambda: entry("GET", "https://a.example/ci/x", peer="203.0.113.9"),
            {"reason": "untrusted_peer", "client": None, "method": None, "host": None, "path": None},
            id="nothing of an untrusted peer",
        ),
        pytest.param(
            lambda: (WALL, 0.0, RequestView(), Decision("authenticators", DENIALS[FAULT]), None, None),
            {"decision": "fault", "status": 503, "reason": "fault", "gateway_user": None, "authenticators": []},
            id="a fault",
        ),
    ],
)
def test_what_is_not_known_is_null(tmp_path: Path, asked: Callable[[], Entry], told: dict[str, object]) -> None:
    found = line(tmp_path, asked())
    assert list(found) == FIELDS
    assert {key: found[key] for key in told} == told


@pytest.mark.parametrize(
    "headers",
    [
        [("X-API-Token", "hunter2hunter2")],
        [bearer("hunter2hunter2")],
        [("Cookie", "key=hunter2hunter2")],
        [basic("bob", "hunter2hunter2")],
        [("X-API-Token", "hunter2hunter2"), ("X-API-Token", "hunter2hunter2")],
    ],
    ids=["header", "bearer", "cookie", "password", "twice"],
)
@pytest.mark.parametrize("path", ["/ci/x", "/v1/x", "/none", "/ci/../x"])
def test_no_secret_is_written(tmp_path: Path, path: str, headers: list[tuple[str, str]]) -> None:
    """Attack: read the audit instead of guessing; a key in the query is one too (THREATS 38)."""
    encoded = dict(headers).get("Authorization", "Bearer nothing-of-the-kind").split()[1]
    found = json.dumps(line(tmp_path, entry("GET", f"https://a.example{path}?api_key=hunter2hunter2", *headers)))
    assert "hunter2" not in found
    assert encoded not in found


@pytest.mark.parametrize("piece", [b"a", b"\0", b"\xff", "é".encode(), "😀".encode()], ids=repr)
def test_a_stranger_cannot_make_a_line_long(piece: bytes) -> None:
    """Attack: fill the disk by 30 kB paths, or by bytes that grow as they are written."""
    long = piece * 30_000
    view = RequestView(method=long, host=long, target=b"/" + long, fields={b"x-request-id": long})
    told = line_of((WALL, 0.0, view, Decision("route", DENIALS[FAULT]), None, None))
    assert told.path is not None
    assert len(told.path.encode()) <= 1024
    assert max(len(text or "") for text in (told.method, told.host, told.request_id)) <= 255


def test_a_long_path_that_was_matched_is_cut_too() -> None:
    told = line_of(entry("GET", f"https://a.example/ci/{'x' * 5000}"))
    assert told.path == f"/ci/{'x' * 5000}"[:1024]


def test_long_paths_are_not_kept(tmp_path: Path) -> None:
    """Attack: paths of 60 kB, each of them another one, until whatever remembers paths has eaten the memory."""
    log = AuditLog(str(tmp_path / "audit.log"))
    tracemalloc.start()
    try:
        for number in range(1000):
            view = BENCH.view("GET", f"https://a.example/ci/{number}/{'x' * 60_000}")
            decision = BENCH.decide(view)
            log.add((WALL, 0.0, view, decision, None, BENCH.endpoint.outcome(view, decision).template))
        log.close()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 10_000_000


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["GET", "POST"]),
            st.sampled_from(["/ci/x", "/ci/\"'", "/v1/x", "/none", "/ci/%22", "/ci/é"]),
            st.none() | st.text(st.characters(codec="latin-1"), max_size=20),
            st.none() | st.text(max_size=20),
            st.floats(0, 100),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_whatever_a_request_holds_every_line_is_json_and_says_just_that(
    asked: list[tuple[str, str, str | None, str | None, float]],
) -> None:
    """Attack: quotes, marks and line breaks that write fields, or whole lines, of one's own (THREATS 25)."""
    entries: list[Entry] = []
    for method, path, request_id, gateway_user, duration in asked:
        headers = [] if request_id is None else [("X-Request-ID", request_id)]
        one = entry(method, f"https://a.example{path}", *headers, user=gateway_user)
        entries.append((WALL, duration, *one[2:]))
    with TemporaryDirectory() as folder:
        log = AuditLog(f"{folder}/audit.log")
        for one in entries:
            log.add(one)
        log.close()
        lines = Path(folder, "audit.log").read_bytes().splitlines()
    assert [json.loads(line) for line in lines] == [json.loads(msgspec.json.encode(line_of(one))) for one in entries]


def test_a_line_break_stays_in_its_line(tmp_path: Path) -> None:
    """Attack: write audit lines of one's own (THREATS 25)."""
    found = line(tmp_path, entry("GET", "https://a.example/ci/x", ("X-Request-ID", 'a\n{"decision": "allow"}')))
    assert found["request_id"] == 'a\n{"decision": "allow"}'


@given(st.floats(0, 4e9))
def test_the_time_is_rfc_3339_in_utc(wall: float) -> None:
    told = line_of((wall, 0.0, RequestView(), Decision("route", DENIALS[FAULT]), None, None))
    assert abs(datetime.fromisoformat(told.time).timestamp() - wall) < 1.1e-3
    assert datetime.fromisoformat(told.time).tzinfo == UTC


class Later:
    """What would be called later; a test calls it now."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def __call__(self, seconds: float, call: Callable[[], None]) -> None:
        self.calls.append((seconds, call))


def test_a_line_waits_at_most_a_second_for_others(tmp_path: Path) -> None:
    later = Later()
    log = AuditLog(str(tmp_path / "audit.log"), later)
    one = entry("GET", "https://a.example/ci/x")
    for _ in range(3):
        log.add(one)
    ((seconds, flush),) = later.calls
    assert seconds < 1
    flush()
    log.add(one)
    assert len(later.calls) == 2
    log.close()
    assert len(written(tmp_path / "audit.log")) == 4


def test_a_full_batch_waits_for_nobody() -> None:
    crowd = Crowd()
    log = AuditLog("off", Later(), crowd)
    one = entry("GET", "https://a.example/ci/x")
    for _ in range(8 * (1000 + BATCH)):
        log.add(one)
    assert crowd.one_client == "192.0.2.1"


def test_lines_keep_their_order_and_the_file_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text("")
    log = AuditLog(str(path))
    view, decision = entry("GET", "https://a.example/ci/x")[2:4]
    for number in range(1000):
        log.add((number, 0.0, view, decision, None, None))
    log.close()
    times = [str(one["time"]) for one in written(path)]
    assert len(times) == 1000
    assert times == sorted(times)
    fresh = tmp_path / "fresh.log"
    AuditLog(str(fresh)).close()
    assert fresh.stat().st_mode & 0o007 == 0


def test_a_line_is_written_or_counted_whatever_the_disk_does(tmp_path: Path) -> None:
    """A slow disk costs lines, never memory without end and never a decision's time."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log = AuditLog(str(pipe))
    one = entry("GET", "https://a.example/ci/x")
    added = BATCH * (2 * MOST_BATCHES + 1)
    for _ in range(added):
        log.add(one)
    assert log.dropped > 0
    os.set_blocking(reader, True)
    lines: list[int] = []

    def drain() -> None:
        with os.fdopen(reader, "rb") as end:
            lines.append(sum(1 for _ in end))

    draining = threading.Thread(target=drain)
    draining.start()
    log.close()
    draining.join()
    assert lines == [added - log.dropped]


def test_what_a_full_disk_loses_is_counted() -> None:
    log = AuditLog("/dev/full")
    for _ in range(BATCH + 1):
        log.add(entry("GET", "https://a.example/ci/x"))
    log.close()
    assert log.dropped == BATCH + 1


def test_off_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = AuditLog("off")
    log.add(entry("GET", "https://a.example/ci/x"))
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_a_hyphen_is_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    log = AuditLog("-")
    log.add(entry("GET", "https://a.example/ci/x"))
    log.close()
    assert json.loads(capfd.readouterr().out)["route"] == "ci"
