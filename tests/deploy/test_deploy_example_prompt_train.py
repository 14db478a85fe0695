"""`examples/prompt-train.yml` and `credentials/` before real gateways: client authentication and the dashboard key."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anthropic
import pytest

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import HOST, Answer, Client
from tests.deploy.rig.curl import curl
from tests.deploy.rig.deployment import Deploy, Deployment
from tests.deploy.rig.programs import ROOT, wait_until
from tests.deploy.rig.service import Setup, environment
from tests.deploy.rig.setups import bearer

CONFIG = (ROOT / "examples" / "prompt-train.yml").read_text()
DASHBOARD = "your-secure-dashboard-key"
FILES = {
    "your-train-id": '{ "keys": ["cnp_live_your_generated_key"] }\n',
    "train-alpha": '["cnp_live_of_alpha"]',
    "train-beta": '{"client_api_keys": ["cnp_live_of_beta"]}',
    "default": '{"keys": ["cnp_live_of_default"]}',
}
KEYS = {
    "your-train-id": "cnp_live_your_generated_key",
    "train-alpha": "cnp_live_of_alpha",
    "train-beta": "cnp_live_of_beta",
    "default": "cnp_live_of_default",
}
ACCOUNT = (
    '{"type": "api_key", "accountId": "acc_1", "api_key": "sk-ant-your-claude-api-key", "keys": ["sk-ant-stolen"]}'
)

MESSAGES = "/v1/messages"
CALL = """curl -X POST http://proxy:3000/v1/messages \
  -H "MSL-Train-Id: your-train-id" \
  -H "Authorization: Bearer cnp_live_your_generated_key" \
  -H "Content-Type: application/json" \
  -d '{"messages": [{"role": "user", "content": "Hello"}]}'"""


@pytest.fixture(params=["traefik-file", "nginx"])
def gateway(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def laid(folder: Path) -> Path:
    """A user's `credentials/`, with an account beside the trains."""
    for train, content in FILES.items():
        put(folder, train, content)
    (folder / "accounts").mkdir()
    (folder / "accounts" / "account-primary.credentials.json").write_text(ACCOUNT)
    (folder / "accounts" / "account-primary.client-keys.json").write_text('["sk-ant-stolen"]')
    return folder


def put(folder: Path, train: str, content: str) -> Path:
    path = folder / "train-client-keys" / f"{train}.client-keys.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def names(credentials: Path, **more: str) -> tuple[tuple[str, str], ...]:
    """The environment that the guide sets."""
    return (("CREDENTIALS_DIR", str(credentials)), ("DASHBOARD_API_KEY", DASHBOARD), *more.items())


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return laid(tmp_path_factory.mktemp("train") / "credentials")


@pytest.fixture
def site(gateway: str, deploy: Deploy, credentials: Path) -> Deployment:
    return deploy(gateway, Setup(CONFIG, names(credentials)))


def train(name: str) -> tuple[str, str]:
    return "MSL-Train-Id", name


def refused(answer: Answer) -> bool:
    """A refusal as the proxy words it, and Anthropic's clients read it."""
    body = answer.json()
    return (answer.status, body["type"], body["error"]["type"]) == (401, "error", "authentication_error")


