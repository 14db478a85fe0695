"""What is HAProxy's own: its action and how that fails, HTTP/2, TLS, upgrades, a CDN, the log, reloads, the files."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from aiohttp import web

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import HOST, Client, Headers, render
from tests.deploy.rig.deployment import Deploy, Deployment, Sources
from tests.deploy.rig.files import DEPLOY, fenced
from tests.deploy.rig.gateways.haproxy import Haproxy
from tests.deploy.rig.programs import find, free_ports, wait_until
from tests.deploy.rig.server import ServerThread
from tests.deploy.rig.setups import HEADER_TOKEN, TOKEN, token

MARK = "mallory"
CDN, ELSEWHERE = "127.77.0.1", "127.78.0.1"
UNAVAILABLE = b"Authentication is unavailable.\n"


@dataclass
class Asked:
    """One question, as the service gets it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    has_body: bool

    def all(self, name: str) -> list[str]:
        return sorted(value for key, value in self.headers if key.lower() == name.lower())


@dataclass
class Verdicts:
    """A service that answers every question alike, and remembers them."""

    port: int = field(default_factory=lambda: free_ports(1)[0])
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    asked: list[Asked] = field(default_factory=list)

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        headers = [(name.decode(), value.decode("latin-1")) for name, value in request.raw_headers]
        self.asked.append(Asked(request.method, request.raw_path, headers, request.body_exists))
        response = web.Response(status=self.status, body=self.body)
        for name, value in self.headers:
            response.headers.add(name, value)
        return response

    def say(self, status: int, *headers: tuple[str, str], body: bytes = b"") -> None:
        self.status, self.headers, self.body = status, list(headers), body
        self.asked.clear()


@pytest.fixture(scope="module")
def verdicts() -> Iterator[Verdicts]:
    verdicts = Verdicts()
    server = ServerThread(verdicts.application, port=verdicts.port)
    server.start()
    yield verdicts
    server.stop()


@pytest.fixture(scope="module")
def haproxy(
    tmp_path_factory: pytest.TempPathFactory, verdicts: Verdicts, running_backend: Backend
) -> Iterator[Haproxy]:
    """HAProxy before those verdicts."""
    haproxy = Haproxy(tmp_path_factory.mktemp("haproxy") / "gateway", verdicts.port, running_backend.port)
    haproxy.start()
    yield haproxy
    haproxy.stop()


@pytest.fixture
def asking(haproxy: Haproxy, sources: Sources) -> Client:
    """Somebody before those verdicts."""
    return Client(haproxy.port, sources.next())


@pytest.fixture
def site(deploy: Deploy) -> Deployment:
    return deploy("haproxy", HEADER_TOKEN)


class Edited(Haproxy):
    """The shipped files after `edits`: by file, what is replaced by what. Each must occur."""

    edits: ClassVar[dict[str, dict[str, str]]] = {}

    def command(self) -> list[str | Path]:
        command = super().command()
        for name, changes in self.edits.items():
            text = (self.folder / name).read_text()
            for old, new in changes.items():
                assert old in text, old
                text = text.replace(old, new)
            (self.folder / name).write_text(text)
        return command


@contextmanager
def running(gateway: Haproxy) -> Iterator[Client]:
    try:
        gateway.start()
        yield Client(gateway.port, "127.0.0.1")
    finally:
        gateway.stop()


