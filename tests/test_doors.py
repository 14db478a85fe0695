"""One suite for both doors to decisions: the decision lane and the aiohttp door give the same answers to raw bytes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from forwardauth.config.load import Overrides, load
from forwardauth.server.lane import Lane
from forwardauth.service import Service
from forwardauth.telemetry.audit import AuditLog
from forwardauth.telemetry.metrics import Metrics
from forwardauth.web.verify import RUNNER_OPTIONS, verify_routes

CONFIGURATION = """
authenticators:
  ci: {token: {from: [{header: X-API-Token}], tokens: [{name: ci, value: right-token}]}}
routes:
  - {name: health, path: /health, public: true}
  - {name: kept, path: /kept/*, require: ci, pass_credentials: true}
  - {name: all, path: /*, require: ci}
"""

Ask = Callable[[bytes], Awaitable[bytes]]


@pytest.fixture(params=["httptools", "aiohttp", "mounted"])
async def ask(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ask]:
    """Sends bytes to a door on loopback, and answers all that came back until it closed or fell silent."""
    file = tmp_path / "forwardauth.yml"
    file.write_text(CONFIGURATION)
    snapshot = load(Overrides(config=str(file)), {}, b"k" * 32).snapshot
    service = Service(snapshot, {}, AuditLog("off"), Metrics("test"))
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    prefix = b"/inner" if request.param == "mounted" else b""
    if request.param == "httptools":
        server = await asyncio.get_running_loop().create_server(Lane(service, 10).connection, sock=listening)
    else:
        app = web.Application()
        app.add_routes(verify_routes(service, prefix.decode()))
        runner = web.AppRunner(app, **RUNNER_OPTIONS)
        await runner.setup()
        await web.SockSite(runner, listening).start()

    async def send(message: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(message.replace(b" /", b" " + prefix + b"/", 1) if prefix else message)
        received = b""
        try:
            async with asyncio.timeout(2):
                while part := await reader.read(65_536):
                    received += part
                    if complete(received):
                        break
        finally:
            writer.close()
        return received

    yield send
    if request.param == "httptools":
        server.close()
    else:
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
