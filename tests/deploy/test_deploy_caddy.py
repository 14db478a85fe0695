"""What is Caddy's own: the named route and where it may stand, the question, upgrades, the log, a CDN, the files."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import HOST, Client, render
from tests.deploy.rig.deployment import Deploy, Deployment, Sources
from tests.deploy.rig.files import DEPLOY, copied, fenced
from tests.deploy.rig.gateways import Gateway
from tests.deploy.rig.gateways.caddy import Caddy, CaddyTls
from tests.deploy.rig.programs import find, free_ports, wait_until
from tests.deploy.rig.relay import Relay
from tests.deploy.rig.server import ServerThread
from tests.deploy.rig.service import Setup
from tests.deploy.rig.setups import HEADER_TOKEN, TOKEN, bearer, token

MARK = "mallory"
CDN = "127.0.0.9"
STRANGER = "127.0.0.8"

PASSED = Setup(
    config=f"""
authenticators:
  ci: {{token: {{from: [{{header: X-API-Token}}], tokens: [{{name: ci, value: {TOKEN}}}]}}}}
routes:
  - {{name: passed, path: /passed/*, require: ci, pass_credentials: true}}
  - {{name: api, path: /*, require: ci, pass_credentials: foreign}}
"""
)
BEHIND_CDN = Setup(
    config=f"""
server: {{forwarded_depth: 2}}
authenticators:
  ci: {{token: {{from: [{{header: X-API-Token}}], tokens: [{{name: ci, value: {TOKEN}}}]}}}}
routes:
  - {{name: health, path: /health, public: true}}
  - {{name: api, path: /*, require: ci}}
"""
)


@dataclass
class Asked:
    """One question, as the service gets it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    has_body: bool

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass
class Verdicts:
    """Answers every question alike, none before as many as `together` are there, and remembers them."""

    port: int = field(default_factory=lambda: free_ports(1)[0])
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    together: int = 1
    asked: list[Asked] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        headers = [(name.decode(), value.decode("latin-1")) for name, value in request.raw_headers]
        self.asked.append(Asked(request.method, request.raw_path, headers, request.body_exists))
        self.connections.add(request.transport)
        if len(self.asked) >= self.together:
            self.complete.set()
        await self.complete.wait()
        response = web.Response(status=self.status, body=self.body)
        for name, value in self.headers:
            response.headers[name] = value
        return response

    def say(self, status: int, *headers: tuple[str, str], body: bytes = b"", together: int = 1) -> None:
        self.status, self.headers, self.body, self.together = status, list(headers), body, together
        self.asked.clear()
        self.complete = asyncio.Event()


@pytest.fixture(scope="module")
def verdicts() -> Iterator[Verdicts]:
    verdicts = Verdicts()
    server = ServerThread(verdicts.application, port=verdicts.port)
    server.start()
    yield verdicts
    server.stop()


@pytest.fixture(scope="module")
def caddy(tmp_path_factory: pytest.TempPathFactory, verdicts: Verdicts, running_backend: Backend) -> Iterator[Caddy]:
    """Caddy before those verdicts."""
    caddy = Caddy(tmp_path_factory.mktemp("caddy") / "gateway", verdicts.port, running_backend.port)
    caddy.start()
    yield caddy
    caddy.stop()


@pytest.fixture
def asking(caddy: Caddy, sources: Sources) -> Client:
    """Somebody before those verdicts."""
    return Client(caddy.port, sources.next())


@pytest.fixture
def site(deploy: Deploy) -> Deployment:
    return deploy("caddy", HEADER_TOKEN)


class TestTheQuestion:
    def test_is_about_the_request_and_says_nothing_of_the_clients_own(
        self, asking: Client, verdicts: Verdicts, backend: Backend
    ) -> None:
        """A client's query would be appended to `uri`, and its X-Forwarded-* be believed, where the file let it."""
        verdicts.say(200)
        target = "/v1/models?allow=1&scope=admin;x={env.HOME}"
        forged = [
            ("X-Forwarded-Method", "OPTIONS"),
            ("X-Forwarded-Uri", "/health"),
            ("X-Forwarded-Host", "public.example.com"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-For", "10.0.0.1"),
        ]
        assert asking.request("DELETE", target, forged, b"body").status == 200
        (asked,) = verdicts.asked
        assert (asked.method, asked.target, asked.has_body) == ("GET", "/verify/caddy", False)
        assert {name: asked.all(name) for name, _ in forged} == {
            "X-Forwarded-Method": ["DELETE"],
            "X-Forwarded-Uri": [target],
            "X-Forwarded-Host": [HOST],
            "X-Forwarded-Proto": ["http"],
            "X-Forwarded-For": [asking.source],
        }
        assert (backend.last.method, backend.last.target, backend.last.body) == ("DELETE", target, b"body")
        assert backend.last.all("X-Forwarded-Uri") == backend.last.all("X-Forwarded-Method") == []

    @pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 429, 500, 503])
    def test_is_answered_with_what_the_client_gets(
        self, asking: Client, verdicts: Verdicts, backend: Backend, status: int
    ) -> None:
        carried = {
            "Content-Type": "application/json",
            "Cache-Control": "no-store",
            "WWW-Authenticate": 'ApiKey realm="llm", header="X-API-Token"',
            "Retry-After": "7",
            "RateLimit": '"default";r=0;t=7',
            "x-should-retry": "false",
            "Location": "/auth/login?next=%2Fdashboard",
        }
        verdicts.say(status, *carried.items(), body=b'{"error": {"message": "{env.HOME}"}}')
        for method in ("GET", "POST"):
            answer = asking.request(method, "/v1/page.html", body=b"x" * 100 if method == "POST" else b"")
            assert (answer.status, answer.body) == (status, verdicts.body)
            assert {name: answer.all(name) for name in carried} == {name: [value] for name, value in carried.items()}
        assert backend.seen == []

    def test_gives_the_backend_what_the_200_carries_and_the_client_none_of_it(
        self, asking: Client, verdicts: Verdicts, backend: Backend
    ) -> None:
        verdicts.say(200, ("X-Auth-User", "bob"), ("X-Auth-Key", ""), ("Authorization", "Bearer ours"), ("X-Else", "1"))
        claims = [("X-Auth-User", MARK), ("X-Auth-Key", MARK), ("X-Auth-Tenant", MARK), bearer(MARK)]
        answer = asking.get("/v1/models", *claims, token(MARK), ("X-API-Key", MARK))
        assert not [name for name in answer.headers if name in ("X-Auth-User", "Authorization", "X-Else")]
        assert (backend.last.one("X-Auth-User"), backend.last.one("Authorization")) == ("bob", "Bearer ours")
        assert MARK not in str(backend.last.headers)
        assert backend.last.all("X-Else") == []

    @pytest.mark.parametrize("upgrade", [[], [("Upgrade", "websocket")]], ids=["plain", "upgrade"])
    def test_keeps_its_answer_from_a_client_that_names_it_away(
        self, asking: Client, verdicts: Verdicts, backend: Backend, upgrade: list[tuple[str, str]]
    ) -> None:
        """Attack: Connection names what is dropped before a request goes on, the identity too (RFC 9110 7.6.1)."""
        verdicts.say(200, ("X-Auth-User", "bob"), ("Authorization", "Bearer ours"))
        hop = ("Connection", "close, Upgrade, X-Auth-User, Authorization, X-Forwarded-For, X-Forwarded-Uri")
        assert asking.get("/v1/models", hop, *upgrade).status == 200
        assert verdicts.asked[0].all("X-Forwarded-Uri") == ["/v1/models"]
        assert (backend.last.one("X-Auth-User"), backend.last.one("Authorization")) == ("bob", "Bearer ours")
        assert backend.last.one("X-Forwarded-For") == asking.source


class TestPlaceholders:
    """Attack: `{env.SECRET}` in a value that Caddy copies, which would be read as Caddy's own configuration is."""

    VALUE = "Bearer {env.PATH}{http.request.header.X-API-Token}"

    def test_in_a_credential_are_handed_on_as_they_are(self, deploy: Deploy, backend: Backend) -> None:
        client = deploy("caddy", PASSED).client()
        assert client.get("/v1/models", token(), ("Authorization", self.VALUE)).status == 200
        assert backend.last.one("Authorization") == self.VALUE
        assert backend.last.one("X-API-Token") == ""


class CaddyWithMoreNames(Caddy):
    """With the page's line for what another configuration reads and writes."""

    name = "caddy-more-names"

    def route_changes(self) -> dict[str, str]:
        (line,) = fenced("caddy.md", "caddy other")
        return super().route_changes() | {
            r"(?m)^\t\t\tcopy_headers X-Auth-User": f"\t\t\t{line}\t\t\tcopy_headers X-Auth-User"
        }


class TestOtherNames:
    SETUP = Setup(
        config=f"""
authenticators:
  odd: {{token: {{from: [{{header: X-Goog-Api-Key}}, {{cookie: key}}], tokens: [{{name: ci, value: {TOKEN}}}]}}}}
routes:
  - {{name: open, path: /open, public: true}}
  - {{name: api, path: /*, require: odd}}
identity_headers: {{key: [Remote-User]}}
"""
    )

    def test_are_a_line_more(self, deploy: Deploy, backend: Backend) -> None:
        client = deploy(CaddyWithMoreNames, self.SETUP).client()
        for header in (("X-Goog-Api-Key", TOKEN), ("Cookie", f"theme=dark; key={TOKEN}")):
            assert client.get("/v1/models", header).status == 200
            assert backend.last.one("Remote-User") == "ci"
            assert TOKEN not in str(backend.last.headers)
        assert backend.last.one("Cookie") == "theme=dark"
        assert client.get("/open", ("Remote-User", MARK)).status == 400
        assert len(backend.seen) == 2


class TestUpgrades:
    @pytest.mark.parametrize(
        "upgrade",
        [
            [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")],
            [("Connection", "Upgrade"), ("Upgrade", "h2c"), ("Upgrade", "websocket")],
            [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Upgrade", "h2c")],
            [("Connection", "Upgrade"), ("Upgrade", "websocket, h2c")],
            [("Connection", "Upgrade"), ("Upgrade", "TLS/1.2")],
        ],
        ids=str,
    )
    def test_to_anything_but_a_websocket_stop_here(
        self, site: Deployment, backend: Backend, upgrade: list[tuple[str, str]]
    ) -> None:
        """Attack: a tunnel to a backend that knows h2c, opened on a public path, is asked about never again."""
        with site.client().connect() as connection:
            assert connection.request("GET", "/health", upgrade).status == 200
        assert (backend.last.all("Upgrade"), backend.last.all("Connection")) == ([], [])

    async def test_leave_the_connection_to_the_service_usable(
        self, site: Deployment, running_backend: Backend, tmp_path: Path
    ) -> None:
        """Caddy hands the client's Upgrade to the service too, which answers in HTTP and goes on in it."""
        relay = Relay(site.service.port)
        relay.start()
        relayed = Caddy(tmp_path / "relayed", relay.port, running_backend.port)
        relayed.start()
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
                for _ in range(3):
                    headers = {"Host": HOST, "X-API-Token": TOKEN}
                    async with session.ws_connect(f"{relayed.url}/v1/ws", headers=headers) as websocket:
                        await websocket.send_str("one")
                        assert await websocket.receive_str() == "echo one"
                    async with session.get(f"{relayed.url}/v1/models", headers={"Host": HOST}) as answer:
                        assert answer.status == 401
        finally:
            relayed.stop()
            relay.stop()
        assert relay.accepted <= 2


def placed(block: str) -> type[Caddy]:
    """Caddy with another site block than the shipped one."""

    class Placed(Caddy):
        name = "caddy-placed"

        def write_caddyfile(self) -> Path:
            path = super().write_caddyfile()
            head, brace, _ = path.read_text().partition(f"http://{HOST}:{self.port} {{\n")
            path.write_text(head + brace + block.replace("llm:8000", f"127.0.0.1:{self.backend_port}") + "}\n")
            return path

    return Placed


class TestWhereItMayStand:
    """Caddy sorts directives; wherever `invoke` is written in a site, it comes before what hands requests on."""

    BEHIND = placed("""
	reverse_proxy llm:8000
	invoke forwardauth
""")
    BESIDE_HANDLES = placed("""
	handle /v1/* {
		reverse_proxy llm:8000
	}
	handle_path /stripped/* {
		reverse_proxy llm:8000
	}
	handle {
		reverse_proxy llm:8000
	}
	invoke forwardauth
""")
    IN_A_ROUTE = placed("""
	route {
		invoke forwardauth
		reverse_proxy llm:8000
	}
""")
    IN_A_HANDLE = placed("""
	handle {
		reverse_proxy llm:8000
		invoke forwardauth
	}
""")
    BEHIND_A_REWRITE = placed("""
	invoke forwardauth
	reverse_proxy llm:8000
	rewrite /old/* /v1{uri}
""")

    @pytest.mark.parametrize(
        "gateway",
        [BEHIND, BESIDE_HANDLES, IN_A_ROUTE, IN_A_HANDLE, BEHIND_A_REWRITE],
        ids=["behind", "beside handles", "in a route", "in a handle", "behind a rewrite"],
    )
    def test_everything_is_asked_about(self, deploy: Deploy, backend: Backend, gateway: type[Caddy]) -> None:
        client = deploy(gateway, HEADER_TOKEN).client()
        for target in ("/v1/models", "/stripped/v1/models", "/else", "/old/x"):
            assert client.get(target).code == "missing_token_header", target
        assert backend.seen == []
        for target in ("/v1/models", "/stripped/v1/models", "/else", "/old/x"):
            claims = [("X-Auth-User", MARK), ("Connection", "close, X-Auth-Key")]
            assert client.get(target, token(), *claims).status == 200, target
            assert (backend.last.one("X-Auth-User"), backend.last.one("X-Auth-Key")) == ("", "token")
            assert backend.last.one("X-API-Token") == ""

    def test_a_rewritten_path_is_the_one_that_is_judged(self, deploy: Deploy, backend: Backend) -> None:
        """Rewrites come first, so the service sees what the backend will."""
        opened = placed("""
	invoke forwardauth
	reverse_proxy llm:8000
	rewrite /opened /health
	rewrite /health /closed
""")
        client = deploy(opened, HEADER_TOKEN).client()
        assert client.get("/opened").status == 200
        assert client.get("/health").status == 401
        assert [seen.target for seen in backend.seen] == ["/health"]


def log_lines(gateway: Gateway) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gateway.log.splitlines()]


def logged(gateway: Gateway, client: str, logger: str = "http.log.access") -> dict[str, Any]:
    """A client's first line of the log, which Caddy writes when the answer has gone."""

    def found() -> list[dict[str, Any]]:
        lines = [line for line in log_lines(gateway) if line.get("logger") == logger]
        return [line for line in lines if line["request"]["client_ip"] == client]

    wait_until(lambda: bool(found()), f"Caddy logs the request of {client}")
    return found()[0]


class CaddyAlone(Caddy):
    """Before a service that is not there."""

    name = "caddy-alone"

    def route_changes(self) -> dict[str, str]:
        return {r"forwardauth:9000": f"127.0.0.1:{free_ports(1)[0]}"}


class CaddyDebugging(Caddy):
    """With `debug`, which logs what the service answered."""

    name = "caddy-debugging"

    def options(self) -> list[str]:
        return ["debug"]


class CaddyImpatient(Caddy):
    """With the shipped bounds at a length that a test can wait for."""

    name = "caddy-impatient"

    def route_changes(self) -> dict[str, str]:
        return super().route_changes() | {
            "dial_timeout 2s": "dial_timeout 200ms",
            "response_header_timeout 15s": "response_header_timeout 300ms",
        }


class TestTheLog:
    def test_names_who_was_allowed_and_nobody_who_was_not(self, site: Deployment) -> None:
        """Attack: a client that calls itself X-Auth-Key: mallory, and is denied."""
        allowed, denied = site.client(), site.client()
        assert allowed.get("/v1/models?who=named", token(), ("X-Auth-User", MARK)).status == 200
        assert denied.get("/v1/models", ("X-Auth-Key", MARK), ("X-Auth-User", MARK)).status == 401
        assert denied.get("/v1/refuses", token()).status == 403
        line = logged(site.gateway, allowed.source)
        assert (line["request"]["uri"], line["status"]) == ("/v1/models", 200)
        assert (line["auth_key"], line["auth_user"]) == ("token", "")
        line = logged(site.gateway, denied.source)
        assert (line["status"], "auth_key" in line) == (401, False)
        for kept_back in (MARK, "planted", "resp_headers"):
            assert kept_back not in site.gateway.log

    def test_of_errors_holds_no_credential_either(self, deploy: Deploy) -> None:
        """Where the service does not answer, Caddy logs the whole request once more, as an error."""
        site = deploy(CaddyAlone, HEADER_TOKEN)
        client = site.client()
        secrets = [token(), ("X-Odd-Key", "sk-odd-key"), ("Cookie", "session=sk-cookie")]
        assert client.get("/v1/models?api_key=sk-query-key", *secrets).status == 502
        assert logged(site.gateway, client.source, "http.log.error")["status"] == 502
        for secret in (TOKEN, "sk-odd-key", "sk-cookie", "sk-query-key"):
            assert secret not in site.gateway.log

    def test_for_debugging_holds_none(self, deploy: Deploy) -> None:
        """Caddy logs the service's answer then, and what it hands on to the backend."""
        site = deploy(CaddyDebugging, PASSED)
        client = site.client()
        assert client.get("/passed/x?api_key=sk-query-key", token(), ("Cookie", "session=sk-cookie")).status == 200
        logged(site.gateway, client.source)
        assert "upstream roundtrip" in site.gateway.log
        for secret in (TOKEN, "sk-cookie", "sk-query-key"):
            assert secret not in site.gateway.log


@pytest.mark.parametrize(("backlog", "status"), [(100, 504), (0, 502)], ids=["connected", "not even connected"])
def test_a_service_that_hangs_is_given_up(
    running_backend: Backend, backend: Backend, sources: Sources, tmp_path: Path, backlog: int, status: int
) -> None:
    """The kernel takes connections, and nobody answers; with one in a queue for one it takes no further."""
    silent = socket.create_server(("127.0.0.1", free_ports(1)[0]), backlog=backlog)
    with silent, socket.create_connection(silent.getsockname()):
        caddy = CaddyImpatient(tmp_path / "gateway", silent.getsockname()[1], running_backend.port)
        caddy.start()
        try:
            client = Client(caddy.port, sources.next())
            assert [client.get(target, token()).status for target in ("/v1/models", "/health")] == [status, status]
        finally:
            caddy.stop()
    assert backend.seen == []


async def test_connections_are_kept_for_as_many_as_ask_at_once(caddy: Caddy, verdicts: Verdicts) -> None:
    """By default Caddy keeps 32 of them, and opens the others anew each time."""
    many = 64
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:

        async def ask() -> int:
            async with session.get(f"{caddy.url}/v1/models", headers={"Host": HOST}) as answer:
                await answer.read()
                return answer.status

        verdicts.connections.clear()
        for _ in range(3):
            verdicts.say(200, together=many)
            assert await asyncio.gather(*[ask() for _ in range(many)]) == [200] * many
    assert many <= len(verdicts.connections) < 1.5 * many


def test_an_answer_of_known_length_is_not_held_back(verdicts: Verdicts, sources: Sources, tmp_path: Path) -> None:
    """The backend, which is this test, sends the second half after the first has arrived."""
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as backend:
        backend.settimeout(10)
        verdicts.say(503)
        caddy = Caddy(tmp_path / "gateway", verdicts.port, backend.getsockname()[1])
        caddy.start()
        verdicts.say(200)
        try:
            with Client(caddy.port, sources.next()).connect() as connection:
                connection.send(render("GET", "/v1/models"))
                answering, _ = backend.accept()
                with answering:
                    answering.recv(65536)
                    answering.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nfirst")
                    with connection.open_response() as response:
                        assert response.read(5) == b"first"
                        answering.sendall(b"other")
                        assert response.read() == b"other"
        finally:
            caddy.stop()


class CaddyBehindCdn(Caddy):
    """The shipped variant; the CDN's only edge is 127.0.0.9."""

    name = "caddy-behind-cdn"
    caddyfile = "Caddyfile.cdn"

    def write_caddyfile(self) -> Path:
        path = super().write_caddyfile()
        text, count = re.subn(r"198\.51\.100\.0/24", f"{CDN}/32", path.read_text())
        assert count == 1
        path.write_text(text)
        return path


class TestBehindACdn:
    @pytest.fixture
    def behind(self, deploy: Deploy) -> Deployment:
        return deploy(CaddyBehindCdn, BEHIND_CDN)

    @pytest.fixture
    def edge(self, behind: Deployment) -> Client:
        return Client(behind.gateway.port, CDN)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("X-Forwarded-Uri", "/health"), ("X-Forwarded-Method", "OPTIONS"), ("X-Forwarded-Host", "other.example.com")],
    )
    def test_what_comes_through_it_does_not_choose_what_is_judged(
        self, edge: Client, backend: Backend, name: str, value: str
    ) -> None:
        """Attack: a client's own X-Forwarded-* through an edge that Caddy trusts."""
        client = ("X-Forwarded-For", "203.0.113.7")
        assert edge.get("/v1/models", client, (name, value)).status == 401
        assert edge.get("/v1/models", client, (name, value), token()).status == 200
        assert [seen.target for seen in backend.seen] == ["/v1/models"]
        assert backend.last.one("X-Forwarded-Host") == HOST

    def test_its_client_is_the_one_who_is_locked_out(self, edge: Client, behind: Deployment) -> None:
        """Attack: another address in front of the CDN's entry with every guess."""
        for number, status in enumerate((401, 401, 401, 401, 401, 429)):
            chain = ("X-Forwarded-For", f"192.0.2.{number}, 198.51.100.7")
            assert edge.get("/v1/models", token("guessed"), chain).status == status
        assert edge.get("/v1/models", token(), ("X-Forwarded-For", "198.51.100.8")).status == 200
        assert logged(behind.gateway, "198.51.100.7")["request"]["remote_ip"] == CDN

    def test_its_scheme_is_the_clients(self, edge: Client, backend: Backend) -> None:
        headers = [token(), ("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https")]
        assert edge.get("/v1/models", *headers).status == 200
        assert backend.last.one("X-Forwarded-Proto") == "https"

    def test_whoever_comes_past_it_is_refused(self, behind: Deployment, backend: Backend) -> None:
        """Attack: the origin's own address, and an X-Forwarded-For as the CDN would write it."""
        stranger = Client(behind.gateway.port, STRANGER)
        for headers in ([], [("X-Forwarded-For", "203.0.113.7")], [("X-Forwarded-For", "203.0.113.7, 127.0.0.9")]):
            answer = stranger.get("/v1/models", token(), *headers)
            assert (answer.status, answer.code) == (400, "malformed_subrequest")
        assert backend.seen == []


class TestEncrypted:
    @pytest.fixture
    def encrypted(self, deploy: Deploy) -> Deployment:
        return deploy(CaddyTls, HEADER_TOKEN)

    def test_is_as_closed(self, encrypted: Deployment, backend: Backend) -> None:
        client = Client(encrypted.gateway.other_port, encrypted.sources.next(), tls=True)
        assert client.get("/v1/models").code == "missing_token_header"
        assert client.get("/v1/models", token()).status == 200
        assert (backend.last.one("X-Forwarded-Proto"), backend.last.one("X-Auth-Key")) == ("https", "token")
        assert client.get("/v1/models", token(), host="other.example.com").status == 421
        assert len(backend.seen) == 1

    def test_and_plain_http_leads_there(self, encrypted: Deployment, backend: Backend) -> None:
        answer = encrypted.client().get("/v1/models", token())
        assert (answer.status, answer.headers["Location"]) == (308, f"https://{HOST}/v1/models")
        assert backend.seen == []


@pytest.mark.parametrize("gateway", [Caddy, CaddyTls, CaddyBehindCdn])
def test_caddy_starts_and_serves_without_a_warning(deploy: Deploy, gateway: type[Caddy]) -> None:
    site = deploy(gateway, HEADER_TOKEN)
    tls = gateway is CaddyTls
    client = Client(site.gateway.other_port if tls else site.gateway.port, site.sources.next(), tls=tls)
    assert client.get("/v1/models", token()).status == 200
    lines = log_lines(site.gateway)
    assert any(line["msg"] == "serving initial configuration" for line in lines)
    # Caddy says so of every listener without TLS, of the one for its own redirects too.
    without_tls = {f"HTTP/{version} skipped because it requires TLS" for version in (2, 3)}
    assert {line["msg"] for line in lines if line["level"] != "info"} == without_tls


class TestTheFiles:
    @staticmethod
    def run(tmp_path: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
        return subprocess.run([find("caddy"), *arguments], env=home, capture_output=True, text=True, timeout=30)

    @pytest.mark.parametrize("name", ["Caddyfile", "Caddyfile.cdn", "forwardauth.caddy"])
    def test_are_as_caddy_formats_them(self, tmp_path: Path, name: str) -> None:
        path = DEPLOY / "caddy" / name
        assert self.run(tmp_path, "fmt", path).stdout == path.read_text()

    @pytest.mark.parametrize("name", ["Caddyfile", "Caddyfile.cdn"])
    def test_are_valid_without_a_warning(self, tmp_path: Path, name: str) -> None:
        done = self.run(tmp_path, "validate", "--adapter", "caddyfile", "--config", DEPLOY / "caddy" / name)
        assert done.returncode == 0, done.stderr
        assert [line for line in done.stderr.splitlines() if json.loads(line)["level"] != "info"] == []

    def test_the_variant_for_a_cdn_is_the_other_and_two_lines(self) -> None:
        plain, cdn = (
            (DEPLOY / "caddy" / name).read_text().split("{\n", 1)[1] for name in ("Caddyfile", "Caddyfile.cdn")
        )
        lines = [line.strip() for line in cdn.splitlines() if line not in plain.splitlines()]
        assert [line for line in lines if not line.startswith("#")] == [
            "trusted_proxies static 198.51.100.0/24",
            "trusted_proxies_strict",
        ]
        assert set(plain.splitlines()) <= set(cdn.splitlines())

    def test_hold_what_the_page_shows(self) -> None:
        files = [(DEPLOY / "caddy" / name).read_text() for name in ("Caddyfile", "Caddyfile.cdn")]
        known = {line.strip() for text in files for line in text.splitlines()}
        shown = [line.strip() for block in fenced("caddy.md", "caddy") for line in block.splitlines()]
        assert [line for line in shown if not line.startswith("#") and line not in known] == []

    def test_are_valid_on_the_page_too(self, tmp_path: Path) -> None:
        copied("caddy/forwardauth.caddy", tmp_path, {})
        for number, block in enumerate(fenced("caddy.md", "caddy")):
            path = tmp_path / f"{number}.caddy"
            path.write_text(block)
            assert self.run(tmp_path, "fmt", path).stdout == block
            done = self.run(tmp_path, "validate", "--adapter", "caddyfile", "--config", path)
            assert done.returncode == 0, done.stderr