class TestTheQuestion:
    def test_is_about_the_request_and_says_nothing_of_the_clients_own(
        self, asking: Client, verdicts: Verdicts, backend: Backend
    ) -> None:
        verdicts.say(200)
        target = "/v1/models?allow=1&scope=admin;x=%[src]"
        forged = [
            ("X-Forwarded-Method", "OPTIONS"),
            ("X-Forwarded-Uri", "/health"),
            ("x-forwarded-host", "public.example.com"),
            ("X-FORWARDED-PROTO", "https"),
            ("X-Forwarded-For", "10.0.0.1"),
            ("X-Forwarded-For", "10.0.0.2"),
        ]
        assert asking.request("DELETE", target, forged, b"body").status == 200
        (asked,) = verdicts.asked
        assert (asked.method, asked.target, asked.has_body) == ("GET", "/verify/haproxy", False)
        assert {name.title(): asked.all(name) for name, _ in forged} == {
            "X-Forwarded-Method": ["DELETE"],
            "X-Forwarded-Uri": [target],
            "X-Forwarded-Host": [HOST],
            "X-Forwarded-Proto": ["http"],
            "X-Forwarded-For": [asking.source],
        }
        assert (backend.last.method, backend.last.target, backend.last.body) == ("DELETE", target, b"body")
        assert backend.last.all("X-Forwarded-Uri") == backend.last.all("X-Forwarded-Method") == []

    def test_has_every_line_that_a_client_sent(self, asking: Client, verdicts: Verdicts) -> None:
        """The service refuses a key that stands there twice, and names that a backend would read as ours: it must see
        them.
        """
        verdicts.say(403)
        sent = [
            ("X-API-Token", "one"),
            ("x-api-token", "two"),
            ("Authorization", "Basic a, Bearer b"),
            ("X-Empty", ""),
            ("X_Forwarded_Uri", "/health"),
            ("X.Auth.User", MARK),
            ("Cookie", "a=b"),
        ]
        assert asking.get("/v1/models", *sent).status == 403
        (asked,) = verdicts.asked
        names = {name.lower() for name, _ in sent}
        assert {name: asked.all(name) for name in names} == {
            name: sorted(value for key, value in sent if key.lower() == name) for name in names
        }

    @pytest.mark.parametrize("more", [[], [("Transfer-Encoding", "chunked")]], ids=["a length", "chunks"])
    def test_has_no_body_and_announces_none(self, asking: Client, verdicts: Verdicts, more: Headers) -> None:
        """It is asked when the headers are complete: before the backend says that it will take the body."""
        verdicts.say(200)
        hop = [
            ("Connection", "keep-alive, X-Api-Token"),
            ("Keep-Alive", "timeout=5"),
            ("TE", "trailers"),
            ("Upgrade", "h2c"),
        ]
        sent = render("POST", "/v1/echo", [*hop, ("Expect", "100-continue"), token(), *more], b"3\r\nabc\r\n0\r\n\r\n")
        head, _, body = sent.partition(b"\r\n\r\n")
        with asking.connect() as connection:
            connection.send(head + b"\r\n\r\n")
            assert connection.socket.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            (asked,) = verdicts.asked
            connection.send(body)
            assert connection.receive("POST").body == (b"abc" if more else body)
        for name in ("Content-Length", "Transfer-Encoding", "Expect", "Connection", "Keep-Alive", "TE", "Upgrade"):
            assert asked.all(name) == []
        assert asked.all("X-API-Token") == [TOKEN]
        assert asked.all("Host") == ["forwardauth"]

    def test_has_the_whole_host(self, tmp_path: Path, verdicts: Verdicts, backend: Backend) -> None:
        """Attack: with `hdr(host)`, as most files have it, HAProxy routes `a,b` as a; of the last part alone, the
        service would judge b.
        """

        class Usual(Edited):
            edits: ClassVar = {"haproxy.cfg": {"req.fhdr(Host),host_only": "hdr(host)"}}

        verdicts.say(403)
        with running(Usual(tmp_path / "g", verdicts.port, backend.port)) as client:
            verdicts.asked.clear()
            # HAProxy 2.8 refuses such a host itself.
            assert client.get("/v1/models", host=f"{HOST},public.example.com").status in (400, 403)
        for asked in verdicts.asked:
            assert asked.all("X-Forwarded-Host") == [f"{HOST},public.example.com"]

    def test_of_too_many_lines_is_not_asked(self, asking: Client, verdicts: Verdicts, backend: Backend) -> None:
        """HAProxy's client leaves out what exceeds its table: a look-alike among a hundred headers would be left out,
        and go on to the backend.
        """
        verdicts.say(200)
        for many in (80, 88, 89, 92, 95, 97, 99, 110):
            padding = [(f"X-Pad-{number}", "x") for number in range(many - 3)]
            answer = asking.get("/v1/models", *padding, ("X_Auth_User", MARK))
            assert answer.status == (200 if many < 90 else 431 if many < 100 else 400), many
            assert (answer.body == b"Too many headers.\n") == (answer.status == 431)
        assert [asked.all("X_Auth_User") for asked in verdicts.asked] == [[MARK]] * 3
        assert len(backend.seen) == 3