class TestClientAuthentication:
    def test_the_guides_call(self, site: Deployment, backend: Backend) -> None:
        assert curl(CALL, site).status == 200
        seen = backend.last
        assert json.loads(seen.body) == {"messages": [{"role": "user", "content": "Hello"}]}
        assert (seen.one("MSL-Train-Id"), seen.one("X-Auth-Tenant")) == ("your-train-id", "your-train-id")
        assert seen.one("Authorization") == "", "the key ends at the gateway"
        assert seen.one("X-Auth-Key").startswith("sha256:")

    def test_every_shape_of_a_file(self, client: Client, backend: Backend) -> None:
        for name, key in KEYS.items():
            assert client.post(MESSAGES, train(name), bearer(key)).status == 200
            assert backend.last.one("X-Auth-Tenant") == name

    def test_without_the_header_the_train_is_the_default_one(self, client: Client, backend: Backend) -> None:
        assert client.post(MESSAGES, bearer(KEYS["default"])).status == 200
        assert backend.last.one("X-Auth-Tenant") == "default"
        assert client.post(MESSAGES, train(""), bearer(KEYS["default"])).status == 200
        assert refused(client.post(MESSAGES, bearer(KEYS["train-alpha"])))

    def test_a_refusal_is_the_proxys(self, site: Deployment, client: Client, backend: Backend) -> None:
        """No header, not Bearer, no keys for the train, wrong key: one answer, which tells no folder."""
        alpha = KEYS["train-alpha"]
        for headers in (
            [train("train-alpha")],
            [train("train-alpha"), ("Authorization", f"Basic {alpha}")],
            [train("train-alpha"), ("X-API-Key", alpha)],
            [train("nobody"), bearer(alpha)],
            [train("train-alpha"), bearer("cnp_live_guessed")],
        ):
            answer = client.post(MESSAGES, *headers)
            assert refused(answer)
            assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="Agent Prompt Train"')
            assert "credentials" not in answer.body.decode()
        assert backend.seen == []

    def test_a_key_is_worth_nothing_for_another_train(self, site: Deployment, backend: Backend) -> None:
        for name, key in KEYS.items():
            client = site.client()
            for other in KEYS.keys() - {name}:
                assert refused(client.post(MESSAGES, train(other), bearer(key)))
        assert backend.seen == []

    @pytest.mark.parametrize(
        "name",
        [
            "../accounts/account-primary",
            "..%2faccounts%2faccount-primary",
            "train-client-keys/train-alpha",
            "./train-alpha",
            "/train-alpha",
            "train-alpha/.",
            "train-alpha.client-keys.json",
            "TRAIN-ALPHA",
            "train-alpha,default",
            "..",
            "*",
        ],
    )
    def test_a_name_leads_to_no_other_file(self, client: Client, backend: Backend, name: str) -> None:
        """Attack: a train that is a path."""
        for key in (KEYS["train-alpha"], "sk-ant-stolen"):
            assert refused(client.post(MESSAGES, train(name), bearer(key)))
        assert backend.seen == []

    def test_two_names_are_none(self, client: Client, backend: Backend) -> None:
        """Attack: one train for the check, and another one for the backend."""
        both = [train("train-alpha"), train("train-beta"), bearer(KEYS["train-alpha"])]
        assert client.post(MESSAGES, *both).status == 400
        for lookalike in ("MSL_Train_Id", "MSL.Train.Id"):
            asked = client.post(MESSAGES, train("train-alpha"), (lookalike, "train-beta"), bearer(KEYS["train-alpha"]))
            # nginx drops such a header and asks about the rest; what must not happen is that both arrive.
            assert asked.status in (200, 400)
        assert all(seen.all("MSL_Train_Id") == seen.all("MSL.Train.Id") == [] for seen in backend.seen)

    def test_tools_need_the_trains_key_too(self, client: Client) -> None:
        assert client.post("/mcp/sse", train("train-alpha"), bearer(KEYS["train-alpha"])).status == 200
        assert refused(client.post("/mcp/sse", train("train-beta"), bearer(KEYS["train-alpha"])))

    def test_an_account_goes_on_to_the_proxy(self, client: Client, backend: Backend) -> None:
        pinned = ("MSL-Account", "account-primary")
        assert client.post(MESSAGES, train("train-alpha"), bearer(KEYS["train-alpha"]), pinned).status == 200
        assert backend.last.one("MSL-Account") == "account-primary"


class TestTheAnthropicSdk:
    @pytest.fixture
    def sdk(self, site: Deployment) -> Iterator[anthropic.Anthropic]:
        headers = {"Host": HOST, "MSL-Train-Id": "train-alpha"}
        with anthropic.Anthropic(
            base_url=site.gateway.url, auth_token=KEYS["train-alpha"], default_headers=headers
        ) as sdk:
            yield sdk

    def ask(self, sdk: anthropic.Anthropic) -> int:
        asked = sdk.messages.with_raw_response.create(
            model="m", max_tokens=10, messages=[{"role": "user", "content": "Hello"}]
        )
        return asked.status_code

    def test_carries_train_and_key(self, sdk: anthropic.Anthropic, backend: Backend) -> None:
        assert self.ask(sdk) == 200
        assert backend.last.one("X-Auth-Tenant") == "train-alpha"
        assert backend.last.one("anthropic-version") != ""

    def test_reads_a_refusal(self, sdk: anthropic.Anthropic) -> None:
        with pytest.raises(anthropic.AuthenticationError) as raised:
            self.ask(sdk.with_options(auth_token="cnp_live_guessed"))
        assert isinstance(raised.value.body, dict)
        assert raised.value.body["error"]["type"] == "authentication_error"


def wait_for(site: Deployment, name: str, key: str, expected: int) -> None:
    """Until the file's change is in force. Each time as somebody new: who asks often with a wrong key is blocked."""

    def asked() -> bool:
        return site.client().post(MESSAGES, train(name), bearer(key)).status == expected

    wait_until(asked, f"{expected} for a key of {name}")


