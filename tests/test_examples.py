"""Each file of `examples/` under the real loader: with what its system's guide sets it decides as the guide says.

What is asked goes through `check` and `explain`, as its user would ask; limits and blocks go through the decision.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from forwardauth.cli import main
from tests.building import Bench, bearer, word

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
FILES = sorted(EXAMPLES.glob("*.yml"))
URL = "https://llm.example.com"
LOCAL, EXTERNAL = "127.0.0.1", "203.0.113.7"

_VARIABLE = re.compile(r"\$\{([A-Z_]+)")

Environment = dict[str, str]


def text(name: str) -> str:
    return (EXAMPLES / f"{name}.yml").read_text()


def variables(file: Path) -> set[str]:
    """The environment names that a file reads."""
    return set(_VARIABLE.findall(re.sub(r"(?m)^ *#.*$", "", file.read_text())))


def public_name(key: str) -> str:
    """How a key of a file is called where it may be read."""
    return f"sha256:{sha256(key.encode()).hexdigest()[:12]}"


@dataclass
class Laid:
    """An example in a folder of its own, with its user's files beside it."""

    config: Path

    def put(self, name: str, content: str) -> None:
        path = self.config.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def run(self, command: str, *arguments: str, **environment: str) -> Result:
        return CliRunner().invoke(main, [command, "--config", str(self.config), *arguments], env=environment)

    def refused(self, **environment: str) -> str:
        """What `check` says is wrong."""
        result = self.run("check", **environment)
        assert result.exit_code == 2, result.output
        return result.output

    def routes(self, **environment: str) -> list[tuple[str, ...]]:
        """Name, methods, host, path and who may pass, of every route."""
        result = self.run("check", **environment)
        assert result.exit_code == 0, result.output
        lines = [re.split(r"  +", line) for line in result.stdout.splitlines()]
        start = lines.index(["route", "methods", "host", "path", "who may pass"])
        return [tuple(line) for line in lines[start + 1 : -1]]

    def verdict(self, target: str, *headers: str, client: str = EXTERNAL, method: str = "GET", **env: str) -> str:
        """The last line of `explain`: `200 as …`, or status and code of the denial."""
        options = [word for header in headers for word in ("-H", header)]
        result = self.run("explain", "-X", method, "--client", client, *options, URL + target, **env)
        assert result.exit_code in (0, 1), result.output
        return result.stdout.splitlines()[-1].partition(": ")[0]


Lay = Callable[[str], Laid]


@pytest.fixture
def lay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lay:
    """Lays an example into an empty folder, in an environment that sets none of the names that examples read."""
    for name in {name for file in FILES for name in variables(file)} & set(os.environ):
        monkeypatch.delenv(name)

    def laid(name: str) -> Laid:
        return Laid(Path(shutil.copy(EXAMPLES / f"{name}.yml", tmp_path)))

    return laid