class TestTheVerdict:
    @pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 429, 500, 503])
    @pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
    def test_of_a_denial_arrives_as_it_is(
        self, asking: Client, verdicts: Verdicts, backend: Backend, method: str, status: int
    ) -> None:
        carried = [
            ("Content-Type", "application/json"),
            ("Cache-Control", "no-store"),
            ("WWW-Authenticate", 'Basic realm="llm", charset="UTF-8", ApiKey realm="llm"'),
            ("Location", "https://auth.example.com/auth/login?next=%2F&x=${host}"),
            ("Retry-After", "7"),
            ("RateLimit", '"default";r=0;t=7'),
            ("Set-Cookie", "a=b"),
            ("Set-Cookie", "c=d; Path=/"),
            ("X-Empty", ""),
        ]
        verdicts.say(status, *carried, body=b'{"error": "quotes \\" %[src] \\u00e9"}')
        answer = asking.request(method, "/v1/models", body=b"x" * 100 if method == "POST" else b"")
        assert (answer.status, answer.body) == (status, b"" if method == "HEAD" else verdicts.body)
        for name in {name for name, _ in carried}:
            assert sorted(answer.all(name)) == sorted(value for key, value in carried if key == name)
        assert backend.seen == []

    @pytest.mark.parametrize("status", [201, 202, 204, 206, 299])
    def test_allows_by_exactly_200(self, asking: Client, verdicts: Verdicts, backend: Backend, status: int) -> None:
        verdicts.say(status, ("X-Auth-User", "bob"))
        answer = asking.get("/v1/models")
        assert (answer.status, answer.body) == (503, UNAVAILABLE)
        assert backend.seen == []

    def test_of_a_200_takes_the_clients_place(self, asking: Client, verdicts: Verdicts, backend: Backend) -> None:
        verdicts.say(200, ("X-Auth-User", "bob, the builder"), ("X-Auth-Email", ""), ("Authorization", "Bearer theirs"))
        claims = [("X-Auth-User", MARK), ("x-auth-user", MARK), ("X-Auth-Email", MARK), ("X-Auth-Tenant", MARK)]
        keys = [("Authorization", MARK), ("X-API-Key", MARK), ("X-API-Token", MARK), ("x-api-token", MARK)]
        assert asking.get("/v1/models", *claims, *keys).status == 200
        assert backend.last.all("X-Auth-User") == ["bob, the builder"]
        assert backend.last.all("Authorization") == ["Bearer theirs"]
        assert MARK not in str(backend.last.headers)

    def test_that_finds_no_room_lets_nobody_pass(self, asking: Client, verdicts: Verdicts, backend: Backend) -> None:
        """Without room HAProxy adds no header and says nothing: somebody would arrive as nobody."""
        verdicts.say(200, ("X-Auth-User", "bob"), ("X-Auth-Groups", "g" * 7_500), ("X-Auth-Tenant", "t" * 7_500))
        assert asking.get("/v1/models", ("X-Large", "x" * 20_000)).status == 200
        assert backend.last.one("X-Auth-Tenant") == "t" * 7_500
        backend.seen.clear()
        assert asking.get("/v1/models", ("X-Large", "x" * 56_500)).status == 503
        assert backend.seen == []

    def test_of_one_request_is_not_the_next_ones(self, asking: Client, verdicts: Verdicts, backend: Backend) -> None:
        with asking.connect() as connection:
            verdicts.say(200, ("X-Auth-User", "bob"))
            assert connection.request("GET", "/v1/models").status == 200
            verdicts.say(204)
            assert connection.request("GET", "/v1/models").status == 503
            verdicts.say(403, body=b"never")
            assert connection.request("GET", "/v1/models").body == b"never"
            verdicts.say(200)
            assert connection.request("GET", "/v1/models").status == 200
        assert [seen.one("X-Auth-User") for seen in backend.seen] == ["bob", ""]


