"""Dual authentication: one token, in Authorization or in a header of its own, alone or together with a password.

The password is asked either by the gateway (Coolify's BasicAuth labels) or by the service (`require: {all: …}`).
"""

from __future__ import annotations

import json

import pytest

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import Answer, Client
from tests.deploy.rig.deployment import Deploy, Deployment
from tests.deploy.rig.docker import compose
from tests.deploy.rig.files import DEPLOY
from tests.deploy.rig.gateways import PLAIN
from tests.deploy.rig.service import Setup
from tests.deploy.rig.setups import HEADER_TOKEN, HTPASSWD, TOKEN, basic, bearer, token

CHAT = "/api/v1/chat/completions"
MESSAGE = json.dumps(
    {"model": "grok-4-1-fast-non-reasoning", "messages": [{"role": "user", "content": "Hello!"}]}
).encode()

MISSING = {
    "error": {
        "message": "Missing X-API-Token header. Please provide your API token.",
        "type": "authentication_error",
        "code": "missing_token_header",
    }
}
INVALID = {"error": {"message": "Invalid API token", "type": "authentication_error", "code": "invalid_token"}}

DUAL = Setup(
    config=f"""
authenticators:
  staff: {{basic: {{htpasswd: users.htpasswd}}}}
  ci: {{token: {{from: [{{header: X-API-Token}}], tokens: [{{name: ci, value: {TOKEN}}}]}}}}
routes:
  - {{name: health, path: /health, public: true}}
  - {{name: api, path: /*, require: {{all: [staff, ci]}}}}
""",
    files=(("users.htpasswd", HTPASSWD + "\n"),),
)
PASSWORD_ONLY = Setup(
    config="""
authenticators:
  staff: {basic: {htpasswd: users.htpasswd}}
routes:
  - {name: health, path: /health, public: true}
  - {name: api, path: /*, require: staff}
""",
    files=(("users.htpasswd", HTPASSWD + "\n"),),
)
WRONG_PASSWORD = basic(password="guessed")
WRONG_TOKEN = token("guessed")


def chat(client: Client, *headers: tuple[str, str]) -> Answer:
    return client.post(CHAT, *headers, body=MESSAGE)


def compose_environment(name: str, **env: str) -> Setup:
    """What a compose file gives the service, without its listen address."""
    written = compose((DEPLOY / name).read_text(), env)["forwardauth"]["environment"]
    assert written.pop("FORWARDAUTH_LISTEN") == "0.0.0.0:9000"
    return Setup(env=tuple(written.items()))


COOLIFY = compose_environment("coolify/compose.yml", SERVICE_PASSWORD_64_FORWARDAUTH=TOKEN)
COOLIFY_OFF = compose_environment(
    "coolify/compose.yml", SERVICE_PASSWORD_64_FORWARDAUTH=TOKEN, FORWARDAUTH_DISABLE_AUTH="true"
)


class TestBearerTokenOnly:
    """Option 1."""

    @pytest.fixture(params=PLAIN)
    def site(self, request: pytest.FixtureRequest, deploy: Deploy) -> Deployment:
        return deploy(request.param, Setup(env=(("FORWARDAUTH_TOKEN", TOKEN), ("FORWARDAUTH_HEADER", "Authorization"))))

    def test_the_token_in_authorization_opens(self, client: Client, backend: Backend) -> None:
        answer = chat(client, bearer(TOKEN))
        assert answer.status == 200
        assert answer.json()["choices"][0]["message"]["content"] == "Hello there"
        assert backend.last.body == MESSAGE

    def test_without_it_the_challenge_is_bearer(self, client: Client, backend: Backend) -> None:
        answer = chat(client)
        assert (answer.status, answer.code) == (401, "missing_authorization")
        assert answer.all("WWW-Authenticate") == ["Bearer"]
        assert backend.seen == []

    def test_a_custom_header_is_the_wrong_place(self, client: Client) -> None:
        """Troubleshooting: 401 even with a valid token, for it stands in the wrong header."""
        assert chat(client, token()).status == 401


class TestCustomHeaderOnly:
    """Option 2."""

    @pytest.fixture(params=PLAIN)
    def site(self, request: pytest.FixtureRequest, deploy: Deploy) -> Deployment:
        return deploy(request.param, HEADER_TOKEN)

    def test_the_token_in_its_header_opens(self, client: Client, backend: Backend) -> None:
        assert chat(client, token()).status == 200
        assert backend.last.body == MESSAGE

    def test_a_missing_header_is_answered_word_by_word(self, client: Client) -> None:
        answer = chat(client)
        assert answer.status == 401
        assert answer.json() == MISSING
        (content_type,) = answer.all("Content-Type")
        assert content_type.partition(";")[0] == "application/json"

    def test_a_wrong_token_is_answered_word_by_word(self, client: Client) -> None:
        answer = chat(client, WRONG_TOKEN)
        assert answer.status == 401
        assert answer.json() == INVALID

    def test_authorization_is_the_wrong_place(self, client: Client) -> None:
        answer = chat(client, bearer(TOKEN))
        assert answer.status == 401
        assert answer.json() == MISSING

    @pytest.mark.parametrize(
        ("env", "header"), [({}, token()), ({"FORWARDAUTH_HEADER": "Authorization"}, bearer(TOKEN))]
    )
    def test_the_compose_file_is_a_whole_configuration(
        self, deploy: Deploy, backend: Backend, env: dict[str, str], header: tuple[str, str]
    ) -> None:
        setup = compose_environment("traefik/compose.yml", FORWARDAUTH_TOKEN=TOKEN, **env)
        client = deploy("traefik-labels", setup).client()
        assert chat(client, header).status == 200
        assert chat(client).status == 401
        assert client.get("/health").status == 200

    def test_health_needs_no_token(self, client: Client) -> None:
        answer = client.get("/health")
        assert (answer.status, answer.json()) == (200, {"status": "healthy"})


