"""Our aiohttp listeners: what they take in, how long they wait, and how they end."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from forwardauth.core.model import Subrequest
from forwardauth.core.reply import Reply
from forwardauth.doors import IDLE_SECONDS
from forwardauth.web.connection import Connection
from forwardauth.web.sites import Sites

CONTROL = b"%b HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer admin-token\r\n"
METRICS = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"


class Operations:
    """A service that remembers whom it was told to forget."""

    def __init__(self) -> None:
        self.cleared: list[str | None] = []

    def metrics(self) -> bytes:
        return b"number 1\n"

    def clear_lockouts(self, client: str | None) -> int:
        self.cleared.append(client)
        return 1


class Yes:
    """Allows everything."""

    def answer(self, subrequest: Subrequest) -> Reply:
        return Reply(200)


class Listener:
    """A listener on loopback."""

    def __init__(self, port: int) -> None:
        self.sites = Sites(16)
        self.operations: Any = Operations()
        self.port = port

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        yield reader, writer
        writer.close()

    async def answer(self, message: bytes) -> bytes:
        """All that comes back until the connection ends."""
        async with self.connected() as (reader, writer), asyncio.timeout(10):
            writer.write(message)
            return await reader.read()

    async def post(self, path: str, asked: object) -> tuple[int, Any]:
        """A control call, with the token."""
        body = json.dumps(asked).encode()
        head = CONTROL % f"POST {path}".encode() + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        answer = await self.answer(head + body)
        return int(answer.split(b" ")[1]), json.loads(answer.partition(b"\r\n\r\n")[2])


@pytest.fixture
async def admin() -> AsyncIterator[Listener]:
    """The admin listener of an idle service, for two connections."""
    listening = socket.create_server(("127.0.0.1", 0))
    listener = Listener(listening.getsockname()[1])
    await listener.sites.start_admin(listener.operations, "admin-token", "127.0.0.1", listening, 2)
    yield listener
    await listener.sites.stop()


@pytest.fixture
async def door() -> AsyncIterator[Listener]:
    """The aiohttp door, for two connections."""
    listening = socket.create_server(("127.0.0.1", 0))
    listener = Listener(listening.getsockname()[1])
    await listener.sites.start_decisions(Yes(), listening, 2)
    yield listener
    await listener.sites.stop()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[Connection]:
    """The connections that listeners take in."""
    queue: asyncio.Queue[Connection] = asyncio.Queue()

    class Noted(Connection):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            queue.put_nowait(self)

    monkeypatch.setattr("forwardauth.web.sites.Connection", Noted)
    return queue


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


async def test_headers_that_never_end_do_not_keep_operators_out(
    admin: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: take every connection of the admin listener, and say nothing."""
    monkeypatch.setattr("forwardauth.web.connection.HEAD_SECONDS", 0.2)
    async with admin.connected() as (one, first), admin.connected() as (two, second), asyncio.timeout(10):
        for writer in (first, second):
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: ")
        for reader in (one, two):
            assert (await reader.read()).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    answer = await admin.answer(METRICS.replace(b"Host", b"Connection: close\r\nHost"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_time_runs_only_while_headers_are_under_way(door: Listener, made: asyncio.Queue[Connection]) -> None:
    """It ends with the headers, wherever the packets end; rest and empty lines between requests are no slowness."""
    async with door.connected(), asyncio.timeout(10):
        connection = await made.get()
        for part in (b"", METRICS, b"\r\n", METRICS + METRICS, b"\r\n"):
            connection.data_received(part)
            assert connection._timer is None
        for split in range(1, len(METRICS)):
            connection.data_received(METRICS[:split])
            began = connection._timer
            assert began is not None
            connection.data_received(METRICS[split:])
            assert began.cancelled()
            assert connection._timer is None


async def test_a_silent_connection_rests_as_long_as_any(
    admin: Listener, door: Listener, made: asyncio.Queue[Connection]
) -> None:
    async with admin.connected(), door.connected(), asyncio.timeout(10):
        assert [(await made.get()).keepalive_timeout for _ in range(2)] == [IDLE_SECONDS, IDLE_SECONDS]


async def test_half_of_a_body_is_waited_for_no_longer_than_headers(
    admin: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forwardauth.web.admin.BODY_SECONDS", 0.2)
    half = CONTROL % b"POST /control/lockouts/clear" + b'Content-Length: 30\r\n\r\n{"client":'
    async with admin.connected() as (reader, writer), asyncio.timeout(10):
        writer.write(half)
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert admin.operations.cleared == []


async def test_the_end_waits_for_no_body(admin: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control call that never ends its body does not outlast the time that SIGTERM leaves."""
    monkeypatch.setattr("forwardauth.web.sites._DRAIN_SECONDS", 0.2)
    listening = socket.create_server(("127.0.0.1", 0))
    listener = Listener(listening.getsockname()[1])
    await listener.sites.start_admin(listener.operations, "admin-token", "127.0.0.1", listening, 2)
    async with listener.connected() as (_, writer), asyncio.timeout(5):
        writer.write(CONTROL % b"POST /control/lockouts/clear" + b'Content-Length: 30\r\n\r\n{"client":')
        await asyncio.sleep(0.1)
        await listener.sites.stop()


@pytest.mark.parametrize(
    "message",
    [b"nonsense\r\n\r\n", METRICS.replace(b"a\r\n", b"a\r\nAuthorization: Bearer SECRET\x01VALUE\r\n")],
    ids=["nonsense", "byte"],
)
async def test_nothing_of_a_malformed_request_is_repeated_or_logged(
    admin: Listener, caplog: pytest.LogCaptureFixture, message: bytes
) -> None:
    answer = await admin.answer(message)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b'\r\n\r\n{"error": "bad request"}')
    assert not caplog.records


@pytest.mark.parametrize("listener", ["admin", "door"])
@pytest.mark.parametrize(
    "lines",
    [b"X-Large: " + b"y" * 66_000, b"".join(b"X-%d: %b\r\n" % (number, b"y" * 700) for number in range(100))],
    ids=["one", "all"],
)
async def test_headers_that_are_too_large_are_431(
    admin: Listener, door: Listener, caplog: pytest.LogCaptureFixture, listener: str, lines: bytes
) -> None:
    answer = await {"admin": admin, "door": door}[listener].answer(METRICS[:-2] + lines)
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert answer.endswith(b'\r\n\r\n{"error": "request header fields too large"}')
    assert not caplog.records


@pytest.mark.parametrize("asked", [{"clients": "192.0.2.1"}, {"client": "192.0.2.1", "user": "bob"}])
async def test_an_unknown_word_forgets_nobody(admin: Listener, asked: dict[str, str]) -> None:
    """A slip of the finger is no way to say everybody."""
    word = list(asked)[-1]
    expected = {"error": f"{word}: unknown; known here: client"}
    assert await admin.post("/control/lockouts/clear", asked) == (400, expected)
    assert admin.operations.cleared == []


@pytest.mark.parametrize(("asked", "forgotten"), [({}, None), ({"client": "192.0.2.1"}, "192.0.2.1")])
async def test_a_known_word_forgets_whom_it_names(
    admin: Listener, asked: dict[str, str], forgotten: str | None
) -> None:
    assert await admin.post("/control/lockouts/clear", asked) == (200, {"cleared": 1})
    assert admin.operations.cleared == [forgotten]


async def test_an_unknown_word_is_explained_to_nobody(admin: Listener) -> None:
    status, said = await admin.post("/control/explain", {"method": "GET", "headres": []})
    assert (status, said) == (400, {"error": "headres: unknown; known here: method, url, headers, client"})


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"client": "\xff"}', b"null"])
async def test_a_body_that_is_no_object_is_400(admin: Listener, caplog: pytest.LogCaptureFixture, body: bytes) -> None:
    head = CONTROL % b"POST /control/lockouts/clear" + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer = await admin.answer(head + body)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b'{"error": "expected a JSON object"}')
    assert not caplog.records


async def test_open_connections_of_the_door_are_counted(door: Listener, admin: Listener) -> None:
    assert Sites(16).decision_connections == 0
    async with admin.connected(), door.connected():
        await until(lambda: door.sites.decision_connections == 1)
        async with door.connected():
            await until(lambda: door.sites.decision_connections == 2)
    await until(lambda: door.sites.decision_connections == 0)
    assert admin.sites.decision_connections == 0


async def test_as_many_connections_wait_as_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    create, asked = loop.create_server, []

    async def recorded(*arguments: Any, **options: Any) -> asyncio.Server:
        asked.append(options["backlog"])
        return await create(*arguments, **options)

    monkeypatch.setattr(loop, "create_server", recorded)
    sites = Sites(16)
    operations: Any = Operations()
    await sites.start_decisions(Yes(), socket.create_server(("127.0.0.1", 0)), 2)
    await sites.start_admin(operations, None, "127.0.0.1", socket.create_server(("127.0.0.1", 0)), 2)
    await sites.stop()
    assert asked == [16, 16]
