"""Traefik's kubernetesCRD provider with the shipped Middleware and IngressRoute, and the shipped static file."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path
from typing import Any

import yaml

from ..client import Client
from ..files import DEPLOY, shipped
from ..kubernetes import ApiServer, Object
from ..programs import find
from .traefik import Traefik


class TraefikCrd(Traefik):
    name = "traefik-crd"
    server: ApiServer | None = None

    def command(self) -> list[str | Path]:
        text = shipped(
            "kubernetes/traefik.yml",
            {r"http://forwardauth\.forwardauth\.svc\.cluster\.local:9000": f"http://127.0.0.1:{self.service_port}"},
        )
        self.server = ApiServer([*yaml.safe_load_all(text), *self._backend(), self._certificate()])
        self.server.start()
        static = yaml.safe_load((DEPLOY / "traefik/traefik.yml").read_text())
        static["entryPoints"]["web"]["address"] = f"127.0.0.1:{self.other_port}"
        static["entryPoints"]["websecure"]["address"] = f"127.0.0.1:{self.port}"
        # Traefik recommends safe names for whoever begins, and warns of neither choice.
        static["providers"] = {"kubernetesCRD": {"endpoint": self.server.url, "token": "any", "safeNaming": True}}
        config = self.folder / "traefik.yml"
        config.write_text(yaml.safe_dump(static))
        return [self.executable, f"--configfile={config}"]

    def stop(self) -> None:
        super().stop()
        if self.server is not None:
            self.server.stop()

    def _routes(self) -> bool:
        try:
            return Client(self.port, "127.0.0.1", tls=True).get("/health", host=self.hosts[0]).status != 404
        except OSError:
            return False

    def _backend(self) -> list[Object]:
        """The Service that the IngressRoute names, and where its one pod is."""
        ports = [{"name": "http", "port": 8000, "protocol": "TCP"}]
        at = [{"name": "http", "port": self.backend_port, "protocol": "TCP"}]
        return [
            _object("v1", "Service", "llm", spec={"clusterIP": "127.0.0.1", "ports": ports}),
            _object(
                "discovery.k8s.io/v1",
                "EndpointSlice",
                "llm",
                labels={"kubernetes.io/service-name": "llm"},
                addressType="IPv4",
                ports=at,
                endpoints=[{"addresses": ["127.0.0.1"], "conditions": {"ready": True, "serving": True}}],
            ),
        ]

    def _certificate(self) -> Object:
        key, certificate = self.folder / "tls.key", self.folder / "tls.crt"
        subject = ["-subj", f"/CN={self.hosts[0]}", "-addext", f"subjectAltName=DNS:{self.hosts[0]}", "-days", "2"]
        made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate]
        subprocess.run([find("openssl"), "req", "-x509", *subject, *made], check=True, capture_output=True)
        data = {path.name: base64.b64encode(path.read_bytes()).decode() for path in (key, certificate)}
        return _object("v1", "Secret", "llm-tls", type="kubernetes.io/tls", data=data)


def _object(version: str, kind: str, name: str, labels: dict[str, str] | None = None, **rest: Any) -> Object:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": "llm", "labels": labels or {}},
        **rest,
    }
