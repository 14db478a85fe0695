"""How fast a decision is: this service beside nginx's `return 200` and a plain aiohttp route, in one run.

One core for the servers, one for the load. Rounds alternate between the servers, so that what else the machine does
meets all of them; what counts is the ratios. benchmarks/README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import keys
from benchmarks.servers import PATHS, Rig, Target
from benchmarks.start import SERVERS, Started
from benchmarks.start import measure as measure_start
from benchmarks.wrk import Measured, Variety, Wrk
from dev.programs import StartError, end_in_order, installed, status, traefik_binary

PACKAGES = {"wrk": "wrk", "nginx": "nginx", "taskset": "util-linux"}
SCENES = ("direct", "nginx", "traefik", "keys", "start")
VARIETIES: tuple[Variety, ...] = ("repeated", "varied")
LIMIT, PLAIN = 0, 1  # the servers' order in each scene: what is possible, what is usual, this service


@dataclass
class Row:
    """One server under one load, over all rounds."""

    scene: str
    variety: Variety
    server: str
    rounds: list[Measured] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return statistics.median(each.per_second for each in self.rounds)

    @property
    def p50_ms(self) -> float:
        return statistics.median(each.p50_ms for each in self.rounds)

    @property
    def p99_ms(self) -> float:
        return statistics.median(each.p99_ms for each in self.rounds)

    @property
    def wrong(self) -> list[str]:
        return [each.wrong for each in self.rounds if each.wrong]

    def ratios(self, other: Row) -> list[float]:
        """The rounds' ratios, in order of size: a slow minute of the machine is in both of a round."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return sorted(own.per_second / its.per_second for own, its in pairs if its.per_second)

    def ratio(self, other: Row) -> float | None:
        """The median of the rounds' ratios; None where the other one answered in no round."""
        return statistics.median(ratios) if (ratios := self.ratios(other)) else None


def within(ratios: Sequence[float]) -> tuple[float, float]:
    """Between which two of the sorted ratios (one or more) their true median lies, with 95 %.

    It is the sign test's interval. Fewer than six tell nothing of the kind: then it is the smallest and the largest.
    """
    left_out, outside = 0, 1.0
    while 2 * outside <= 0.05 * 2 ** len(ratios):
        left_out += 1
        outside += math.comb(len(ratios), left_out)
    left_out = max(left_out - 1, 0)
    return ratios[left_out], ratios[-1 - left_out]


def verify(rig: Rig, target: Target) -> None:
    """A fast answer is worth nothing unless it is the right one."""
    # 403 as well: the shipped nginx files give it for a 401 that does not say what the client should read.
    allowed, refused = {200}, {401, 403}
    expected = {rig.good_token: allowed, "x" * len(rig.good_token): refused if target.refuses else allowed}
    for token, wanted in expected.items():
        if (got := status(target.port, PATHS[target.shape], rig.headers(target.shape, token))) not in wanted:
            kind = "good" if token == rig.good_token else "wrong"
            raise StartError(f"{target.name} answered {got} to a {kind} token.")


def targets(scene: str, rig: Rig) -> list[Target]:
    servers = [make(rig) for make in SERVERS]
    if scene == "nginx":
        return [rig.behind_nginx(server) for server in servers]
    if scene == "traefik":
        return [rig.behind_traefik(server, backend=servers[LIMIT]) for server in servers]
    return [server.target for server in servers]


def measure(scene: str, chosen: argparse.Namespace, cores: tuple[int, int]) -> list[Row]:
    with ExitStack() as stack:
        # Requests queue at the gateway, so it has the servers' core to itself; what it asks shares the load's.
        rig = Rig(cores[0] if scene == "direct" else cores[1], cores[0], stack)
        wrk = Wrk(cores[1], chosen.connections, rig.tokens)
        aims = targets(scene, rig)
        for aim in aims:
            verify(rig, aim)
        loads = [(Row(scene, variety, aim.name), aim) for variety in VARIETIES for aim in aims]
        for number in range(chosen.rounds + 1):
            say(f"{scene}: " + (f"round {number} of {chosen.rounds}" if number else "warming up"))
            # To and fro, so that a machine that grows slower meets each of them first as often as last.
            for row, aim in loads if number % 2 else reversed(loads):
                seconds = chosen.seconds if number else 1
                found = wrk.fire(aim.port, aim.shape, row.variety, seconds, f"{number}-")
                if number:
                    row.rounds.append(found)
                # Tens of megabytes a round; written they were, kept they need not be.
                if rig.audit.exists():
                    os.truncate(rig.audit, 0)
        return [row for row, _ in loads]


