"""What is Envoy's own: which headers reach the service, what becomes of its answers, HTTP/2, the page's variants."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from forwardauth.core.guard import COMMON
from forwardauth.core.reply import IDENTITY_FIELDS
from forwardauth.core.routes import normalise_path
from forwardauth.doors import IDLE_SECONDS
from forwardauth.gateways.envoy import ENVOY
from forwardauth.gateways.lines import Names
from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import HOST, TIMEOUT, Client, connection_is_closed
from tests.deploy.rig.deployment import Deploy, Deployment, Sources
from tests.deploy.rig.files import DEPLOY, fenced
from tests.deploy.rig.gateways.envoy import Envoy
from tests.deploy.rig.programs import find, free_ports
from tests.deploy.rig.relay import Relay
from tests.deploy.rig.server import ServerThread
from tests.deploy.rig.service import Setup
from tests.deploy.rig.setups import TOKEN, basic, bearer, token
from tests.deploy.test_deploy_attacks import TRICKS

FILE = DEPLOY / "envoy" / "envoy.yaml"
PAGE = "envoy.md"

PASSING = Setup(
    config=f"""
authenticators:
  ci: {{token: {{from: [{{header: X-API-Token}}], tokens: [{{name: ci, value: {TOKEN}}}]}}}}
routes:
  - {{name: health, path: /health, public: true}}
  - {{name: passed, path: /passed/*, require: ci, pass_credentials: true}}
  - {{name: api, path: /*, require: ci}}
"""
)


def manager(config: dict[str, Any]) -> dict[str, Any]:
    """The connection manager of a configuration."""
    chain = config["static_resources"]["listeners"][0]["filter_chains"][0]
    found: dict[str, Any] = chain["filters"][0]["typed_config"]
    return found


def http_filter(config: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each["typed_config"] for each in manager(config)["http_filters"] if each["name"] == name]
    return dict(found)


def answers(config: dict[str, Any]) -> dict[str, Any]:
    """What of an answer of the service goes where."""
    service: dict[str, Any] = http_filter(config, "envoy.filters.http.ext_authz")["http_service"]
    return dict(service["authorization_response"])


class EditedEnvoy(Envoy):
    """The shipped file with the change that an operator makes."""

    def command(self) -> list[str | Path]:
        command = super().command()
        file = self.folder / "envoy.yaml"
        config = yaml.safe_load(file.read_text())
        self.edit(config)
        file.write_text(yaml.safe_dump(config))
        return command

    def edit(self, config: dict[str, Any]) -> None:
        raise NotImplementedError


@pytest.fixture
def site(deploy: Deploy) -> Deployment:
    return deploy("envoy", PASSING)


class TestTheFile:
    def test_is_valid_as_it_is_shipped(self) -> None:
        command = [find("envoy"), "--mode", "validate", "--log-level", "warning", "-c", FILE]
        checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (checked.returncode, checked.stderr.strip()) == (0, "")
        assert checked.stdout.strip() == f"configuration '{FILE}' OK"

    def test_starts_and_serves_without_a_warning(self, site: Deployment) -> None:
        assert site.client().get("/v1/models", basic(), token()).status == 200
        assert site.client().get("/v1/models").status == 401
        lines = [line for line in site.gateway.log.splitlines() if line]
        assert len(lines) >= 2
        assert [line for line in lines if not line.startswith("{")] == []

    def test_lets_envoy_end_resting_connections_before_the_service_does(self) -> None:
        """A question on a connection that the service is closing would be a 503."""
        clusters = yaml.safe_load(FILE.read_text())["static_resources"]["clusters"]
        (cluster,) = [cluster for cluster in clusters if cluster["name"] == "forwardauth"]
        (options,) = cluster["typed_extension_protocol_options"].values()
        assert float(options["common_http_protocol_options"]["idle_timeout"].rstrip("s")) < IDLE_SECONDS

    def test_logs_who_called_and_nothing_secret(self, site: Deployment) -> None:
        caller = site.client()
        assert caller.get("/v1/models?api_key=sk-query", token(), bearer("sk-bearer")).status == 200
        lines = [json.loads(line) for line in site.gateway.log.splitlines()]
        (line,) = [line for line in lines if line["client"] == caller.source]
        assert (line["path"], line["status"], line["key"]) == ("/v1/models", 200, "ci")
        assert "sk-" not in str(line)

    @pytest.mark.parametrize("name", ["X_Auth_User", "X_Api_Token", "X_Anything"])
    def test_refuses_underscores_before_it_asks(self, site: Deployment, name: str) -> None:
        answer = site.client().get("/health", (name, "x"))
        assert (answer.status, answer.code) == (400, "")

    def test_holds_the_lines_of_the_usual_names(self) -> None:
        """The lines that `check` prints for a configuration are those that stand here."""
        names = Names(tuple(IDENTITY_FIELDS.values()), ("Authorization", "X-API-Key", "X-API-Token"))
        config = yaml.safe_load(FILE.read_text())
        upstream, metadata, mutations = [yaml.safe_load(block.text) for block in ENVOY.blocks(names)]
        assert answers(config)["allowed_upstream_headers"] == upstream
        assert answers(config)["dynamic_metadata_from_headers"] == metadata
        assert http_filter(config, "forwardauth.credentials")["mutations"] == mutations


class TestThePage:
    def test_says_what_the_file_says(self) -> None:
        """The first block is the connection manager's part, line by line from the file."""
        block = fenced(PAGE, "yaml")[0]
        file = FILE.read_text()
        lines = [line.partition("#")[0].strip() for line in block.splitlines()]
        assert len(lines) > 10
        assert [line for line in lines if line not in file] == []


@dataclass
class Verdicts:
    """Answers every question of Envoy alike, and keeps their headers."""

    port: int = field(default_factory=lambda: free_ports(1)[0])
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    asked: list[web.Request] = field(default_factory=list)

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/verify/envoy/{rest:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        response = web.Response(status=self.status, body=self.body)
        response.content_type = "application/json"
        for name, value in self.headers:
            response.headers.add(name, value)
        return response

    def deny(self, status: int, body: bytes = b"", *headers: tuple[str, str]) -> None:
        self.status, self.body, self.headers = status, body, list(headers)

    @property
    def last(self) -> web.Request:
        return self.asked[-1]


@pytest.fixture(scope="module")
def running_verdicts() -> Iterator[Verdicts]:
    verdicts = Verdicts()
    server = ServerThread(verdicts.application, port=verdicts.port)
    server.start()
    yield verdicts
    server.stop()


@pytest.fixture
def verdicts(running_verdicts: Verdicts) -> Verdicts:
    """The service's part, allowing again."""
    running_verdicts.status, running_verdicts.headers, running_verdicts.body = 200, [], b""
    running_verdicts.asked.clear()
    return running_verdicts


@pytest.fixture(scope="module")
def alone(
    tmp_path_factory: pytest.TempPathFactory, running_verdicts: Verdicts, running_backend: Backend
) -> Iterator[Envoy]:
    """Envoy before `verdicts` instead of the service."""
    envoy = Envoy(tmp_path_factory.mktemp("envoy") / "gateway", running_verdicts.port, running_backend.port)
    envoy.start()
    yield envoy
    envoy.stop()


@pytest.fixture
def caller(alone: Envoy, sources: Sources) -> Client:
    return Client(alone.port, sources.next())


class TestTheQuestion:
    # Envoy says these three itself; `Upgrade` needs a connection that is upgraded.
    CLIENTS = sorted(name.decode() for name in COMMON - {b"host", b"upgrade", b"x-request-id"})
    CREDENTIALS = ["authorization", "x-api-key", "x-api-token", "cookie", "x-goog-api-key", "x-dashboard-key"]
    REFUSED = ["x.auth.user", "x~api~token", "xauthuser", "x.forwarded.for", "remote-user"]
    OVERRIDES = ["x-http-method-override", "x-http-method", "x-method-override", "xhttpmethod"]

    @pytest.mark.parametrize("name", [*CLIENTS, *CREDENTIALS, *REFUSED, *OVERRIDES])
    def test_holds_every_header_that_decides(self, caller: Client, verdicts: Verdicts, name: str) -> None:
        """Envoy sends on what it is told to: a name that it leaves out is one that nobody looks at."""
        assert caller.get("/v1/models", (name, "as-sent")).status == 200
        assert verdicts.last.headers.getall(name) == ["as-sent"]

    @pytest.mark.parametrize(
        ("name", "value"),
        [("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-Proto", "https"), ("X-Request-Id", "invented")],
    )
    def test_holds_envoys_own_word_for_what_envoy_knows(
        self, caller: Client, verdicts: Verdicts, name: str, value: str
    ) -> None:
        assert caller.get("/v1/models", (name, value), (name, value)).status == 200
        (said,) = verdicts.last.headers.getall(name)
        assert said not in ("", value)
        assert verdicts.last.headers["X-Forwarded-For"] == caller.source

    def test_holds_the_true_address_of_a_client_on_this_machine(self, alone: Envoy, verdicts: Verdicts) -> None:
        """Envoy takes 127.0.0.1 for itself and appends the address of its first interface instead."""
        assert Client(alone.port, "127.0.0.1").get("/v1/models").status == 200
        assert verdicts.last.headers.getall("X-Forwarded-For") == ["127.0.0.1"]

    def test_is_the_request_itself_without_its_body(self, caller: Client, verdicts: Verdicts) -> None:
        assert caller.post("/v1/echo?x=%2e%2e/y", body=b"x" * 100).status == 200
        assert (verdicts.last.method, verdicts.last.raw_path) == ("POST", "/verify/envoy/v1/echo?x=%2e%2e/y")
        assert (verdicts.last.host, verdicts.last.content_length) == (HOST, 0)

    def test_tells_of_an_upgrade(self, caller: Client, verdicts: Verdicts) -> None:
        """A foreign page may open a WebSocket: by `Upgrade` the service knows that it has to look."""
        upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "x")]
        with caller.connect() as connection:
            connection.request("GET", "/v1/models", upgrade)
        assert verdicts.last.headers["Upgrade"] == "websocket"

    @pytest.mark.parametrize("name", ["X-Envoy-Upstream-Rq-Timeout-Ms", "X-Envoy-Expected-Rq-Timeout-Ms"])
    def test_is_given_its_time_whatever_a_client_says(self, alone: Envoy, verdicts: Verdicts, name: str) -> None:
        """A client that Envoy takes for an internal one, at 127.0.0.1 for example, may set timeouts by header."""
        assert Client(alone.port, "127.0.0.1").get("/v1/models", (name, "1")).status == 200
        assert verdicts.last.headers["X-Envoy-Expected-Rq-Timeout-Ms"] == "21000"

    def test_is_not_asked_for_a_host_that_nobody_serves(self, caller: Client, verdicts: Verdicts) -> None:
        assert caller.get("/v1/models", host="other.example.com").status == 404
        assert verdicts.asked == []

    @pytest.mark.parametrize("port", ["", ":80", ":8443"])
    def test_is_asked_whatever_the_port(self, caller: Client, verdicts: Verdicts, port: str) -> None:
        assert caller.get("/v1/models", host=HOST + port).status == 200
        assert verdicts.last.headers["Host"] == HOST + port

    def test_with_a_header_twice_holds_one_that_nobody_knows(self, caller: Client, verdicts: Verdicts) -> None:
        """Two keys become one, which is wrong: nobody chooses which of them the service sees."""
        assert caller.get("/v1/models", token(), token("second")).status == 200
        assert verdicts.last.headers.getall("X-API-Token") == [f"{TOKEN},second"]


class TestTheAnswer:
    CARRIED = {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "WWW-Authenticate": 'Basic realm="llm", charset="UTF-8", ApiKey realm="llm", header="X-API-Token"',
        "Retry-After": "7",
        "retry-after-ms": "7000",
        "RateLimit": '"default";r=0;t=7',
        "RateLimit-Policy": '"default";q=5;w=60',
        "x-should-retry": "false",
    }

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
    @pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
    def test_that_denies_arrives_as_it_was_meant(
        self, caller: Client, verdicts: Verdicts, backend: Backend, method: str, status: int
    ) -> None:
        body = b'{"error": {"message": "percent %REQ(X)% %% braces {} \\u00e9 <b>"}}'
        verdicts.deny(status, body, *self.CARRIED.items(), ("X-Auth-User", "mallory"), ("X-Other", "inside"))
        answer = caller.request(method, "/v1/x", body=b"x" * 100 if method in ("POST", "PUT") else b"")
        assert (answer.status, answer.body) == (status, body)
        assert answer.all("Content-Type") == ["application/json"]
        assert {name: answer.all(name) for name in self.CARRIED} == {
            name: [value] for name, value in self.CARRIED.items()
        }
        assert not [name for name in answer.headers if name.lower().startswith(("x-auth-", "x-other", "x-envoy-"))]
        assert backend.seen == []

    def test_that_redirects_arrives(self, caller: Client, verdicts: Verdicts, backend: Backend) -> None:
        location = "https://auth.example.com/auth/login?next=https%3A%2F%2Fllm.example.com%2Fdashboard"
        cookies = [("Set-Cookie", "state=a; HttpOnly"), ("Set-Cookie", "csrf=b; HttpOnly")]
        verdicts.deny(302, b"", ("Location", location), *cookies)
        answer = caller.get("/dashboard")
        assert (answer.status, answer.all("Location")) == (302, [location])
        assert answer.all("Set-Cookie") == [value for _, value in cookies]
        assert backend.seen == []

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_that_is_no_answer_is_a_503(
        self, caller: Client, verdicts: Verdicts, backend: Backend, status: int
    ) -> None:
        """Of the service's own 503 the status arrives; Envoy drops the body of any 5xx."""
        verdicts.deny(status, b'{"error": {}}', ("Retry-After", "1"))
        answer = caller.get("/v1/models")
        assert (answer.status, answer.body) == (503, b"")
        assert backend.seen == []

    @pytest.mark.parametrize("status", [201, 202, 204, 206])
    def test_that_is_nearly_a_200_opens_nothing(
        self, caller: Client, verdicts: Verdicts, backend: Backend, status: int
    ) -> None:
        verdicts.deny(status)
        caller.get("/v1/models")
        assert backend.seen == []

    def test_that_allows_tells_the_client_nothing(self, caller: Client, verdicts: Verdicts) -> None:
        verdicts.headers = [("X-Auth-User", "alice"), ("Authorization", "Bearer inside"), ("Cache-Control", "no-store")]
        answer = caller.get("/v1/models")
        assert answer.status == 200
        assert "inside" not in str(answer.headers)
        assert not [name for name in answer.headers if name.lower().startswith(("x-auth-", "x-envoy-", "cache-"))]

    @pytest.mark.parametrize("name", ["X-Auth-User", "X-Auth-Email", "X-Auth-Groups", "X-Auth-Tenant", "X-Auth-Key"])
    def test_that_forgets_a_name_leaves_none_of_the_clients(
        self, caller: Client, verdicts: Verdicts, backend: Backend, name: str
    ) -> None:
        """Envoy deletes no header that the 200 does not carry (seen): the client's own would pass as the verdict."""
        assert caller.get("/v1/models", (name, "mallory"), (name.lower(), "mallory")).status == 200
        assert backend.last.one(name) == ""

    @pytest.mark.parametrize(
        "value",
        [
            'Bearer quote " backslash \\ braces {} percent %REQ(:PATH)% %% %',
            "Bearer a,b",
            "Bearer caf\u00e9 \u00ff",
            "Basic " + "x" * 30_000,
        ],
        ids=["signs", "comma", "beyond ASCII", "long"],
    )
    def test_that_hands_a_credential_on_hands_on_its_bytes(
        self, caller: Client, verdicts: Verdicts, backend: Backend, value: str
    ) -> None:
        verdicts.headers = [("Authorization", value)]
        assert caller.get("/v1/models", ("Authorization", "Bearer mine"), token()).status == 200
        # The backend keeps bytes as Latin-1, and the answer was written as UTF-8.
        assert backend.last.one("Authorization").encode("latin-1").decode() == value
        assert backend.last.one("X-API-Token") == ""

    def test_of_one_request_is_not_anothers(self, caller: Client, verdicts: Verdicts, backend: Backend) -> None:
        """What waits in metadata belongs to a request, on a kept connection too."""
        with caller.connect() as connection:
            verdicts.headers = [("Authorization", "Bearer of the first"), ("X-Auth-User", "first")]
            assert connection.request("GET", "/v1/models").status == 200
            verdicts.headers = []
            assert connection.request("GET", "/v1/models").status == 200
        assert [seen.one("Authorization") for seen in backend.seen] == ["Bearer of the first", ""]
        assert [seen.one("X-Auth-User") for seen in backend.seen] == ["first", ""]


class TestUpgrades:
    @pytest.mark.parametrize("offered", ["h2c", "h2c, websocket", "websocket, h2c", "TLS/1.0", "foo"])
    def test_other_than_websocket_open_no_tunnel(self, site: Deployment, backend: Backend, offered: str) -> None:
        """A tunnel by h2c on a public path: nobody is asked about the requests in there."""
        upgrade = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", offered), ("HTTP2-Settings", "AAMAAABkAAQA")]
        with site.client().connect() as connection:
            assert connection.request("GET", "/health", upgrade).status in (200, 403)
        for seen in backend.seen:
            assert (seen.one("Upgrade"), seen.one("Connection")) == ("", "")

    async def test_of_a_websocket_name_no_header_away(self, site: Deployment, backend: Backend) -> None:
        """The next proxy drops what a Connection header names, and an upgrade keeps it."""
        headers = {"Host": HOST, "X-API-Token": TOKEN, "Connection": "Upgrade, X-Auth-Key, X-Auth-User"}
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.ws_connect(f"{site.gateway.url}/v1/ws", headers=headers) as connected,
        ):
            await connected.send_str("one")
            assert await connected.receive_str() == "echo one"
        assert (backend.last.one("Connection"), backend.last.one("X-Auth-Key")) == ("upgrade", "ci")

    async def test_leave_the_connection_to_the_service_open(
        self, site: Deployment, running_backend: Backend, tmp_path: Path
    ) -> None:
        relay = Relay(site.service.port)
        relay.start()
        before = Envoy(tmp_path / "relayed", relay.port, running_backend.port)
        before.start()
        headers = {"Host": HOST, "X-API-Token": TOKEN}
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            for _ in range(5):
                async with session.ws_connect(f"{before.url}/v1/ws", headers=headers) as connected:
                    await connected.send_str("x")
                    assert await connected.receive_str() == "echo x"
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await session.ws_connect(f"{before.url}/v1/ws", headers={"Host": HOST})
        before.stop()
        relay.stop()
        assert relay.accepted == 1


class TestOnePathForAll:
    """What Envoy routes by, what the service judges and what the backend gets."""

    class RoutingByPath(EditedEnvoy):
        """An operator's route of Envoy's own beside the backend."""

        name = "envoy-routing"

        def edit(self, config: dict[str, Any]) -> None:
            (host,) = manager(config)["route_config"]["virtual_hosts"]
            host["routes"].insert(0, {"match": {"prefix": "/admin"}, "direct_response": {"status": 418}})

    @pytest.mark.parametrize(
        "target",
        [
            "/admin",
            "//admin",
            "///admin/x",
            "/%61dmin",
            "/%61%64%6D%69%6E",
            "/./admin",
            "/x/../admin",
            "/x/%2e%2e/admin",
            "/x/.%2E/admin",
            "/\\admin",
            "/x\\..\\admin",
            "/admin%2fx",
            "/admin/../admin",
            "/admin?x=/v1",
        ],
    )
    def test_an_envoy_route_is_met_by_every_spelling(self, deploy: Deploy, backend: Backend, target: str) -> None:
        """With a raw path `//admin` is none of `/admin` to Envoy, and to the service it is."""
        client = deploy(self.RoutingByPath, PASSING).client()
        assert client.get(target).status in (400, 401)
        assert client.get(target, token()).status in (400, 418)
        assert backend.seen == []

    @pytest.mark.parametrize("target", TRICKS)
    def test_the_backend_gets_the_path_that_was_judged(self, site: Deployment, backend: Backend, target: str) -> None:
        answer = site.client().get(target, token())
        assert answer.status in (200, 400, 404)
        for seen in backend.seen:
            path = seen.target.partition("?")[0]
            assert re.sub("%..", lambda escape: escape[0].upper(), path) == normalise_path(path.encode())

    class KeepingSlashes(EditedEnvoy):
        """The documented change for an API whose ids hold a slash."""

        name = "envoy-keeping-slashes"

        def edit(self, config: dict[str, Any]) -> None:
            manager(config)["path_with_escaped_slashes_action"] = "KEEP_UNCHANGED"

    SLASHES = Setup(
        config=f"""
authenticators:
  ci: {{token: {{from: [{{header: X-API-Token}}], tokens: [{{name: ci, value: {TOKEN}}}]}}}}
routes:
  - {{name: health, path: /health*, public: true}}
  - {{name: models, path: /models/*, require: ci, encoded_slashes: true}}
  - {{name: api, path: /*, require: ci}}
"""
    )

    def test_escaped_slashes_pass_where_a_route_says_so(self, deploy: Deploy, backend: Backend) -> None:
        client = deploy(self.KeepingSlashes, self.SLASHES).client()
        assert client.get("/models/org%2Fmodel", token()).status == 200
        assert backend.last.target == "/models/org%2Fmodel"
        backend.seen.clear()
        for target in ("/models/org%2f..%2f..%2fx", "/models/org%5cx", "/health%2f..%2fv1", "/v1/org%2Fmodel"):
            answer = client.get(target, token())
            assert (answer.status, answer.code) == (400, "ambiguous_path"), target
        assert backend.seen == []

    def test_escaped_slashes_are_refused_as_shipped(self, site: Deployment, backend: Backend) -> None:
        for target in ("/health%2fx", "/health%5Cx", "/models/org%2Fmodel"):
            answer = site.client().get(target, token())
            assert (answer.status, answer.code) == (400, ""), "Envoy says so itself"
        assert backend.seen == []


class Http2:
    """One request on one connection, frame by frame (RFC 9113): names and values as an attacker would write them."""

    DATA, HEADERS, RESET, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
    END_STREAM, END_HEADERS = 1, 4

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.stream = sock.makefile("rb")

    def get(self, target: str, *headers: tuple[str, str], **pseudo: str) -> bytes:
        """The body that is answered; empty where there is none, or where the request was refused.

        `pseudo` replaces a pseudo-header of a GET for HOST.
        """
        found = {"method": "GET", "scheme": "http", "authority": HOST, "path": target} | pseudo
        fields = [*((f":{name}", value) for name, value in found.items()), *headers]
        block = b"".join(b"\x00" + self._text(name) + self._text(value) for name, value in fields)
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self._frame(self.SETTINGS, 0, 0, b""))
        self.socket.sendall(self._frame(self.HEADERS, self.END_STREAM | self.END_HEADERS, 1, block))
        return b"".join(self._answer())

    def _answer(self) -> Iterator[bytes]:
        while head := self.stream.read(9):
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:9], "big")
            payload = self.stream.read(int.from_bytes(head[:3], "big"))
            if kind == self.GOAWAY or (stream == 1 and kind == self.RESET):
                return
            if stream == 1 and kind == self.DATA:
                yield payload
            if stream == 1 and flags & self.END_STREAM and kind in (self.DATA, self.HEADERS):
                return

    @staticmethod
    def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload

    @staticmethod
    def _text(text: str) -> bytes:
        """A string literal that is not compressed (RFC 7541 5.2); 126 bytes are enough here."""
        raw = text.encode("latin-1")
        assert len(raw) < 127
        return bytes((len(raw),)) + raw


@contextmanager
def http2(port: int, source: str) -> Iterator[Http2]:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT, source_address=(source, 0)) as sock:
        yield Http2(sock)


def code(body: bytes) -> str:
    """The error code of a denial; empty for anything else."""
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""


class TestHttp2:
    @pytest.fixture
    def ask(self, site: Deployment) -> Iterator[Http2]:
        with http2(site.gateway.port, site.sources.next()) as connection:
            yield connection

    def test_passes_with_the_token(self, ask: Http2, backend: Backend) -> None:
        assert b'"object": "list"' in ask.get("/v1/models?x=1", ("x-api-token", TOKEN), ("x-auth-user", "mallory"))
        assert (backend.last.target, backend.last.one("Host")) == ("/v1/models?x=1", HOST)
        assert (backend.last.one("X-Auth-Key"), backend.last.one("X-Auth-User")) == ("ci", "")
        assert backend.last.one("X-API-Token") == ""

    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            ([], "missing_token_header"),
            ([("x-api-token", "guessed")], "invalid_token"),
            ([("x-api-token", TOKEN), ("x-api-token", TOKEN)], "invalid_token"),
            ([("x-api-token", TOKEN), ("x.auth.user", "mallory")], "lookalike_header"),
        ],
    )
    def test_is_denied_as_http1_is(
        self, ask: Http2, backend: Backend, headers: list[tuple[str, str]], expected: str
    ) -> None:
        assert code(ask.get("/v1/models", *headers)) == expected
        assert backend.seen == []

    @pytest.mark.parametrize(
        ("headers", "pseudo"),
        [
            ([("x_auth_user", "mallory")], {}),
            ([("X-API-Token", TOKEN)], {}),
            ([("transfer-encoding", "chunked")], {}),
            ([("connection", "x-auth-key")], {}),
            ([("x-pad", "a\r\nx-auth-user: mallory")], {}),
            ([("x-pad: a\r\nx-auth-user", "mallory")], {}),
            ([(":path", "/health")], {}),
            ([], {"path": "/v1/models\r\nx-auth-user: mallory"}),
            ([], {"path": ""}),
            ([], {"path": "v1/models"}),
            ([], {"path": "http://public.example.com/health"}),
            ([], {"method": "TRACE"}),
            ([], {"method": "CONNECT"}),
            ([], {"authority": ""}),
            ([], {"authority": f"{HOST},public.example.com"}),
        ],
    )
    def test_that_no_http1_could_be_reaches_nobody(
        self, ask: Http2, backend: Backend, headers: list[tuple[str, str]], pseudo: dict[str, str]
    ) -> None:
        """Names and bytes that are framing in HTTP/1, in which Envoy asks the service and the backend."""
        ask.get("/v1/models", ("x-api-token", TOKEN), *headers, **pseudo)
        assert backend.seen == []

    PUBLIC, CLOSED = "public.example.com", "admin.example.com"
    HOSTS = Setup(
        config=f"""
authenticators:
  ci: {{token: {{from: [{{header: X-API-Token}}], tokens: [{{name: ci, value: {TOKEN}}}]}}}}
routes:
  - {{name: open, host: {PUBLIC}, path: /*, public: true}}
  - {{name: closed, host: {CLOSED}, path: /*, require: ci}}
"""
    )

    @pytest.mark.parametrize(
        ("authority", "host"),
        [
            (CLOSED, PUBLIC),
            (CLOSED.upper(), PUBLIC),
            (f"{CLOSED}:80@{PUBLIC}", PUBLIC),
            (f"{PUBLIC}@{CLOSED}", PUBLIC),
            (f"{CLOSED}:80", PUBLIC),
            (PUBLIC, CLOSED),
        ],
    )
    def test_the_authority_is_the_host_for_all(
        self, deploy: Deploy, backend: Backend, authority: str, host: str
    ) -> None:
        """`:authority` beside another `host`: Envoy routes by the first, and nobody may be told the second."""
        site = deploy("envoy", self.HOSTS, [self.PUBLIC, self.CLOSED])
        with http2(site.gateway.port, site.sources.next()) as ask:
            ask.get("/secret", ("host", host), authority=authority)
        assert [seen for seen in backend.seen if self.CLOSED in seen.one("Host").lower()] == []


class WithTls(EditedEnvoy):
    """The documented lines, with a certificate of the test's own."""

    name = "envoy-tls"

    def edit(self, config: dict[str, Any]) -> None:
        (block,) = [block for block in fenced(PAGE, "yaml") if "transport_socket:" in block]
        found = block.replace("/etc/envoy/tls", str(self.folder))
        config["static_resources"]["listeners"][0]["filter_chains"][0] |= yaml.safe_load(found)
        command = f"{find('openssl')} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        files = ["-subj", f"/CN={HOST}", "-keyout", self.folder / "privkey.pem", "-out", self.folder / "fullchain.pem"]
        subprocess.run([*command.split(), *files], check=True, capture_output=True)

    def _routes(self) -> bool:
        try:
            with Client(self.port, "127.0.0.1", tls=True).connect() as connection:
                return connection.request("GET", "/health").status != 404
        except OSError:
            return False


class TestTls:
    @pytest.fixture
    def site(self, deploy: Deploy) -> Deployment:
        return deploy(WithTls, PASSING)

    def test_is_told_to_the_service_and_the_backend(self, site: Deployment, backend: Backend) -> None:
        client = Client(site.gateway.port, site.sources.next(), tls=True)
        assert client.get("/v1/models", token(), ("X-Forwarded-Proto", "http")).status == 200
        assert backend.last.one("X-Forwarded-Proto") == "https"
        assert client.get("/v1/models").code == "missing_token_header"

    def test_speaks_http2_with_whoever_asks_for_it(self, site: Deployment, backend: Backend) -> None:
        unverified = ssl.create_default_context()
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        unverified.set_alpn_protocols(["h2"])
        source = (site.sources.next(), 0)
        with (
            socket.create_connection(("127.0.0.1", site.gateway.port), TIMEOUT, source_address=source) as sock,
            unverified.wrap_socket(sock, server_hostname=HOST) as encrypted,
        ):
            assert encrypted.selected_alpn_protocol() == "h2"
            body = Http2(encrypted).get("/v1/models", ("x-api-token", TOKEN), scheme="https")
        assert b'"object": "list"' in body
        assert backend.last.one("X-Auth-Key") == "ci"


class BehindCdn(EditedEnvoy):
    """The documented lines. The CDN's addresses are those of the test's clients, 127.1.0.0/16."""

    name = "envoy-behind-cdn"

    def edit(self, config: dict[str, Any]) -> None:
        (block,) = [block for block in fenced(PAGE, "yaml") if "xff_num_trusted_hops: 1" in block]
        documented = yaml.safe_load(block.replace("198.51.100.0", "127.1.0.0").replace("len: 24", "len: 16"))
        chain = config["static_resources"]["listeners"][0]["filter_chains"][0]
        chain["filter_chain_match"] = documented["filter_chain_match"]
        manager(config)["xff_num_trusted_hops"] = documented["xff_num_trusted_hops"]

    def _routes(self) -> bool:
        try:
            return Client(self.port, "127.1.255.1").get("/health").status != 404
        except OSError:
            return False


class TestBehindACdn:
    @pytest.fixture
    def site(self, deploy: Deploy) -> Deployment:
        return deploy(BehindCdn, PASSING)

    def test_its_client_is_the_client(self, site: Deployment, backend: Backend) -> None:
        header = ("X-Forwarded-For", "198.51.100.7")
        for status in (401, 401, 401, 401, 401, 429):
            assert site.client().get("/v1/models", token("guessed"), header).status == status
        assert site.client().get("/v1/models", token(), ("X-Forwarded-For", "198.51.100.8")).status == 200
        assert backend.last.one("X-Forwarded-For") == "198.51.100.8"

    def test_what_a_client_told_the_cdn_counts_for_nothing(self, site: Deployment, backend: Backend) -> None:
        """A CDN appends its neighbour's address to what that one wrote."""
        for attempt, status in enumerate((401, 401, 401, 401, 401, 429)):
            header = ("X-Forwarded-For", f"203.0.113.{attempt}, 198.51.100.9")
            assert site.client().get("/v1/models", token("guessed"), header).status == status
        assert site.client().get("/v1/models", token(), ("X-Forwarded-For", "10.0.0.1, 198.51.100.10")).status == 200
        assert backend.last.one("X-Forwarded-For") == "198.51.100.10"

    def test_its_word_for_the_scheme_counts(self, site: Deployment, backend: Backend) -> None:
        assert site.client().get("/v1/models", token(), ("X-Forwarded-Proto", "https")).status == 200
        assert backend.last.one("X-Forwarded-Proto") == "https"

    def test_nobody_else_is_heard(self, site: Deployment, backend: Backend) -> None:
        """Whoever reaches Envoy past the CDN would choose his own address."""
        with Client(site.gateway.port, "127.3.0.1").connect() as connection:
            assert connection_is_closed(connection.socket)
        assert backend.seen == []


class OddNames(EditedEnvoy):
    """The documented lines for names that the shipped file does not hold."""

    name = "envoy-odd-names"

    def edit(self, config: dict[str, Any]) -> None:
        (block,) = [block for block in fenced(PAGE, "yaml") if "remote-user" in block]
        documented = yaml.safe_load(block)
        for name in ("allowed_upstream_headers", "dynamic_metadata_from_headers"):
            answers(config)[name]["patterns"] += documented[name]["patterns"]
        mutations = http_filter(config, "forwardauth.credentials")["mutations"]
        mutations["request_mutations"] += documented["request_mutations"]


class TestOddNames:
    SETUP = Setup(
        config=f"""
authenticators:
  goog: {{token: {{from: [{{header: X-Goog-Api-Key}}], tokens: [{{name: goog, value: {TOKEN}}}]}}}}
  browser: {{token: {{from: [{{cookie: key}}], tokens: [{{name: browser, value: cookie-token}}]}}}}
identity_headers: {{key: [Remote-User]}}
routes:
  - {{name: health, path: /health, public: true}}
  - {{name: passed, path: /passed/*, require: {{any: [goog, browser]}}, pass_credentials: true}}
  - {{name: api, path: /*, require: {{any: [goog, browser]}}}}
"""
    )

    @pytest.fixture
    def client(self, deploy: Deploy) -> Client:
        return deploy(OddNames, self.SETUP).client()

    def test_of_credentials_end_at_envoy(self, client: Client, backend: Backend) -> None:
        for path in ("/v1/models", "/health"):
            assert client.get(path, ("X-Goog-Api-Key", TOKEN), ("Cookie", "theme=dark; key=other")).status == 200
            assert (backend.last.one("X-Goog-Api-Key"), backend.last.one("Cookie")) == ("", "theme=dark")
        assert client.get("/v1/models", ("Cookie", "key=cookie-token")).status == 200
        assert backend.last.all("Cookie") == []

    def test_of_credentials_are_handed_on_where_the_route_says_so(self, client: Client, backend: Backend) -> None:
        headers = [("X-Goog-Api-Key", TOKEN), ("Cookie", "theme=dark")]
        assert client.get("/passed/x", *headers).status == 200
        assert [backend.last.one(name) for name, _ in headers] == [TOKEN, "theme=dark"]

    def test_of_identity_are_the_services(self, client: Client, backend: Backend) -> None:
        assert client.get("/v1/models", ("X-Goog-Api-Key", TOKEN)).status == 200
        assert backend.last.one("Remote-User") == "goog"
        backend.seen.clear()
        forged = client.get("/health", ("Remote-User", "admin"))
        assert (forged.status, forged.code) == (400, "lookalike_header")
        assert backend.seen == []
