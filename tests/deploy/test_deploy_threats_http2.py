"""Attacks in HTTP/2, which a gateway has to turn into HTTP/1.1 for the service and the backend.

Sent without TLS, by a client that knows beforehand that the gateway speaks it (RFC 9113 3.3). The shipped nginx does
not.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import HOST, render
from tests.deploy.rig.deployment import Deploy, Deployment
from tests.deploy.rig.gateways import PLAIN
from tests.deploy.rig.service import Setup
from tests.deploy.rig.setups import HEADER_TOKEN, TOKEN

MARK = "mallory"
PUBLIC, CLOSED = "public.example.com", "admin.example.com"
HOSTS = Setup(
    config=f"""
authenticators: {{ci: {{token: {{from: [{{header: X-API-Token}}], tokens: [{{name: ci, value: {TOKEN}}}]}}}}}}
routes:
  - {{name: open, host: {PUBLIC}, path: /*, public: true}}
  - {{name: closed, host: {CLOSED}, path: /*, require: ci}}
"""
)
WITHOUT_HTTP2 = {"nginx"}

Fields = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Said:
    """What came back: 0 where the stream or the connection was ended instead of an answer."""

    status: int
    body: bytes = b""


def asked_for(
    *more: tuple[str, str], method: str = "GET", path: str = "/v1/models", authority: str = HOST, scheme: str = "http"
) -> list[tuple[str, str]]:
    """The fields of a request; `more` stand behind them as they are."""
    return [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority), *more]


def spoken(site: Deployment, fields: Fields, body: bytes = b"") -> Said:
    """One request on a connection of its own, written as it is: nothing is checked before it is sent."""
    config = h2.config.H2Configuration(
        validate_outbound_headers=False, normalize_outbound_headers=False, validate_inbound_headers=False
    )
    connection = h2.connection.H2Connection(config)
    source = (site.sources.next(), 0)
    with socket.create_connection(("127.0.0.1", site.gateway.port), 5, source_address=source) as sock:
        connection.initiate_connection()
        connection.send_headers(1, fields, end_stream=not body)
        if body:
            connection.send_data(1, body, end_stream=True)
        try:
            sock.sendall(connection.data_to_send())
            return _answer(sock, connection)
        except (OSError, h2.exceptions.ProtocolError):
            return Said(0)


def _answer(sock: socket.socket, connection: h2.connection.H2Connection) -> Said:
    status, body = 0, b""
    while received := sock.recv(65536):
        for event in connection.receive_data(received):
            if isinstance(event, h2.events.ResponseReceived):
                status = int(dict(event.headers)[b":status"])
            elif isinstance(event, h2.events.DataReceived):
                body += event.data
            elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                return Said(0)
            elif isinstance(event, h2.events.StreamEnded):
                return Said(status, body)
        sock.sendall(connection.data_to_send())
    return Said(0)


@pytest.fixture(params=PLAIN)
def gateway(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(gateway: str, deploy: Deploy) -> Deployment:
    return deploy(gateway, HEADER_TOKEN)


def test_a_plain_request_is_judged_as_in_http_1(gateway: str, site: Deployment, backend: Backend) -> None:
    """The attacks below are heard: a request without anything odd passes with its key, and is refused without."""
    good, none = spoken(site, asked_for(("x-api-token", TOKEN))), spoken(site, asked_for())
    if gateway in WITHOUT_HTTP2:
        assert (good.status, none.status, backend.seen) == (0, 0, [])
        return
    assert (good.status, none.status) == (200, 401)
    assert b"missing_token_header" in none.body
    assert [seen.one("X-Auth-Key") for seen in backend.seen] == ["token"]


@pytest.mark.parametrize(
    "fields",
    [
        asked_for(path="/v1/models\r\nX-Auth-User: mallory"),
        asked_for(path="/v1/models HTTP/1.1\r\nHost: llm.example.com\r\nX-Pad: x"),
        asked_for(path="/health HTTP/1.1\r\n\r\nGET /v1/models"),
        asked_for(path="v1/models"),
        asked_for(path=""),
        asked_for(path="*"),
        asked_for(path="http://llm.example.com/v1/models"),
        asked_for(path="//health/../v1/models"),
        asked_for(path="/health\0/../v1/models"),
        asked_for(method="GET / HTTP/1.1\r\nX-Pad:"),
        asked_for(method="get"),
        asked_for(method=""),
        asked_for(method="TRACE"),
        asked_for(method="CONNECT"),
        asked_for(scheme="https://llm.example.com/health?"),
        asked_for(scheme="gopher"),
        asked_for(scheme=""),
        asked_for((":path", "/health")),
        asked_for((":method", "OPTIONS")),
        asked_for((":authority", "other.example.com")),
        asked_for((":protocol", "websocket"), method="CONNECT"),
        asked_for((":unknown", "x")),
        asked_for(("x-pad", "a"), (":path", "/health")),
        [("x-pad", "a"), *asked_for()],
        [(":method", "GET"), (":scheme", "http"), (":authority", HOST)],
        [(":scheme", "http"), (":path", "/v1/models"), (":authority", HOST)],
        asked_for(authority=""),
        asked_for(authority=f"{HOST}\r\nX-Auth-User: mallory"),
        asked_for(authority=f"{HOST}/health"),
        asked_for(authority=f"{HOST},public.example.com"),
    ],
    ids=lambda fields: ascii([field for field in fields if field not in asked_for()])[:80],
)
def test_an_odd_pseudo_header_reaches_nobody_without_a_key(site: Deployment, backend: Backend, fields: Fields) -> None:
    """Attack: line ends, spaces, doubles and gaps in what becomes the request line of HTTP/1.1 (THREATS 8, 40, 41)."""
    spoken(site, fields)
    assert {seen.target for seen in backend.seen} <= {"/health"}
    assert MARK not in str(backend.seen)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-pad", "a\r\nx-auth-user: mallory"),
        ("x-pad", "a\nx-auth-user: mallory"),
        ("x-pad", "a\0x-auth-user: mallory"),
        ("x-pad: a\r\nx-auth-user", MARK),
        ("x-auth-user: mallory\r\nx-pad", "a"),
        ("x-auth-user", MARK),
        ("X-Auth-User", MARK),
        ("x-Auth-user", MARK),
        ("x_auth_user", MARK),
        ("x.auth.user", MARK),
        (" x-auth-user", MARK),
        ("x-auth-user ", MARK),
        ("x-auth-user:", MARK),
        ("", MARK),
        ("connection", "x-auth-key"),
        ("connection", "close, x-auth-key, x-auth-method, x-api-token"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("keep-alive", "x"),
        ("te", "chunked"),
        ("proxy-connection", "keep-alive"),
        ("content-length", "5"),
        ("x-forwarded-uri", "/health"),
        ("x-original-url", f"http://{HOST}/health"),
        ("host", "other.example.com"),
    ],
    ids=ascii,
)
def test_an_odd_header_makes_nobody_of_the_caller(site: Deployment, backend: Backend, name: str, value: str) -> None:
    """Attack: names and bytes that are framing, hop-by-hop or ours in HTTP/1.1 (THREATS 2, 4, 16, 41, 46)."""
    spoken(site, asked_for((name, value)))
    assert backend.seen == []
    spoken(site, asked_for(("x-api-token", TOKEN), (name, value)))
    for seen in backend.seen:
        assert (seen.one("X-Auth-User"), seen.one("X-Auth-Key"), seen.target) == ("", "token", "/v1/models")
        # Nothing but a field of its own: where it arrives at all, it is one that no backend reads as ours.
        assert MARK not in "".join(text for key, text in seen.headers if "auth" in key.lower())


@pytest.mark.parametrize(
    "fields",
    [
        [("content-length", "0")],
        [("content-length", "5")],
        [("content-length", "1000")],
        [("content-length", "0"), ("content-length", "5")],
        [("content-length", "0x5")],
        [("transfer-encoding", "chunked")],
        [("transfer-encoding", "chunked"), ("content-length", "0")],
        [("x-pad", "a\r\ntransfer-encoding: chunked")],
        [("x-pad", "a\r\ncontent-length: 0")],
        [("expect", "100-continue")],
    ],
    ids=str,
)
@pytest.mark.parametrize("begin", [b"", b"0\r\n\r\n"], ids=["", "an empty chunk"])
def test_a_request_in_a_body_is_no_request(site: Deployment, backend: Backend, fields: Fields, begin: bytes) -> None:
    """Attack: a length or a coding that HTTP/2 ignores and HTTP/1.1 obeys (H2.CL, H2.TE; THREATS 41)."""
    hidden = begin + render("GET", "/v1/closed")
    spoken(site, asked_for(*fields, method="POST", path="/health"), hidden)
    client = site.client()
    assert client.get("/v1/models").status == 401
    assert client.get("/health").status == 200
    assert {seen.target for seen in backend.seen} <= {"/health"}


@pytest.mark.parametrize(
    ("authority", "more"),
    [
        (PUBLIC, [("host", CLOSED)]),
        (CLOSED, [("host", PUBLIC)]),
        ("", [("host", CLOSED)]),
        (CLOSED.upper(), [("host", PUBLIC)]),
        (f"{CLOSED}.", [("host", PUBLIC)]),
        (f"{CLOSED}:80@{PUBLIC}", []),
        (f"{PUBLIC}@{CLOSED}", []),
        (f"{CLOSED}:80?", []),
        (f"{CLOSED}#{PUBLIC}", []),
        (f"{CLOSED},{PUBLIC}", []),
        (f"{CLOSED}\\@{PUBLIC}", []),
        (f"{CLOSED} {PUBLIC}", []),
        (f"{CLOSED}\0", []),
        ("admin\u3002example\u3002com", []),
        (PUBLIC, [("host", PUBLIC), ("host", CLOSED)]),
        (PUBLIC, [(":authority", CLOSED)]),
        (PUBLIC, [("x-forwarded-host", CLOSED), ("forwarded", f"host={CLOSED}")]),
    ],
    ids=ascii,
)
def test_no_authority_opens_a_closed_host(
    gateway: str, deploy: Deploy, backend: Backend, authority: str, more: Fields
) -> None:
    """Attack: `:authority` beside another `host`, or one that two programs read differently (THREATS 40)."""
    site = deploy(gateway, HOSTS, [PUBLIC, CLOSED])
    spoken(site, asked_for(*more, authority=authority, path="/secret"))
    assert [seen for seen in backend.seen if CLOSED in seen.one("Host").lower()] == []


@pytest.mark.parametrize("crumbs", [["key=x", "a=b"], ["a=b"] * 40], ids=["two", "forty"])
def test_cookies_in_crumbs_are_one_line(gateway: str, site: Deployment, backend: Backend, crumbs: list[str]) -> None:
    """A browser may split its cookies over many fields (RFC 9113 8.2.3); the service must not take that for a trick."""
    cookies = [("cookie", crumb) for crumb in crumbs]
    said = spoken(site, asked_for(("x-api-token", TOKEN), *cookies))
    assert said.status == (0 if gateway in WITHOUT_HTTP2 else 200)
    assert [seen.one("Cookie") for seen in backend.seen] == ([] if gateway in WITHOUT_HTTP2 else ["; ".join(crumbs)])