class TestFilesChange:
    @pytest.fixture
    def credentials(self, tmp_path: Path) -> Path:
        """The test's own, which it may change."""
        return laid(tmp_path / "credentials")

    def test_keys_and_trains_come_and_go_on_an_open_connection(self, site: Deployment, credentials: Path) -> None:
        with site.client().connect() as connection:

            def answers(name: str, key: str, expected: int) -> None:
                wait_for(site, name, key, expected)
                asked = connection.request("POST", MESSAGES, [train(name), bearer(key)], b"{}")
                assert asked.status == expected

            answers("train-alpha", KEYS["train-alpha"], 200)
            put(credentials, "train-alpha", '["cnp_live_of_alpha", "cnp_live_second"]')
            answers("train-alpha", "cnp_live_second", 200)
            path = put(credentials, "train-gamma", '["cnp_live_of_gamma"]')
            answers("train-gamma", "cnp_live_of_gamma", 200)
            path.unlink()
            answers("train-gamma", "cnp_live_of_gamma", 401)
            put(credentials, "train-alpha", '["cnp_live_second"')
            answers("train-alpha", "cnp_live_second", 503)
            answers("train-beta", KEYS["train-beta"], 200)
            put(credentials, "train-alpha", '["cnp_live_second"]')
            answers("train-alpha", "cnp_live_second", 200)

    def test_a_generated_key_opens(self, site: Deployment, client: Client, credentials: Path) -> None:
        file = credentials / "train-client-keys" / "train-alpha.client-keys.json"
        words = ["keys", "generate", "--prefix", "cnp_live_", "--file", str(file)]
        done = subprocess.run(
            [sys.executable, "-m", "forwardauth", *words],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        key = done.stdout.split()[-1]
        assert len(key) == len("cnp_live_") + 43
        wait_for(site, "train-alpha", key, 200)
        assert client.post(MESSAGES, train("train-alpha"), bearer(KEYS["train-alpha"])).status == 200


class TestTheDashboard:
    @pytest.mark.parametrize("target", ["/api/stats", "/dashboard", "/dashboard/trains"])
    @pytest.mark.parametrize(
        "header",
        [("X-Dashboard-Key", DASHBOARD), ("Cookie", f"dashboard_auth={DASHBOARD}")],
        ids=["header", "cookie"],
    )
    def test_its_key_opens_and_reaches_it(
        self, client: Client, backend: Backend, target: str, header: tuple[str, str]
    ) -> None:
        assert client.get(target, header).status == 200
        assert backend.last.one(header[0]) == header[1], "the dashboard looks for it itself"
        assert backend.last.one("X-Auth-Key") == "dashboard"

    def test_what_else_is_meant_for_it_reaches_it(self, client: Client, backend: Backend) -> None:
        assert client.get("/api/stats", ("X-Dashboard-Key", DASHBOARD), bearer("its-own")).status == 200
        assert backend.last.one("Authorization") == "Bearer its-own"

    @pytest.mark.parametrize("target", ["/api/stats", "/dashboard", "/dashboard/trains", "/dashboard/login"])
    def test_nothing_else_does(self, client: Client, backend: Backend, target: str) -> None:
        for headers in (
            [],
            [("X-Dashboard-Key", "guessed")],
            [("Cookie", "dashboard_auth=guessed")],
            [("Cookie", "dashboard_auth=")],
            [bearer(DASHBOARD)],
            [bearer(KEYS["default"])],
        ):
            assert client.get(target, *headers).status == 401
        assert backend.seen == []

    def test_the_trains_are_not_its_affair(self, client: Client) -> None:
        assert refused(client.post(MESSAGES, ("X-Dashboard-Key", DASHBOARD)))
        assert client.get("/api/stats", ("X-Dashboard-Key", DASHBOARD), train("../x")).status == 200

    @pytest.mark.parametrize("host", ["llm.example.com", "dashboard.example.com"])
    def test_on_every_host(self, gateway: str, deploy: Deploy, credentials: Path, host: str) -> None:
        client = deploy(gateway, Setup(CONFIG, names(credentials)), (HOST, "dashboard.example.com")).client()
        assert client.get("/api/stats", ("X-Dashboard-Key", DASHBOARD), host=host).status == 200
        assert client.get("/api/stats", host=host).status == 401
        assert client.get(MESSAGES, bearer(KEYS["default"]), host=host).status == 200


def test_without_client_authentication_the_proxy_alone_is_open(
    gateway: str, deploy: Deploy, credentials: Path, backend: Backend
) -> None:
    client = deploy(gateway, Setup(CONFIG, names(credentials, ENABLE_CLIENT_AUTH="false"))).client()
    assert client.post(MESSAGES, train("train-alpha")).status == 200
    assert (backend.last.one("MSL-Train-Id"), backend.last.one("X-Auth-Tenant")) == ("train-alpha", "")
    assert client.post("/mcp/sse").status == 200
    assert client.get("/api/stats").status == 401
    assert client.get("/api/stats", ("X-Dashboard-Key", DASHBOARD)).status == 200