class Broken:
    """A service that reads a question, answers `answer` and hangs up, or, without an answer, says nothing any more."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.asked = 0
        self._held: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", free_ports(1)[0]))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Broken:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for connection in self._held:
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            self._held.append(connection)
            if not connection.recv(65536):
                continue
            self.asked += 1
            if self.answer is not None:
                connection.sendall(self.answer)
                connection.close()


class Impatient(Edited):
    """A third of a second instead of fifteen."""

    edits: ClassVar = {"haproxy.cfg": {"timeout server 15s": "timeout server 300ms"}}


class TestFailures:
    """Every one denies, on public routes too: the service is the one who knows them."""

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"HTTP/1.1 200",
            b"HTTP/1.1 200 OK\r\nX-Auth-User: bob\r\n",
            b"200 OK\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX-Auth-Groups: " + b"x" * 70_000 + b"\r\n\r\n",
            b"SSH-2.0-OpenSSH\r\n\r\n",
        ],
        ids=lambda answer: answer[:40].decode() or "nothing",
    )
    def test_a_broken_answer_is_a_denial(
        self, tmp_path: Path, running_backend: Backend, backend: Backend, answer: bytes
    ) -> None:
        with Broken(answer) as service, running(Impatient(tmp_path / "g", service.port, backend.port)) as client:
            got = client.get("/health")
            assert (got.status in (502, 503), got.body) == (True, UNAVAILABLE)
            assert got.all("Content-Type") == ["text/plain"]
        assert backend.seen == []

    def test_a_service_that_hangs_is_asked_once(self, tmp_path: Path, backend: Backend) -> None:
        """HAProxy's Lua client would repeat the question three times, and one wrong key count as four."""
        with Broken(None) as service, running(Impatient(tmp_path / "g", service.port, backend.port)) as client:
            before = service.asked
            got = client.get("/v1/models")
            assert (got.status, got.body, service.asked - before) == (504, UNAVAILABLE, 1)
        assert backend.seen == []

    @pytest.mark.parametrize(
        "edits",
        [
            {"forwardauth.lua": {"core.httpclient()": "core.absent()"}},
            {"forwardauth.lua": {'txn.sf:req_fhdr("host")': "nil .. 1"}},
            {"forwardauth.lua": {'"abns@forwardauth-': '"abns@nobody-'}},
            {"forwardauth.lua": {'"txn.forwardauth_allowed"': '"txn.another"'}},
            {"haproxy.cfg": {"http-request lua.forwardauth": ""}},
        ],
        ids=["an error", "another error", "nobody listens", "another variable", "nobody asks"],
    )
    def test_a_broken_action_is_a_denial(
        self, tmp_path: Path, verdicts: Verdicts, backend: Backend, edits: dict[str, dict[str, str]]
    ) -> None:
        class Damaged(Edited):
            pass

        Damaged.edits = edits
        verdicts.say(200)
        with running(Damaged(tmp_path / "g", verdicts.port, backend.port)) as client:
            assert [client.get("/health").status, client.post("/v1/chat").status] == [503, 503]
        assert backend.seen == []

    def test_a_crowd_does_not_take_the_place_of_the_question(
        self, tmp_path: Path, verdicts: Verdicts, backend: Backend
    ) -> None:
        """A question is a connection of HAProxy's to itself. Frontends that fill the process would leave none for it,
        and nobody would be judged until somebody goes.
        """

        class Small(Edited):
            edits: ClassVar = {"haproxy.cfg": {"maxconn 4000": "maxconn 40", "maxconn 2000": "maxconn 20"}}

        verdicts.say(200)
        with ExitStack() as stack:
            client = stack.enter_context(running(Small(tmp_path / "g", verdicts.port, backend.port)))
            crowd = [stack.enter_context(client.connect()) for _ in range(20)]
            for _ in range(2):
                assert {each.request("GET", "/v1/models").status for each in crowd} == {200}


def literal(name: str, value: str) -> bytes:
    """A header field as HPACK writes one that is in no table (RFC 7541 6.2.2)."""
    return b"".join((b"\0", bytes([len(name)]), name.encode(), bytes([len(value)]), value.encode()))


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113 4.1."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def spoken(sock: socket.socket, fields: Headers) -> tuple[int, bytes]:
    """One request over HTTP/2 with whatever fields; its status and body, or 0 where the other side ends it."""
    data, headers, rst_stream, settings, goaway = 0, 1, 3, 4, 7
    request = frame(headers, 0x5, 1, b"".join(literal(name, value) for name, value in fields))
    sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(settings, 0, 0) + request)
    status, body = 0, b""
    with sock.makefile("rb") as answer:
        while len(head := answer.read(9)) == 9:
            payload = answer.read(int.from_bytes(head[:3]))
            kind, flags = head[3], head[4]
            if kind in (rst_stream, goaway):
                return 0, b""
            if kind == headers:
                # RFC 7541, appendix A: 8 to 14 are statuses; any other one is written out.
                known = dict(enumerate((200, 204, 206, 304, 400, 404, 500), 0x88))
                status = known.get(payload[0]) or int(payload[2:5])
            if kind == data:
                body += payload
            if kind in (headers, data) and flags & 1:
                return status, body
    return 0, b""


