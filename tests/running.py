"""The service as a process of its own, in a folder of its own."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

CONFIGURATION = """
server: {{listen: "127.0.0.1:{listen}", admin: "127.0.0.1:{admin}", admin_token: admin.token{more}}}
authenticators:
  ci: {{token: {{from: [{{header: X-API-Token}}], tokens: [{{name: ci, value: {token}}}]}}}}
  staff: {{basic: {{htpasswd: users}}}}
routes:
  - {{name: health, path: /health, public: true}}
  - {{name: staff, path: /staff, require: staff}}
  - {{name: all, path: /*, require: ci}}
audit: {{path: audit.log}}
"""
SHA_CORRECT = "{SHA}MXmmXv8lI7veU8mbKZtxnBCjUjU="


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """A running service in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listen = free_port()
        self.admin = free_port()
        self.log = folder / "stderr.log"
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "users").write_text(f"alice:{SHA_CORRECT}\n")

    def configure(self, token: str = "right-token", more: str = "", text: str = CONFIGURATION) -> None:
        text = text.format(listen=self.listen, admin=self.admin, token=token, more=more)
        (self.folder / "forwardauth.yml").write_text(text)

    def start(
        self,
        *options: str,
        environment: dict[str, str] | None = None,
        ready: Callable[[], bool] | None = None,
    ) -> None:
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "forwardauth", "serve", *options],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(ready or (lambda: self.ask("/health")[0] == 200), self)

    def stop(self) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def ask(
        self, path: str, *, uri: str = "/v1", token: str | None = None, port: int | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """One request to the decision listener (or another port)."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.listen, timeout=10)
        sent = {
            "X-Forwarded-Method": "GET",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "api.example.com",
            "X-Forwarded-Uri": uri,
            "X-Forwarded-For": "192.0.2.7",
            **({"X-API-Token": token} if token else {}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        try:
            connection.request(sent.pop("method", "GET"), path, headers=sent)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        except OSError:
            return 0, {}, b""
        finally:
            connection.close()

    def control(self, path: str, asked: object = None) -> tuple[int, dict[str, object]]:
        """One control call, with the admin token; a POST if it says something."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=10)
        token = (self.folder / "admin.token").read_text().strip()
        body = None if asked is None else json.dumps(asked)
        try:
            connection.request("GET" if body is None else "POST", path, body, {"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command of the program, in the same folder."""
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(
            [sys.executable, "-m", "forwardauth", *words],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def verify(self, token: str) -> int:
        return self.ask("/verify/traefik", token=token)[0]

    def metrics(self) -> str:
        return self.ask("/metrics", port=self.admin)[2].decode()


def wait_until(true: Callable[[], bool], process: Process) -> None:
    for _ in range(200):
        if true():
            return
        if process.process is not None and process.process.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError(f"it did not happen:\n{process.log.read_text()}")