class TestDualByTheGateway:
    """Option 3 of the guide for Traefik: BasicAuth labels on Coolify's proxy, the token by the service."""

    @pytest.fixture
    def site(self, deploy: Deploy) -> Deployment:
        return deploy("coolify", COOLIFY)

    def test_both_open_and_end_at_the_gateway(self, client: Client, backend: Backend) -> None:
        assert chat(client, basic(), token()).status == 200
        assert backend.last.one("Authorization") == ""
        assert backend.last.one("X-API-Token") == ""
        assert backend.last.one("X-Auth-Method") != ""

    def test_a_wrong_password_is_the_gateways_to_refuse(self, client: Client, backend: Backend) -> None:
        """Troubleshooting: Traefik returns 401 before the application sees the request."""
        answer = chat(client, WRONG_PASSWORD, token())
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        assert answer.code == ""
        assert backend.seen == []

    def test_a_wrong_token_is_the_services_to_refuse(self, client: Client, backend: Backend) -> None:
        answer = chat(client, basic(), WRONG_TOKEN)
        assert (answer.status, answer.json()) == (401, INVALID)
        assert backend.seen == []

    def test_a_password_alone_is_not_enough(self, client: Client) -> None:
        answer = chat(client, basic())
        assert (answer.status, answer.json()) == (401, MISSING)

    def test_a_token_alone_is_not_enough(self, client: Client) -> None:
        assert chat(client, token()).status == 401

    def test_health_is_exempt_from_both(self, client: Client) -> None:
        answer = client.get("/health")
        assert (answer.status, answer.json()) == (200, {"status": "healthy"})

    def test_a_password_on_health_changes_nothing(self, client: Client) -> None:
        """Troubleshooting: `curl -u admin:password https://your-domain.com/health`."""
        assert client.get("/health", basic()).status == 200

    @pytest.mark.parametrize(
        "target", ["/health/", "/health/x", "/healthz", "/Health", "/health;x", "/health%2f..%2fv1"]
    )
    def test_the_exemption_is_for_one_path(self, client: Client, backend: Backend, target: str) -> None:
        assert client.get(target, token()).status in (400, 401)
        assert backend.seen == []

    def test_lookalike_names_are_refused_without_a_hardened_entry_point(self, client: Client, backend: Backend) -> None:
        """A resource cannot change Coolify's entry points: the service itself has to see the forgery."""
        for name in ("X_Auth_User", "X.Auth.User", "X~Auth~User", "X_Api_Token"):
            answer = chat(client, basic(), token(), (name, "admin"))
            assert (answer.status, answer.code) == (400, "lookalike_header"), name
        assert backend.seen == []


class TestPasswordOnly:
    """Option 4, BasicAuth only."""

    def test_by_the_gateway_with_the_service_switched_off(self, deploy: Deploy, backend: Backend) -> None:
        client = deploy("coolify", COOLIFY_OFF).client()
        assert chat(client, basic()).status == 200
        assert backend.last.one("Authorization") == ""
        assert chat(client, WRONG_PASSWORD).status == 401
        assert chat(client).status == 401

    @pytest.mark.parametrize("name", PLAIN)
    def test_by_the_service(self, deploy: Deploy, backend: Backend, name: str) -> None:
        client = deploy(name, PASSWORD_ONLY).client()
        assert chat(client, basic()).status == 200
        assert backend.last.one("X-Auth-User") == "admin"
        assert backend.last.one("Authorization") == ""
        answer = chat(client, WRONG_PASSWORD)
        assert (answer.status, answer.code) == (401, "invalid_credentials")
        assert chat(client).headers["WWW-Authenticate"].startswith('Basic realm="')


class TestDualByTheService:
    """Option 3 without a password of the gateway's own: `require: {all: [staff, ci]}`."""

    @pytest.fixture(params=PLAIN)
    def site(self, request: pytest.FixtureRequest, deploy: Deploy) -> Deployment:
        return deploy(request.param, DUAL)

    def test_both_open_and_end_at_the_gateway(self, client: Client, backend: Backend) -> None:
        assert chat(client, basic(), token()).status == 200
        seen = backend.last
        assert (seen.one("X-Auth-User"), seen.one("X-Auth-Key"), seen.one("X-Auth-Method")) == (
            "admin",
            "ci",
            "staff+ci",
        )
        assert (seen.one("Authorization"), seen.one("X-API-Token")) == ("", "")

    def test_a_wrong_password_with_a_good_token(self, client: Client, backend: Backend) -> None:
        answer = chat(client, WRONG_PASSWORD, token())
        assert (answer.status, answer.code) == (401, "invalid_credentials")
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        assert backend.seen == []

    def test_a_good_password_with_a_wrong_token(self, client: Client, backend: Backend) -> None:
        answer = chat(client, basic(), WRONG_TOKEN)
        assert (answer.status, answer.json()) == (401, INVALID)
        assert backend.seen == []

    def test_a_password_alone_is_not_enough(self, client: Client) -> None:
        answer = chat(client, basic())
        assert (answer.status, answer.json()) == (401, MISSING)

    def test_a_token_alone_is_not_enough(self, client: Client) -> None:
        answer = chat(client, token())
        assert (answer.status, answer.code) == (401, "missing_authorization")

    def test_neither_asks_for_both(self, client: Client) -> None:
        (challenges,) = chat(client).all("WWW-Authenticate")
        assert "Basic realm=" in challenges

    def test_health_needs_neither(self, client: Client) -> None:
        assert client.get("/health").status == 200
