"""curl as a document writes it, word by word; only the server's address is another, and the client's is chosen."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from .client import HOST, TIMEOUT
from .deployment import Deployment
from .programs import find


class Printed(NamedTuple):
    status: int
    body: str

    def json(self) -> Any:
        return json.loads(self.body)


def curl(command: str, site: Deployment, source: str = "", folder: Path | None = None) -> Printed:
    """What comes back. `source` is the client's address (without one: a new one); `@file` is looked for in `folder`."""
    words = shlex.split(command)
    assert words[0] == "curl"
    moved = [re.sub(r"^https?://[^/]+", site.gateway.url, word) for word in words[1:]]
    assert sum(word.startswith(site.gateway.url) for word in moved) == 1
    # --disable has to be the first: a .curlrc is somebody's own.
    options = ["--disable", "--silent", "--write-out", "\n%{http_code}", "--header", f"Host: {HOST}"]
    options += ["--interface", source or site.sources.next(), "--max-time", f"{TIMEOUT:g}"]
    done = subprocess.run([find("curl"), *options, *moved], capture_output=True, text=True, cwd=folder, check=True)
    body, _, status = done.stdout.rpartition("\n")
    return Printed(int(status), body)
