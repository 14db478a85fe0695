"""`examples/xai.yml` before real gateways. What its guide says of the setups themselves is in test_deploy_dual.py."""

from __future__ import annotations

import json

import pytest

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import Client
from tests.deploy.rig.curl import curl
from tests.deploy.rig.deployment import Deploy, Deployment
from tests.deploy.rig.programs import ROOT, wait_until
from tests.deploy.rig.service import Setup
from tests.deploy.rig.setups import basic, bearer, token

CONFIG = (ROOT / "examples" / "xai.yml").read_text()
TOKEN = "your-secure-app-token"
ON = (("XAI_API_AUTH", "true"), ("XAI_API_AUTH_TOKEN", TOKEN))
BEARER = Setup(CONFIG, (*ON, ("XAI_API_AUTH_HEADER", "Authorization")))
DUAL = Setup(CONFIG, (*ON, ("XAI_API_AUTH_HEADER", "X-API-Token"), ("XAI_API_KEY", "xai-your-actual-key")))
OFF = Setup(CONFIG, (("XAI_API_AUTH", "false"),))

CHAT = "/api/v1/chat/completions"
BODY = b'{"model": "grok-4-1-fast-non-reasoning", "messages": [{"role": "user", "content": "Hello!"}]}'
GATEWAYS = ["traefik-file", "nginx"]


class TestOneTokenAlone:
    """Options 1 and 2: as Bearer, or in a header of its own."""

    @pytest.fixture(params=GATEWAYS)
    def gateway(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def test_as_bearer(self, deploy: Deploy, gateway: str, backend: Backend) -> None:
        site = deploy(gateway, BEARER)
        answer = curl(
            """curl -X POST https://api.yourdomain.com/api/v1/chat/completions \
  -H "Authorization: Bearer your-secure-app-token" \
  -H "Content-Type: application/json" \
  -d '{"model": "grok-4-1-fast-non-reasoning", "messages": [{"role": "user", "content": "Hello!"}]}'""",
            site,
        )
        assert answer.status == 200
        assert backend.last.body == BODY
        assert (backend.last.one("Authorization"), backend.last.one("X-Auth-Key")) == ("", "token")
        assert site.client().post(CHAT, token(TOKEN), body=BODY).code == "missing_authorization"

    def test_in_a_header_of_its_own(self, deploy: Deploy, gateway: str, backend: Backend) -> None:
        site = deploy(gateway, DUAL)
        answer = curl(
            """curl -X POST http://localhost:8000/api/v1/chat/completions \
  -H "X-API-Token: your-secure-app-token" \
  -H "Content-Type: application/json" \
  -d '{"model": "grok-4-1-fast-non-reasoning", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10}'""",
            site,
        )
        assert answer.status == 200
        assert backend.last.one("X-API-Token") == ""
        assert site.client().post(CHAT, bearer(TOKEN), body=BODY).code == "missing_token_header"

    @pytest.mark.parametrize("path", ["/health", "/docs", "/redoc", "/openapi.json"])
    def test_health_and_documentation_need_none(self, deploy: Deploy, gateway: str, path: str) -> None:
        client = deploy(gateway, DUAL).client()
        assert client.get(path).status == 200
        assert client.get(f"{path}/x").status == 401

    def test_switched_off_needs_none(self, deploy: Deploy, gateway: str, backend: Backend) -> None:
        """Option 4, whose password is the gateway's affair."""
        site = deploy(gateway, OFF)
        assert site.client().post(CHAT, basic(), body=BODY).status == 200
        assert backend.last.one("Authorization") == ""
        assert "authentication is disabled" in site.service.program.log.lower()


class TestBothOnOneRequest:
    """Option 3 on Coolify: its BasicAuth, and the token."""

    @pytest.fixture
    def site(self, deploy: Deploy) -> Deployment:
        return deploy("coolify", DUAL)

    def test_both_open(self, site: Deployment) -> None:
        answer = curl(
            """curl -X POST https://your-domain.com/api/v1/chat/completions \
  -u "admin:traefik_password" \
  -H "X-API-Token: your-secure-app-token" \
  -H "Content-Type: application/json" \
  -d '{
    "model": "grok-4-1-fast-non-reasoning",
    "messages": [{"role": "user", "content": "Hello"}]
  }'""",
            site,
        )
        assert answer.status == 200
        assert curl("curl https://your-domain.com/health", site).status == 200

    def test_each_alone_does_not(self, client: Client, backend: Backend) -> None:
        assert client.post(CHAT, basic(), body=BODY).code == "missing_token_header"
        assert client.post(CHAT, token(TOKEN), body=BODY).status == 401
        assert client.post(CHAT, basic(password="guessed"), token(TOKEN), body=BODY).status == 401
        assert backend.seen == []

    def test_the_audit_has_user_and_token(self, site: Deployment, client: Client) -> None:
        """Benefits: an audit trail of the BasicAuth user and of the token."""
        assert client.post(CHAT, basic(), token(TOKEN), body=BODY).status == 200

        def line() -> tuple[object, ...] | None:
            written = [json.loads(text) for text in site.service.program.log.splitlines() if text.startswith("{")]
            found = [
                (each["gateway_user"], each["key"], each["decision"])
                for each in written
                if each["client"] == client.source
            ]
            return found[-1] if found else None

        wait_until(lambda: line() is not None, "the audit line")
        assert line() == ("admin", "token", "allow")
