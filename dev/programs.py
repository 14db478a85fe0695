"""Programs on loopback: start them, wait until they answer, end them whatever happens."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 30
STOP_SECONDS = 5
# Ctrl-C, `kill`, and a terminal that is closed.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Where Debian keeps servers, which is on nobody's PATH but root's.
SERVERS = ("/usr/sbin", "/usr/local/sbin")


class StartError(Exception):
    """Says to the person in front of the terminal what is in the way."""


@dataclass
class Program:
    """One running program, with its output in a file until somebody needs to read it."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    began: float  # of time.perf_counter

    def tail(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()[-12:]
        return "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"

    def must_run(self) -> None:
        if (code := self.popen.poll()) is not None:
            raise StartError(f"{self.name} ended with code {code}. Its last lines:\n\n{self.tail()}")


@contextmanager
def started(name: str, command: Sequence[str], folder: Path, **environment: str) -> Iterator[Program]:
    """Runs a program for the length of the block; its output goes to a file in the folder."""
    log = folder / f"{name}.out"
    began = time.perf_counter()
    with log.open("wb") as output:
        popen = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # What this shell sets for another deployment must not reach in here.
            env={k: v for k, v in os.environ.items() if not k.startswith("FORWARDAUTH_")} | environment,
            start_new_session=True,  # Ctrl-C reaches the starter alone, which then ends the others in order
        )
    try:
        yield Program(name, popen, log, began)
    finally:
        popen.terminate()
        try:
            popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()


def until_ready(
    program: Program,
    port: int,
    path: str = "/health",
    headers: Mapping[str, str] = {},
    beside: Sequence[Program] = (),
) -> None:
    """Waits for the first 200; gives up when the program, or one that it needs, is gone."""
    deadline = time.monotonic() + START_SECONDS
    while status(port, path, headers) != 200:
        for each in (program, *beside):
            each.must_run()
        if time.monotonic() > deadline:
            raise StartError(
                f"{program.name} is not ready after {START_SECONDS} s. Its last lines:\n\n{program.tail()}"
            )
        time.sleep(0.005)


def status(port: int, path: str, headers: Mapping[str, str] = {}) -> int | None:
    """The status of one GET; None when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers=dict(headers))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses. All are held until all are found, so that none comes twice."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def end_in_order() -> None:
    """Makes the first signal that ends this program a KeyboardInterrupt, so that what it started ends before it."""
    for each in ENDING:
        if signal.getsignal(each) is not signal.SIG_IGN:  # `nohup` asked for that
            signal.signal(each, _interrupt)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    ignore_signals()
    raise KeyboardInterrupt


def ignore_signals() -> None:
    """A second, impatient Ctrl-C would leave programs behind that nobody ends; so would a shell that ends as well."""
    for each in ENDING:
        # Not SIG_IGN: of a second one that is already on its way Python would print a complaint.
        signal.signal(each, lambda _signal, _frame: None)


def installed(program: str) -> str | None:
    """The path of a program of this system."""
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *SERVERS]))


def traefik_binary() -> str | None:
    """The one that was installed beside this Python, or any other."""
    beside = Path(sys.executable).parent / "traefik"
    return str(beside) if beside.exists() else shutil.which("traefik")


def shipped(file: str, replacements: Mapping[str, str]) -> str:
    """A file of deploy/ with loopback addresses. Stops if it is no longer what the caller was written for."""
    text = (ROOT / "deploy" / file).read_text()
    for there, here in replacements.items():
        if there not in text:
            raise StartError(f"deploy/{file} no longer holds {there}, which was to be replaced.")
        text = text.replace(there, here)
    return text
