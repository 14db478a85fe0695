"""Makes .venv in this checkout, or leaves it alone when it is right already.

    python dev/venv.py demo|test

Runs before anything is installed, so it needs Python's own library and nothing else.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed"
LOCK = ROOT / ".venv.lock"

# The extras of pyproject.toml that an entry script may ask for; each contains the ones before it.
EXTRAS = ["demo", "test"]


class Stamp(NamedTuple):
    """What .venv was made for; kept in it as one line."""

    place: str  # the checkout and the Python: both are written into a venv's files
    dependencies: str
    extra: str


def stamp(extra: str) -> Stamp:
    place = f"{ROOT} {sys.version_info[:2]}"
    return Stamp(digest(place.encode()), digest((ROOT / "pyproject.toml").read_bytes()), extra)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def present() -> Stamp | None:
    if not PYTHON.exists():  # or it is a link to a Python that has been removed
        return None
    try:
        return Stamp(*STAMP.read_text().split())
    except (OSError, TypeError):
        return None


def suffices(found: Stamp | None, wanted: Stamp) -> bool:
    if found is None or found[:2] != wanted[:2]:
        return False
    return EXTRAS.index(wanted.extra) <= EXTRAS.index(found.extra)


@contextmanager
def alone() -> Iterator[None]:
    """Two entry scripts at once would each clear what the other one installs."""
    with LOCK.open("a") as lock:  # let go of when it is closed, or when this program is gone
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another ./run, ./test or ./bench, which is making .venv")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def create() -> None:
    # Debian and Ubuntu ship Python without ensurepip; `python -m venv` would leave half an environment.
    if importlib.util.find_spec("ensurepip") is None:
        fail("this Python cannot make virtual environments. Install what it lacks: apt-get install python3-venv")
    say(f"making .venv with Python {sys.version.split()[0]}")
    run([sys.executable, "-m", "venv", "--clear", str(VENV)], "Python could not make .venv.")


def install(extra: str) -> None:
    say(f"installing the project and what its {extra} needs; the first time takes about a minute")
    # Passwords by name as well: what every entry script relies on should not hang on how an extra is made up.
    project = f".[passwords,{extra}]"
    run(
        [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--editable", project],
        "pip could not download or install what the project needs; is the network there?",
    )


def run(command: list[str], failure: str) -> None:
    done = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        # So many, because pip ends with remarks about itself and says before them what was missing.
        last = [line for line in done.stdout.splitlines() if line.strip()][-20:]
        fail("\n    ".join([f"{failure} The last lines:\n", *last]))


def say(message: str) -> None:
    print(f"forwardauth: {message}", file=sys.stderr, flush=True)


def fail(message: str) -> NoReturn:
    say(message)
    sys.exit(1)


def main() -> None:
    wanted = stamp(sys.argv[1])
    if suffices(present(), wanted):
        return
    with alone():
        make(wanted)


def make(wanted: Stamp) -> None:
    """Makes what is missing now: whoever held the lock before may have made it."""
    found = present()
    if suffices(found, wanted):
        return
    # The stamp goes first and returns last: what is interrupted in between is done again from the start.
    STAMP.unlink(missing_ok=True)
    if not found or found.place != wanted.place:
        create()
    install(wanted.extra)
    STAMP.write_text(" ".join(wanted) + "\n")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
