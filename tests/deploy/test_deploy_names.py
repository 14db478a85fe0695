"""Header names of one's own: what `check --gateway` prints, put into the shipped file, does what the defaults do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import Client
from tests.deploy.rig.deployment import Deploy, Deployment
from tests.deploy.rig.gateways import GATEWAYS, PLAIN, Gateway
from tests.deploy.rig.service import Setup, environment
from tests.deploy.rig.setups import HEADER_TOKEN, TOKEN

ODD = Setup(
    config=f"""
authenticators:
  odd:
    token: {{from: [{{header: X-Goog-Api-Key}}, {{cookie: session_key}}], tokens: [{{name: odd, value: {TOKEN}}}]}}
identity_headers: {{user: [Remote-User], key: [X-Consumer]}}
routes:
  - {{name: health, path: /health, public: true}}
  - {{name: handed, path: /handed/*, require: odd, pass_credentials: true}}
  - {{name: all, path: /*, require: odd}}
"""
)
# How `check --gateway` calls the gateway of each way of running it.
DIALECTS = {name: name.partition("-")[0] for name in PLAIN}


def printed(setup: Setup, gateway: str, folder: Path) -> list[list[str]]:
    """The blocks that the command prints, without the comment above each."""
    folder.mkdir()
    config = folder / "forwardauth.yml"
    config.write_text(setup.config or "routes: [{path: /*, public: true}]\n")
    command = [sys.executable, "-m", "forwardauth", "check", "--config", str(config), "--gateway", gateway]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=True)
    return [block.splitlines()[1:] for block in done.stdout.split("\n\n") if block.startswith("# deploy/")]


def splice(text: str, default: list[str], odd: list[str]) -> tuple[str, int]:
    """The text with the default lines, wherever they stand, replaced by others in their indentation."""
    lines, wanted = text.splitlines(), [line.strip() for line in default]
    for start in range(len(lines) - len(wanted) + 1):
        if [line.strip() for line in lines[start : start + len(wanted)]] == wanted:
            first = lines[start]
            indent = first[: len(first) - len(first.lstrip())]
            lines[start : start + len(wanted)] = [indent + line for line in odd]
            return "\n".join(lines) + "\n", 1
    return text, 0


def with_names(kind: type[Gateway], default: list[list[str]], odd: list[list[str]]) -> type[Gateway]:
    """The gateway with the printed lines in place of those in its shipped file."""

    class WithNames(kind):  # type: ignore[misc,valid-type]
        name = f"{kind.name}-names"

        def command(self) -> list[str | Path]:
            command: list[str | Path] = super().command()
            replaced = 0
            for path in [path for path in self.folder.iterdir() if path.is_file()]:
                text = path.read_text(errors="surrogateescape")
                for before, after in zip(default, odd, strict=True):
                    text, count = splice(text, before, after)
                    replaced += count
                path.write_text(text, errors="surrogateescape")
            assert replaced, "none of the lines stands in the shipped file"
            return command

    return WithNames


@pytest.fixture(params=[name for name in PLAIN if name != "traefik-labels"])
def site(request: pytest.FixtureRequest, deploy: Deploy, made: Callable[[str], type[Gateway]]) -> Deployment:
    return deploy(made(request.param), ODD)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], type[Gateway]]:
    """Gateways by name, each made once."""
    kinds: dict[str, type[Gateway]] = {}

    def get(name: str) -> type[Gateway]:
        if name not in kinds:
            folder = tmp_path_factory.mktemp("printed")
            default = printed(Setup(), DIALECTS[name], folder / "default")
            kinds[name] = with_names(GATEWAYS[name], default, printed(ODD, DIALECTS[name], folder / "odd"))
        return kinds[name]

    return get


def test_every_name_carries_who_is_calling(client: Client, backend: Backend) -> None:
    answer = client.get("/v1/models", ("X-Goog-Api-Key", TOKEN))
    assert answer.status == 200
    (seen,) = backend.seen
    assert (seen.one("X-Auth-Key"), seen.one("X-Consumer")) == ("odd", "odd")
    assert seen.all("Remote-User") in ([], [""])


def test_what_a_client_writes_there_never_arrives(client: Client, backend: Backend) -> None:
    """Attack: a name that the shipped file does not know (THREATS 45)."""
    for name in ("Remote-User", "X-Consumer", "REMOTE-USER", "X-Auth-User", "Remote_User", "X.Consumer"):
        client.get("/health", (name, "admin"))
        client.get("/v1/models", ("X-Goog-Api-Key", TOKEN), (name, "admin"))
    assert all("admin" not in str(seen.headers) for seen in backend.seen)


def test_a_credential_stays_with_the_gateway_unless_it_is_handed_on(client: Client, backend: Backend) -> None:
    assert client.get("/v1/models", ("X-Goog-Api-Key", TOKEN)).status == 200
    assert client.get("/v1/models", ("Cookie", f"session_key={TOKEN}; theme=dark")).status == 200
    assert client.get("/handed/x", ("X-Goog-Api-Key", TOKEN)).status == 200
    by_header, by_cookie, handed = backend.seen
    assert TOKEN not in str(by_header.headers)
    assert TOKEN not in str(by_cookie.headers)
    assert by_cookie.one("Cookie") == "theme=dark"
    assert handed.one("X-Goog-Api-Key") == TOKEN


def test_the_lines_of_a_whole_configuration_without_a_file() -> None:
    """By the environment alone, as the shipped files are meant to be used."""
    command = [sys.executable, "-m", "forwardauth", "check", "--gateway", "nginx"]
    done = subprocess.run(command, env=environment(*HEADER_TOKEN.env), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "proxy_set_header X-API-Token $forwardauth_x_api_token;" in done.stdout
