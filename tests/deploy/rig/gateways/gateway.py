"""What every gateway has in common."""

from __future__ import annotations

import http.client
import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..client import HOST
from ..programs import Program, find, free_ports


@dataclass
class Gateway(ABC):
    """A running gateway before one service and one backend. `hosts` are the names that it serves."""

    folder: Path
    service_port: int
    backend_port: int
    hosts: Sequence[str] = (HOST,)

    name = ""
    needs = ""  # the program
    stop_signal = signal.SIGTERM
    # What a client gets when the service does not answer. Whatever it is, the backend is not asked.
    service_down = (500, 502)
    # What a client gets that sends two Host lines: a 400, unless the gateway makes one name of them that nobody has.
    two_hosts = 400
    # Whether a denial to HEAD names the type of the body that GET would get (RFC 9110 9.3.2 leaves it open).
    types_head = True
    # Checks a password of its own (rig.setups.HTPASSWD) before the service is asked.
    asks_password = False

    def __post_init__(self) -> None:
        self.executable = find(self.needs)
        self.port, self.other_port = free_ports(2)
        self.folder.mkdir(parents=True)
        self.program: Program | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.program = Program(self.command(), self.folder / f"{self.name}.log")
        self.program.start()
        self.program.wait_until(self._routes, f"{self.name} routes {self.hosts[0]}")

    def stop(self) -> None:
        if self.program is not None:
            self.program.stop(self.stop_signal)

    @property
    def log(self) -> str:
        return self.program.log if self.program is not None else ""

    @abstractmethod
    def command(self) -> list[str | Path]:
        """Writes the program's files into `folder`; returns what starts it."""

    def _routes(self) -> bool:
        """True once the host is known here: a gateway listens before it has read its routes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health", headers={"Host": self.hosts[0]})
            return connection.getresponse().status != 404
        except OSError:
            return False
        finally:
            connection.close()
