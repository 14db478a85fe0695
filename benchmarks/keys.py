"""What a million keys of a database cost: importing, loading, holding them, and deciding by them, beside ten keys."""

from __future__ import annotations

import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.start import resident_mb
from benchmarks.wrk import Measured, Wrk
from dev.programs import ROOT, Program, StartError, free_ports, started, status, until_ready

FEW, SOME, MANY = 10, 1_000, 1_000_000

CONFIG = """\
server: {{listen: "127.0.0.1:{port}", admin: "127.0.0.1:{admin}", gateways: [traefik]}}
database: sqlite:///keys.db
authenticators:
  keys: {{virtual_key: {{from: [{{header: X-API-Token}}], rate: 1000000/s burst 1000000}}}}
routes:
  - {{name: api, path: /*, require: keys}}
audit: {{path: audit.log}}
"""


@dataclass
class Held:
    """One service with its keys. `imported` and `ready` are seconds, `rounds` by how many keys are in use."""

    count: int
    port: int
    folder: Path
    imported: float
    ready: float
    resident_mb: float
    rounds: dict[int, list[Measured]] = field(default_factory=dict)

    @property
    def wrong(self) -> list[str]:
        return [found.wrong for rounds in self.rounds.values() for found in rounds if found.wrong]

    def ratio(self, in_use: int, other: Held) -> float | None:
        """The median of the rounds' ratios to another service, by the same keys; None where that one never answered."""
        pairs = zip(self.rounds[in_use], other.rounds[in_use], strict=True)
        ratios = [own.per_second / its.per_second for own, its in pairs if its.per_second]
        return statistics.median(ratios) if ratios else None


def secret(number: int) -> str:
    """A key that is the same in every run."""
    return hashlib.sha256(f"key {number}".encode()).hexdigest()[:43]


def measure(
    rounds: int, seconds: int, connections: int, cores: tuple[int, int], say: Callable[[str], None]
) -> list[Held]:
    """Each service in turn, by ten keys and by a thousand: those that it has alone, or those of a million."""
    with ExitStack() as stack:
        held = []
        for count in (FEW, SOME, MANY):
            say(f"keys: importing and loading {count:,}")
            held.append(_held(count, cores[0], stack))
        few, some, many = held
        loads = ((few, FEW), (many, FEW), (some, SOME), (many, SOME))
        for number in range(rounds + 1):
            say("keys: " + (f"round {number} of {rounds}" if number else "warming up"))
            # Forth and back: whoever comes after a pause of its core is slower for a while.
            for service, in_use in loads if number % 2 else reversed(loads):
                wrk = Wrk(cores[1], connections, service.folder / f"in-use-{in_use}")
                found = wrk.fire(service.port, "subrequest", "varied", seconds if number else 1, f"{number}-")
                if number:
                    service.rounds.setdefault(in_use, []).append(found)
                (service.folder / "audit.log").write_bytes(b"")
        return held


def _held(count: int, core: int, stack: ExitStack) -> Held:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forwardauth-bench-")))
    port, admin = free_ports(2)
    (folder / "forwardauth.yml").write_text(CONFIG.format(port=port, admin=admin))
    for in_use in (FEW, SOME):
        (folder / f"in-use-{in_use}").write_text("".join(f"{secret(number)}\n" for number in range(min(in_use, count))))
    (folder / "keys.csv").write_text("".join(_lines(count)))
    imported = _import(folder)
    program, ready = _serve(folder, core, port, stack)
    return Held(count, port, folder, imported, ready, resident_mb(program.popen.pid))


def _lines(count: int) -> Iterator[str]:
    yield "name,owner,sha256\n"
    for number in range(count):
        digest = hashlib.sha256(secret(number).encode()).hexdigest()
        yield f"key {number},user{number % 5000}@example.com,{digest}\n"


def _import(folder: Path) -> float:
    began = time.perf_counter()
    files = [str(folder / "keys.csv"), f"--config={folder}/forwardauth.yml"]
    command = [sys.executable, "-m", "forwardauth", "keys", "import", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise StartError(f"the import ended with code {done.returncode}:\n\n{done.stdout}{done.stderr}")
    return time.perf_counter() - began


def _serve(folder: Path, core: int, port: int, stack: ExitStack) -> tuple[Program, float]:
    serve = [sys.executable, "-m", "forwardauth", "serve", f"--config={folder}/forwardauth.yml"]
    program = stack.enter_context(started("forwardauth", ["taskset", "-c", str(core), *serve], folder))
    until_ready(program, port)
    ready = time.perf_counter() - program.began
    forwarded = {"Method": "POST", "Proto": "https", "Host": "llm.example.com", "For": "198.18.0.1", "Uri": "/v1/x"}
    headers = {f"X-Forwarded-{name}": value for name, value in forwarded.items()}
    for token, wanted in ((secret(0), 200), ("unknown", 401)):
        got = status(port, "/verify/traefik", headers | {"X-API-Token": token})
        if got != wanted:
            raise StartError(f"the service answered {got} where {wanted} is right.")
    return program, ready


def table(held: list[Held]) -> str:
    """What both cost."""
    alone = {each.count: each for each in held}
    lines = [f"\n{'keys of a database':<36}{'import s':>10}{'ready s':>10}{'resident MB':>13}"]
    lines += [f"  {each.count:<34,}{each.imported:>10.1f}{each.ready:>10.2f}{each.resident_mb:>13.1f}" for each in held]
    lines += [f"\n{'keys, varied requests':<36}{'requests/s':>12}{'of them alone':>15}{'p99 ms':>9}"]
    for each in held:
        for in_use, rounds in each.rounds.items():
            per_second = statistics.median(found.per_second for found in rounds)
            p99 = statistics.median(found.p99_ms for found in rounds)
            name = f"{each.count:,}, of which {in_use:,} are used"
            of_alone = each.ratio(in_use, alone[in_use])
            ratio = "-" if of_alone is None else f"{of_alone:.0%}"
            lines.append(f"  {name:<34}{per_second:>12,.0f}{ratio:>15}{p99:>9.2f}")
            lines += [f"    NOT VALID: {found.wrong}" for found in rounds if found.wrong]
    return "\n".join(lines)
