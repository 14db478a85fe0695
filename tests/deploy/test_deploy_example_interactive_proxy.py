"""`examples/interactive-proxy.yml` before real gateways: every call of that proxy's guide, as its users make it."""

from __future__ import annotations

import openai
import pytest

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import HOST, Client
from tests.deploy.rig.curl import curl
from tests.deploy.rig.deployment import Deploy, Deployment
from tests.deploy.rig.programs import ROOT
from tests.deploy.rig.service import Setup, run_serve
from tests.deploy.rig.setups import bearer

FILE = ROOT / "examples" / "interactive-proxy.yml"
KEY = "your-secret-proxy-key"
ON = Setup(FILE.read_text(), (("LLM_INTERACTIVE_PROXY_API_KEY", KEY),))
OFF = Setup(FILE.read_text(), (("DISABLE_AUTH", "true"),))
OFF_BY_OPTION = Setup(FILE.read_text(), options=("--disable-auth",))
BRIEF = Setup(FILE.read_text(), (*ON.env, ("BRUTE_FORCE_MAX_FAILED_ATTEMPTS", "2")))

WITH_A_KEY = """curl -X POST http://localhost:8000/v1/chat/completions \
  -H "Authorization: Bearer your-secret-proxy-key" \
  -H "Content-Type: application/json" \
  -d '{
    "model": "gpt-4",
    "messages": [{"role": "user", "content": "Hello!"}]
  }'"""
WITHOUT = """curl http://localhost:8000/v1/chat/completions \
  -H "Content-Type: application/json" \
  -d '{"model": "gpt-4", "messages": [{"role": "user", "content": "Hello!"}]}'"""


@pytest.fixture(params=["traefik-file", "nginx"])
def gateway(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(gateway: str, deploy: Deploy) -> Deployment:
    return deploy(gateway, ON)


class TestClients:
    def test_curl(self, site: Deployment, backend: Backend) -> None:
        answer = curl(WITH_A_KEY, site)
        assert answer.json()["choices"][0]["message"]["content"] == "Hello there"
        assert backend.last.one("Authorization") == ""
        assert backend.last.one("X-Auth-Key") == "proxy"

    def test_python(self, site: Deployment) -> None:
        client = openai.OpenAI(
            base_url=f"{site.gateway.url}/v1", api_key="your-secret-proxy-key", default_headers={"Host": HOST}
        )
        with client:
            response = client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "Hello!"}])
        assert response.choices[0].message.content == "Hello there"

    def test_a_client_of_gemini(self, client: Client) -> None:
        target = "/v1beta/models/gemini-2.5-pro:generateContent"
        assert client.post(target, ("x-goog-api-key", KEY)).status == 200
        assert client.post(target, ("x-goog-api-key", "guessed")).code == "invalid_token"

    def test_a_client_that_can_set_no_header(self, site: Deployment, client: Client, backend: Backend) -> None:
        assert client.post(f"/v1/models?api_key={KEY}").status == 200
        assert backend.last.target == f"/v1/models?api_key={KEY}"
        assert client.post("/v1/models?api_key=guessed").code == "invalid_token"
        written = site.audit(client, 2)
        assert KEY not in written
        assert "guessed" not in written


class TestTroubleshooting:
    def test_a_missing_header(self, site: Deployment, backend: Backend) -> None:
        answer = curl(WITHOUT, site)
        assert (answer.status, answer.json()["error"]["code"]) == (401, "missing_authorization")
        assert backend.seen == []

    def test_a_wrong_key(self, client: Client) -> None:
        answer = client.get("/v1/models", bearer("guessed"))
        assert (answer.status, answer.code) == (401, "invalid_token")

    def test_too_many_requests_tell_how_long_to_wait(self, site: Deployment, client: Client) -> None:
        for attempt in range(5):
            assert client.get("/v1/models", bearer(f"guess-{attempt}")).status == 401
        answer = client.get("/v1/models", bearer("guess-6"))
        assert (answer.status, answer.code) == (429, "locked_out")
        assert 1 <= int(answer.headers["Retry-After"]) <= 30
        assert client.get("/v1/models", bearer()).status == 429, "blocked, and the right key does not tell"
        assert site.client().get("/v1/models", bearer()).status == 200

    def test_the_number_of_attempts_is_the_environments(self, gateway: str, deploy: Deploy) -> None:
        client = deploy(gateway, BRIEF).client()
        statuses = [client.get("/v1/models", bearer(f"guess-{attempt}")).status for attempt in range(3)]
        assert statuses == [401, 401, 429]

    def test_a_success_forgets_the_failures(self, gateway: str, deploy: Deploy) -> None:
        client = deploy(gateway, BRIEF).client()
        for _ in range(3):
            assert client.get("/v1/models", bearer("guessed")).status == 401
            assert client.get("/v1/models", bearer()).status == 200

    def test_key_not_found_in_environment(self) -> None:
        refused = run_serve("--config", str(FILE))
        assert refused.returncode == 2
        assert "LLM_INTERACTIVE_PROXY_API_KEY is not set" in refused.stderr


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/health"])
def test_the_bypass_list_needs_no_key(client: Client, path: str) -> None:
    assert client.get(path).status == 200
    assert client.get(path, bearer("guessed")).status == 200


@pytest.mark.parametrize("setup", [OFF, OFF_BY_OPTION], ids=["environment", "option"])
def test_development_mode_needs_no_key_at_all(gateway: str, deploy: Deploy, setup: Setup) -> None:
    site = deploy(gateway, setup)
    assert curl(WITHOUT, site).status == 200
    assert "authentication is disabled" in site.service.program.log.lower()
