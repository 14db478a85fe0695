"""Fuzzing guided by coverage, as long as one likes.

    .venv/bin/python -m tests.fuzz lane -max_total_time=600

The first word names a target of `tests/fuzz/targets.py`; the others are libFuzzer's. What was found interesting stays
in `build/fuzz/TARGET`, for the next run; bytes that broke something are written beside it, and named.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["forwardauth"]):
    from tests.fuzz.targets import TARGETS

ROOT = Path("build/fuzz")


def main() -> None:
    """Fuzz one target."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        raise SystemExit(f"expected a target: {', '.join(TARGETS)}")
    name, *options = sys.argv[1:]
    target = TARGETS[name]
    corpus = ROOT / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = ROOT / f"{name}.words"
    words.write_text("".join(f'"{_quoted(word)}"\n' for word in target.words))
    own = [f"-dict={words}", f"-artifact_prefix={ROOT}/{name}-", "-max_len=4096"]
    atheris.Setup([sys.argv[0], *own, *options, str(corpus)], target.run)
    atheris.Fuzz()


def _quoted(word: bytes) -> str:
    """A word as libFuzzer's dictionaries have it."""
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main()
