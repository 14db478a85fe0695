"""What the tests of commands share: a configuration with a database, runs of the program, and the real service."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from forwardauth.cli import main

CONFIGURATION = """
server: {{listen: "127.0.0.1:{listen}", admin: "{admin}"{more}}}
database: sqlite:///data/keys.db
authenticators:
  keys: {{virtual_key: {{from: [bearer, {{header: X-API-Key}}], prefix: {prefix}, pepper: "{pepper}"}}}}
routes:
  - {{name: all, path: /*, require: keys}}
lockout: {{max_failed_attempts: 2}}
audit: {{path: "off"}}
"""
URL = "https://api.example.com/v1/models"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def configure(
    folder: Path, *, listen: int = 0, admin: str = "127.0.0.1:9", prefix: str = "fa_", pepper: str = "", more: str = ""
) -> Path:
    """A configuration whose keys are in a database. Nobody listens on port 9 (discard)."""
    path = folder / "forwardauth.yml"
    path.write_text(CONFIGURATION.format(listen=listen, admin=admin, prefix=prefix, pepper=pepper, more=more))
    return path


def run(*arguments: str | Path, given: str | bytes | None = None, **environment: str) -> Result:
    """The program in this one, with nothing of its own environment but what is said here."""
    variables = dict.fromkeys((name for name in os.environ if name.startswith(("FORWARDAUTH_", "API_KEYS_"))), None)
    return CliRunner().invoke(main, list(map(str, arguments)), input=given, env={**variables, **environment})


def done(*arguments: str | Path, given: str | bytes | None = None, **environment: str) -> str:
    """What a command prints that succeeds, and says nothing on stderr."""
    result = run(*arguments, given=given, **environment)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def document(*arguments: str | Path, given: str | bytes | None = None, **environment: str) -> Any:
    return json.loads(done(*arguments, "--json", given=given, **environment))


def refused(*arguments: str | Path, given: str | bytes | None = None, **environment: str) -> list[str]:
    """The lines on stderr of a command that ends with 2, without their beginning."""
    result = run(*arguments, given=given, **environment)
    assert isinstance(result.exception, SystemExit), result.exc_info
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert all(line.startswith("forwardauth: ") for line in lines), lines
    return [line.removeprefix("forwardauth: ") for line in lines]


def judged(config: Path, key: str, header: str = "Authorization: Bearer") -> str:
    """The last two lines of `explain` about a key, without what differs by station."""
    separator = " " if header.endswith("Bearer") else ": "
    result = run("explain", "--config", config, "-H", f"{header}{separator}{key}", URL)
    return " ".join(result.stdout.splitlines()[-2:])


def id_in(key: str) -> str:
    """The public id that stands in a key."""
    match = re.search(r"([0-9A-Za-z]{12})_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$", key)
    assert match is not None
    return match[1]


class Service:
    """The real service, in a folder of its own."""

    def __init__(self, folder: Path, *, admin: str | None = None, more: str = ", admin_token: admin.token") -> None:
        self.folder = folder
        self.listen = free_port()
        self.admin_port = free_port()
        self.config = configure(folder, listen=self.listen, admin=admin or f"127.0.0.1:{self.admin_port}", more=more)
        self.log = folder / "stderr.log"

    def __enter__(self) -> "Service":
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "forwardauth", "serve", "--config", str(self.config)],
                env=own_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        for _ in range(400):
            if "answers on" in self.log.read_text() and self.verify("nobody's", "192.0.2.250") == 401:
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.__exit__()
        raise AssertionError(f"it did not start:\n{self.log.read_text()}")

    def __exit__(self, *failure: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.listen, timeout=10)

    def verify(self, key: str, client: str = "192.0.2.7", connection: http.client.HTTPConnection | None = None) -> int:
        """The verdict about a key, on an open connection or on a new one."""
        used = connection or self.connect()
        try:
            used.request("GET", "/verify/traefik", headers=asked(key, client))
            answer = used.getresponse()
            answer.read()
            return answer.status
        except ConnectionRefusedError:
            return 0
        finally:
            if connection is None:
                used.close()


def asked(key: str, client: str) -> Mapping[str, str]:
    return {
        "X-Forwarded-Method": "GET",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "api.example.com",
        "X-Forwarded-Uri": "/v1/models",
        "X-Forwarded-For": client,
        "Authorization": f"Bearer {key}",
    }


def own_environment(**variables: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **variables}


def program(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """The real program, in a process of its own."""
    command = [sys.executable, "-m", "forwardauth", *map(str, arguments)]
    return subprocess.run(command, env=own_environment(), text=True, timeout=60, check=False, **options)
