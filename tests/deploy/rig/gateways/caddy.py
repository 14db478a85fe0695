"""Caddy with the shipped `Caddyfile` and its named route, over plain HTTP or with a certificate of its own making."""

from __future__ import annotations

import re
from pathlib import Path

from ..client import Client
from ..files import copied
from ..programs import free_ports
from .gateway import Gateway

SITE = r"(?m)^llm\.example\.com \{$"
STRANGERS = r"(?m)^https:// \{$"


class Caddy(Gateway):
    name = needs = "caddy"
    caddyfile = "Caddyfile"

    def command(self) -> list[str | Path]:
        copied("caddy/forwardauth.caddy", self.folder, self.route_changes())
        return [self.executable, "run", "--adapter", "caddyfile", "--config", self.write_caddyfile()]

    def write_caddyfile(self) -> Path:
        (admin,) = free_ports(1)
        own = "\n\t".join(
            [
                f"admin 127.0.0.1:{admin}",
                "default_bind 127.0.0.1",
                "persist_config off",
                f"storage file_system {self.folder}/storage",
                *self.options(),
            ]
        )
        changes = {re.escape("admin localhost:2019"): own, r"llm:8000": f"127.0.0.1:{self.backend_port}"}
        return copied(f"caddy/{self.caddyfile}", self.folder, changes | self.site_changes())

    def route_changes(self) -> dict[str, str]:
        return {r"forwardauth:9000": f"127.0.0.1:{self.service_port}"}

    def options(self) -> list[str]:
        return []

    def site_changes(self) -> dict[str, str]:
        """`http://` addresses, for which Caddy asks nobody for a certificate."""
        sites = ", ".join(f"http://{host}:{self.port}" for host in self.hosts)
        return {SITE: f"{sites} {{", STRANGERS: f"http://:{self.port} {{"}


class CaddyTls(Caddy):
    """Encrypted on `other_port`, by a certificate that Caddy signs itself; on `port` it redirects there."""

    name = "caddy-tls"

    def options(self) -> list[str]:
        return [f"http_port {self.port}", f"https_port {self.other_port}", "skip_install_trust"]

    def site_changes(self) -> dict[str, str]:
        return {SITE: f"{', '.join(self.hosts)} {{\n\ttls internal\n"}

    def _routes(self) -> bool:
        """True once there is a certificate: what listens on `port` redirects before that."""
        try:
            return Client(self.other_port, "127.0.0.1", tls=True).get("/health", host=self.hosts[0]).status != 421
        except OSError:
            return False
