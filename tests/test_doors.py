"""One suite for both doors to decisions: the decision lane and the aiohttp door give the same answers to raw bytes."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest
from aiohttp import web

from forwardauth.config.load import Overrides, load
from forwardauth.doors import MOST_HEADERS
from forwardauth.server.lane import Lane
from forwardauth.service import Service
from forwardauth.telemetry.audit import AuditLog
from forwardauth.telemetry.metrics import Metrics
from forwardauth.web.sites import Sites
from forwardauth.web.verify import RUNNER_OPTIONS, verify_routes

CONFIGURATION = """
authenticators:
  ci: {token: {from: [{header: X-API-Token}], tokens: [{name: ci, value: right-token}]}}
routes:
  - {name: health, path: /health, public: true}
  - {name: kept, path: /kept/*, require: ci, pass_credentials: true}
  - {name: all, path: /*, require: ci}
"""


class Ask(Protocol):
    """Sends bytes to a door, and answers what came back: one answer, or all until the connection ended."""

    async def __call__(self, message: bytes, to_end: bool = False) -> bytes: ...


OURS = pytest.mark.parametrize("ask", ["httptools", "aiohttp"], indirect=True)
"""On our own listeners alone: an application that the door is mounted in chooses its own limits."""


@pytest.fixture(params=["httptools", "aiohttp", "mounted"])
async def ask(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ask]:
    """A door on loopback."""
    file = tmp_path / "forwardauth.yml"
    file.write_text(CONFIGURATION)
    snapshot = load(Overrides(config=str(file)), {}, b"k" * 32).snapshot
    service = Service(snapshot, {}, AuditLog("off"), Metrics("test"))
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    prefix = b"/inner" if request.param == "mounted" else b""
    lane = Lane(service, 10)
    sites = Sites(16)
    app = web.Application()
    app.add_routes(verify_routes(service, prefix.decode()))
    runner = web.AppRunner(app, **RUNNER_OPTIONS)
    if request.param == "httptools":
        lane.start()
        server = await asyncio.get_running_loop().create_server(lane.connection, sock=listening)
    elif request.param == "aiohttp":
        await sites.start_decisions(service, listening, 10)
    else:
        await runner.setup()
        await web.SockSite(runner, listening).start()

    async def send(message: bytes, to_end: bool = False) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(message.replace(b" /", b" " + prefix + b"/", 1) if prefix else message)
        received = b""
        try:
            async with asyncio.timeout(10):
                while part := await reader.read(65_536):
                    received += part
                    if complete(received) and not to_end:
                        break
        finally:
            writer.close()
        return received

    yield send
    if request.param == "httptools":
        server.close()
        lane.stop()
    await sites.stop()
    await runner.cleanup()


def complete(received: bytes) -> bool:
    """Whether the bytes are one answer, whole; one that announces the end is read to the end."""
    head, mark, body = received.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return (
        bool(mark)
        and b"connection: close" not in head.lower()
        and len(body) == int((lengths or [b":0"])[0].split(b":")[1])
    )


def subrequest(*more: str, uri: str = "/v1/x", endpoint: str = "/verify/traefik", method: str = "GET") -> bytes:
    lines = [
        f"{method} {endpoint} HTTP/1.1",
        "Host: 127.0.0.1:9000",
        "X-Forwarded-Method: POST",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: api.example.com",
        f"X-Forwarded-Uri: {uri}",
        "X-Forwarded-For: 192.0.2.7",
        *more,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def headers(answer: bytes) -> list[tuple[str, str]]:
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]


async def test_a_valid_token_is_200_with_every_identity_header_once(ask: Ask) -> None:
    answer = await ask(subrequest("X-API-Token: right-token"))
    assert status(answer) == 200
    identity = [header for header in headers(answer) if header[0].startswith("x-auth-")]
    assert identity == [
        ("x-auth-user", ""),
        ("x-auth-email", ""),
        ("x-auth-groups", ""),
        ("x-auth-tenant", ""),
        ("x-auth-key", "ci"),
        ("x-auth-method", "ci"),
    ]
    assert ("cache-control", "no-store") in headers(answer)
    assert not any(name in ("x-api-token", "authorization") for name, _ in headers(answer))


async def test_a_missing_token_is_401_with_its_body_and_challenge(ask: Ask) -> None:
    answer = await ask(subrequest())
    assert status(answer) == 401
    assert ("www-authenticate", 'ApiKey realm="forwardauth", header="X-API-Token"') in headers(answer)
    assert ("content-type", "application/json") in headers(answer)
    assert answer.endswith(
        b'{"error": {"message": "Missing X-API-Token header. Please provide your API token.", '
        b'"type": "authentication_error", "code": "missing_token_header"}}'
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_the_endpoint_accepts_any_method(ask: Ask, method: str) -> None:
    answer = await ask(subrequest("X-API-Token: right-token", method=method))
    assert status(answer) == 200


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("/health", 200),
        ("/health?x=1", 200),
        ("/", 404),
        ("/verify", 404),
        ("/verify/", 404),
        ("/verify/traefik/", 404),
        ("/verify/Traefik", 404),
        ("/verify/apisix", 404),
        ("/verify/%74raefik", 404),
        ("/verify/../health", 404),
        ("/verify/..%2fhealth", 404),
        ("//health", 404),
        ("/metrics", 404),
        ("/ready", 404),
        ("/auth/login", 404),
    ],
)
async def test_only_the_exact_raw_paths_exist(ask: Ask, endpoint: str, expected: int) -> None:
    """Attack: reach a path of another listener, or `/health` through the endpoint (THREATS 10, 39)."""
    assert status(await ask(subrequest(endpoint=endpoint))) == expected


async def test_the_endpoint_takes_nothing_from_its_own_query(ask: Ask) -> None:
    """Caddy and Envoy append the client's query to the endpoint's (THREATS 11)."""
    asked = subrequest(endpoint="/verify/traefik?allow=1&scope=admin&X-API-Token=right-token")
    assert status(await ask(asked)) == 401


@pytest.mark.parametrize(
    "lines",
    [("Host: b",), ("X-Forwarded-Uri: /health",), ("X-Forwarded-For: 10.0.0.1",), ("X-API-Token: a", "X-API-Token: b")],
    ids=["host", "uri", "for", "credential"],
)
async def test_a_repeated_header_that_decides_is_400(ask: Ask, lines: tuple[str, ...]) -> None:
    """Attack: two lines, of which one is believed (THREATS 3)."""
    assert status(await ask(subrequest(*lines))) == 400


async def test_a_missing_host_is_400(ask: Ask) -> None:
    asked = subrequest("X-API-Token: right-token").replace(b"Host: 127.0.0.1:9000\r\n", b"")
    assert status(await ask(asked)) == 400


async def test_an_announced_body_is_answered_and_the_connection_closed(ask: Ask) -> None:
    """What stands behind the headers is never taken for the next gateway request (THREATS 41)."""
    smuggled = subrequest("X-API-Token: right-token")
    asked = subrequest(f"Content-Length: {len(smuggled)}") + smuggled
    answer = await ask(asked)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert status(answer) == 401
    assert ("connection", "close") in headers(answer)


async def test_large_headers_pass(ask: Ask) -> None:
    """Attack: headers beyond a server's default limits (THREATS 32)."""
    assert status(await ask(subrequest("X-API-Token: right-token", "X-Other: " + "y" * 32_768))) == 200
    assert status(await ask(subrequest("X-API-Token: " + "y" * 32_768))) == 401


@pytest.mark.parametrize(
    "message", [b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00"]
)
async def test_malformed_http_is_400(ask: Ask, message: bytes) -> None:
    assert status(await ask(message)) == 400


BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 24\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    b'{"error": "bad request"}'
)
TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 28\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    b'{"error": "request timeout"}'
)
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 44\r\nContent-Type: application/json\r\n"
    b'Connection: close\r\n\r\n{"error": "request header fields too large"}'
)
BEGUN = b"GET /verify/traefik HTTP/1.1\r\nHost: a\r\n"


@OURS
@pytest.mark.parametrize(
    "message",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        BEGUN + b"X-API-Token: right-token\x01SECRET-VALUE\r\n\r\n",
        BEGUN + b"X-API-Token : SECRET-VALUE\r\n\r\n",
    ],
)
async def test_nothing_of_a_malformed_request_is_repeated_or_logged(
    ask: Ask, caplog: pytest.LogCaptureFixture, message: bytes
) -> None:
    """Attack: a credential with a broken byte, whose whole line ends in the log."""
    with caplog.at_level("DEBUG"):
        assert await ask(message) == BAD_REQUEST
    assert "SECRET-VALUE" not in caplog.text
    assert not [record for record in caplog.records if record.name != "asyncio"]


@OURS
async def test_too_many_headers_are_431(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    lines = b"".join(b"X-%d: y\r\n" % number for number in range(MOST_HEADERS))
    assert await ask(BEGUN + lines + b"\r\n") == TOO_LARGE
    assert not caplog.records


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers have next to no time."""
    monkeypatch.setattr("forwardauth.server.lane.HEAD_SECONDS", 0)
    monkeypatch.setattr("forwardauth.web.connection.HEAD_SECONDS", 0.2)


@OURS
async def test_headers_that_never_end_are_408(impatient: None, ask: Ask) -> None:
    """Attack: connections that begin a request and fall silent, until there is none left."""
    assert await ask(BEGUN + b"X-More: ") == TOO_SLOW


@OURS
async def test_headers_that_never_end_behind_a_whole_request_are_408(impatient: None, ask: Ask) -> None:
    answer = await ask(subrequest("X-API-Token: right-token") + b"\r\n" + BEGUN, to_end=True)
    assert status(answer) == 200
    assert answer.endswith(TOO_SLOW)


@pytest.mark.parametrize("value", [b"cl\xc3\xa9", b"cl\xe9", b"\xc3\xa9\xff\xe2\x82"], ids=["utf-8", "latin-1", "both"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_credential_of_any_bytes_is_handed_on_as_it_came(ask: Ask, value: bytes, method: str) -> None:
    asked = subrequest("X-API-Token: right-token", "Authorization: Bearer VALUE", uri="/kept/x", method=method)
    answer = await ask(asked.replace(b"VALUE", value))
    assert status(answer) == 200
    assert b"\r\nAuthorization: Bearer " + value + b"\r\n" in answer
    assert b"\r\nX-Auth-Key: ci\r\n" in answer


async def test_pass_credentials_repeats_them_under_their_own_names(ask: Ask) -> None:
    answer = await ask(subrequest("X-API-Token: right-token", "Authorization: Bearer backend", uri="/kept/x"))
    assert ("x-api-token", "right-token") in headers(answer)
    assert ("authorization", "Bearer backend") in headers(answer)


async def test_an_endpoint_with_the_path_behind_it_reads_that_path(ask: Ask) -> None:
    """Envoy asks with the client's own request behind its prefix, also where the application is mounted below one."""
    asked = b"%b /verify/envoy%b HTTP/1.1\r\nHost: api.example.com\r\nX-Forwarded-Proto: https\r\n"
    asked += b"X-Forwarded-For: 192.0.2.7\r\nX-API-Token: %b\r\n\r\n"
    assert status(await ask(asked % (b"POST", b"/v1/x?a=b", b"right-token"))) == 200
    assert status(await ask(asked % (b"POST", b"/v1/x", b"wrong-token"))) == 401
    assert status(await ask(asked % (b"GET", b"/../traefik", b"right-token"))) == 400
    assert status(await ask(asked % (b"GET", b"", b"right-token"))) == 404
