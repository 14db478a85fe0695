"""One gateway, one service, one backend, wired together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .backend import Backend
from .client import HOST, Client
from .gateways import Gateway
from .programs import wait_until
from .service import Service, Setup


class Sources:
    """Source addresses, each given away once: 127.0.0.0/8 is all loopback, and gateways listen on 127.0.0.1."""

    def __init__(self) -> None:
        self._given = 0

    def next(self) -> str:
        self._given += 1
        return f"127.1.{self._given // 250}.{self._given % 250 + 1}"


@dataclass
class Deployment:
    service: Service
    gateway: Gateway
    backend: Backend
    sources: Sources

    @classmethod
    def start(
        cls,
        gateway: type[Gateway],
        setup: Setup,
        folder: Path,
        backend: Backend,
        sources: Sources,
        hosts: Sequence[str] = (HOST,),
    ) -> Deployment:
        service = Service(setup, folder / "service")
        before = gateway(folder / "gateway", service.port, backend.port, hosts)
        service.start()
        try:
            before.start()
        except BaseException:
            before.stop()
            service.stop()
            raise
        return cls(service, before, backend, sources)

    def stop(self) -> None:
        try:
            self.gateway.stop()
        finally:
            self.service.stop()

    def client(self) -> Client:
        """Somebody new, with an address that nobody had before."""
        return Client(self.gateway.port, self.sources.next())

    def audit(self, client: Client, lines: int = 1) -> str:
        """All that the service wrote, as soon as this many lines name the client (it writes them in batches)."""
        named = f'"client":"{client.source}"'
        wait_until(lambda: self.service.program.log.count(named) >= lines, f"{lines} audit lines of {client.source}")
        return self.service.program.log

    def logs(self) -> list[tuple[str, str]]:
        """What both programs wrote, the end of it."""
        written = [(self.gateway.name, self.gateway.log), ("forwardauth", self.service.program.log)]
        return [(title, "\n".join(text.splitlines()[-60:])) for title, text in written]


class Deploy(Protocol):
    """The `deploy` fixture: a running deployment of these, started at the first call for them."""

    def __call__(self, gateway: str | type[Gateway], setup: Setup, hosts: Sequence[str] = (HOST,)) -> Deployment: ...
