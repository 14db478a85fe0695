"""Requests that are read in two ways: by the gateway that routes, and by the service that decides.

Every test asks the same thing of the backend: what reached it is what the service allowed.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import Client, connection_is_closed, render
from tests.deploy.rig.deployment import Deploy, Deployment
from tests.deploy.rig.gateways import PLAIN
from tests.deploy.rig.service import Setup
from tests.deploy.rig.setups import HEADER_TOKEN, TOKEN, token

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


@pytest.fixture(params=PLAIN)
def gateway(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(gateway: str, deploy: Deploy) -> Deployment:
    return deploy(gateway, HEADER_TOKEN)


class TestHostConfusion:
    """A gateway chooses the server by one name and tells the service another (absolute-form, userinfo, port).

    (THREATS 40)
    """

    @pytest.fixture
    def site(self, gateway: str, deploy: Deploy) -> Deployment:
        return deploy(gateway, HOSTS, [PUBLIC, CLOSED])

    def test_both_hosts_are_served(self, client: Client, backend: Backend) -> None:
        assert client.get("/x", host=PUBLIC).status == 200
        assert client.get("/x", host=CLOSED).status == 401
        assert client.get("/x", token(), host=CLOSED).status == 200
        assert [seen.one("Host") for seen in backend.seen] == [PUBLIC, CLOSED]

    @pytest.mark.parametrize(
        ("target", "host"),
        [
            (f"http://{CLOSED}/secret", PUBLIC),
            (f"http://{CLOSED}:80/secret", PUBLIC),
            (f"http://{PUBLIC}@{CLOSED}/secret", PUBLIC),
            ("/secret", f"{CLOSED}:80@{PUBLIC}"),
            ("/secret", f"{CLOSED}@{PUBLIC}"),
            ("/secret", f"{CLOSED}:80?"),
            ("/secret", f"{CLOSED}?@{PUBLIC}"),
            ("/secret", f"{CLOSED}#@{PUBLIC}"),
            ("/secret", f"{CLOSED},{PUBLIC}"),
            ("/secret", f"{CLOSED}, {PUBLIC}"),
            ("/secret", f"{CLOSED}/@{PUBLIC}"),
            ("/secret", f"{CLOSED}\\@{PUBLIC}"),
            ("/secret", f"{CLOSED}."),
            ("/secret", CLOSED.upper()),
            ("/secret", f"{CLOSED}:8443"),
            ("/secret", f"{CLOSED}:"),
            (f"//{PUBLIC}/secret", CLOSED),
            (f"http://{PUBLIC}", CLOSED),
        ],
    )
    def test_the_closed_host_stays_closed(self, client: Client, backend: Backend, target: str, host: str) -> None:
        client.get(target, host=host)
        assert [seen for seen in backend.seen if CLOSED in seen.one("Host").lower()] == []

    @pytest.mark.parametrize("host", ["other.example.com", "127.0.0.1", "localhost"])
    def test_a_host_that_nobody_serves_reaches_nobody(self, client: Client, backend: Backend, host: str) -> None:
        """nginx gives an unknown host to its first server block, unless there is one for it."""
        assert client.get("/x", token(), host=host).status in (404, 421)
        assert backend.seen == []

    @pytest.mark.parametrize("hosts", [(PUBLIC, CLOSED), (CLOSED, PUBLIC)])
    def test_two_host_lines_are_refused(
        self, site: Deployment, client: Client, backend: Backend, hosts: tuple[str, str]
    ) -> None:
        answer = client.get("/secret", *[("Host", host) for host in hosts], host=None)
        assert answer.status == site.gateway.two_hosts
        assert backend.seen == []

    @pytest.mark.parametrize("name", ["X-Forwarded-Host", "X-Host", "Forwarded", "X-Original-Host"])
    def test_a_host_in_another_header_is_not_believed(self, client: Client, backend: Backend, name: str) -> None:
        value = f"host={PUBLIC}" if name == "Forwarded" else PUBLIC
        assert client.get("/secret", (name, value), host=CLOSED).status == 401
        assert backend.seen == []


class TestSmuggling:
    def test_an_announced_body_swallows_no_later_question(self, client: Client, backend: Backend) -> None:
        """nginx announces a client's Content-Length in its subrequest without sending a body, unless told otherwise.

        On the kept connection the service would then read the start of the next subrequest as that body, and a header
        of the next client as a request of its own. Every length is tried, so that one cuts where the attacker wants.

        (THREATS 41)
        """
        inner = ("X-Pad", "GET /verify/nginx HTTP/1.1")
        with client.connect() as connection:
            for length in range(60, 460):
                assert connection.request("POST", "/health", body=b"x" * length).status in (200, 405)
                assert connection.request("GET", "/v1/closed", [inner]).status == 401, length
        assert {seen.target for seen in backend.seen} <= {"/health"}

    def test_a_chunked_body_does_neither(self, client: Client, backend: Backend) -> None:
        """Attack: the same by chunks (THREATS 41)."""
        hidden = render("GET", "/v1/closed")
        with client.connect() as connection:
            for _ in range(20):
                chunked = [("Transfer-Encoding", "chunked")]
                body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden)
                assert connection.request("POST", "/health", chunked, body).status in (200, 400, 405)
                if connection_is_closed(connection.socket):
                    break
                assert connection.request("GET", "/v1/closed").status == 401
        assert {seen.target for seen in backend.seen} <= {"/health"}

    @pytest.mark.parametrize(
        "framing",
        [
            [("Content-Length", "4"), ("Transfer-Encoding", "chunked")],
            [("Transfer-Encoding", "chunked"), ("Content-Length", "4")],
            [("Content-Length", "0"), ("Content-Length", "4")],
            [("Content-Length", "0, 4")],
            [("Content-Length", "+0")],
            [("Content-Length", "0x0")],
            [("Transfer-Encoding", "xchunked")],
            [("Transfer-Encoding", "chunked, identity")],
            [("Transfer-Encoding", " chunked"), ("Transfer-Encoding", "identity")],
            [("Transfer-Encoding\t", "chunked"), ("Content-Length", "0")],
            [("Transfer-Encoding ", "chunked"), ("Content-Length", "0")],
        ],
        ids=str,
    )
    def test_a_request_hidden_behind_another_is_asked_about(
        self, client: Client, backend: Backend, framing: list[tuple[str, str]]
    ) -> None:
        """Attack: two framings in one head, of which somebody obeys the other (THREATS 41)."""
        hidden = b"0\r\n\r\n" + render("GET", "/v1/closed")
        with client.connect() as connection:
            connection.send(render("POST", "/health", framing, hidden))
            connection.socket.settimeout(3)
            try:
                while connection.socket.recv(65536):
                    connection.socket.settimeout(0.3)
            except TimeoutError:
                pass
        assert {seen.target for seen in backend.seen} <= {"/health"}

    def test_a_body_on_a_denied_request_is_no_next_request(self, client: Client, backend: Backend) -> None:
        """The denial comes before the body was read; whatever the gateway does with it, it is not a request.

        (THREATS 41)
        """
        with client.connect() as connection:
            answer = connection.request("POST", "/v1/closed", body=render("GET", "/health?smuggled"))
            assert answer.status == 401
        assert backend.seen == []


class TestOtherDialects:
    """The service's own paths exist on its listener alone: through a gateway they are the backend's.

    (THREATS 10, 39)
    """

    @pytest.mark.parametrize(
        "path",
        [
            "/verify/traefik",
            "/verify/nginx",
            "/verify/envoy/health",
            "/verify/caddy",
            "/verify/haproxy",
            "/_forwardauth",
            "/metrics",
            "/ready",
        ],
    )
    def test_are_the_backends_paths(self, client: Client, backend: Backend, path: str) -> None:
        forged = [("X-Original-URL", "http://llm.example.com/health"), ("X-Original-Method", "GET")]
        answer = client.get(path, *forged)
        assert answer.status in (401, 404)
        assert backend.seen == []
        if client.get(path, token(), *forged).status == 200:
            assert [seen.target for seen in backend.seen] == [path]


TRICKS = [
    "/admin%2f..%2fhealth",
    "/admin/..%2fhealth",
    "/admin%2f../health",
    "/admin/%2e%2e/health",
    "/admin/.%2e/health",
    "/admin/..;/health",
    "/admin;/../health",
    "/admin/../health",
    "/health/../admin",
    "/health/..",
    "/health/%2e%2e/admin",
    "/health/..%2fadmin",
    "/health%2f..%2fadmin",
    "/health/..;/admin",
    "/health/.%2e/admin",
    "/health/%252e%252e/admin",
    "/health/..%252fadmin",
    "/health/..%c0%afadmin",
    "/health/%uff0e%uff0e/admin",
    "/health%5c..%5cadmin",
    "/health\\..\\admin",
    "/health%00/admin",
    "/health%00",
    "/health%0a",
    "/health%0d%0aX:%20y",
    "/health%20",
    "/health%09",
    "/health;x",
    "/health%3bx",
    "/health%3fx",
    "/health%23x",
    "/health#/../admin",
    "/health.json",
    "/health/",
    "/HEALTH",
    "/%68ealthz",
    "/.%2fhealth",
    "/./admin",
    "//admin",
    "///admin",
    "/\\admin",
    "/%61dmin",
    "/%2561dmin",
    "/admin?x=/health",
    "/admin?/../health",
    "/admin%3f/health",
    "/admin/%",
    "/admin/%zz",
    "/admin/%ff",
    "/health/\u00e9",
    "admin",
    "*",
]


class TestPathTricks:
    """A public /health beside closed paths: nothing but /health itself passes without a token."""

    @pytest.mark.parametrize("target", TRICKS)
    def test_only_health_itself_is_public(self, client: Client, backend: Backend, target: str) -> None:
        """Attack: a public path and a closed one in one, in every spelling that was ever seen (THREATS 6, 7, 43)."""
        answer = client.get(target)
        assert answer.status in (200, 400, 401, 403, 404, 405)
        for seen in backend.seen:
            # Traefik removes dot segments before it asks, and the backend gets the path that was judged.
            assert re.sub("/+", "/", unquote(seen.target.partition("?")[0])) == "/health", seen.target

    def test_a_refusal_names_its_reason(self, client: Client) -> None:
        answer = client.get("/health/%2e%2e%2fadmin")
        assert answer.status == 400

    @pytest.mark.parametrize("method", ["TRACE", "TRACK", "CONNECT"])
    def test_methods_that_reflect_or_tunnel_reach_nobody(self, client: Client, backend: Backend, method: str) -> None:
        """TRACE would give an injected credential back to its caller (THREATS 47)."""
        for target in ("/v1/models", "/health"):
            assert client.request(method, target, [token()]).status in (400, 403, 404, 405, 501)
        assert backend.seen == []

    @pytest.mark.parametrize("method", ["get", "OPTIONS", "PROPFIND", "HEAD", "G\tT"])
    def test_other_methods_need_the_token_too(self, client: Client, backend: Backend, method: str) -> None:
        assert client.request(method, "/v1/models").status in (400, 401, 405)
        assert backend.seen == []

    def test_a_preflight_is_no_pass_where_the_route_does_not_say_so(self, client: Client, backend: Backend) -> None:
        """Attack: a true preflight, for a route that needs a credential (THREATS 9)."""
        headers = [("Origin", "https://app.example.com"), ("Access-Control-Request-Method", "POST")]
        assert client.request("OPTIONS", "/v1/models", headers).status == 401
        assert backend.seen == []
