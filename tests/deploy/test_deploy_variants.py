"""Changes that operators make to the shipped files, and that must not open them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import Client
from tests.deploy.rig.deployment import Deploy
from tests.deploy.rig.files import fenced
from tests.deploy.rig.gateways.coolify import Coolify, CoolifyTls
from tests.deploy.rig.gateways.nginx import Nginx
from tests.deploy.rig.gateways.traefik import TraefikFile
from tests.deploy.rig.service import Setup
from tests.deploy.rig.setups import HEADER_TOKEN, TOKEN, basic, token

# One hop more: the CDN's address is the last entry of X-Forwarded-For, its client's the one before.
DEPTH = Setup(
    config=f"""
server: {{forwarded_depth: 2}}
authenticators:
  ci: {{token: {{from: [{{header: X-API-Token}}], tokens: [{{name: ci, value: {TOKEN}}}]}}}}
routes:
  - {{name: health, path: /health, public: true}}
  - {{name: api, path: /*, require: ci}}
"""
)

EDGE = "127.0.0.9"


def edited(path: Path, changes: dict[str, str]) -> None:
    text = path.read_text()
    for pattern, replacement in changes.items():
        text, count = re.subn(pattern, replacement, text)
        assert count, pattern
    path.write_text(text)


class TraefikBehindCdn(TraefikFile):
    """The entry point trusts the CDN (here: everybody), the middleware still does not."""

    name = "traefik-behind-cdn"

    def command(self) -> list[str | Path]:
        command = super().command()
        trusted = f'"127.0.0.1:{self.port}"\n    forwardedHeaders: {{trustedIPs: [127.0.0.0/8]}}'
        edited(self.folder / "traefik.yml", {rf'"127\.0\.0\.1:{self.port}"': trusted})
        return command


class TraefikWithTheCdnsAddresses(TraefikBehindCdn):
    """The documented variant: the service sees the CDN's X-Forwarded-For, and nothing else of its X-Forwarded-*."""

    name = "traefik-cdn-addresses"

    def command(self) -> list[str | Path]:
        command = super().command()
        (block,) = [block for block in fenced("traefik.md", "yaml") if "forwarded-cleaned" in block]
        documented = yaml.safe_load(block)["http"]["middlewares"]
        file = self.folder / "dynamic.yml"
        content = yaml.safe_load(file.read_text())
        middlewares = content["http"]["middlewares"]
        middlewares["forwarded-cleaned"] = documented["forwarded-cleaned"]
        middlewares["forwardauth"]["forwardAuth"] |= documented["forwardauth"]["forwardAuth"]
        content["http"]["routers"]["llm"]["middlewares"] = ["forwarded-cleaned", "forwardauth"]
        file.write_text(yaml.safe_dump(content))
        return command


class NginxBehindCdn(Nginx):
    """The documented variant; the CDN's only edge is 127.0.0.9."""

    name = "nginx-behind-cdn"

    def command(self) -> list[str | Path]:
        command = super().command()
        ranges, server = (
            block.replace("198.51.100.0/24", f"{EDGE}/32")
            for word in ("geo $realip", "set_real_ip_from")
            for block in fenced("nginx.md", "nginx")
            if word in block
        )
        changes = {
            r"    include forwardauth-upstream.conf;\n": f"include forwardauth-upstream.conf;\n{ranges}",
            r"    include forwardauth-server.conf;\n": f"include forwardauth-server.conf;\n{server}",
        }
        edited(self.folder / "nginx.conf", changes)
        return command

    def _routes(self) -> bool:
        """True once it listens: this process is no edge of the CDN."""
        try:
            return Client(self.port, "127.0.0.1").get("/health").status == 403
        except OSError:
            return False


class CoolifyRaw(Coolify):
    """Raw Compose Deployment: the labels are what is written, and nothing else."""

    name = "coolify-raw"

    def container_labels(self, written: Mapping[str, str]) -> dict[str, str]:
        return dict(written)


class NginxInterceptingErrors(Nginx):
    """`proxy_intercept_errors` sends a 403 of the backend through the location of denials."""

    name = "nginx-intercepting"

    def command(self) -> list[str | Path]:
        command = super().command()
        edited(self.folder / "nginx.conf", {"proxy_buffering off;": "proxy_buffering off; proxy_intercept_errors on;"})
        return command


@pytest.mark.parametrize("gateway", [TraefikBehindCdn, TraefikWithTheCdnsAddresses])
@pytest.mark.parametrize(
    ("name", "value"),
    [("X-Forwarded-Uri", "/health"), ("X-Forwarded-Method", "OPTIONS"), ("X-Forwarded-Host", "health.example.com")],
)
def test_a_trusted_address_does_not_choose_what_is_judged(
    deploy: Deploy, backend: Backend, gateway: type[TraefikFile], name: str, value: str
) -> None:
    """An entry point that trusts the CDN keeps the X-Forwarded-* that came through it, a client's among them.

    (THREATS 44)
    """
    client = deploy(gateway, HEADER_TOKEN).client()
    assert client.get("/v1/models", (name, value)).status == 401
    assert client.get("/v1/models", token()).status == 200
    assert [seen.target for seen in backend.seen] == ["/v1/models"]


def test_the_cdns_client_is_the_one_who_is_locked_out(deploy: Deploy) -> None:
    """Attack: five bad keys through one edge of a CDN (THREATS 44, 50)."""
    site = deploy(TraefikWithTheCdnsAddresses, DEPTH)
    for status in (401, 401, 401, 401, 401, 429):
        guess = site.client().get("/v1/models", token("guessed"), ("X-Forwarded-For", "198.51.100.7"))
        assert guess.status == status
    assert site.client().get("/v1/models", token(), ("X-Forwarded-For", "198.51.100.8")).status == 200


def test_behind_a_cdn_nginx_tells_the_clients_own_address(deploy: Deploy, backend: Backend) -> None:
    site = deploy(NginxBehindCdn, HEADER_TOKEN)
    edge = Client(site.gateway.port, EDGE)
    for number, status in enumerate((401, 401, 401, 401, 401, 429)):
        # Attack: another address in front of the CDN's entry with every guess.
        chain = f"203.0.113.{number}, 198.51.100.7"
        assert edge.get("/v1/models", token("guessed"), ("X-Forwarded-For", chain)).status == status
    assert edge.get("/v1/models", token(), ("X-Forwarded-For", "198.51.100.8")).status == 200
    assert backend.last.one("X-Forwarded-For") == "198.51.100.8"


def test_nobody_comes_past_the_cdn_to_nginx(deploy: Deploy, backend: Backend) -> None:
    """Attack: the origin's own address, and an X-Forwarded-For as the CDN would write it."""
    stranger = deploy(NginxBehindCdn, HEADER_TOKEN).client()
    for headers in ([token()], [token(), ("X-Forwarded-For", "198.51.100.8")]):
        assert stranger.get("/v1/models", *headers).status == 403
    assert not backend.seen


def test_a_refusal_of_the_backend_plants_nothing(deploy: Deploy, backend: Backend) -> None:
    """Attack: a backend whose 403 nginx sends through the location of denials (THREATS 36)."""
    client = deploy(NginxInterceptingErrors, HEADER_TOKEN).client()
    answer = client.get("/v1/refuses", token())
    assert answer.status == 403
    assert "planted" not in str(answer.headers) + answer.body.decode()
    assert client.get("/v1/models").code == "missing_token_header"


@pytest.mark.parametrize("gateway", [CoolifyRaw, CoolifyTls])
def test_coolifys_other_ways_have_both_locks(deploy: Deploy, backend: Backend, gateway: type[Coolify]) -> None:
    site = deploy(gateway, HEADER_TOKEN)
    tls = gateway is CoolifyTls
    client = Client(site.gateway.other_port if tls else site.gateway.port, site.sources.next(), tls=tls)
    assert client.get("/v1/models", basic(), token()).status == 200
    assert (backend.last.one("Authorization"), backend.last.one("X-API-Token")) == ("", "")
    assert client.get("/v1/models", token()).status == 401
    assert client.get("/v1/models", basic()).code == "missing_token_header"
    assert len(backend.seen) == 1
    assert client.get("/health").status == 200
    assert client.get("/health", ("X_Auth_User", "admin")).code == "lookalike_header", "the service is asked there too"


def test_an_https_domain_of_coolify_redirects_plain_http(deploy: Deploy, backend: Backend) -> None:
    client = deploy(CoolifyTls, HEADER_TOKEN).client()
    answer = client.get("/v1/models", basic(), token())
    assert answer.status in (301, 302, 307, 308)
    assert answer.headers["Location"].startswith("https://")
    assert backend.seen == []