class TestHttp2:
    @pytest.fixture(params=["plain", "encrypted"])
    def dialled(self, request: pytest.FixtureRequest, site: Deployment) -> Iterator[socket.socket]:
        """A connection that speaks HTTP/2: by its first words, or as TLS agreed on (RFC 7301)."""
        encrypted = request.param == "encrypted"
        port = site.gateway.other_port if encrypted else site.gateway.port
        with socket.create_connection(("127.0.0.1", port), 10, source_address=(site.sources.next(), 0)) as sock:
            if not encrypted:
                yield sock
                return
            tls = ssl.create_default_context()
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
            tls.set_alpn_protocols(["h2"])
            with tls.wrap_socket(sock, server_hostname=HOST) as wrapped:
                assert wrapped.selected_alpn_protocol() == "h2"
                yield wrapped

    def asked_for(self, *more: tuple[str, str], authority: str = HOST, path: str = "/v1/models") -> Headers:
        return [(":method", "GET"), (":scheme", "https"), (":path", path), (":authority", authority), *more]

    def test_is_judged_alike(self, dialled: socket.socket, backend: Backend) -> None:
        claims = [("x-auth-user", MARK), ("x-forwarded-uri", "/health"), ("cookie", "a=b"), ("cookie", "c=d")]
        assert spoken(dialled, self.asked_for(("x-api-token", TOKEN), *claims))[0] == 200
        assert (backend.last.one("X-Auth-Key"), backend.last.one("X-Auth-User")) == ("token", "")
        assert (backend.last.one("Host"), backend.last.one("Cookie")) == (HOST, "a=b; c=d")
        assert backend.last.one("X-Forwarded-Proto") == ("https" if isinstance(dialled, ssl.SSLSocket) else "http")

    def test_gets_the_services_own_words(self, dialled: socket.socket, backend: Backend) -> None:
        status, body = spoken(dialled, self.asked_for())
        assert (status, b"missing_token_header" in body) == (401, True)
        assert backend.seen == []

    @pytest.mark.parametrize(
        "fields",
        [
            [("host", "other.example.com")],
            [("host", HOST), ("host", "other.example.com")],
            [("x_auth_user", MARK)],
            [("X-Auth-User", MARK)],
            [("connection", "upgrade"), ("upgrade", "h2c")],
            [("transfer-encoding", "chunked")],
            [(":path", "/health")],
            [(":authority", "other.example.com")],
        ],
        ids=str,
    )
    def test_tricks_change_no_judgement(self, dialled: socket.socket, backend: Backend, fields: Headers) -> None:
        """A second host, names that HTTP/2 forbids, fields of a connection: one host, one judgement, or no answer."""
        status, _ = spoken(dialled, self.asked_for(*fields))
        assert status in (0, 400, 401)
        assert backend.seen == []

    @pytest.mark.parametrize("authority", ["other.example.com", f"{HOST},other.example.com", f"x@{HOST}", f"{HOST}#"])
    def test_another_authority_reaches_nobody(self, dialled: socket.socket, backend: Backend, authority: str) -> None:
        status, _ = spoken(dialled, self.asked_for(("x-api-token", TOKEN), ("host", HOST), authority=authority))
        assert status in (0, 400, 421)
        assert backend.seen == []

    def test_a_websocket_is_known_for_one(self, haproxy: Haproxy, verdicts: Verdicts) -> None:
        """RFC 8441: it has neither Connection nor a Sec-WebSocket-Key, by which a page of another site is told."""
        verdicts.say(403)
        opening = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/v1/ws")]
        with socket.create_connection(("127.0.0.1", haproxy.port), 10) as sock:
            assert spoken(sock, [*opening, (":authority", HOST)])[0] == 403
        (asked,) = verdicts.asked
        assert [asked.all(name) for name in ("X-Forwarded-Method", "X-Forwarded-Proto")] == [["GET"], ["ws"]]


