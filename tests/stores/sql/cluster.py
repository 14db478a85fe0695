"""A real PostgreSQL for the tests: a cluster of its own in a temporary folder, on a loopback port, ended by its id."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

USER = "owner"
PASSWORD = "pa55word-that-nobody-may-read"

HOW_TO_GET = "PostgreSQL is missing: apt-get install postgresql"


def programs() -> Path | None:
    """The folder of initdb and postgres: of PATH, or where Debian keeps it."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parent.name), reverse=True)
    return next((each for each in folders if (each / "initdb").exists() and (each / "postgres").exists()), None)


def _unprivileged() -> dict[str, Any]:
    """What makes a subprocess somebody that PostgreSQL runs as: it refuses root."""
    if os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Cluster:
    """A server that loses nothing but by a power cut: it does not wait for the disk."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._somebody = _unprivileged()
        # Not below pytest's folder, where only its owner may look.
        self.folder = Path(tempfile.mkdtemp(prefix="forwardauth-postgresql-"))
        if self._somebody:
            os.chown(self.folder, self._somebody["user"], self._somebody["group"])
        self.port = _free_port()
        self._running: subprocess.Popen[bytes] | None = None
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run("initdb", "-D", "data", "-U", USER, "-A", "scram-sha-256", "--pwfile=password", "-E", "UTF8", "-N")
        self.start()

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.folder}
        options |= {"fsync": "off", "max_connections": 40, "lc_messages": "C"}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._running = subprocess.Popen(
                [self._binaries / "postgres", "-D", "data", *words],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._somebody,
            )
        end = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                if self._running.poll() is not None or time.monotonic() > end:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop, and end every connection: what SIGINT means to a postmaster."""
        if self._running is not None:
            self._running.send_signal(signal.SIGINT)
            self._running.wait(60)
            self._running = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def url(self, name: str, password: str = PASSWORD) -> str:
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{name}"

    def empty(self) -> str:
        """The URL of a database with nothing in it: always the same one, emptied."""
        # Nobody of an earlier test may still be in there.
        self._say("DROP SCHEMA public CASCADE", "CREATE SCHEMA public", "GRANT USAGE ON SCHEMA public TO PUBLIC")
        return self.url("postgres")

    def _say(self, *statements: str) -> None:
        with psycopg.connect(self.url("postgres"), options="-c lock_timeout=10s") as connection:
            for statement in statements:
                connection.execute(statement)

    def _run(self, program: str, *arguments: str) -> None:
        command = [self._binaries / program, *arguments]
        ran = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120, **self._somebody)
        assert ran.returncode == 0, ran.stderr


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
