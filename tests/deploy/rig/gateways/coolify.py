"""Coolify's proxy before the shipped compose file: a Traefik of Coolify's making, and labels that Coolify adds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..setups import HTPASSWD
from .traefik import TraefikLabels

RESOURCE = "vgsco4o"


class Coolify(TraefikLabels):
    name = "coolify"
    asks_password = True
    compose_file = "coolify/compose.yml"
    scheme = "http"

    def changes(self) -> dict[str, str]:
        doubled = HTPASSWD.replace("$", "$$")
        return {r"basicauth\.users=\S+": f"basicauth.users={doubled}"}

    def environment(self) -> dict[str, str]:
        return {
            "SERVICE_FQDN_LLM": self.hosts[0],
            "SERVICE_PASSWORD_64_FORWARDAUTH": "the service runs beside this engine",
        }

    def container_labels(self, written: Mapping[str, str]) -> dict[str, str]:
        return dict(written) | generated(written, f"{self.scheme}://{self.hosts[0]}", self.backend_port)

    def flags(self, services: Mapping[str, Any]) -> list[str]:
        return [
            f"--entrypoints.http.address=127.0.0.1:{self.port}",
            "--entrypoints.http.http.encodequerysemicolons=true",
            f"--entrypoints.https.address=127.0.0.1:{self.other_port}",
            "--entrypoints.https.http.encodequerysemicolons=true",
            "--providers.docker.exposedbydefault=false",
            "--log.level=INFO",
            "--log.format=json",
        ]


class CoolifyTls(Coolify):
    """The same with an https:// domain. `url` is the entry point of plain HTTP, `other_port` the encrypted one."""

    name = "coolify-tls"
    scheme = "https"


def generated(written: Mapping[str, str], domain: str, port: int) -> dict[str, str]:
    """The labels that Coolify adds for a domain, but for the certificate of Let's Encrypt.

    The router carries gzip and then every middleware that the service's own labels define, in their order. With
    https:// there is one more for plain HTTP, which redirects.
    """
    scheme, _, host = domain.partition("://")
    found = (re.match(r"traefik\.http\.middlewares\.(.*?)(\.|$)", label) for label in written)
    middlewares = ",".join(["gzip", *dict.fromkeys(match[1] for match in found if match)])
    labels = {
        "traefik.http.middlewares.gzip.compress": "true",
        "traefik.http.middlewares.redirect-to-https.redirectscheme.scheme": "https",
    }
    for entry_point in dict.fromkeys(["http", scheme]):
        name = f"{entry_point}-0-{RESOURCE}-llm"
        router = f"traefik.http.routers.{name}"
        labels[f"{router}.rule"] = f"Host(`{host}`) && PathPrefix(`/`)"
        labels[f"{router}.entryPoints"] = entry_point
        labels[f"{router}.middlewares"] = middlewares if entry_point == scheme else "redirect-to-https"
        labels[f"{router}.service"] = name
        labels[f"traefik.http.services.{name}.loadbalancer.server.port"] = str(port)
    if scheme == "https":
        labels[f"{router}.tls"] = "true"
    return labels
