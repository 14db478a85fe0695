"""nginx's include alone, before a service that answers what a test wants: every denial that it can be told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import Client
from tests.deploy.rig.deployment import Sources
from tests.deploy.rig.gateways.nginx import Nginx
from tests.deploy.rig.programs import free_ports
from tests.deploy.rig.server import ServerThread

METHODS = ["GET", "POST", "PUT", "DELETE"]
TEXT = 'quotes " \\" backslash \\\\ dollar $host ${host} percent % braces {} \\u00e9 <b>'


@dataclass
class Verdicts:
    """Answers every question on /verify/nginx alike."""

    port: int = field(default_factory=lambda: free_ports(1)[0])
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/verify/nginx", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        response = web.Response(status=self.status)
        for name, value in self.headers:
            response.headers.add(name, value)
        return response

    def deny(self, status: int, *headers: tuple[str, str]) -> None:
        """A denial as the service words it for nginx; `status` is the true one."""
        self.status = 401 if status in (302, 401) else 403
        self.headers = [("X-Deny-Status", str(status)), *headers]


@pytest.fixture(scope="module")
def verdicts() -> Iterator[Verdicts]:
    verdicts = Verdicts()
    server = ServerThread(verdicts.application, port=verdicts.port)
    server.start()
    yield verdicts
    server.stop()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory, verdicts: Verdicts, running_backend: Backend) -> Iterator[Nginx]:
    nginx = Nginx(tmp_path_factory.mktemp("nginx") / "gateway", verdicts.port, running_backend.port)
    nginx.start()
    yield nginx
    nginx.stop()


@pytest.fixture
def client(nginx: Nginx, sources: Sources) -> Client:
    return Client(nginx.port, sources.next())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("status", [400, 401, 403, 429, 503])
def test_a_denial_arrives_as_it_was_meant(
    client: Client, verdicts: Verdicts, backend: Backend, method: str, status: int
) -> None:
    body = json.dumps({"error": {"message": TEXT}})
    carried = {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Retry-After": "7",
        "retry-after-ms": "7000",
        "RateLimit": '"default";r=0;t=7',
        "RateLimit-Policy": '"default";q=5;w=60',
        "x-should-retry": "false",
    }
    verdicts.deny(status, ("X-Deny-Type", "application/json"), ("X-Deny-Body", body), *carried.items())
    answer = client.request(method, "/v1/page.html", body=b"x" * 100 if method in ("POST", "PUT") else b"")
    assert (answer.status, answer.body.decode()) == (status, body)
    assert answer.all("Content-Type") == ["application/json"]
    assert {name: answer.all(name) for name in carried} == {name: [value] for name, value in carried.items()}
    assert not [name for name in answer.headers if name.lower().startswith("x-deny-")]
    assert backend.seen == []


def test_a_challenge_arrives_once(client: Client, verdicts: Verdicts) -> None:
    challenges = 'Basic realm="llm", charset="UTF-8", ApiKey realm="llm", header="X-API-Token"'
    verdicts.deny(401, ("X-Deny-Type", "text/plain"), ("X-Deny-Body", "no"), ("WWW-Authenticate", challenges))
    answer = client.get("/")
    assert answer.all("WWW-Authenticate") == [challenges]
    assert (answer.all("Content-Type"), answer.body) == (["text/plain"], b"no")


@pytest.mark.parametrize("method", METHODS)
def test_a_redirect_arrives(client: Client, verdicts: Verdicts, backend: Backend, method: str) -> None:
    location = "https://auth.example.com/auth/login?next=https%3A%2F%2Fllm.example.com%2Fdashboard&x=$host"
    verdicts.deny(302, ("X-Deny-Type", "text/plain"), ("X-Deny-Location", location), ("Cache-Control", "no-store"))
    answer = client.request(method, "/dashboard")
    assert (answer.status, answer.all("Location")) == (302, [location])
    assert len(answer.all("Content-Type")) == 1
    assert answer.all("Cache-Control") == ["no-store"]
    assert backend.seen == []


@pytest.mark.parametrize(
    "headers", [[], [("X-Deny-Status", "")], [("X-Deny-Status", "200")], [("X-Deny-Status", "418")]]
)
def test_a_denial_without_a_status_that_we_know_is_a_denial(
    client: Client, verdicts: Verdicts, backend: Backend, headers: list[tuple[str, str]]
) -> None:
    for verdicts.status in (401, 403):
        verdicts.headers = headers
        assert client.get("/").status == 403
    assert backend.seen == []


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 429, 500, 503])
def test_any_other_answer_of_the_service_is_a_500(
    client: Client, verdicts: Verdicts, backend: Backend, status: int
) -> None:
    verdicts.status, verdicts.headers = status, []
    assert client.get("/").status == 500
    assert backend.seen == []


def test_one_clients_denial_is_not_anothers(client: Client, verdicts: Verdicts) -> None:
    """Variables belong to a request, on a kept connection too."""
    with client.connect() as connection:
        verdicts.deny(429, ("X-Deny-Type", "text/plain"), ("X-Deny-Body", "later"), ("Retry-After", "7"))
        assert connection.request("GET", "/").status == 429
        verdicts.deny(403, ("X-Deny-Type", "text/plain"), ("X-Deny-Body", "never"))
        answer = connection.request("GET", "/")
        assert (answer.status, answer.body, answer.headers["Retry-After"]) == (403, b"never", None)
        verdicts.status, verdicts.headers = 200, []
        assert connection.request("GET", "/v1/models").status == 200