class TestXai:
    """Dual authentication: Traefik BasicAuth and an API token."""

    TOKEN = "your_secure_token_here"
    ON = {"XAI_API_AUTH": "true", "XAI_API_AUTH_TOKEN": TOKEN}
    HEADER = ON | {"XAI_API_AUTH_HEADER": "X-API-Token"}
    BASIC = "Authorization: Basic YWRtaW46dHJhZWZpa19wYXNzd29yZA=="
    CHAT = "/api/v1/chat/completions"

    @pytest.fixture
    def site(self, lay: Lay) -> Laid:
        return lay("xai")

    def test_health_and_documentation_are_exempt(self, site: Laid) -> None:
        assert site.routes(**self.ON) == [
            ("health", "*", "*", "/health", "everybody"),
            ("docs", "*", "*", "/docs /redoc /openapi.json", "everybody"),
            ("api", "*", "*", "/*", "token"),
        ]

    def test_documentation_can_be_closed(self, site: Laid) -> None:
        closed = self.ON | {"XAI_API_AUTH_EXCLUDE_DOCS": "false"}
        assert [name for name, *_ in site.routes(**closed)] == ["health", "api"]
        assert site.verdict("/docs", **self.ON).startswith("200")
        assert site.verdict("/docs", **closed) == "401 missing_authorization"

    @pytest.mark.parametrize(
        ("environment", "header", "verdict"),
        [
            (ON, f"Authorization: Bearer {TOKEN}", "200 as key token"),
            (ON, f"Authorization: bearer {TOKEN}", "200 as key token"),
            (ON, f"X-API-Token: {TOKEN}", "401 missing_authorization"),
            (ON, BASIC, "401 missing_authorization"),
            (ON, "Authorization: Bearer wrong", "401 invalid_token"),
            (ON | {"XAI_API_AUTH_HEADER": "Authorization"}, f"Authorization: Bearer {TOKEN}", "200 as key token"),
            (HEADER, f"X-API-Token: {TOKEN}", "200 as key token"),
            (HEADER, f"X-API-Token: Bearer {TOKEN}", "401 invalid_token"),
            (HEADER, "X-API-Token: wrong", "401 invalid_token"),
            (HEADER, f"Authorization: Bearer {TOKEN}", "401 missing_token_header"),
            (ON | {"XAI_API_AUTH_HEADER": "X-Grok-Key"}, f"X-Grok-Key: {TOKEN}", "200 as key token"),
        ],
    )
    def test_authorization_means_bearer_and_any_other_name_its_raw_value(
        self, site: Laid, environment: Environment, header: str, verdict: str
    ) -> None:
        assert site.verdict(self.CHAT, header, method="POST", **environment) == verdict

    def test_a_password_beside_the_token_is_the_gateways(self, site: Laid) -> None:
        both = (self.BASIC, f"X-API-Token: {self.TOKEN}")
        assert site.verdict(self.CHAT, *both, method="POST", **self.HEADER) == "200 as key token"

    @pytest.mark.parametrize("environment", [{"XAI_API_AUTH": "false"}, {"XAI_API_AUTH": "no"}])
    def test_off_is_open_needs_no_token_and_warns(self, site: Laid, environment: Environment) -> None:
        assert site.verdict(self.CHAT, self.BASIC, method="POST", **environment).startswith("200")
        assert "AUTHENTICATION IS DISABLED" in site.run("check", **environment).stderr

    @pytest.mark.parametrize(
        ("environment", "name"),
        [
            ({"XAI_API_AUTH": "true"}, "XAI_API_AUTH_TOKEN"),
            ({}, "XAI_API_AUTH_TOKEN"),
            ({"XAI_API_AUTH": ""}, "XAI_API_AUTH_TOKEN"),
            (ON | {"XAI_API_AUTH_TOKEN": ""}, "secret is empty"),
            (ON | {"XAI_API_AUTH": "maybe"}, "require_auth"),
            (ON | {"XAI_API_AUTH_HEADER": "X API Token"}, "from[0]"),
            (ON | {"API_RATE_LIMIT": "many"}, "rate"),
        ],
    )
    def test_what_cannot_be_meant_is_a_refusal(self, site: Laid, environment: Environment, name: str) -> None:
        assert name in site.refused(**environment)

    @pytest.mark.parametrize("value", ["true", "TRUE", "1", "yes", "Yes"])
    def test_every_true_of_the_system_is_true(self, site: Laid, value: str) -> None:
        assert (
            site.verdict(self.CHAT, method="POST", **self.ON | {"XAI_API_AUTH": value}) == "401 missing_authorization"
        )

    @pytest.mark.parametrize(
        ("environment", "count", "seconds"),
        [
            ({}, 100, 36.0),
            ({"API_RATE_LIMIT": "3"}, 3, 1200.0),
            ({"API_RATE_LIMIT": "6", "API_RATE_LIMIT_PERIOD": "60"}, 6, 10.0),
        ],
    )
    def test_the_rate_is_the_tokens(self, environment: Environment, count: int, seconds: float) -> None:
        bench = Bench(text("xai"), self.ON | environment)
        asked = [bench.ask("GET", f"{URL}{self.CHAT}", bearer(self.TOKEN)) for _ in range(count + 1)]
        assert {word(decision) for decision in asked[:-1]} == {"allow"}
        assert word(asked[-1]) == "rate_limited"
        assert asked[-1].retry_after == pytest.approx(seconds)
        elsewhere = bench.ask("GET", f"{URL}{self.CHAT}", bearer(self.TOKEN), client=EXTERNAL)
        assert word(elsewhere) == "rate_limited", "another address does not make another token of it"


