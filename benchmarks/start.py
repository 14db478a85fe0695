"""From the start of an auth server to its first answer, and the memory that it then holds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import PATHS, AuthServer, Rig
from dev.programs import StartError, status

SERVERS: list[Callable[[Rig], AuthServer]] = [Rig.nginx_return, Rig.plain_aiohttp, Rig.forwardauth]


@dataclass(frozen=True)
class Started:
    """Medians of several starts."""

    name: str
    ready_ms: float
    resident_mb: float


def measure(make: Callable[[Rig], AuthServer], core: int, rounds: int) -> Started:
    name, times, sizes = "", [], []
    for _ in range(rounds):
        with ExitStack() as stack:
            rig = Rig(core, core, stack)
            server = make(rig)
            times.append((time.perf_counter() - server.program.began) * 1000)
            target = server.target
            if status(target.port, PATHS[target.shape], rig.headers(target.shape, rig.good_token)) != 200:
                raise StartError(f"{target.name} did not allow a good token.")
            name = target.name
            sizes.append(resident_mb(server.program.popen.pid))
    return Started(name, statistics.median(times), statistics.median(sizes))


def resident_mb(pid: int) -> float:
    """Of the program and its children (nginx's worker), in MB of 10^6 bytes."""
    status_lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    own = sum(int(line.split()[1]) for line in status_lines if line.startswith("VmRSS")) * 1024 / 1e6
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(resident_mb(int(child)) for child in children)
