"""`examples/orchestra.yml` beside the guide's `api_keys.json`, before real gateways: every call and command of it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import Client
from tests.deploy.rig.curl import curl
from tests.deploy.rig.deployment import Deploy, Deployment
from tests.deploy.rig.programs import ROOT, wait_until
from tests.deploy.rig.service import Setup, environment

API_KEYS = """{
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
ORCHESTRA = Setup((ROOT / "examples" / "orchestra.yml").read_text(), files=(("api_keys.json", API_KEYS),))
REFUSED = {"detail": "Invalid or missing API key. Please provide a valid X-API-Key header."}
LOCAL = "127.0.0.1"
DEMO, PROD = ("X-API-Key", "demo-key-12345"), ("X-API-Key", "prod-key-67890")

LOCAL_ACCESS = """curl -X POST http://127.0.0.1:9001/infer \
  -H "Content-Type: application/json" \
  -d '{
    "model_name": "qwen3",
    "request_body": {
      "input": "Your input text here",
      "max_new_tokens": 1000
    }
  }'"""
EXTERNAL_ACCESS = """curl -X POST http://your-server-ip:9001/infer \
  -H "Content-Type: application/json" \
  -H "X-API-Key: demo-key-12345" \
  -d '{
    "model_name": "qwen3",
    "request_body": {
      "input": "Your input text here",
      "max_new_tokens": 1000
    }
  }'"""
FROM_A_FILE = """curl -X POST http://your-server-ip:9001/infer \
  -H "Content-Type: application/json" \
  -H "X-API-Key: your-api-key-here" \
  -d @my_request.json"""
MY_REQUEST = """{
  "model_name": "qwen3",
  "request_body": {
    "input": "Complex input with special characters...",
    "max_new_tokens": 1000
  }
}
"""


@pytest.fixture(params=["traefik-file", "nginx"])
def gateway(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(gateway: str, deploy: Deploy) -> Deployment:
    return deploy(gateway, ORCHESTRA)


@pytest.fixture
def own(gateway: str, deploy: Deploy, request: pytest.FixtureRequest) -> Deployment:
    """A deployment of the test's own, whose key file it may change."""
    return deploy(gateway, Setup(ORCHESTRA.config, (("TEST", request.node.name),), files=ORCHESTRA.files))


def key_file(site: Deployment) -> Path:
    return site.service.folder / "api_keys.json"


def manage(site: Deployment, *arguments: str) -> str:
    """What `manage_api_keys.py` did, on the running system's file."""
    command = [sys.executable, "-m", "forwardauth", "keys", *arguments]
    done = subprocess.run(
        command,
        env=environment(("API_KEYS_FILE", str(key_file(site)))),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def status(client: Client, *headers: tuple[str, str]) -> int:
    return client.post("/infer", *headers).status


def wait_for(site: Deployment, key: str, expected: int) -> None:
    """Until the file's change is in force. Each time as somebody new: who asks often with a wrong key is blocked."""
    wait_until(lambda: status(site.client(), ("X-API-Key", key)) == expected, f"{expected} for a key that was changed")


class TestUsage:
    def test_local_access_needs_no_key(self, site: Deployment, backend: Backend) -> None:
        answer = curl(LOCAL_ACCESS, site, LOCAL)
        assert (answer.status, answer.json()["model_name"]) == (200, "qwen3")
        assert (backend.last.method, backend.last.target) == ("POST", "/infer")
        assert (backend.last.one("X-Auth-Key"), backend.last.one("X-Auth-Method")) == ("", "keys")

    def test_external_access_needs_a_key(self, site: Deployment, backend: Backend) -> None:
        assert curl(EXTERNAL_ACCESS, site).status == 200
        assert backend.last.one("X-API-Key") == "", "the key ends at the gateway"
        assert backend.last.one("X-Auth-Key").startswith("sha256:")
        refused = curl(LOCAL_ACCESS, site)
        assert (refused.status, refused.json()) == (401, REFUSED)

    def test_a_request_from_a_file(self, own: Deployment, backend: Backend, tmp_path: Path) -> None:
        (tmp_path / "my_request.json").write_text(MY_REQUEST)
        manage(own, "add", "your-api-key-here")
        wait_for(own, "your-api-key-here", 200)
        assert curl(FROM_A_FILE, own, folder=tmp_path).status == 200
        assert json.loads(backend.last.body) == json.loads(MY_REQUEST)

    def test_the_python_client(self, site: Deployment) -> None:
        body = b'{"model_name": "qwen3", "request_body": {"input": "Your input here", "max_new_tokens": 1000}}'
        local, external = Client(site.gateway.port, LOCAL), site.client()
        assert local.post("/infer", body=body).body == body
        assert external.post("/infer", DEMO, body=body).body == body
        assert external.post("/infer", body=body).status == 401

    @pytest.mark.parametrize("target", ["/infer", "/status", "/metrics", "/logs", "/dashboard"])
    def test_from_outside_every_path_needs_a_key(self, site: Deployment, client: Client, target: str) -> None:
        assert client.get(target).status == 401
        assert client.get(target, DEMO).status == 200
        assert Client(site.gateway.port, LOCAL).get(target).status == 200


class TestErrorResponses:
    @pytest.mark.parametrize(
        "headers", [[], [("X-API-Key", "guessed")], [("X-API-Key", "")]], ids=["missing", "wrong", "empty"]
    )
    def test_the_body_is_word_by_word(self, client: Client, backend: Backend, headers: list[tuple[str, str]]) -> None:
        answer = client.post("/infer", *headers)
        assert (answer.status, answer.json()) == (401, REFUSED)
        assert answer.headers["Content-Type"].partition(";")[0] == "application/json"
        assert backend.seen == []

    def test_the_key_has_one_place(self, client: Client) -> None:
        key = DEMO[1]
        for header in (("Authorization", f"Bearer {key}"), ("X-API-Token", key), ("Cookie", f"X-API-Key={key}")):
            assert client.post("/infer", header).json() == REFUSED
        assert client.post(f"/infer?X-API-Key={key}").status == 401


class TestLocal:
    """Attacks: be local without being it."""

    @pytest.mark.parametrize(
        "header",
        [
            ("X-Forwarded-For", LOCAL),
            ("X-Real-IP", LOCAL),
            ("Forwarded", f"for={LOCAL}"),
            ("X-Forwarded-Host", "localhost"),
            ("True-Client-IP", LOCAL),
            ("CF-Connecting-IP", LOCAL),
        ],
    )
    def test_a_header_makes_nobody_local(self, client: Client, header: tuple[str, str]) -> None:
        """An address that a client writes is not the one that it has (THREATS 12)."""
        assert status(client, header) == 401

    def test_the_host_header_makes_nobody_local(self, client: Client, backend: Backend) -> None:
        assert client.request("POST", "/infer", host="localhost").status != 200
        assert backend.seen == []

    def test_an_address_is_that_one_address(self, site: Deployment) -> None:
        assert status(Client(site.gateway.port, "127.0.0.5")) == 401

    @pytest.mark.parametrize("header", ["Forwarded", "CF-Connecting-IP", "True-Client-IP"])
    def test_a_tunnels_exit_is_not_the_neighbour(self, site: Deployment, header: str) -> None:
        """A tunnel on the same host connects from 127.0.0.1, for everybody."""
        value = "for=203.0.113.9" if header == "Forwarded" else "203.0.113.9"
        local = Client(site.gateway.port, LOCAL)
        assert status(local, (header, value)) == 401
        assert status(local, (header, value), DEMO) == 200

    def test_whoever_is_local_is_nobody_in_particular(self, site: Deployment, backend: Backend) -> None:
        """Attack: an identity of one's own choice, where no key is asked for (THREATS 16)."""
        local = Client(site.gateway.port, LOCAL)
        assert status(local, ("X-Auth-User", "admin"), ("X-Auth-Key", "demo")) == 200
        assert (backend.last.one("X-Auth-User"), backend.last.one("X-Auth-Key")) == ("", "")

    def test_a_page_of_another_site_cannot_use_the_browsers_address(self, site: Deployment) -> None:
        local = Client(site.gateway.port, LOCAL)
        assert status(local, ("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")) == 403


@contextmanager
def undisturbed(site: Deployment) -> Iterator[list[int]]:
    """Requests with a key that nobody touches, without a pause, on one connection. Yields their statuses."""
    statuses: list[int] = []
    done = threading.Event()

    def ask() -> None:
        with site.client().connect() as connection:
            while not done.is_set():
                statuses.append(connection.request("POST", "/infer", [PROD], b"{}").status)
                done.wait(0.002)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield statuses
    finally:
        done.set()
        thread.join()


class TestKeyManagement:
    def test_keys_come_and_go_while_requests_run(self, own: Deployment) -> None:
        """add, list, generate and remove, seen by a connection that was open all the time."""
        with undisturbed(own) as statuses, own.client().connect() as connection:

            def answers(key: str, expected: int) -> None:
                wait_for(own, key, expected)
                assert connection.request("POST", "/infer", [("X-API-Key", key)], b"{}").status == expected

            assert connection.request("POST", "/infer", [DEMO], b"{}").status == 200
            manage(own, "add", "your-custom-key-here")
            answers("your-custom-key-here", 200)
            made = manage(own, "generate").split()[-1]
            assert len(made) == 32
            answers(made, 200)
            listed = manage(own, "list")
            assert not any(key in listed for key in (made, "your-custom-key-here", DEMO[1], PROD[1]))
            assert manage(own, "list", "--reveal").count(made) == 1
            for key in (made, "your-custom-key-here", DEMO[1]):
                manage(own, "remove", key)
                answers(key, 401)
        assert len(statuses) > 10
        assert set(statuses) == {200}
        assert json.loads(key_file(own).read_text()) == json.loads(API_KEYS) | {
            "valid_keys": ["prod-key-67890", "iszcx8YNM7xqyo_lj-_iD8vMODMfW7xc"]
        }

    def test_authentication_is_toggled_while_requests_run(self, own: Deployment) -> None:
        with undisturbed(own) as statuses:
            client = own.client()
            assert status(client) == 401
            manage(own, "toggle-auth")
            wait_until(lambda: status(client) == 200, "the switch is off")
            manage(own, "toggle-auth")
            wait_until(lambda: status(client) == 401, "the switch is on")
        assert set(statuses) == {200}

    def test_an_editor_is_as_good_as_the_command(self, own: Deployment) -> None:
        key_file(own).write_text(API_KEYS.replace("demo-key-12345", "another-key"))
        wait_for(own, "another-key", 200)
        assert status(own.client(), DEMO) == 401
        key_file(own).write_text(API_KEYS.replace('"127.0.0.1"', '"127.0.0.5/32"').replace('"localhost",', ""))
        wait_until(lambda: status(Client(own.gateway.port, "127.0.0.5")) == 200, "the networks of the edited file")
        assert status(Client(own.gateway.port, LOCAL)) == 401

    @pytest.mark.parametrize("content", ['{"valid_keys": ["demo-key-12345"', "", "[]", None])
    def test_a_broken_file_closes_and_is_nobodys_failure(
        self, own: Deployment, backend: Backend, content: str | None
    ) -> None:
        """Attack on the operator: the original asks nobody for a key then."""
        client, local = own.client(), Client(own.gateway.port, LOCAL)
        if content is None:
            key_file(own).unlink()
        else:
            key_file(own).write_text(content)
        wait_until(lambda: status(client, DEMO) == 503, "the broken file is seen")
        backend.seen.clear()
        for _ in range(7):
            assert status(client, ("X-API-Key", "guessed")) == 503
        assert (status(client), status(local)) == (503, 503)
        assert backend.seen == []
        key_file(own).write_text(API_KEYS)
        wait_until(lambda: status(client, DEMO) == 200, "the mended file, from an address that nothing blocks")

    def test_no_key_stands_in_a_log(self, own: Deployment) -> None:
        client = own.client()
        status(client, DEMO)
        status(client, ("X-API-Key", "guessed-key-of-somebody"))
        manage(own, "add", "your-custom-key-here")
        wait_for(own, "your-custom-key-here", 200)
        own.service.stop()
        log = own.service.program.log
        own.service.start()
        assert log.count('"decision":"allow"') > 1
        for key in (DEMO[1], PROD[1], "guessed-key-of-somebody", "your-custom-key-here"):
            assert key not in log


def test_whoever_guesses_is_blocked_and_reads_the_same_shape(site: Deployment, client: Client) -> None:
    for _ in range(5):
        assert status(client, ("X-API-Key", "guessed")) == 401
    answer = client.post("/infer", DEMO)
    assert answer.status == 429
    assert set(answer.json()) == {"detail"}
    assert status(site.client(), DEMO) == 200