class TestInteractiveProxy:
    """API key authentication for the LLM Interactive Proxy."""

    KEY = "your-secret-proxy-key"
    ON = {"LLM_INTERACTIVE_PROXY_API_KEY": KEY}
    CHAT = "/v1/chat/completions"

    @pytest.fixture
    def site(self, lay: Lay) -> Laid:
        return lay("interactive-proxy")

    def test_documentation_and_health_are_on_the_bypass_list(self, site: Laid) -> None:
        assert site.routes(**self.ON) == [
            ("docs", "*", "*", "/docs /redoc /openapi.json", "everybody"),
            ("health", "*", "*", "/health", "everybody"),
            ("api", "*", "*", "/*", "key"),
        ]

    @pytest.mark.parametrize(
        ("target", "headers", "verdict"),
        [
            (CHAT, [f"Authorization: Bearer {KEY}"], "200 as key proxy"),
            (CHAT, [f"x-goog-api-key: {KEY}"], "200 as key proxy"),
            (f"{CHAT}?api_key={KEY}", [], "200 as key proxy"),
            (f"{CHAT}?alt=sse&api_key={KEY}", [], "200 as key proxy"),
            (CHAT, [], "401 missing_authorization"),
            (CHAT, [f"x-api-key: {KEY}"], "401 missing_authorization"),
            (CHAT, ["Authorization: Bearer wrong"], "401 invalid_token"),
            (CHAT, ["x-goog-api-key: wrong"], "401 invalid_token"),
            (f"{CHAT}?api_key=wrong", [], "401 invalid_token"),
            (f"{CHAT}?api_key={KEY}", ["Authorization: Bearer wrong"], "401 invalid_token"),
            (f"{CHAT}?api_key={KEY}", ["x-goog-api-key: wrong"], "401 invalid_token"),
            (f"{CHAT}?api_key={KEY}", ["Authorization: Basic YTpi"], "200 as key proxy"),
            ("/docs", [], "200 as nobody in particular"),
            ("/docs/oauth2-redirect", [], "401 missing_authorization"),
        ],
    )
    def test_the_key_is_looked_for_in_three_places(
        self, site: Laid, target: str, headers: list[str], verdict: str
    ) -> None:
        assert site.verdict(target, *headers, **self.ON) == verdict

    @pytest.mark.parametrize("environment", [{}, {"LLM_INTERACTIVE_PROXY_API_KEY": ""}, {"DISABLE_AUTH": "false"}])
    def test_without_a_key_it_does_not_start(self, site: Laid, environment: Environment) -> None:
        assert "tokens[0].value" in site.refused(**environment)

    def test_disabled_needs_no_key_and_warns(self, site: Laid) -> None:
        assert site.verdict(self.CHAT, DISABLE_AUTH="true").startswith("200")
        assert "AUTHENTICATION IS DISABLED" in site.run("check", DISABLE_AUTH="true").stderr

    def wrong(self, bench: Bench, count: int) -> list[str]:
        return [word(bench.ask("GET", URL + self.CHAT, bearer(f"guess-{number}"))) for number in range(count)]

    def test_the_sixth_wrong_key_is_blocked_and_blocks_double(self) -> None:
        bench = Bench(text("interactive-proxy"), self.ON)
        assert self.wrong(bench, 6) == ["invalid_credential"] * 5 + ["locked_out"]
        for seconds in (30, 60, 120):
            blocked = bench.ask("GET", URL + self.CHAT, bearer(self.KEY))
            assert (word(blocked), blocked.retry_after) == ("locked_out", pytest.approx(seconds))
            bench.clock.forward(seconds)
            assert self.wrong(bench, 1) == ["invalid_credential"]

    def test_every_number_of_the_guard_is_the_environments(self) -> None:
        settings = {
            "BRUTE_FORCE_MAX_FAILED_ATTEMPTS": "2",
            "BRUTE_FORCE_TTL_SECONDS": "100",
            "BRUTE_FORCE_INITIAL_BLOCK_SECONDS": "7",
            "BRUTE_FORCE_BLOCK_MULTIPLIER": "3",
            "BRUTE_FORCE_MAX_BLOCK_SECONDS": "50",
        }
        bench = Bench(text("interactive-proxy"), self.ON | settings)
        self.wrong(bench, 1)
        bench.clock.forward(101)
        assert self.wrong(bench, 3) == ["invalid_credential"] * 2 + ["locked_out"], (
            "the first was forgotten after 100 s"
        )
        for seconds in (7, 21, 50, 50):
            assert bench.ask("GET", URL + self.CHAT).retry_after == pytest.approx(seconds)
            bench.clock.forward(seconds)
            self.wrong(bench, 1)

    def test_the_guard_can_be_switched_off(self) -> None:
        for switch in ({"BRUTE_FORCE_PROTECTION_ENABLED": "false"}, {"BRUTE_FORCE_MAX_FAILED_ATTEMPTS": "0"}):
            bench = Bench(text("interactive-proxy"), self.ON | switch)
            assert self.wrong(bench, 20) == ["invalid_credential"] * 20

    def test_a_success_forgets_the_failures(self) -> None:
        bench = Bench(text("interactive-proxy"), self.ON)
        for _ in range(3):
            assert self.wrong(bench, 4) == ["invalid_credential"] * 4
            assert word(bench.ask("GET", URL + self.CHAT, bearer(self.KEY))) == "allow"


