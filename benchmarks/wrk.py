"""One run of wrk, and what it found."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dev.programs import StartError

SCRIPT = Path(__file__).with_name("load.lua")

Shape = Literal["subrequest", "client"]
Variety = Literal["repeated", "varied"]


@dataclass(frozen=True)
class Measured:
    """What one run found. `wrong` says why its numbers mean nothing; None when they do."""

    per_second: float
    p50_ms: float
    p99_ms: float
    wrong: str | None


def read(output: str) -> Measured:
    """Reads the line that load.lua writes last."""
    found = json.loads(output.strip().splitlines()[-1])
    complaints = [f"{found[kind]} {kind}" for kind in ("refused", "broken") if found[kind]]
    if not found["requests"]:
        complaints.append("no answer at all")
    return Measured(
        per_second=found["requests"] / found["microseconds"] * 1e6,
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        wrong=", ".join(complaints) or None,
    )


@dataclass(frozen=True)
class Wrk:
    """The load of one benchmark: the same script, connections and core for every server."""

    core: int
    connections: int
    tokens: Path

    def fire(self, port: int, shape: Shape, variety: Variety, seconds: int, run: str) -> Measured:
        options = [f"--connections={self.connections}", f"--duration={seconds}s", f"--script={SCRIPT}"]
        load = [f"http://127.0.0.1:{port}", "--", shape, variety, str(self.tokens), run]
        done = subprocess.run(
            ["taskset", "-c", str(self.core), "wrk", "--threads=1", *options, *load],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + 60,
        )
        if done.returncode:
            raise StartError(f"wrk ended with code {done.returncode}:\n\n{done.stdout}{done.stderr}")
        return read(done.stdout)
