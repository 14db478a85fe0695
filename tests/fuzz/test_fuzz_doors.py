"""Both doors give the same answers to whatever is well-formed: the decision lane, and aiohttp in its place."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest
from aiohttp import web
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forwardauth.web.verify import RUNNER_OPTIONS, verify_routes
from tests.attacks.answers import Answer, answers
from tests.attacks.gate import DIALECTS, PATIENT, Asking, Gate, Header, subrequest, token
from tests.attacks.test_smuggling import with_lines

Send = Callable[[bytes], bytes]

OWN = {"date", "server", "connection", "keep-alive"}
"""Headers of a door, and none of the decision's."""


@pytest.fixture(scope="module")
def through_aiohttp() -> Iterator[Send]:
    """Sends bytes to the aiohttp door on loopback, and answers all that came back until it ended the connection."""
    with asyncio.Runner() as loop:
        listening = socket.create_server(("127.0.0.1", 0))
        application = web.Application()
        application.add_routes(verify_routes(Gate(PATIENT).service))
        runner = web.AppRunner(application, **RUNNER_OPTIONS)

        async def start() -> None:
            await runner.setup()
            await web.SockSite(runner, listening).start()

        async def send(message: bytes) -> bytes:
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            writer.write(message)
            async with asyncio.timeout(10):
                received = await reader.read(-1)
            writer.close()
            return received

        loop.run(start())
        yield lambda message: loop.run(send(message))
        loop.run(runner.cleanup())


LANE = Gate(PATIENT)


def through_the_lane(message: bytes) -> bytes:
    wire = LANE.connect()
    wire.send(message)
    wire.connection.connection_lost(None)
    return wire.transport.written


def decided(answer: Answer) -> tuple[int, list[Header], bytes]:
    """What the decision says in an answer."""
    return answer.status, sorted(header for header in answer.headers if header[0] not in OWN), answer.body


METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"]
TARGETS = ["/v1/chat", "/health", "//health", "/v1/%2e%2e/health", "/v1/a%2fb", "/", "/caf%c3%a9", "/v1?a=b&c", "/x;y"]
HOSTS = [
    "api.example.com",
    "open.example.com",
    "OPEN.example.com.",
    "open.example.com:8443",
    "a,b",
    "open.example.com@a",
]
CLIENTS = ["192.0.2.1", "10.0.0.1, 192.0.2.1", "2001:db8::1", "unknown"]
HEADERS: list[Header] = [
    token(),
    token("guess"),
    ("X-API-Token", ""),
    ("x_auth_user", "admin"),
    ("X.Auth.User", "admin"),
    ("X-Auth-User", "admin"),
    ("Authorization", "Bearer right-token"),
    ("Cookie", "a=b; c=d"),
    ("Cookie", "e=f"),
    ("Accept", "text/html"),
    ("Origin", "https://evil.example"),
    ("Access-Control-Request-Method", "GET"),
    ("X-Forwarded-Uri", "/health"),
    ("Forwarded", "for=x"),
    ("X-HTTP-Method-Override", "DELETE"),
    ("User-Agent", "caf\u00e9"),
    ("X-Long", "x" * 9_000),
    ("Connection", "keep-alive"),
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Expect", "100-continue"),
    ("Expect", "something-else"),
]
CHUNKED = b"Transfer-Encoding: chunked"
BODIES = [
    ([b"Content-Length: 5"], b"hello"),
    ([b"Content-Length: 0005"], b"hello"),
    ([b"content-length: 0"], b""),
    ([CHUNKED], b"5\r\nhello\r\n0\r\n\r\n"),
    ([CHUNKED], b"0\r\n\r\n"),
    ([CHUNKED], b"5;a=b\r\nhello\r\n0;c\r\nX-Trailer: x\r\n\r\n"),
    ([CHUNKED.upper()], b"1\r\nx\r\n0\r\n\r\n"),
]


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """One subrequest of some gateway, as it may write it."""
    url = f"https://{draw(st.sampled_from(HOSTS))}{draw(st.sampled_from(TARGETS))}"
    asking = Asking(draw(st.sampled_from(METHODS)), url, draw(st.sampled_from(CLIENTS)))
    headers = draw(st.lists(st.sampled_from(HEADERS), max_size=4, unique=True))
    without = draw(st.sampled_from(["", "", "", "X-Forwarded-For"]))
    message = subrequest(draw(st.sampled_from(DIALECTS)), asking, *headers, without=without)
    body = draw(st.none() | st.sampled_from(BODIES))
    return message if body is None else with_lines(message, *body[0]) + body[1]


LAST = subrequest("traefik", Asking(), ("Connection", "close"))


@settings(max_examples=300)
@given(st.lists(messages(), max_size=3))
@example([subrequest("traefik", Asking(), token(), ("Connection", "Upgrade"), ("Upgrade", "websocket"))] * 2)
@example([subrequest("nginx", Asking("POST"), token(), ("Expect", expected)) for expected in ("100-continue", "more")])
def test_both_doors_answer_alike(through_aiohttp: Send, asked: list[bytes]) -> None:
    """Attack: choose by a header, a body or a pipeline which of the two engines is the weaker one (THREATS 37, 41)."""
    message = b"".join([*asked, LAST])
    methods = [each.partition(b" ")[0] for each in [*asked, LAST]]
    lane, door = (answers(send(message), methods) for send in (through_the_lane, through_aiohttp))
    assert list(map(decided, lane)) == list(map(decided, door))
    assert lane[-1].closes
    assert door[-1].closes
