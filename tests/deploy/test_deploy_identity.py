"""Who the backend believes it talks to: only what the service said, and never with a client's credential."""

from __future__ import annotations

import pytest

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import HOST, Client
from tests.deploy.rig.deployment import Deploy, Deployment
from tests.deploy.rig.gateways import PLAIN
from tests.deploy.rig.service import Setup
from tests.deploy.rig.setups import HTPASSWD, PROXY_KEY, TOKEN, basic, bearer, token

SETUP = Setup(
    config=f"""
authenticators:
  ci: {{token: {{from: [{{header: X-API-Token}}, {{header: X-API-Key}}], tokens: [{{name: ci, value: {TOKEN}}}]}}}}
  proxy: {{token: {{from: [bearer], tokens: [{{name: proxy, value: {PROXY_KEY}}}]}}}}
  staff: {{basic: {{htpasswd: users.htpasswd}}}}
routes:
  - {{name: health, path: /health, public: true}}
  - {{name: passed, path: /passed/*, require: {{any: [ci, proxy]}}, pass_credentials: true}}
  - {{name: foreign, path: /foreign/*, require: {{any: [ci, proxy]}}, pass_credentials: foreign}}
  - {{name: people, path: /people/*, require: staff}}
  - {{name: api, path: /*, require: {{any: [ci, proxy]}}}}
""",
    files=(("users.htpasswd", HTPASSWD + "\n"),),
)

IDENTITY = ["X-Auth-User", "X-Auth-Email", "X-Auth-Groups", "X-Auth-Tenant", "X-Auth-Key", "X-Auth-Method"]
CREDENTIALS = ["Authorization", "X-API-Token", "X-API-Key"]
MARK = "mallory"


@pytest.fixture(params=PLAIN)
def site(request: pytest.FixtureRequest, deploy: Deploy) -> Deployment:
    return deploy(request.param, SETUP)


class TestIdentity:
    def test_a_token_gives_its_name(self, client: Client, backend: Backend) -> None:
        assert client.get("/v1/models", token()).status == 200
        assert {name: backend.last.one(name) for name in IDENTITY if backend.last.one(name)} == {
            "X-Auth-Key": "ci",
            "X-Auth-Method": "ci",
        }

    def test_a_password_gives_its_user(self, client: Client, backend: Backend) -> None:
        assert client.get("/people/x", basic()).status == 200
        assert {name: backend.last.one(name) for name in IDENTITY if backend.last.one(name)} == {
            "X-Auth-User": "admin",
            "X-Auth-Method": "staff",
        }

    @pytest.mark.parametrize("path", ["/v1/models", "/health"])
    def test_what_a_client_calls_itself_is_gone(self, client: Client, backend: Backend, path: str) -> None:
        """Attack: send X-Auth-User oneself, on a public path too (THREATS 16)."""
        claims = [(name, MARK) for name in IDENTITY]
        assert client.get(path, token(), *claims).status == 200
        assert MARK not in [backend.last.one(name) for name in IDENTITY]

    def test_said_twice_is_gone_too(self, client: Client, backend: Backend) -> None:
        """Attack: send it twice, in two spellings (THREATS 3, 16)."""
        answer = client.get("/v1/models", token(), ("X-Auth-User", MARK), ("x-auth-user", MARK))
        assert answer.status in (200, 400)
        assert all(seen.one("X-Auth-User") == "" for seen in backend.seen)

    @pytest.mark.parametrize(
        "name",
        ["X_Auth_User", "X.Auth.User", "X~Auth~User", "X-Auth_User", "x_auth_groups", "X_Forwarded_Uri", "X_API_Token"],
    )
    def test_a_name_that_a_backend_would_read_as_ours_never_arrives(
        self, client: Client, backend: Backend, name: str
    ) -> None:
        """WSGI, CGI and PHP turn every character but letters and digits into `_`: X.Auth.User is X-Auth-User there.

        (THREATS 4)
        """
        for path in ("/v1/models", "/health"):
            assert client.get(path, token(), (name, MARK)).status in (200, 400)
        assert not any(MARK in value for seen in backend.seen for _, value in seen.headers)

    def test_connection_cannot_name_our_headers_away(self, client: Client, backend: Backend) -> None:
        """RFC 9110 7.6.1 lets a client list hop-by-hop headers, which a gateway drops before it passes a request on.

        (THREATS 46)
        """
        hop = ("Connection", "X-Auth-Key, X-Auth-Method, X-API-Token, X-Forwarded-Uri, X-Original-URL")
        answer = client.get("/v1/models", token(), hop)
        assert answer.status in (200, 400, 401)
        for seen in backend.seen:
            assert (seen.one("X-Auth-Key"), seen.one("X-Auth-Method")) == ("ci", "ci")