class TestOrchestra:
    """API key authentication by `api_keys.json`."""

    KEYS = """{
  "valid_keys": [
    "demo-key-12345",
    "prod-key-67890",
    "iszcx8YNM7xqyo_lj-_iD8vMODMfW7xc"
  ],
  "require_auth_for_external": true,
  "local_networks": [
    "127.0.0.1",
    "localhost",
    "::1"
  ]
}
"""
    KEY = "X-API-Key: demo-key-12345"

    @pytest.fixture
    def site(self, lay: Lay) -> Laid:
        site = lay("orchestra")
        site.put("api_keys.json", self.KEYS)
        return site

    def test_every_path_is_guarded(self, site: Laid) -> None:
        assert site.routes() == [("api", "*", "*", "/*", "keys")]

    @pytest.mark.parametrize("target", ["/infer", "/status", "/metrics", "/logs", "/logs_json", "/dashboard"])
    def test_external_requests_need_a_key(self, site: Laid, target: str) -> None:
        assert site.verdict(target) == "401 missing_token_header"
        assert site.verdict(target, self.KEY) == f"200 as key {public_name('demo-key-12345')}"
        assert site.verdict(target, "X-API-Key: guessed") == "401 invalid_token"
        assert site.verdict(target, "Authorization: Bearer demo-key-12345") == "401 missing_token_header"

    @pytest.mark.parametrize("client", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
    def test_local_requests_need_none(self, site: Laid, client: str) -> None:
        assert site.verdict("/infer", client=client, method="POST") == "200 as nobody in particular"

    @pytest.mark.parametrize("client", ["127.0.0.2", "::2", "10.0.0.1"])
    def test_an_address_is_that_one_address(self, site: Laid, client: str) -> None:
        assert site.verdict("/infer", client=client, method="POST") == "401 missing_token_header"

    def test_networks_are_local_where_the_file_says_so(self, site: Laid) -> None:
        site.put("api_keys.json", self.KEYS.replace('"localhost"', '"10.0.0.0/8"'))
        assert site.verdict("/infer", client="10.200.0.1", method="POST").startswith("200")
        assert site.verdict("/infer", client="11.0.0.1", method="POST").startswith("401")

    def test_whoever_comes_through_a_further_hop_is_not_local(self, site: Laid) -> None:
        assert site.verdict("/infer", "CF-Connecting-IP: 203.0.113.9", client=LOCAL).startswith("401")

    def test_the_file_can_ask_nobody(self, site: Laid) -> None:
        site.put("api_keys.json", self.KEYS.replace("true", "false"))
        assert site.verdict("/infer", method="POST").startswith("200")

    @pytest.mark.parametrize("content", [None, "", "{", "[]", '{"valid_keys": 1}'])
    def test_a_missing_or_broken_file_closes(self, site: Laid, content: str | None) -> None:
        """The system's own code lets everybody in then."""
        if content is None:
            (site.config.parent / "api_keys.json").unlink()
        else:
            site.put("api_keys.json", content)
        for client in (EXTERNAL, LOCAL):
            assert site.verdict("/infer", self.KEY, client=client, method="POST").startswith("503")

    def test_the_environment_names_another_file(self, site: Laid, tmp_path: Path) -> None:
        site.put("elsewhere/keys.json", '["not", "this", "shape"]')
        assert site.verdict("/infer", self.KEY, API_KEYS_FILE="elsewhere/keys.json").startswith("503")
        site.put("elsewhere/keys.json", '{"valid_keys": ["another"]}')
        absolute = str(tmp_path / "elsewhere" / "keys.json")
        for name in ("elsewhere/keys.json", absolute):
            assert site.verdict("/infer", "X-API-Key: another", API_KEYS_FILE=name).startswith("200")
            assert site.verdict("/infer", self.KEY, API_KEYS_FILE=name).startswith("401")


class TestPromptTrain:
    """Client keys of trains, and the dashboard key."""

    ON = {"DASHBOARD_API_KEY": "your-secure-dashboard-key"}
    KEYS = {
        "your-train-id": '{ "keys": ["cnp_live_your_generated_key"] }',
        "train-alpha": '["cnp_live_of_alpha", "  cnp_live_alphas_second  ", ""]',
        "train-beta": '{"client_api_keys": ["cnp_live_of_beta"]}',
        "default": '{"keys": ["cnp_live_of_default"]}',
        "org:team.x_1-y": '["cnp_live_of_the_odd_name"]',
        "broken": '{"keys": [',
    }
    MESSAGES = "/v1/messages"

    @pytest.fixture
    def site(self, lay: Lay) -> Laid:
        site = lay("prompt-train")
        for train, content in self.KEYS.items():
            site.put(f"credentials/train-client-keys/{train}.client-keys.json", content)
        return site

    def ask(self, site: Laid, train: str | None, key: str, target: str = MESSAGES, **environment: str) -> str:
        headers = [f"Authorization: Bearer {key}", *([] if train is None else [f"MSL-Train-Id: {train}"])]
        return site.verdict(target, *headers, method="POST", **self.ON | environment)

    def test_the_proxy_and_the_dashboard_have_keys_of_their_own(self, site: Laid) -> None:
        assert site.routes(**self.ON) == [
            ("proxy", "*", "*", "/v1/* /mcp/*", "trains"),
            ("proxy-open", "*", "*", "/mcp/* /v1/*", "everybody"),
            ("dashboard", "*", "*", "/dashboard /dashboard/* /api/*", "dashboard"),
        ]

    @pytest.mark.parametrize(
        ("train", "key"),
        [
            ("your-train-id", "cnp_live_your_generated_key"),
            ("train-alpha", "cnp_live_of_alpha"),
            ("train-alpha", "cnp_live_alphas_second"),
            ("train-beta", "cnp_live_of_beta"),
            ("org:team.x_1-y", "cnp_live_of_the_odd_name"),
            (None, "cnp_live_of_default"),
            ("default", "cnp_live_of_default"),
        ],
    )
    def test_a_key_opens_for_its_train(self, site: Laid, train: str | None, key: str) -> None:
        expected = f"200 as tenant {train or 'default'}, key {public_name(key)}"
        assert self.ask(site, train, key) == expected
        assert self.ask(site, train, key, "/mcp/sse") == expected
        assert self.ask(site, train, "cnp_live_guessed") == "401 invalid_token"
        assert site.verdict(self.MESSAGES, f"X-API-Key: {key}", **self.ON) == "401 missing_authorization"

    @pytest.mark.parametrize(
        "train",
        [
            "train-beta",
            "default",
            None,
            "nobody",
            "../accounts/account-primary",
            "..",
            ".",
            "train-alpha/../train-alpha",
            "train-alpha.client-keys.json",
            "/train-alpha",
            "train%2dalpha",
            "Train-Alpha",
            "train-alpha, train-alpha",
            "x" * 300,
        ],
    )
    def test_a_key_is_worth_nothing_for_any_other_name(self, site: Laid, train: str | None) -> None:
        site.put("credentials/accounts/account-primary.client-keys.json", '["cnp_live_of_alpha"]')
        assert self.ask(site, train, "cnp_live_of_alpha") == "401 invalid_token"

    def test_a_broken_file_closes_its_train_alone(self, site: Laid) -> None:
        assert self.ask(site, "broken", "cnp_live_of_alpha").startswith("503")
        assert self.ask(site, "train-alpha", "cnp_live_of_alpha").startswith("200")

    def test_the_environment_names_folder_and_default(self, site: Laid) -> None:
        site.put("elsewhere/train-client-keys/first.client-keys.json", '["cnp_live_of_first"]')
        environment = {"CREDENTIALS_DIR": "./elsewhere", "DEFAULT_TRAIN_ID": "first"}
        assert self.ask(site, None, "cnp_live_of_first", **environment).startswith("200")
        assert self.ask(site, "train-alpha", "cnp_live_of_alpha", **environment).startswith("401")

    @pytest.mark.parametrize("target", ["/dashboard", "/dashboard/", "/dashboard/trains/x", "/api/stats"])
    def test_the_dashboard_key_opens_by_header_and_by_cookie(self, site: Laid, target: str) -> None:
        key = self.ON["DASHBOARD_API_KEY"]
        for header in (f"X-Dashboard-Key: {key}", f"Cookie: theme=dark; dashboard_auth={key}"):
            assert site.verdict(target, header, **self.ON) == "200 as key dashboard"
        for header in ("X-Dashboard-Key: guessed", "Cookie: dashboard_auth=guessed"):
            assert site.verdict(target, header, **self.ON) == "401 invalid_token"
        for header in ("Accept: text/html", f"Authorization: Bearer {key}", f"Cookie: dashboard={key}"):
            assert site.verdict(target, header, **self.ON) == "401 missing_token_header"

    def test_one_key_does_not_open_the_others_doors(self, site: Laid) -> None:
        assert self.ask(site, "default", self.ON["DASHBOARD_API_KEY"]) == "401 invalid_token"
        assert site.verdict("/api/stats", "X-Dashboard-Key: cnp_live_of_default", **self.ON) == "401 invalid_token"

    def test_a_page_of_another_site_cannot_use_the_cookie(self, site: Laid) -> None:
        cookie, origin = f"Cookie: dashboard_auth={self.ON['DASHBOARD_API_KEY']}", "Origin: https://evil.example"
        assert site.verdict("/api/trains", cookie, origin, method="POST", **self.ON) == "403 cross_site"

    def test_without_client_authentication_the_proxy_alone_is_open(self, site: Laid) -> None:
        off = self.ON | {"ENABLE_CLIENT_AUTH": "false"}
        assert [route[0] for route in site.routes(**off)] == ["proxy-open", "dashboard"]
        for target in (self.MESSAGES, "/mcp/sse"):
            assert site.verdict(target, method="POST", **off) == "200 as nobody in particular"
        assert site.verdict("/api/stats", **off) == "401 missing_token_header"

    @pytest.mark.parametrize("environment", [{}, {"ENABLE_CLIENT_AUTH": "false"}, {"DASHBOARD_API_KEY": ""}])
    def test_without_a_dashboard_key_it_does_not_start(self, site: Laid, environment: Environment) -> None:
        """The system shows its dashboard to everybody then."""
        assert "authenticators.dashboard" in site.refused(**environment)

    def test_a_switch_that_says_nothing_is_refused(self, site: Laid) -> None:
        assert "enabled" in site.refused(**self.ON | {"ENABLE_CLIENT_AUTH": "off please"})

    @pytest.mark.parametrize("target", ["/", "/v1", "/mcp", "/login", "/metrics", "/client-setup/x"])
    def test_nothing_else_is_open(self, site: Laid, target: str) -> None:
        assert site.verdict(target, **self.ON) == "403 no_route"


class TestInferXgate:
    """Virtual keys, made and ended by command."""

    ON = {"REQUIRE_AUTH": "true"}
    CHAT = "/v1/chat/completions"

    @pytest.fixture
    def site(self, lay: Lay) -> Laid:
        return lay("inferxgate")

    def keys(self, site: Laid, *arguments: str) -> Any:
        words = ["keys", *arguments, "--config", str(site.config), "--json"]
        result = CliRunner().invoke(main, words, env=self.ON)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def test_health_is_public_and_the_api_needs_a_key(self, site: Laid) -> None:
        assert site.routes(**self.ON) == [
            ("health", "*", "*", "/health", "everybody"),
            ("api", "*", "*", "/v1/*", "keys"),
        ]

    def test_a_key_lives_from_create_to_revoke(self, site: Laid) -> None:
        made = self.keys(site, "create", "Production App")
        key, key_id = made["key"], made["id"]
        assert re.fullmatch(r"ix-api-key-[0-9A-Za-z]+_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}", key)
        for header in (f"Authorization: Bearer {key}", f"X-API-Key: {key}"):
            assert site.verdict(self.CHAT, header, method="POST", **self.ON) == f"200 as key {key_id}"
        both = (f"Authorization: Bearer {key}", f"X-API-Key: {key}")
        assert site.verdict(self.CHAT, *both, method="POST", **self.ON) == f"200 as key {key_id}"
        assert site.verdict(self.CHAT, "X-API-Key: ix-api-key-abc123", **self.ON) == "401 invalid_token"
        assert site.verdict(self.CHAT, **self.ON) == "401 missing_authorization"
        (listed,) = self.keys(site, "list")
        assert (listed["id"], listed["name"]) == (key_id, "Production App")
        assert key not in str(listed)
        self.keys(site, "revoke", key_id)
        for header in both:
            assert site.verdict(self.CHAT, header, method="POST", **self.ON) == "401 invalid_token"

    def test_a_key_of_the_systems_own_moves_in_by_its_digest(self, site: Laid) -> None:
        key = "sk-" + base64.b64encode(bytes(range(32))).decode()
        site.put("keys.csv", f"name,sha256\nProduction App,{sha256(key.encode()).hexdigest()}\n")
        self.keys(site, "import", str(site.config.parent / "keys.csv"))
        assert site.verdict(self.CHAT, f"Authorization: Bearer {key}", **self.ON).startswith("200 as key ")

    @pytest.mark.parametrize("environment", [{}, {"REQUIRE_AUTH": "false"}])
    def test_off_is_open_and_warns(self, site: Laid, environment: Environment) -> None:
        assert site.verdict(self.CHAT, method="POST", **environment).startswith("200")
        assert "AUTHENTICATION IS DISABLED" in site.run("check", **environment).stderr

    @pytest.mark.parametrize("environment", [ON, {}])
    def test_what_is_not_there_yet_has_no_route(self, site: Laid, environment: Environment) -> None:
        for target in ("/auth/login", "/auth/register", "/auth/keys", "/auth/github", "/metrics", "/stats"):
            assert site.verdict(target, **environment) == "403 no_route"


@pytest.mark.parametrize(
    ("name", "target", "environment"),
    [
        ("xai", TestXai.CHAT, TestXai.ON),
        ("interactive-proxy", TestInteractiveProxy.CHAT, TestInteractiveProxy.ON),
        ("orchestra", "/infer", {}),
        ("prompt-train", TestPromptTrain.MESSAGES, TestPromptTrain.ON),
        ("inferxgate", TestInferXgate.CHAT, TestInferXgate.ON),
    ],
)
def test_a_browser_may_ask_before_it_asks(lay: Lay, name: str, target: str, environment: Environment) -> None:
    """A preflight carries no key (Fetch, 3.2.2); any other OPTIONS is a request like others."""
    site = lay(name)
    site.put("api_keys.json", TestOrchestra.KEYS)
    (site.config.parent / "credentials" / "train-client-keys").mkdir(parents=True)
    preflight = ("Origin: https://app.example", "Access-Control-Request-Method: POST")
    assert site.verdict(target, *preflight, method="OPTIONS", **environment).startswith("200")
    assert site.verdict(target, preflight[0], method="OPTIONS", **environment).startswith("401")


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_the_page_names_every_variable_of_a_file(file: Path) -> None:
    page = (ROOT / "docs" / "moving.md").read_text()
    (section,) = re.findall(rf"(?ms)^## {re.escape(file.name)}$(.*?)(?=^## |\Z)", page)
    assert set(re.findall(r"(?m)^\| `([A-Z_]+)` \|", section)) == variables(file)


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_every_default_of_the_page_is_the_files(file: Path) -> None:
    page = (ROOT / "docs" / "moving.md").read_text()
    for name, default in re.findall(r"\$\{([A-Z_]+)(?::-([^${}]*))?\}", re.sub(r"(?m)^ *#.*$", "", file.read_text())):
        told = f"`{default}`" if default else "none"
        assert f"| `{name}` | {told} |" in page


def test_the_overview_names_every_file() -> None:
    overview = (EXAMPLES / "README.md").read_text()
    assert set(re.findall(r"\]\((\S+\.yml)\)", overview)) == {file.name for file in FILES}
