"""`examples/inferxgate.yml` before real gateways: virtual keys from create to revoke, made by command."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import openai
import pytest

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import HOST, Client
from tests.deploy.rig.curl import curl
from tests.deploy.rig.deployment import Deploy, Deployment
from tests.deploy.rig.programs import ROOT
from tests.deploy.rig.service import Setup
from tests.deploy.rig.setups import bearer

CONFIG = (ROOT / "examples" / "inferxgate.yml").read_text()
ON = Setup(CONFIG, (("REQUIRE_AUTH", "true"),))
OFF = Setup(CONFIG, (("REQUIRE_AUTH", "false"),))

CHAT = "/v1/chat/completions"
BODY = b'{"model": "m", "messages": [{"role": "user", "content": "Hello!"}]}'


@pytest.fixture(params=["traefik-file", "nginx"])
def gateway(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(gateway: str, deploy: Deploy) -> Deployment:
    return deploy(gateway, ON)


def keys(site: Deployment, *arguments: str) -> Any:
    """A command in the environment of the running service: what it printed, as JSON."""
    config = str(site.service.folder / "forwardauth.yml")
    command = [sys.executable, "-m", "forwardauth", "keys", *arguments, "--config", config, "--json"]
    done = subprocess.run(
        command, env=site.service.program.env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "the service was told"
    return json.loads(done.stdout)


class TestTheLifeOfAKey:
    def test_create_use_list_and_revoke(self, site: Deployment, client: Client, backend: Backend) -> None:
        made = keys(site, "create", "Production App")
        key, key_id = made["key"], made["id"]
        assert key.startswith("ix-api-key-")
        by_bearer = f'curl http://localhost:3000/v1/chat/completions -H "Authorization: Bearer {key}"'
        by_header = f'curl http://localhost:3000/v1/chat/completions -H "X-API-Key: {key}"'
        for command in (by_bearer, by_header):
            curl(f"{command} -H 'Content-Type: application/json' -d '{BODY.decode()}'", site)
            seen = backend.last
            assert (seen.target, seen.one("X-Auth-Key"), seen.one("X-Auth-Method")) == (CHAT, key_id, "keys")
            assert (seen.one("Authorization"), seen.one("X-API-Key")) == ("", "")
        listed = keys(site, "list")
        assert [row["name"] for row in listed if row["id"] == key_id] == ["Production App"]
        assert key not in json.dumps(listed)
        keys(site, "revoke", key_id)
        for command in (by_bearer, by_header):
            refused = curl(command, site)
            assert (refused.status, refused.json()["error"]["code"]) == (401, "invalid_token")

    @pytest.mark.parametrize("name", ["Authorization", "X-API-Key"])
    def test_a_revoked_key_is_refused_by_the_next_request_of_an_open_connection(
        self, site: Deployment, backend: Backend, name: str
    ) -> None:
        """Attack: keep a connection open on which a key was right (THREATS 23)."""
        made, other = keys(site, "create", "Production App"), keys(site, "create", "Another")
        value = f"Bearer {made['key']}" if name == "Authorization" else made["key"]
        with site.client().connect() as connection:
            for _ in range(3):
                assert connection.request("POST", CHAT, [(name, value)], BODY).status == 200
            keys(site, "revoke", made["id"])
            backend.seen.clear()
            assert connection.request("POST", CHAT, [(name, value)], BODY).status == 401
            assert backend.seen == []
            assert connection.request("POST", CHAT, [bearer(other["key"])], BODY).status == 200

    def test_no_key_stands_in_the_database_or_in_a_log(self, site: Deployment, client: Client) -> None:
        key = keys(site, "create", "Production App")["key"]
        assert client.get("/v1/models", bearer(key)).status == 200
        site.audit(client)
        secret = key.split("_")[1]
        assert len(secret) == 43
        files = [path for path in site.service.folder.rglob("*") if path.is_file()]
        assert {"forwardauth.db", "forwardauth.log"} <= {path.name for path in files}
        assert [path.name for path in files if secret.encode() in path.read_bytes()] == []

    def test_a_revoked_key_is_no_guess(self, site: Deployment, client: Client) -> None:
        made, other = keys(site, "create", "Production App"), keys(site, "create", "Another")
        keys(site, "revoke", made["id"])
        for _ in range(7):
            assert client.get("/v1/models", bearer(made["key"])).status == 401
        assert client.get("/v1/models", bearer(other["key"])).status == 200

    def test_keys_outlive_the_service(self, site: Deployment, client: Client) -> None:
        made, gone = keys(site, "create", "Production App"), keys(site, "create", "Gone")
        keys(site, "revoke", gone["id"])
        site.service.stop()
        site.service.start()
        assert client.get("/v1/models", bearer(made["key"])).status == 200
        assert client.get("/v1/models", bearer(gone["key"])).status == 401

    def test_two_keys_are_ambiguous_and_one_twice_is_one(self, site: Deployment, client: Client) -> None:
        one, two = keys(site, "create", "One")["key"], keys(site, "create", "Two")["key"]
        assert client.get("/v1/models", bearer(one), ("X-API-Key", one)).status == 200
        answer = client.get("/v1/models", bearer(one), ("X-API-Key", two))
        assert (answer.status, answer.code) == (400, "ambiguous_credentials")

    def test_the_openai_sdk(self, site: Deployment) -> None:
        made = keys(site, "create", "Production App")
        with openai.OpenAI(
            base_url=f"{site.gateway.url}/v1", api_key=made["key"], default_headers={"Host": HOST}
        ) as sdk:
            assert [model.id for model in sdk.models.list()] == ["m"]
            keys(site, "revoke", made["id"])
            with pytest.raises(openai.AuthenticationError) as raised:
                sdk.models.list()
        assert raised.value.code == "invalid_token"


def test_no_key_opens_without_authentication(client: Client, backend: Backend) -> None:
    assert client.post(CHAT, body=BODY).code == "missing_authorization"
    assert client.post(CHAT, bearer("ix-api-key-abc123"), body=BODY).code == "invalid_token"
    assert client.post(CHAT, ("X-API-Key", "ix-api-key-abc123"), body=BODY).code == "invalid_token"
    assert client.get("/health").status == 200
    assert [seen.target for seen in backend.seen] == ["/health"]


def test_no_authentication(gateway: str, deploy: Deploy) -> None:
    site = deploy(gateway, OFF)
    assert site.client().post(CHAT, body=BODY).status == 200
    assert "authentication is disabled" in site.service.program.log.lower()


@pytest.mark.parametrize("setup", [ON, OFF], ids=["on", "off"])
def test_what_is_not_there_yet_is_closed(gateway: str, deploy: Deploy, backend: Backend, setup: Setup) -> None:
    client = deploy(gateway, setup).client()
    for target in ("/auth/login", "/auth/register", "/auth/keys", "/auth/github"):
        answer = client.post(target)
        assert (answer.status, answer.code) == (403, "no_route")
    assert backend.seen == []
