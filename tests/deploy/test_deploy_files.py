"""The shipped files, before any request: what they publish, and that the two ways to configure Traefik agree."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.deploy.rig.client import HOST, Client
from tests.deploy.rig.deployment import Deploy
from tests.deploy.rig.docker import compose, labels
from tests.deploy.rig.files import DEPLOY, fenced
from tests.deploy.rig.gateways import PLAIN
from tests.deploy.rig.programs import wait_until
from tests.deploy.rig.setups import HEADER_TOKEN, TOKEN, basic, token

COMPOSE_FILES = ["traefik/compose.yml", "coolify/compose.yml"]
ENV = {"FORWARDAUTH_TOKEN": "t", "SERVICE_FQDN_LLM": HOST, "SERVICE_PASSWORD_64_FORWARDAUTH": "t"}


def services(name: str) -> dict[str, Any]:
    return compose((DEPLOY / name).read_text(), ENV)


def flattened(tree: Any, path: str) -> dict[str, str]:
    """A nested mapping as Traefik's flags and labels write it: lower case, values as text."""
    if isinstance(tree, dict):
        return {key: value for name, part in tree.items() for key, value in flattened(part, f"{path}.{name}").items()}
    if isinstance(tree, list):
        return {path.lower(): ",".join(tree)}
    return {path.lower(): str(tree).lower() if isinstance(tree, bool) else str(tree)}


@pytest.mark.parametrize("name", ["traefik-file", "traefik-labels"])
def test_traefik_starts_and_serves_without_a_warning(deploy: Deploy, name: str) -> None:
    site = deploy(name, HEADER_TOKEN)
    assert site.client().get("/v1/models", basic(), token()).status == 200
    assert site.client().get("/v1/models").status == 401
    lines = [json.loads(line) for line in site.gateway.log.splitlines()]
    assert any("Starting provider" in line.get("message", "") for line in lines)
    assert [line for line in lines if line["level"] != "info"] == []


def test_coolifys_traefik_has_nothing_to_say_about_the_labels(deploy: Deploy) -> None:
    """Its entry points are Coolify's, and it warns about those: what a resource brings is middlewares and routers."""
    site = deploy("coolify", HEADER_TOKEN)
    assert site.client().get("/v1/models", basic(), token()).status == 200
    lines = [json.loads(line) for line in site.gateway.log.splitlines()]
    complaints = [line for line in lines if line["level"] != "info"]
    assert [
        line for line in complaints if "entryPointName" not in line and "ncoded characters" not in line["message"]
    ] == []


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_nothing_but_the_gateway_publishes_a_port(name: str) -> None:
    """Attack: reach the service or the backend past the gateway (THREATS 1, 39)."""
    publishing = [service for service, written in services(name).items() if "ports" in written]
    assert publishing in (["traefik"], [])
    assert labels(services(name)["forwardauth"]) == {}, "nobody routes the public to the service"


def test_the_compose_file_hardens_its_entry_point_as_the_static_file_does() -> None:
    static = yaml.safe_load((DEPLOY / "traefik/traefik.yml").read_text())
    expected = flattened(static["entryPoints"]["web"]["http"], "--entrypoints.web.http")
    flags = dict(flag.split("=", 1) for flag in services("traefik/compose.yml")["traefik"]["command"])
    assert {name: value for name, value in flags.items() if name.startswith("--entrypoints.web.http")} == expected
    assert flags["--accesslog.fields.headers.defaultmode"] == static["accessLog"]["fields"]["headers"]["defaultMode"]


@pytest.mark.parametrize(
    ("name", "middleware"), [("traefik/compose.yml", "forwardauth"), ("coolify/compose.yml", "xai-token")]
)
def test_labels_say_what_the_dynamic_file_says(name: str, middleware: str) -> None:
    dynamic = yaml.safe_load((DEPLOY / "traefik/dynamic.yml").read_text())
    prefix = f"traefik.http.middlewares.{middleware}.forwardauth"
    expected = flattened(dynamic["http"]["middlewares"]["forwardauth"]["forwardAuth"], prefix)
    written = {key.lower(): value for key, value in labels(services(name)["llm"]).items()}
    assert {key: value for key, value in written.items() if key.startswith(prefix)} == expected