class TestTls:
    def test_says_https_to_the_service_and_the_backend(
        self, haproxy: Haproxy, verdicts: Verdicts, sources: Sources, backend: Backend
    ) -> None:
        verdicts.say(200)
        assert Client(haproxy.other_port, sources.next(), tls=True).get("/v1/models").status == 200
        (asked,) = verdicts.asked
        assert asked.all("X-Forwarded-Proto") == backend.last.all("X-Forwarded-Proto") == ["https"]


class TestUpgrades:
    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ([("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")], 200),
            ([("Connection", "Upgrade"), ("Upgrade", "TLS/1.2")], 200),
            ([("Upgrade", "h2c")], 200),
            ([("Upgrade", "websocket")], 200),
            ([("Connection", "X-Auth-Key, X-Auth-Method, Host")], 200),
            ([("Connection", "Upgrade"), ("Upgrade", "h2c, websocket")], 400),
            ([("Connection", "Upgrade"), ("Upgrade", "h2c"), ("Upgrade", "websocket")], 400),
        ],
        ids=str,
    )
    def test_only_a_websocket_is_handed_on(
        self, site: Deployment, backend: Backend, headers: Headers, status: int
    ) -> None:
        """Attack: `Upgrade: h2c` on a public path is a tunnel to a backend that knows it, with requests in it that
        nobody is asked about; a header that Connection names is gone behind the next proxy.
        """
        for target in ("/health", "/v1/models"):
            with site.client().connect() as connection:
                assert connection.request("GET", target, [token(), *headers]).status == status
        for seen in backend.seen:
            assert seen.all("Upgrade") == seen.all("Connection") == []
            assert seen.one("X-Auth-Method") == ("token" if seen.target == "/v1/models" else "")

    def test_a_websocket_is_nothing_but_that(self, asking: Client, verdicts: Verdicts, backend: Backend) -> None:
        verdicts.say(200)
        key = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        opening = [("Connection", "keep-alive, upgrade, X-Auth-User"), ("Upgrade", "WebSocket"), key]
        with asking.connect() as connection:
            assert connection.request("GET", "/v1/models", opening).status == 200
        assert [backend.last.all(name) for name in ("Connection", "Upgrade")] == [["upgrade"], ["websocket"]]
        assert [seen.all("X-Forwarded-Proto") for seen in (verdicts.asked[-1], backend.last)] == [["ws"], ["http"]]


class BehindCdn(Edited):
    """The documented variant, for a CDN at one address of this machine."""

    def command(self) -> list[str | Path]:
        (block,) = [block for block in fenced("haproxy.md", "haproxy") if "set-src" in block]
        documented = block.replace("198.51.100.0/24", CDN)
        self.edits = {
            "haproxy.cfg": {"    http-request lua.forwardauth": f"{documented}\n    http-request lua.forwardauth"}
        }
        return super().command()