class TestForgedTraces:
    """What a gateway tells the service about a request, told by the client itself."""

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("X-Forwarded-Uri", "/health"),
            ("X-Forwarded-Method", "OPTIONS"),
            ("X-Forwarded-Host", "public.example.com"),
            ("X-Forwarded-Prefix", "/health"),
            ("X-Original-URI", "/health"),
            ("X-Original-URL", "http://llm.example.com/health"),
            ("X-Original-Method", "OPTIONS"),
            ("X-Rewrite-URL", "/health"),
            ("X-HTTP-Method-Override", "OPTIONS"),
            ("X-Deny-Status", "200"),
            ("X-Auth-User", "admin"),
            ("User-Agent", "kube-probe/1.30"),
            ("User-Agent", "GoogleHC/1.0"),
        ],
    )
    def test_open_nothing(self, client: Client, backend: Backend, name: str, value: str) -> None:
        """Attack: say in another header that something public is asked for (THREATS 2, 8, 10)."""
        for headers in ([(name, value)], [(name, value), (name, value)]):
            assert client.get("/v1/models", *headers).status in (400, 401)
        assert backend.seen == []

    @pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Real-IP"])
    def test_an_invented_address_does_not_arrive(self, client: Client, backend: Backend, name: str) -> None:
        """Attack: another address in the header that backends log (THREATS 12)."""
        assert client.get("/v1/models", token(), (name, "10.0.0.1")).status == 200
        assert "10.0.0.1" not in backend.last.one("X-Forwarded-For")

    def test_the_backend_learns_the_true_address(self, client: Client, backend: Backend) -> None:
        assert client.get("/v1/models", token(), ("X-Forwarded-For", "10.0.0.1")).status == 200
        assert backend.last.one("X-Forwarded-For").split(",")[-1].strip() == client.source

    def test_the_backend_learns_the_true_host_and_scheme(self, client: Client, backend: Backend) -> None:
        forged = [("X-Forwarded-Host", MARK), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Port", "443")]
        assert client.get("/v1/models", token(), *forged).status == 200
        assert backend.last.one("X-Forwarded-Host") == HOST
        assert backend.last.one("X-Forwarded-Proto") == "http"

    def test_a_planted_verdict_changes_no_denial(self, client: Client) -> None:
        """Attack: send the headers by which a denial travels from the service to nginx (THREATS 36)."""
        planted = [("X-Deny-Status", "302"), ("X-Deny-Location", "http://evil.example/"), ("X-Deny-Body", MARK)]
        answer = client.get("/v1/models", *planted, ("X-Deny-Type", "text/html"), ("WWW-Authenticate", MARK))
        assert (answer.status, answer.code) == (401, "missing_token_header")
        assert answer.headers["Location"] is None
        assert MARK not in str(answer.headers) + answer.body.decode()

    def test_a_verdict_planted_by_the_backend_changes_nothing(self, client: Client) -> None:
        """Attack: a backend that answers with them (THREATS 36)."""
        answer = client.get("/v1/refuses", token())
        assert (answer.status, answer.body) == (403, b"the backend says no")
        assert answer.headers["WWW-Authenticate"] == "Own"


class TestCredentials:
    @pytest.mark.parametrize("path", ["/v1/models", "/health"])
    def test_end_at_the_gateway(self, client: Client, backend: Backend, path: str) -> None:
        """Attack: read callers' keys at the backend (THREATS 45, 47)."""
        for header in (token(), ("X-API-Key", TOKEN), bearer()):
            assert client.get(path, header).status == 200
            assert [backend.last.one(name) for name in CREDENTIALS] == ["", "", ""]
            assert TOKEN not in str(backend.last.headers)
            assert PROXY_KEY not in str(backend.last.headers)

    def test_of_somebody_else_end_there_too(self, client: Client, backend: Backend) -> None:
        """A provider's key beside ours: whoever owns it, the backend is not meant to see it."""
        assert client.get("/v1/models", token(), basic()).status == 200
        assert backend.last.one("Authorization") == ""

    @pytest.mark.parametrize("header", [token(), ("X-API-Key", TOKEN), bearer()], ids=lambda header: header[0])
    def test_are_handed_on_where_the_route_says_so(
        self, client: Client, backend: Backend, header: tuple[str, str]
    ) -> None:
        assert client.get("/passed/x", header).status == 200
        name, value = header
        assert backend.last.one(name) == value
        assert sorted(backend.last.one(name) for name in CREDENTIALS) == ["", "", value]

    def test_are_handed_on_whole(self, client: Client, backend: Backend) -> None:
        """A 200 with a long credential is a long header: nginx refuses what exceeds its `proxy_buffer_size`."""
        long = ("Authorization", "Basic " + "x" * 30_000)
        assert client.get("/passed/x", token(), long).status == 200
        assert backend.last.one("Authorization") == long[1]

    def test_of_somebody_else_are_handed_on_alone(self, client: Client, backend: Backend) -> None:
        """`pass_credentials: foreign` keeps ours back and passes what only somebody else can judge."""
        theirs = bearer("sk-ant-oat01-of-a-subscription")
        assert client.get("/foreign/x", token(), theirs).status == 200
        assert backend.last.one("Authorization") == theirs[1]
        assert backend.last.one("X-API-Token") == ""
        assert client.get("/foreign/x", bearer()).status == 200
        assert backend.last.one("Authorization") == ""

    def test_an_answer_to_the_client_repeats_none(self, client: Client) -> None:
        """Attack: read in the answer what the gateway and the service said to each other (THREATS 47)."""
        answer = client.get("/v1/models", token())
        assert TOKEN not in str(answer.headers)
        assert not [name for name in answer.headers if name.lower().startswith(("x-auth-", "x-deny-"))]
