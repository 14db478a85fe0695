"""The service itself, as its user starts it."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from .programs import ROOT, Program, free_ports

SERVE = [sys.executable, "-m", "forwardauth", "serve"]


@dataclass(frozen=True)
class Setup:
    """What an operator writes: a configuration file, or environment and options alone.

    `files` lie beside the configuration. `server` and where the service listens are the rig's part.
    """

    config: str = ""
    env: tuple[tuple[str, str], ...] = ()
    options: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()


def environment(*settings: tuple[str, str]) -> dict[str, str]:
    """This process's environment without settings of its own for the service, and with this source tree."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FORWARDAUTH_")}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return inherited | {"PYTHONPATH": path} | dict(settings)


@dataclass
class Service:
    setup: Setup
    folder: Path
    port: int = field(init=False)
    program: Program = field(init=False)

    def __post_init__(self) -> None:
        self.port, admin = free_ports(2)
        options: list[str | Path] = [*self.setup.options]
        self.folder.mkdir(parents=True)
        for name, content in self.setup.files:
            (self.folder / name).write_text(content)
        if self.setup.config:
            config = self.folder / "forwardauth.yml"
            config.write_text(self.setup.config)
            options += ["--config", config]
        env = environment(
            ("FORWARDAUTH_LISTEN", f"127.0.0.1:{self.port}"),
            ("FORWARDAUTH_ADMIN", f"127.0.0.1:{admin}"),
            *self.setup.env,
        )
        self.program = Program([*SERVE, *options], self.folder / "forwardauth.log", env)

    def start(self) -> None:
        self.program.start()
        self.program.wait_until(self._healthy, "forwardauth answers /health")

    def stop(self) -> None:
        code = self.program.stop()
        assert code in (0, None), f"forwardauth ended with {code}:\n{self.program.log}"

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


def run_serve(*options: str, env: tuple[tuple[str, str], ...] = ()) -> subprocess.CompletedProcess[str]:
    """`serve` where it is expected to refuse at once."""
    return subprocess.run(
        [*SERVE, *options], env=environment(*env), capture_output=True, text=True, timeout=20, check=False, cwd="/"
    )