class TestBehindACdn:
    @pytest.fixture
    def cdn(self, tmp_path: Path, verdicts: Verdicts, running_backend: Backend) -> Iterator[Haproxy]:
        verdicts.say(200)
        gateway = BehindCdn(tmp_path / "g", verdicts.port, running_backend.port)
        with running(gateway):
            verdicts.asked.clear()
            running_backend.seen.clear()
            yield gateway

    def test_its_clients_are_told_apart(self, cdn: Haproxy, verdicts: Verdicts, backend: Backend) -> None:
        """It keeps connections, too: what one client was called must not be the next one's name."""
        with Client(cdn.port, CDN).connect() as connection:
            for chain in ("203.0.113.7", "10.0.0.1, 203.0.113.8", "2001:db8::1"):
                assert connection.request("GET", "/v1/models", [("X-Forwarded-For", chain)]).status == 200
            assert connection.request("GET", "/v1/models").status == 200
            lines = [("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-For", "203.0.113.9")]
            assert connection.request("GET", "/v1/models", lines).status == 200
        expected = [["203.0.113.7"], ["203.0.113.8"], ["2001:db8::1"], [CDN], ["203.0.113.9"]]
        assert [asked.all("X-Forwarded-For") for asked in verdicts.asked] == expected
        assert [seen.all("X-Forwarded-For") for seen in backend.seen] == expected

    @pytest.mark.parametrize("chain", ["nonsense", "", "203.0.113.7, ", "unknown", "_203.0.113.7"])
    def test_what_is_no_address_is_nobodys(self, cdn: Haproxy, verdicts: Verdicts, chain: str) -> None:
        assert Client(cdn.port, CDN).get("/v1/models", ("X-Forwarded-For", chain)).status == 200
        assert [asked.all("X-Forwarded-For") for asked in verdicts.asked] == [[CDN]]

    def test_who_comes_past_it_is_not_believed(self, cdn: Haproxy, verdicts: Verdicts) -> None:
        assert Client(cdn.port, ELSEWHERE).get("/v1/models", ("X-Forwarded-For", "203.0.113.7")).status == 200
        assert [asked.all("X-Forwarded-For") for asked in verdicts.asked] == [[ELSEWHERE]]

    def test_nothing_else_of_it_is_believed(self, cdn: Haproxy, verdicts: Verdicts) -> None:
        forged = [("X-Forwarded-Uri", "/health"), ("X-Forwarded-Method", "OPTIONS"), ("X-Forwarded-Host", "x")]
        assert Client(cdn.port, CDN).get("/v1/models", *forged).status == 200
        (asked,) = verdicts.asked
        assert [asked.all(name) for name, _ in forged] == [["/v1/models"], ["GET"], [HOST]]


def test_the_log_has_a_line_for_each_request_and_names_the_caller(site: Deployment) -> None:
    caller = site.client()
    assert caller.get("/v1/logged?key=secret", token()).status == 200
    assert caller.post("/v1/logged").status == 401

    def ours() -> list[str]:
        return [line for line in site.gateway.log.splitlines() if "/v1/logged" in line or "verify" in line]

    wait_until(lambda: len(ours()) > 1, "HAProxy logs both")
    assert [re.sub(r"\[.*?\]|\b\d+ \d+(?= {)", "", line) for line in sorted(ours())] == [
        f'{caller.source}  "GET /v1/logged" 200  {{token}}',
        f'{caller.source}  "POST /v1/logged" 401  {{}}',
    ]


def test_a_reload_leaves_nobody_unanswered(tmp_path: Path, verdicts: Verdicts, running_backend: Backend) -> None:
    """An abstract socket cannot be taken over by a rename; the next process has to get it from the last one."""

    class Reloading(Haproxy):
        def command(self) -> list[str | Path]:
            return [*super().command(), "-W"]

    verdicts.say(200)
    gateway = Reloading(tmp_path / "g", verdicts.port, running_backend.port)
    with running(gateway) as client:
        assert gateway.program is not None
        assert gateway.program.process is not None
        for asked in range(2000):
            if asked % 200 == 0:  # a signal that comes while the master still starts is lost
                gateway.program.process.send_signal(signal.SIGUSR2)
            assert client.get("/v1/models").status == 200
            if gateway.log.count("Loading success") > 2:
                break
        else:
            pytest.fail("HAProxy does not reload")
        assert client.get("/v1/models").status == 200


class TestTheFiles:
    def test_haproxy_has_nothing_to_say_about_them(self, site: Deployment) -> None:
        """Zero warnings, by its own strictest check."""
        command = [find("haproxy"), "-c", "-dW", "-f", site.gateway.folder / "haproxy.cfg"]
        checked = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")

    def test_nor_while_it_serves(self, site: Deployment) -> None:
        client = site.client()
        assert (client.get("/v1/models", token()).status, client.get("/v1/models").status) == (200, 401)
        wait_until(lambda: site.gateway.log.count(client.source) > 1, "HAProxy logs both")
        assert "WARNING" not in site.gateway.log
        assert "ALERT" not in site.gateway.log

    def test_the_page_says_what_they_say(self) -> None:
        written = (DEPLOY / "haproxy/haproxy.cfg").read_text() + (DEPLOY / "haproxy/forwardauth.lua").read_text()
        blocks = [block for block in fenced("haproxy.md", "haproxy") if "set-src" not in block]
        lines = [line.partition("  # ")[0].strip() for block in blocks for line in block.splitlines()]
        assert blocks
        assert [line for line in lines if line and line not in written] == []
