"""A proxy for a team: one key for everybody as Bearer, a switch for development, a brute-force guard, public paths."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import HOST, Client
from tests.deploy.rig.deployment import Deploy, Deployment
from tests.deploy.rig.gateways import PLAIN
from tests.deploy.rig.service import Setup, run_serve
from tests.deploy.rig.setups import BEARER_TOKEN, HEADER_TOKEN, PROXY_KEY, TOKEN, bearer

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Hello!"}]

BYPASS = Setup(
    config=f"""
authenticators:
  key: {{token: {{from: [bearer], tokens: [{{name: proxy, value: {PROXY_KEY}}}]}}}}
routes:
  - {{name: docs, path: [/docs, /docs/*, /openapi.json, /health], public: true}}
  - {{name: api, path: /*, require: key}}
"""
)


@pytest.fixture(params=PLAIN)
def gateway(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(gateway: str, deploy: Deploy) -> Deployment:
    return deploy(gateway, BEARER_TOKEN)


@pytest.fixture
def sdk(site: Deployment) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{site.gateway.url}/v1", api_key=PROXY_KEY, default_headers={"Host": HOST}) as sdk:
        yield sdk


class TestTheKey:
    def test_opens(self, client: Client, backend: Backend) -> None:
        body = b'{"model": "gpt-4", "messages": [{"role": "user", "content": "Hello!"}]}'
        assert client.post(CHAT, bearer(), body=body).status == 200
        assert backend.last.body == body

    def test_is_needed(self, client: Client, backend: Backend) -> None:
        assert client.post(CHAT).code == "missing_authorization"
        assert client.post(CHAT, bearer("guessed")).code == "invalid_token"
        assert backend.seen == []

    @pytest.mark.parametrize(
        "value", ["", "Bearer", "Bearer ", PROXY_KEY, f"Token {PROXY_KEY}", f"Bearer {PROXY_KEY} x"]
    )
    def test_is_nothing_but_bearer_and_the_key(self, client: Client, value: str) -> None:
        assert client.get("/v1/models", ("Authorization", value)).status == 401

    def test_scheme_is_read_in_any_case(self, client: Client) -> None:
        """RFC 9110 11.1."""
        assert client.get("/v1/models", ("Authorization", f"bearer {PROXY_KEY}")).status == 200


class TestTheOpenAiSdk:
    def test_completes_and_streams(self, sdk: openai.OpenAI) -> None:
        answer = sdk.chat.completions.create(model="gpt-4", messages=MESSAGES)
        assert answer.choices[0].message.content == "Hello there"
        stream = sdk.chat.completions.create(model="gpt-4", messages=MESSAGES, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Hello there"

    def test_reads_a_refusal_as_an_authentication_error(self, sdk: openai.OpenAI) -> None:
        with pytest.raises(openai.AuthenticationError) as raised:
            sdk.with_options(api_key="guessed").models.list()
        assert raised.value.code == "invalid_token"
        assert raised.value.type == "authentication_error"

    def test_carries_a_token_in_a_header_of_its_own(self, gateway: str, deploy: Deploy) -> None:
        url = deploy(gateway, HEADER_TOKEN).gateway.url
        headers = {"Host": HOST, "X-API-Token": TOKEN}
        with openai.OpenAI(base_url=f"{url}/v1", api_key="ignored", default_headers=headers) as sdk:
            assert [model.id for model in sdk.models.list()] == ["m"]


class TestTheBruteForceGuard:
    def test_after_five_wrong_keys_everything_waits(self, client: Client, backend: Backend) -> None:
        """Attack: guess, and tell a hit by its answer (THREATS 19, 22)."""
        for attempt in range(5):
            assert client.get("/v1/models", bearer(f"guess-{attempt}")).status == 401
        answer = client.get("/v1/models", bearer("guess-6"))
        assert (answer.status, answer.code) == (429, "locked_out")
        assert 1 <= int(answer.headers["Retry-After"]) <= 30
        assert 1 <= int(answer.headers["retry-after-ms"]) <= 30_000
        assert answer.headers["x-should-retry"] == "false"
        assert answer.json()["error"]["type"] == "rate_limit_error"
        assert client.get("/v1/models", bearer()).status == 429, "a guess that hits is a guess"
        assert client.post(CHAT).status == 429
        assert client.get("/health").status == 200, "a public path needs no credential"
        assert [seen.target for seen in backend.seen] == ["/health"]

    def test_a_missing_key_is_no_guess(self, client: Client) -> None:
        for _ in range(7):
            assert client.get("/v1/models").status == 401
        assert client.get("/v1/models", bearer()).status == 200

    def test_a_key_that_is_known_from_the_address_passes(self, client: Client) -> None:
        """Attack: lock everybody behind an address out, by guessing from there (THREATS 22, 50)."""
        assert client.get("/v1/models", bearer()).status == 200
        for attempt in range(6):
            client.get("/v1/models", bearer(f"guess-{attempt}"))
        assert client.get("/v1/models", bearer("guess-7")).status == 429
        assert client.get("/v1/models", bearer()).status == 200

    def test_another_address_is_somebody_else(self, site: Deployment, client: Client) -> None:
        """Attack: lock somebody else out by guessing from here (THREATS 50)."""
        for attempt in range(6):
            client.get("/v1/models", bearer(f"guess-{attempt}"))
        assert client.get("/v1/models", bearer()).status == 429
        assert site.client().get("/v1/models", bearer()).status == 200

    @pytest.mark.parametrize(
        "name", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "CF-Connecting-IP"]
    )
    def test_nobody_guesses_on_from_an_invented_address(self, client: Client, name: str) -> None:
        """Attack: another address with every guess (THREATS 12)."""
        for attempt in range(5):
            client.get("/v1/models", bearer(f"guess-{attempt}"), (name, f"203.0.113.{attempt}"))
        assert client.get("/v1/models", bearer(), (name, "203.0.113.99")).status == 429

    def test_the_sdk_does_not_try_again(self, gateway: str, deploy: Deploy) -> None:
        """The SDK comes from 127.0.0.1, which nobody else in this deployment does."""
        url = deploy(gateway, BYPASS).gateway.url
        with openai.OpenAI(base_url=f"{url}/v1", api_key="guessed", default_headers={"Host": HOST}) as sdk:
            for _ in range(5):
                with pytest.raises(openai.AuthenticationError):
                    sdk.models.list()
            with pytest.raises(openai.RateLimitError) as raised:
                sdk.models.list()
        assert raised.value.request.headers["x-stainless-retry-count"] == "0"


class TestDisabledAuthentication:
    @pytest.fixture(params=["environment", "option"])
    def site(self, request: pytest.FixtureRequest, gateway: str, deploy: Deploy) -> Deployment:
        by_environment = Setup(env=(("FORWARDAUTH_DISABLE_AUTH", "true"),))
        return deploy(gateway, by_environment if request.param == "environment" else Setup(options=("--disable-auth",)))

    def test_lets_everybody_in_and_says_so(self, site: Deployment, client: Client) -> None:
        assert client.get("/v1/models").status == 200
        assert client.post(CHAT, bearer("anything"), body=b'{"model": "m"}').status == 200
        assert "authentication is disabled" in site.service.program.log.lower()

    def test_still_says_who_nobody_is(self, client: Client, backend: Backend) -> None:
        """Attack: send X-Auth-User where authentication is disabled (THREATS 16)."""
        assert client.get("/v1/models", ("X-Auth-User", "admin")).status == 200
        assert backend.last.one("X-Auth-User") == ""

    def test_still_refuses_what_only_an_attacker_sends(self, client: Client, backend: Backend) -> None:
        assert client.get("/v1/x/..%2f..%2fadmin").status == 400
        assert backend.seen == []


class TestStartingWithoutAKey:
    def test_is_refused_and_says_what_to_set(self) -> None:
        """Attack on the operator: no key at all, which could mean "everybody" (THREATS 35)."""
        refused = run_serve()
        assert refused.returncode == 2
        for word in ("FORWARDAUTH_TOKEN", "FORWARDAUTH_CONFIG", "FORWARDAUTH_DISABLE_AUTH"):
            assert word in refused.stdout + refused.stderr

    @pytest.mark.parametrize("value", ["", "   "])
    def test_an_empty_key_is_no_key(self, value: str) -> None:
        assert run_serve(env=(("FORWARDAUTH_TOKEN", value),)).returncode == 2

    def test_a_switch_that_is_off_does_not_help(self) -> None:
        assert run_serve(env=(("FORWARDAUTH_DISABLE_AUTH", "false"),)).returncode == 2


class TestTheBypassList:
    @pytest.fixture
    def site(self, gateway: str, deploy: Deploy) -> Deployment:
        return deploy(gateway, BYPASS)

    @pytest.mark.parametrize("path", ["/docs", "/docs/oauth2-redirect", "/openapi.json", "/health"])
    def test_public_paths_need_no_key(self, client: Client, path: str) -> None:
        assert client.get(path).status == 200
        assert client.get(path, bearer("guessed")).status == 200, "nobody looks at it"

    @pytest.mark.parametrize("path", ["/docsx", "/openapi.json/x", "/healthz", "/v1/docs", "/v1/models?next=/docs/"])
    def test_what_resembles_them_does(self, client: Client, backend: Backend, path: str) -> None:
        """Attack: a path that begins like a public one, or has it in its query (THREATS 5, 7)."""
        assert client.get(path).status == 401
        assert client.get(path, bearer()).status == 200
        assert len(backend.seen) == 1
