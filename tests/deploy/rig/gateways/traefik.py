"""Traefik, told by files or by the labels of a compose file."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..docker import Engine, compose, labels
from ..files import copied, shipped
from .gateway import Gateway


class Traefik(Gateway):
    needs = "traefik"
    # At a SIGTERM it waits two seconds for requests, and there are none.
    stop_signal = signal.SIGKILL


class TraefikFile(Traefik):
    name = "traefik-file"

    def command(self) -> list[str | Path]:
        dynamic = copied(
            "traefik/dynamic.yml",
            self.folder,
            {
                r"http://forwardauth:9000": f"http://127.0.0.1:{self.service_port}",
                r"http://llm:8000": f"http://127.0.0.1:{self.backend_port}",
                r"Host\(`llm\.example\.com`\)": rule(self.hosts),
            },
        )
        static = copied(
            "traefik/traefik.yml",
            self.folder,
            {
                r'":80"': f'"127.0.0.1:{self.port}"',
                r'":443"': f'"127.0.0.1:{self.other_port}"',
                r"/etc/traefik/dynamic\.yml": str(dynamic),
            },
        )
        return [self.executable, f"--configfile={static}"]


class TraefikLabels(Traefik):
    """The Docker provider reads the labels of the compose file, from an engine that knows its containers."""

    name = "traefik-labels"
    compose_file = "traefik/compose.yml"
    engine: Engine | None = None

    def command(self) -> list[str | Path]:
        services = self.services()
        containers = {
            name: self.container_labels(labels(service)) for name, service in services.items() if labels(service)
        }
        self.engine = Engine(containers)
        self.engine.start()
        return [self.executable, *self.flags(services), f"--providers.docker.endpoint=unix://{self.engine.socket}"]

    def stop(self) -> None:
        super().stop()
        if self.engine is not None:
            self.engine.stop()

    def services(self) -> dict[str, Any]:
        text = shipped(
            self.compose_file,
            {
                r"http://forwardauth:9000": f"http://127.0.0.1:{self.service_port}",
                r"server\.port=8000": f"server.port={self.backend_port}",
                **self.changes(),
            },
        )
        return compose(text, self.environment())

    def changes(self) -> dict[str, str]:
        return {r"Host\(`\$\{LLM_HOST:-llm\.example\.com\}`\)": rule(self.hosts)}

    def environment(self) -> dict[str, str]:
        return {"FORWARDAUTH_TOKEN": "the service runs beside this engine"}

    def container_labels(self, written: Mapping[str, str]) -> dict[str, str]:
        return dict(written)

    def flags(self, services: Mapping[str, Any]) -> list[str]:
        """The arguments of the compose file's own Traefik, on a free port."""
        flags = "\n".join(services["traefik"]["command"])
        flags, count = re.subn(r"(?m)(web\.address=):80$", rf"\g<1>127.0.0.1:{self.port}", flags)
        assert count == 1
        return flags.split("\n")


def rule(hosts: tuple[str, ...] | list[str] | Any) -> str:
    return " || ".join(f"Host(`{host}`)" for host in hosts)
