"""What a client and a backend of an LLM API notice of the gateway's question: nothing, unless it is a denial."""

from __future__ import annotations

import hashlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import HOST, Client, render
from tests.deploy.rig.deployment import Deploy, Deployment, Sources
from tests.deploy.rig.gateways import GATEWAYS, PLAIN, Gateway
from tests.deploy.rig.relay import Relay
from tests.deploy.rig.service import Setup
from tests.deploy.rig.setups import HEADER_TOKEN, TOKEN, basic, token

SETUP = Setup(
    config=f"""
authenticators:
  ci:
    token:
      from: [{{header: X-API-Token}}]
      tokens: [{{name: ci, value: {TOKEN}}}, {{name: two, value: second-token}}]
routes:
  - {{name: health, path: /health, public: true}}
  - {{name: limited, path: /limited/*, require: ci, rate: 2/h}}
  - {{name: once, path: /once/*, public: true, rate: 1/h}}
  - {{name: read, path: /read/*, methods: [GET], require: ci}}
  - {{name: api, path: /v1/*, require: ci}}
"""
)


@pytest.fixture(params=PLAIN)
def gateway(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(gateway: str, deploy: Deploy) -> Deployment:
    return deploy(gateway, SETUP)


class TestDenials:
    """Status, headers and body reach the client as the service meant them, through a gateway that carries less too."""

    CASES = [
        ("GET", "/v1/models", [], 401, "missing_token_header"),
        ("POST", "/v1/chat/completions", [], 401, "missing_token_header"),
        ("PUT", "/v1/files/1", [("X-API-Token", "guessed")], 401, "invalid_token"),
        ("DELETE", "/v1/files/1", [("X-API-Token", "guessed")], 401, "invalid_token"),
        ("POST", "/read/x", [token()], 403, "no_route"),
        ("GET", "/elsewhere", [token()], 403, "no_route"),
        ("GET", "/v1/page.html", [], 401, "missing_token_header"),
        ("GET", "/v1/%2e%2e%5cx", [token()], 400, "ambiguous_path"),
    ]

    @pytest.mark.parametrize(("method", "target", "headers", "status", "code"), CASES)
    def test_reach_the_client_whole(
        self,
        client: Client,
        backend: Backend,
        method: str,
        target: str,
        headers: list[tuple[str, str]],
        status: int,
        code: str,
    ) -> None:
        """Attack: be let in by an error page: the status of a denial has to arrive, at nginx too (THREATS 36)."""
        answer = client.request(method, target, headers, b"{}" if method in ("POST", "PUT") else b"")
        if status == 400 and not answer.body.startswith(b"{"):
            assert answer.status == 400, "the hardened entry point says so before the service is asked"
            return
        assert (answer.status, answer.code) == (status, code)
        (content_type,) = answer.all("Content-Type")
        assert content_type.partition(";")[0] == "application/json"
        assert answer.all("Cache-Control") == ["no-store"]
        assert len(answer.all("WWW-Authenticate")) == (1 if status == 401 else 0)
        assert not [name for name in answer.headers if name.lower().startswith(("x-auth-", "x-deny-"))]
        assert backend.seen == []

    @pytest.mark.parametrize(
        ("target", "headers"), [("/v1/models", []), ("/v1/models", [token("guessed")]), ("/elsewhere", [token()])]
    )
    def test_are_the_services_own_words(
        self, site: Deployment, client: Client, target: str, headers: list[tuple[str, str]]
    ) -> None:
        """What Traefik's endpoint answers, asked directly, is what a client gets through any gateway."""
        asked = {"Method": "GET", "Proto": "http", "Host": HOST, "Uri": target, "For": client.source}
        question = [*headers, *((f"X-Forwarded-{name}", value) for name, value in asked.items())]
        direct = Client(site.service.port, "127.0.0.1").request("GET", "/verify/traefik", question)
        answer = client.get(target, *headers)
        assert (answer.status, answer.body) == (direct.status, direct.body)
        names = {name.lower() for name in direct.headers} - {"connection", "content-length"}
        assert {name: answer.all(name) for name in names} == {name: direct.all(name) for name in names}

    def test_to_head_have_no_body(self, site: Deployment, client: Client) -> None:
        full, head = client.get("/v1/models"), client.request("HEAD", "/v1/models")
        assert (head.status, head.body) == (401, b"")
        assert head.headers["Content-Type"] == (full.headers["Content-Type"] if site.gateway.types_head else None)
        for name in ("WWW-Authenticate", "Cache-Control"):
            assert head.headers[name] == full.headers[name]

    def test_leave_the_connection_open(self, client: Client, backend: Backend) -> None:
        with client.connect() as connection:
            for _ in range(3):
                assert connection.request("GET", "/v1/models").status == 401
                assert connection.request("GET", "/v1/models", [token()]).status == 200
                assert connection.request("POST", "/v1/echo", [token()], b"body").body == b"body"
        assert len(backend.seen) == 6

    def test_of_a_large_upload_arrive_before_or_after_it(self, client: Client, backend: Backend) -> None:
        """The decision needs only the headers; a client that is still sending must get the answer all the same."""
        answer = client.request("POST", "/v1/files", body=b"x" * 300_000)
        assert (answer.status, answer.code) == (401, "missing_token_header")
        assert backend.seen == []


class TestConnectionsToTheService:
    """One handshake for many questions: nginx keeps a connection only over answers without a body."""

    @pytest.fixture
    def relay(self, site: Deployment) -> Iterator[Relay]:
        relay = Relay(site.service.port)
        relay.start()
        yield relay
        relay.stop()

    @pytest.fixture
    def relayed(
        self, gateway: str, site: Deployment, relay: Relay, running_backend: Backend, tmp_path: Path
    ) -> Iterator[Gateway]:
        """The gateway once more, with the relay before the service."""
        before = GATEWAYS[gateway](tmp_path / "relayed", relay.port, running_backend.port)
        before.start()
        yield before
        before.stop()

    def test_are_kept_over_every_verdict(
        self, site: Deployment, relay: Relay, relayed: Gateway, backend: Backend
    ) -> None:
        """Attack: make the gateway open a connection for every question, or mix answers on a kept one.

        (THREATS 37, 41)
        """
        client = Client(relayed.port, site.sources.next())
        for _ in range(10):
            assert client.get("/v1/models", token()).status == 200
            assert client.get("/v1/models").status == 401
            assert client.post("/v1/chat/completions", token(), body=b'{"model": "m"}').status == 200
            assert client.post("/elsewhere", token()).status == 403
            chunked = ("Transfer-Encoding", "chunked")
            assert client.post("/v1/echo", token(), chunked, body=b"1\r\nx\r\n0\r\n\r\n").body == b"x"
        assert relay.accepted <= 2


class TestRateLimits:
    @pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
    def test_tell_the_client_when_to_come_back(self, gateway: str, site: Deployment, method: str) -> None:
        answers = [site.client().request(method, f"/once/{method}") for _ in range(2)]
        assert [answer.status for answer in answers] == [200, 200], "a public route counts clients, and these are two"
        client = site.client()
        assert client.request(method, "/once/x").status == 200
        answer = client.request(method, "/once/x", body=b"{}")
        assert (answer.status, answer.code) == (429, "rate_limit_exceeded")
        assert answer.json()["error"]["type"] == "rate_limit_error"
        seconds = int(answer.headers["Retry-After"])
        assert 3500 < seconds <= 3600
        assert abs(int(answer.headers["retry-after-ms"]) - 1000 * seconds) <= 1000
        assert "r=0" in answer.headers["RateLimit"]
        assert "q=1" in answer.headers["RateLimit-Policy"]
        (content_type,) = answer.all("Content-Type")
        assert content_type.partition(";")[0] == "application/json"

    def test_are_for_each_credential(self, site: Deployment, backend: Backend) -> None:
        statuses = [site.client().get("/limited/x", token()).status for _ in range(3)]
        assert statuses == [200, 200, 429]
        assert site.client().get("/limited/x", token("second-token")).status == 200
        assert len(backend.seen) == 3


class TestStreams:
    def test_an_event_arrives_when_it_is_sent(self, client: Client, backend: Backend) -> None:
        """The backend sends its second event only after the first was read here: a buffer in between would block."""
        with client.connect() as connection:
            connection.send(render("GET", "/v1/stream", [token(), ("Accept-Encoding", "gzip")]))
            with connection.open_response() as response:
                assert response.status == 200
                assert response.headers["Content-Type"] == "text/event-stream"
                assert response.readline() == b"data: first\n"
                backend.go_on.set()
                assert response.read() == b"\ndata: second\n\n"

    async def test_a_websocket_passes(self, site: Deployment, backend: Backend) -> None:
        headers = {"Host": HOST, "X-API-Token": TOKEN}
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.ws_connect(f"{site.gateway.url}/v1/ws", headers=headers) as socket,
        ):
            for word in ("one", "two"):
                await socket.send_str(word)
                assert await socket.receive_str() == f"echo {word}"
        assert backend.last.one("X-Auth-Key") == "ci"
        assert backend.last.one("X-API-Token") == ""

    async def test_a_websocket_without_a_token_is_refused(self, site: Deployment, backend: Backend) -> None:
        """Attack: open a WebSocket, which nobody asks about (THREATS 37)."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as raised:
                await session.ws_connect(f"{site.gateway.url}/v1/ws", headers={"Host": HOST})
        assert raised.value.status == 401
        assert backend.seen == []


class TestBodies:
    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
    @pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
    def test_arrive_whole(self, client: Client, backend: Backend, method: str, size: int) -> None:
        body = hashlib.shake_128(b"body").digest(size)
        answer = client.request(method, "/v1/echo", [token()], body)
        assert (answer.status, answer.body) == (200, body)
        assert (backend.last.method, backend.last.body) == (method, body)

    def test_in_chunks_arrive_whole(self, client: Client, backend: Backend) -> None:
        chunks = b"5\r\nhello\r\n6\r\n there\r\n0\r\n\r\n"
        answer = client.request("POST", "/v1/echo", [token(), ("Transfer-Encoding", "chunked")], chunks)
        assert (answer.status, answer.body) == (200, b"hello there")

    def test_head_is_head(self, client: Client, backend: Backend) -> None:
        answer = client.request("HEAD", "/v1/models", [token()])
        assert (answer.status, answer.body) == (200, b"")
        assert backend.last.method == "HEAD"

    def test_the_target_arrives_as_it_was_sent(self, client: Client, backend: Backend) -> None:
        target = "/v1/models?q=%2e%2e%2f&empty&x=a%20b&/health"
        assert client.get(target, token()).status == 200
        assert backend.last.target == target


class TestLargeHeaders:
    """Attack: headers beyond the defaults of gateway and service (THREATS 32)."""

    LARGE = "x" * 30_000

    def test_pass(self, client: Client, backend: Backend) -> None:
        assert client.get("/v1/models", token(), ("Cookie", f"session={self.LARGE}")).status == 200
        assert backend.last.one("Cookie") == f"session={self.LARGE}"

    def test_that_are_credentials_are_judged(self, client: Client) -> None:
        answer = client.get("/v1/models", token(self.LARGE))
        assert (answer.status, answer.code) == (401, "invalid_token")

    def test_and_a_long_target_too(self, client: Client, backend: Backend) -> None:
        assert client.get(f"/v1/models?q={self.LARGE}", token()).status == 200
        assert client.get(f"/v1/models?q={self.LARGE}").status == 401
        assert len(backend.seen) == 1


class TestWhenTheServiceIsGone:
    """Attack: bring the service down: then nobody passes (THREATS 34)."""

    @pytest.fixture(params=GATEWAYS)
    def site(
        self, request: pytest.FixtureRequest, running_backend: Backend, sources: Sources, tmp_path: Path
    ) -> Iterator[Deployment]:
        kind = GATEWAYS[request.param]
        deployment = Deployment.start(kind, HEADER_TOKEN, tmp_path / "own", running_backend, sources)
        yield deployment
        deployment.stop()

    def test_nobody_passes_until_it_is_back(self, site: Deployment, backend: Backend) -> None:
        client = site.client()
        assert client.get("/v1/models", basic(), token()).status == 200
        backend.seen.clear()
        site.service.stop()
        for target in ("/v1/models", "/health"):
            for headers in ([basic()], [basic(), token()]):
                assert client.get(target, *headers).status in site.gateway.service_down
        assert client.get("/v1/models").status in (401, *site.gateway.service_down)
        assert backend.seen == []
        site.service.start()
        assert client.get("/v1/models", basic(), token()).status == 200
        assert client.get("/v1/models", basic()).status == 401

    def test_a_service_that_hangs_lets_nobody_pass(self, site: Deployment, backend: Backend) -> None:
        """Traefik waits 30 s and nginx as long as its file says; here it is enough that nothing passes meanwhile."""
        process = site.service.program.process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            with site.client().connect() as connection:
                connection.socket.settimeout(1)
                started = time.monotonic()
                with pytest.raises(TimeoutError):
                    connection.request("GET", "/v1/models", [basic(), token()])
                assert time.monotonic() - started < 5
        finally:
            process.send_signal(signal.SIGCONT)
        assert backend.seen == []