def table(rows: Sequence[Row]) -> str:
    lines = []
    for scene, variety in dict.fromkeys((row.scene, row.variety) for row in rows):
        group = [row for row in rows if (row.scene, row.variety) == (scene, variety)]
        where = "direct" if scene == "direct" else f"behind {scene}"
        title = f"{where}, {variety} requests"
        lines += [f"\n{title:<36}{'requests/s':>12}{'of nginx':>20}{'x aiohttp':>11}{'p50 ms':>9}{'p99 ms':>9}"]
        for row in group:
            of_nginx, of_aiohttp = share(row.ratios(group[LIMIT])), row.ratio(group[PLAIN])
            times = "-" if of_aiohttp is None else f"{of_aiohttp:.2f}"
            lines.append(
                f"  {row.server:<34}{row.per_second:>12,.0f}{of_nginx:>20}"
                f"{times:>11}{row.p50_ms:>9.2f}{row.p99_ms:>9.2f}"
            )
            lines += [f"    NOT VALID: {complaint}" for complaint in row.wrong]
    return "\n".join(lines)


def share(ratios: Sequence[float]) -> str:
    if not ratios:
        return "-"
    least, most = within(ratios)
    return f"{statistics.median(ratios):.0%} ({least:.0%} to {most:.0%})"


def start_table(starts: Sequence[Started]) -> str:
    lines = [f"\n{'start':<36}{'ready ms':>12}{'resident MB':>13}"]
    return "\n".join([*lines, *(f"  {s.name:<34}{s.ready_ms:>12.0f}{s.resident_mb:>13.1f}" for s in starts)])


def machine() -> dict[str, Any]:
    cpu = Path("/proc/cpuinfo").read_text()
    models = [line.partition(": ")[2] for line in cpu.splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def as_json(rows: Sequence[Row], starts: Sequence[Started], held: Sequence[keys.Held] = ()) -> dict[str, Any]:
    measured = [
        asdict(row)
        | {"median_per_second": row.per_second, "median_p50_ms": row.p50_ms, "median_p99_ms": row.p99_ms}
        | {"of_nginx": row.ratio(group[LIMIT]), "of_nginx_within": within(ratios) if ratios else None}
        | {"of_aiohttp": row.ratio(group[PLAIN])}
        for row in rows
        for group in [[each for each in rows if (each.scene, each.variety) == (row.scene, row.variety)]]
        for ratios in [row.ratios(group[LIMIT])]
    ]
    of_keys = [asdict(each) | {"folder": None} for each in held]
    return {"machine": machine(), "load": measured, "start": [asdict(each) for each in starts], "keys": of_keys}


def cores_to_use() -> tuple[int, int]:
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise StartError("a benchmark needs two cores: one for the server and one for the load.")
    return usable[0], usable[1]


def require_programs() -> None:
    missing = [package for program, package in PACKAGES.items() if not installed(program)]
    if missing:
        raise StartError(f"something is missing. Debian and Ubuntu: apt-get install {' '.join(missing)}")


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def main() -> int:
    options = argparse.ArgumentParser(prog="./bench", description=__doc__)
    options.add_argument("--only", choices=SCENES, action="append", help="one part of it; may be repeated")
    options.add_argument("--rounds", type=int, default=15, help="of each server and load (15)")
    options.add_argument("--seconds", type=int, default=1, help="of each round (1)")
    options.add_argument("--connections", type=int, default=32, help="of the load (32)")
    options.add_argument("--json", type=Path, metavar="FILE", help="also write every round to a file")
    chosen = options.parse_args()
    end_in_order()
    try:
        require_programs()
        cores = cores_to_use()
        scenes = chosen.only or [scene for scene in SCENES if scene != "traefik" or traefik_binary()]
        rows = [row for scene in scenes if scene not in ("keys", "start") for row in measure(scene, chosen, cores)]
        held = keys.measure(chosen.rounds, chosen.seconds, chosen.connections, cores, say) if "keys" in scenes else []
        starts = [measure_start(make, cores[0], chosen.rounds) for make in SERVERS] if "start" in scenes else []
    except StartError as reason:
        say(f"forwardauth: {reason}")
        return 1
    except KeyboardInterrupt:
        return 130

    print("\n{cpu}, {cores} cores, {system}, Python {python}".format_map(machine()))
    if rows:
        print(f"medians of {chosen.rounds} rounds of {chosen.seconds} s, {chosen.connections} connections")
        print(table(rows))
    if held:
        print(keys.table(held))
    if starts:
        print(start_table(starts))
    if chosen.json:
        chosen.json.write_text(json.dumps(as_json(rows, starts, held), indent=2) + "\n")
    complaints = [*(row.wrong for row in rows), *(each.wrong for each in held)]
    return 1 if any(complaints) else 0


if __name__ == "__main__":
    sys.exit(main())
