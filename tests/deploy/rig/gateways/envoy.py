"""Envoy with the shipped `envoy.yaml`."""

from __future__ import annotations

import http.client
import itertools
import json
from pathlib import Path

from ..files import copied
from ..programs import wait_until
from .gateway import Gateway


class Envoy(Gateway):
    name = needs = "envoy"
    # What the shipped file says in place of a service that does not answer (`status_on_error`).
    service_down = (503,)
    # Envoy joins the lines by a comma, and no virtual host has that name.
    two_hosts = 404
    # A denial without a body loses its Content-Type.
    types_head = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._marks = itertools.count()

    def command(self) -> list[str | Path]:
        config = copied("envoy/envoy.yaml", self.folder, self.changes())
        # Instances on one machine share memory for restarts without a gap, unless that is switched off.
        options = ["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]
        return [self.executable, *options, "--file-flush-interval-msec", "20", "-c", config]

    def changes(self) -> dict[str, str]:
        return {
            r"address: 0\.0\.0\.0, port_value: 80\b": f"address: 127.0.0.1, port_value: {self.port}",
            r"address: forwardauth, port_value: 9000": f"address: 127.0.0.1, port_value: {self.service_port}",
            r"address: llm, port_value: 8000": f"address: 127.0.0.1, port_value: {self.backend_port}",
            r"domains: \[llm\.example\.com\]": f"domains: {json.dumps(list(self.hosts))}",
        }

    @property
    def log(self) -> str:
        """All that was logged so far: Envoy writes its access log from time to time, and in order."""
        mark = f"/mark-{next(self._marks)}"
        if self._logs(mark):
            wait_until(lambda: mark in super(Envoy, self).log, "Envoy logs a request")
        return super().log

    def _logs(self, path: str) -> bool:
        """Send a request for a host that nobody serves; False where Envoy does not run."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path, headers={"Host": "log.invalid"})
            connection.getresponse().read()
        except OSError:
            return False
        finally:
            connection.close()
        return True
