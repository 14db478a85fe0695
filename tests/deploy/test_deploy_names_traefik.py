"""Traefik with nothing but the printed lines: what `check --gateway traefik` leaves out, a middleware of it has not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import Client
from tests.deploy.rig.deployment import Deploy, Deployment
from tests.deploy.rig.gateways.traefik import TraefikFile, TraefikLabels
from tests.deploy.rig.setups import TOKEN
from tests.deploy.test_deploy_names import ODD, printed

LABEL = "traefik.http.middlewares.forwardauth.forwardauth."
# Where to ask, and what Traefik warns without; no line about headers.
PLAIN = {"address", "trustforwardheader", "maxresponsebodysize"}


class FromFile(TraefikFile):
    """The middleware of `dynamic.yml`, its lines about headers replaced by the printed ones."""

    name = "traefik-file-printed"

    def command(self) -> list[str | Path]:
        command = super().command()
        file = self.folder / "dynamic.yml"
        content = yaml.safe_load(file.read_text())
        asks = content["http"]["middlewares"]["forwardauth"]["forwardAuth"]
        kept = {key: value for key, value in asks.items() if key.lower() in PLAIN}
        blocks = printed(ODD, "traefik", self.folder / "printed")
        lines = [line for block in blocks if not block[0].startswith("- ") for line in block]
        content["http"]["middlewares"]["forwardauth"]["forwardAuth"] = kept | yaml.safe_load("\n".join(lines))
        file.write_text(yaml.safe_dump(content))
        return command


class FromLabels(TraefikLabels):
    """The labels of the compose file, those about headers replaced by the printed ones."""

    name = "traefik-labels-printed"

    def services(self) -> dict[str, Any]:
        services = super().services()
        written = services["llm"]["labels"]
        kept = [line for line in written if not line.startswith(LABEL) or line[len(LABEL) :].split("=")[0] in PLAIN]
        blocks = printed(ODD, "traefik", self.folder / "printed")
        lines = [line for block in blocks if block[0].startswith("- ") for line in block]
        services["llm"]["labels"] = kept + yaml.safe_load("\n".join(lines))
        return services


@pytest.fixture(params=[FromFile, FromLabels], ids=lambda kind: kind.name)
def site(request: pytest.FixtureRequest, deploy: Deploy) -> Deployment:
    return deploy(request.param, ODD)


def test_what_a_client_writes_as_an_identity_never_arrives(client: Client, backend: Backend) -> None:
    """Attack: copy the printed lines into a middleware of one's own, and `X-Auth-User: admin` passes (THREATS 45)."""
    for name in ("X-Auth-User", "X-Auth-Tenant"):
        assert client.get("/health", (name, "admin")).status == 200
        assert client.get("/v1/models", ("X-Goog-Api-Key", TOKEN), (name, "admin")).status == 200
    assert len(backend.seen) == 4
    assert all("admin" not in str(seen.headers) for seen in backend.seen)


def test_who_is_calling_arrives_and_the_credential_does_not(client: Client, backend: Backend) -> None:
    assert client.get("/v1/models", ("X-Goog-Api-Key", TOKEN)).status == 200
    (seen,) = backend.seen
    assert (seen.one("X-Auth-Key"), seen.one("X-Consumer")) == ("odd", "odd")
    assert TOKEN not in str(seen.headers)
