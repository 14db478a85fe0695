"""Envoy: the request is the subrequest itself, behind the prefix."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.model import RequestView, Subrequest
from forwardauth.core.reply import Reply
from forwardauth.gateways.envoy import ENVOY
from forwardauth.gateways.lines import Names
from forwardauth.server.lane import Lane
from forwardauth.service import Service
from forwardauth.telemetry.audit import AuditLog
from forwardauth.telemetry.metrics import Metrics
from forwardauth.web.verify import RUNNER_OPTIONS, verify_routes
from tests.building import Bench, snapshot, word

WHOLE = {b"host": b"api.example.com", b"x-forwarded-proto": b"https", b"x-forwarded-for": b"192.0.2.1"}
CONFIGURATION = """
authenticators:
  ci: {token: {from: [{header: X-API-Token}], tokens: [{name: ci, value: right-token}]}}
routes:
  - {name: health, path: /health, public: true}
  - {name: read, host: api.example.com, path: /v1/*, methods: [GET, HEAD], require: ci}
"""


def read(target: bytes = b"/verify/envoy/v1/chat?x=1", method: bytes = b"POST", **changed: bytes | None) -> RequestView:
    """A view of a subrequest; by name, what is different of `WHOLE` or missing."""
    names = {"host": b"host", "proto": b"x-forwarded-proto", "client": b"x-forwarded-for"}
    fields = WHOLE | {names[name]: value for name, value in changed.items() if value is not None}
    missing = {names[name] for name, value in changed.items() if value is None}
    view = RequestView(peer_trusted=True, fields={name: fields[name] for name in fields if name not in missing})
    ENVOY.read(Subrequest(method, target, [], None), view)
    return view


def test_the_subrequest_is_the_request() -> None:
    view = read()
    assert view.unreadable is None
    assert (view.method, view.scheme, view.host, view.target, view.forwarded_for) == (
        b"POST",
        b"https",
        b"api.example.com",
        b"/v1/chat?x=1",
        b"192.0.2.1",
    )


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/verify/envoy/", b"/"),
        (b"/verify/envoy/?x=/public", b"/?x=/public"),
        (b"/verify/envoy//admin", b"//admin"),
        (b"/verify/envoy/../health", b"/../health"),
        (b"/verify/envoy/%2e%2e/health", b"/%2e%2e/health"),
        (b"/verify/envoy/verify/envoy/x", b"/verify/envoy/x"),
    ],
)
def test_what_stands_behind_the_prefix_is_the_target_raw(target: bytes, expected: bytes) -> None:
    assert read(target).target == expected


@pytest.mark.parametrize(
    "target",
    [
        b"",
        b"/",
        b"/v1/chat",
        b"/verify/envoy",
        b"/verify/envoy?/health",
        b"/verify/envoyx/health",
        b"//verify/envoy/health",
        b"/VERIFY/envoy/health",
        b"/verify/%65nvoy/health",
        b"http://api.example.com/verify/envoy/health",
    ],
)
def test_a_target_without_the_prefix_is_unreadable(target: bytes) -> None:
    assert read(target).unreadable is not None


@given(st.binary(max_size=60))
def test_nothing_of_a_target_is_lost_or_raised(rest: bytes) -> None:
    assert read(b"/verify/envoy/" + rest).target == b"/" + rest


@pytest.mark.parametrize("name", ["host", "proto", "client"])
@pytest.mark.parametrize("value", [None, b""], ids=["missing", "empty"])
def test_a_header_that_is_missing_or_empty_makes_it_unreadable(name: str, value: bytes | None) -> None:
    """Attack: an Envoy that does not send on X-Forwarded-For would make all clients one (THREATS 15)."""
    assert read(**{name: value}).unreadable is not None


def test_an_empty_method_is_unreadable() -> None:
    assert read(method=b"").unreadable is not None


@pytest.mark.parametrize("scheme", [b"ftp", b"HTTPS", b"https,http", b"https ", b"javascript"])
def test_nothing_but_a_scheme_is_a_scheme(scheme: bytes) -> None:
    assert read(proto=scheme).unreadable is not None


def test_another_gateways_headers_are_not_read() -> None:
    """Attack: Envoy passes on what a client wrote into them (THREATS 2)."""
    view = RequestView(fields=dict(WHOLE))
    view.fields |= {b"x-forwarded-uri": b"/public", b"x-forwarded-method": b"GET", b"x-forwarded-host": b"public"}
    view.fields |= {b"x-original-url": b"https://public/public", b"x-original-method": b"GET"}
    ENVOY.read(Subrequest(b"POST", b"/verify/envoy/admin", [], None), view)
    assert (view.method, view.host, view.target) == (b"POST", b"api.example.com", b"/admin")


@pytest.mark.parametrize("host", [b"a:80@b", b"a@b", b"a?x=", b"a#", b"a,b", b"a, b", b"a\\b", b"a b", b"a:80:80"])
def test_a_host_that_could_be_two_is_a_400(host: bytes) -> None:
    """Attack: Envoy joins two Host lines to `a,b`, which a virtual host of `*.example.com` serves (THREATS 40)."""
    decision = Bench("routes: [{path: /*, public: true}]").decide(read(host=host))
    assert word(decision) == "malformed_subrequest"


@pytest.mark.parametrize("target", [b"/../health", b"/health/..", b"/%2e%2e/health", b"/health%2f..", b"/\\health"])
def test_a_path_that_leaves_the_prefix_is_a_400(target: bytes) -> None:
    """Attack: behind a prefix, `..` names the service's own paths (THREATS 10)."""
    decision = Bench("routes: [{path: /*, public: true}]").decide(read(b"/verify/envoy" + target))
    assert word(decision) == "ambiguous_path"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, (("X-Auth-User", "bob"),)),
        Reply(401, (("WWW-Authenticate", "Bearer"),), b'{"error": {}}', "application/json"),
        Reply(429, (("Retry-After", "30"),), b"<p>", "text/html"),
        Reply(503),
    ],
    ids=lambda reply: str(reply.status),
)
def test_status_headers_and_body_are_carried(reply: Reply) -> None:
    assert ENVOY.write(reply) is reply
    assert ENVOY.carries_html


Ask = Callable[..., Awaitable[tuple[int, bytes]]]


@pytest.fixture(params=["lane", "aiohttp"])
async def ask(request: pytest.FixtureRequest) -> AsyncIterator[Ask]:
    """Asks a door on loopback over one kept connection, as Envoy writes it; answers status and body."""
    service = Service(snapshot(CONFIGURATION), {}, AuditLog("off"), Metrics("test"))
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    if request.param == "lane":
        server = await asyncio.get_running_loop().create_server(Lane(service, 10).connection, sock=listening)
    else:
        app = web.Application()
        app.add_routes(verify_routes(service))
        runner = web.AppRunner(app, **RUNNER_OPTIONS)
        await runner.setup()
        await web.SockSite(runner, listening).start()
    reader, writer = await asyncio.open_connection(*address)

    async def send(method: str, target: str, *lines: str) -> tuple[int, bytes]:
        # In the order and the spelling of Envoy 1.40: an announced body without a byte, in lower case.
        head = [f"{method} {target} HTTP/1.1", "host: api.example.com", "content-length: 0"]
        head += ["x-forwarded-proto: https", "x-forwarded-for: 192.0.2.1", "x-envoy-internal: true", *lines]
        writer.write("\r\n".join(head).encode() + b"\r\n\r\n")
        async with asyncio.timeout(2):
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = 0 if method == "HEAD" else int(answer.partition(b"\r\ncontent-length:")[2].split()[0])
            return int(answer.split()[1]), await reader.readexactly(length)

    yield send
    writer.close()
    if request.param == "lane":
        server.close()
    else:
        await runner.cleanup()


async def test_both_doors_answer_on_one_connection(ask: Ask) -> None:
    right = "x-api-token: right-token"
    assert (await ask("GET", "/verify/envoy/v1/chat", right))[0] == 200
    assert (await ask("HEAD", "/verify/envoy/v1/chat", right))[0] == 200
    assert (await ask("GET", "/verify/envoy/health?x=/verify/envoy/v1/"))[0] == 200
    for method, target, header, status, code in [
        ("GET", "/verify/envoy/v1/chat", "x-other: 1", 401, "missing_token_header"),
        ("POST", "/verify/envoy/v1/chat", right, 403, "no_route"),
        ("TRACE", "/verify/envoy/health", right, 403, "no_route"),
        ("GET", "/verify/envoy/v1/../health", right, 400, "ambiguous_path"),
        ("GET", "/verify/envoy/%2e%2e/health", right, 400, "ambiguous_path"),
        ("GET", "/verify/envoy/v1/%2fhealth", right, 400, "ambiguous_path"),
        ("GET", "/verify/envoy//v1//chat", "x-api-token: guessed", 401, "invalid_token"),
        ("GET", "/verify/envoy/v1/chat", "x.api.token: right-token", 400, "lookalike_header"),
    ]:
        found, body = await ask(method, target, header)
        assert (found, json.loads(body)["error"]["code"]) == (status, code), (method, target)
    for target in ("/verify/envoy", "/verify/envoy*", "/verify/envoy?/health"):
        assert (await ask("GET", target, right))[0] == 404
    assert (await ask("GET", "/verify/envoy/v1/chat", "upgrade: websocket", right))[0] == 200


def test_the_lines_of_odd_names() -> None:
    """`X-Auth-` names are the file's already; what a 200 may carry back is deleted first."""
    identity, kept, replaced = ENVOY.blocks(Names(("X-Auth-User", "Remote-User"), ("X-Goog-Api-Key",)))
    assert identity.text == "patterns: [{prefix: x-auth-}, {exact: remote-user}]"
    assert kept.text == "patterns:\n  - {exact: x-goog-api-key}"
    assert replaced.text == (
        "request_mutations:\n"
        "  - remove: x-goog-api-key\n"
        "  - append:\n"
        "      header:\n"
        "        key: X-Goog-Api-Key\n"
        '        value: "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:x-goog-api-key)%"'
    )
