"""Every target for a moment: its seeds, and what becomes of them by cutting, doubling and mixing.

The same targets run guided by coverage, as long as one likes: CONTRIBUTING.md has the command.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, Target

ROOT = Path(__file__).resolve().parents[2]


@st.composite
def mutated(draw: st.DrawFn, target: Target) -> bytes:
    """A seed with a few changes: bytes taken out, put in, doubled, or replaced by words or parts of other seeds."""
    data = bytearray(draw(st.sampled_from(target.seeds)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.sampled_from([0, 0, 1, 2, 8, 40])))
        change = draw(st.sampled_from(["word", "bytes", "double", "splice"]))
        if change == "word":
            data[at:end] = draw(st.sampled_from(target.words))
        elif change == "bytes":
            data[at:end] = draw(st.binary(max_size=4))
        elif change == "double":
            data[at:at] = data[at:end]
        else:
            other = draw(st.sampled_from(target.seeds))
            data[at:end] = other[draw(st.integers(0, len(other))) :]
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed_keeps_the_laws(name: str) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_what_becomes_of_the_seeds_keeps_the_laws(name: str) -> None:
    """Attack: any bytes at all, where a gateway, a client or an operator's editor writes them (THREATS 25, 34, 41)."""
    target = TARGETS[name]

    @settings(max_examples=500)
    @given(mutated(target))
    def run(data: bytes) -> None:
        target.run(data)

    run()


@pytest.mark.parametrize("name", ["lane", "path"])
def test_the_long_run_runs(name: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="needs atheris: pip install atheris (Linux on x86-64)")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, "-runs=300"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done 300 runs" in done.stderr
