"""The doctor before every gateway with the shipped files: nothing to find, and no check left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from forwardauth.cli import main
from tests.deploy.rig.client import HOST
from tests.deploy.rig.deployment import Deploy
from tests.deploy.rig.gateways import GATEWAYS, PLAIN, Gateway
from tests.deploy.rig.gateways.caddy import CaddyTls
from tests.deploy.rig.gateways.traefik import TraefikFile
from tests.deploy.rig.service import Setup
from tests.deploy.rig.setups import HEADER_TOKEN, TOKEN, token
from tests.doctor.rig import BURST, examined

NARROW = Setup(
    config=f"""
authenticators:
  ci: {{token: {{from: [bearer, {{header: X-API-Token}}], tokens: [{{name: ci, value: {TOKEN}}}]}}}}
routes:
  - {{name: health, path: /health, public: true}}
  - {{name: api, host: {HOST}, path: /v1/*, methods: [GET, POST], preflight: true, require: ci, errors: detail}}
"""
)

OPEN_BUT = Setup(
    config=f"""
authenticators:
  ci: {{token: {{from: [{{header: X-API-Token}}], tokens: [{{name: ci, value: {TOKEN}}}]}}}}
routes:
  - {{name: api, path: [/v1, /v1/*], require: ci}}
  - {{name: others, path: /*, public: true}}
"""
)


@pytest.mark.parametrize("gateway", PLAIN)
def test_the_shipped_files_have_no_finding(gateway: str, tmp_path: Path) -> None:
    said = examined(GATEWAYS[gateway], tmp_path / "site", *BURST)
    assert (said.code, said.findings, said.skipped) == (0, {}, {})


@pytest.mark.parametrize("gateway", [name for name in GATEWAYS if name not in PLAIN])
def test_nor_where_the_gateway_has_a_password_of_its_own(gateway: str, tmp_path: Path) -> None:
    said = examined(GATEWAYS[gateway], tmp_path / "site", *BURST)
    assert (said.code, said.findings, said.skipped) == (0, {}, {})


@pytest.mark.parametrize("gateway", PLAIN)
@pytest.mark.parametrize("setup", [NARROW, OPEN_BUT], ids=["narrow", "open but"])
def test_nor_have_they_with_other_routes(gateway: str, setup: Setup, tmp_path: Path) -> None:
    said = examined(GATEWAYS[gateway], tmp_path / "site", *BURST, setup=setup)
    assert (said.code, said.findings, said.skipped) == (0, {}, {})


@pytest.mark.parametrize("gateway", [CaddyTls, TraefikFile], ids=lambda gateway: gateway.name)
def test_nor_over_tls(gateway: type[Gateway], tmp_path: Path) -> None:
    options = ("--connect", "ENCRYPTED", "--insecure", *BURST)
    said = examined(gateway, tmp_path / "site", *options, url=f"https://{HOST}/v1/models")
    assert (said.code, said.findings, said.skipped) == (0, {}, {})


@pytest.mark.parametrize("gateway", PLAIN)
def test_a_published_port_of_the_backend_is_found(gateway: str, tmp_path: Path) -> None:
    """The backend can be asked beside the gateway, past every check."""
    said = examined(GATEWAYS[gateway], tmp_path / "site", "--backend", "http://BACKEND")
    assert (said.code, set(said.findings)) == (1, {"backend-reachable"})
    assert all(("compose.yml", "ports:") in said.lines(name) for name in said.document["gateways"])


@pytest.mark.parametrize("gateway", PLAIN)
def test_the_gateway_is_recognised(gateway: str, tmp_path: Path) -> None:
    said = examined(GATEWAYS[gateway], tmp_path / "site")
    assert said.document["gateways"] == [gateway.partition("-")[0]]


def test_a_certificate_that_nobody_signed_is_not_accepted(deploy: Deploy) -> None:
    """The token would go to whoever answers."""
    site = deploy("traefik-file", HEADER_TOKEN)
    words = ["--connect", f"127.0.0.1:{site.gateway.other_port}", "-H", ": ".join(token())]
    result = CliRunner().invoke(main, ["doctor", f"https://{HOST}/v1/models", *words])
    assert result.exit_code == 2
    assert "certificate" in result.stderr.lower()