@pytest.mark.parametrize("name", PLAIN)
def test_no_log_of_a_gateway_holds_a_credential(deploy: Deploy, name: str) -> None:
    """Attack: read keys in the gateway's logs (THREATS 38, 47)."""
    site = deploy(name, HEADER_TOKEN)
    keys = [
        token(),
        basic(),
        ("X-Api-Key", "sk-header-key"),
        ("X-Odd-Key", "sk-odd-key"),
        ("Cookie", "session=sk-cookie"),
    ]
    assert site.client().get("/v1/models?api_key=sk-query-key&key=sk-query-key", *keys).status == 200
    assert site.client().get("/v1/embeddings?api_key=sk-query-key", ("X-API-Token", "sk-wrong-key")).status == 401

    def logged() -> bool:
        log = site.gateway.log
        return "/v1/models" in log and "/v1/embeddings" in log

    wait_until(logged, f"{name} logs both, which it does when the answers have gone")
    log = site.gateway.log
    for secret in (
        TOKEN,
        basic()[1].split()[1],
        "sk-header-key",
        "sk-odd-key",
        "sk-cookie",
        "sk-query-key",
        "sk-wrong-key",
    ):
        assert secret not in log


@pytest.mark.parametrize("name", ["traefik-file", "traefik-labels"])
@pytest.mark.parametrize("escape", ["%2f", "%5c", "%00", "%3b", "%25", "%3f", "%23"])
def test_the_entry_point_refuses_encoded_separators_itself(deploy: Deploy, name: str, escape: str) -> None:
    answer = deploy(name, HEADER_TOKEN).client().get(f"/v1/a{escape}b", token())
    assert (answer.status, answer.code) == (400, "")


@pytest.mark.parametrize("name", ["traefik-file", "traefik-labels"])
def test_the_entry_point_refuses_lookalike_names_itself(deploy: Deploy, name: str) -> None:
    answer = deploy(name, HEADER_TOKEN).client().get("/v1/models", token(), ("X_Auth_User", "admin"))
    assert (answer.status, answer.code) == (400, "")


def test_the_encrypted_entry_point_is_as_hard(deploy: Deploy) -> None:
    site = deploy("traefik-file", HEADER_TOKEN)
    client = Client(site.gateway.other_port, site.sources.next(), tls=True)
    assert client.get("/v1/models", token()).status == 200
    assert client.get("/v1/models").code == "missing_token_header"
    assert client.get("/v1/a%2fb", token()).status == 400


def test_traefiks_access_log_is_json_that_names_the_caller(deploy: Deploy) -> None:
    site = deploy("traefik-file", HEADER_TOKEN)
    caller = site.client()
    assert caller.get("/v1/models?who=named", token()).status == 200
    lines = [json.loads(line) for line in site.gateway.log.splitlines()]
    (line,) = [line for line in lines if line.get("ClientHost") == caller.source]
    assert (line["RequestPath"], line["DownstreamStatus"]) == ("/v1/models", 200)
    assert line["request_X-Auth-Key"] != "REDACTED"


class TestThePagesSayWhatTheFilesSay:
    def test_traefik(self) -> None:
        dynamic = yaml.safe_load((DEPLOY / "traefik/dynamic.yml").read_text())["http"]
        static = yaml.safe_load((DEPLOY / "traefik/traefik.yml").read_text())
        blocks = [yaml.safe_load(block) for block in fenced("traefik.md", "yaml")]
        assert blocks[0]["http"]["middlewares"] == dynamic["middlewares"]
        assert set(blocks[1]) <= set(services("traefik/compose.yml")["llm"]["labels"])
        assert blocks[2]["entryPoints"]["web"] == static["entryPoints"]["web"]

    def test_nginx(self) -> None:
        block, *_ = fenced("nginx.md", "nginx")
        file = (DEPLOY / "nginx/nginx.conf").read_text()
        lines = [line.partition("#")[0].strip() for line in block.splitlines()]
        assert [line for line in lines if line.strip("} ") and line not in file] == []
