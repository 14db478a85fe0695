"""Commands that ask the running service, or tell it what they changed: the real one, and who is there in its place."""

import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from forwardauth.cli import control
from tests.cli.commands import URL, Service, configure, document, done, free_port, id_in, own_environment, refused, run


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def made(service: Service) -> Any:
    return document("keys", "create", "ci", "--config", service.config)


# What a command changed is in force when it returns.


def test_a_new_key_is_accepted_as_soon_as_the_command_returns(service: Service, made: Any) -> None:
    assert service.verify(made["key"]) == 200


def test_a_revoked_key_is_refused_on_the_next_request_of_an_open_connection(service: Service, made: Any) -> None:
    """Attack: go on with a key that was taken away, on a connection that is kept (THREATS 31)."""
    connection = service.connect()
    try:
        assert service.verify(made["key"], connection=connection) == 200
        open_socket = connection.sock
        done("keys", "revoke", made["id"], "--config", service.config)
        assert service.verify(made["key"], connection=connection) == 401
        assert connection.sock is open_socket
    finally:
        connection.close()


def test_every_change_is_in_force_when_its_command_returns(service: Service, made: Any) -> None:
    """Attack: go on with a key that was disabled, that ended or that was rotated (THREATS 31)."""

    def verdict(*command: str) -> int:
        done("keys", *command, "--config", service.config)
        return service.verify(made["key"])

    assert verdict("disable", made["id"]) == 401
    assert verdict("enable", made["id"]) == 200
    assert verdict("expire", made["id"], "now") == 401
    assert verdict("expire", made["id"], "never") == 200
    again = document("keys", "rotate", made["id"], "--overlap", "1h", "--config", service.config)["key"]
    assert (service.verify(made["key"]), service.verify(again)) == (200, 200)
    assert verdict("rotate", made["id"]) == 401
    assert service.verify(again) == 401


def test_imported_keys_are_accepted_as_soon_as_the_command_returns(service: Service) -> None:
    assert service.verify("moved-in-from-elsewhere", "192.0.2.90") == 401
    done("keys", "import", "-", "--config", service.config, given="key\nmoved-in-from-elsewhere\n")
    assert service.verify("moved-in-from-elsewhere", "192.0.2.91") == 200


# Lockouts.


def lock_out(service: Service, client: str) -> None:
    assert [service.verify("a-guess", client) for _ in range(3)] == [401, 401, 429]


def test_who_is_locked_out_is_listed_and_let_in_again(service: Service, made: Any) -> None:
    for client in ("198.51.100.1", "198.51.100.2"):
        lock_out(service, client)
    lines = [line.split() for line in done("lockouts", "list", "--config", service.config).splitlines()]
    assert lines[0] == ["client", "seconds", "left"]
    assert {"198.51.100.1", "198.51.100.2"} <= {line[0] for line in lines[1:]}
    found = document("lockouts", "list", "--config", service.config)
    assert all(0 < each["seconds"] <= 30 for each in found)
    assert done("lockouts", "clear", "198.51.100.1", "--config", service.config) == "cleared: 1\n"
    assert service.verify(made["key"], "198.51.100.1") == 200
    assert service.verify(made["key"], "198.51.100.2") == 429
    assert document("lockouts", "clear", "--config", service.config)["cleared"] >= 1
    assert service.verify(made["key"], "198.51.100.2") == 200
    assert done("lockouts", "list", "--config", service.config) == "nobody is locked out\n"
    assert document("lockouts", "list", "--config", service.config) == []


def test_a_client_that_is_no_address_is_told_as_the_service_says_it(service: Service) -> None:
    (line,) = refused("lockouts", "clear", "nobody", "--config", service.config)
    assert line.startswith(f"127.0.0.1:{service.admin_port} answers 400: client: 'nobody' ")


# Explaining.


def test_the_running_service_explains_what_the_configuration_cannot_know(service: Service, made: Any) -> None:
    lock_out(service, "198.51.100.3")
    asked = ["explain", "--config", service.config, "-H", f"X-API-Key: {made['key']}", "--client", "198.51.100.3", URL]
    apart = run(*asked)
    live = run(*asked[:-1], "--live", URL)
    assert (apart.exit_code, apart.stdout.splitlines()[-1]) == (0, f"200 as key {made['id']}")
    assert live.exit_code == 1
    assert live.stdout.splitlines()[-1].startswith("429 locked_out")
    done("lockouts", "clear", "--config", service.config)
    free = run(*asked[:-1], "--live", URL)
    assert (free.exit_code, free.stdout) == (0, apart.stdout)
    assert made["key"] not in live.output + free.output


def test_explaining_changes_nothing(service: Service) -> None:
    for _ in range(4):
        ran = run("explain", "--config", service.config, "-H", "X-API-Key: a-guess", "--live", URL)
        assert (ran.exit_code, "401 invalid_token" in ran.stdout) == (1, True)
    assert done("lockouts", "list", "--config", service.config) == "nobody is locked out\n"


def test_a_url_that_is_none_is_told_as_the_service_says_it(service: Service) -> None:
    (line,) = refused("explain", "--config", service.config, "--live", "/v1")
    assert line.endswith("answers 400: expected a whole URL, such as https://api.example.com/v1/models")


# Where the service is, and who may ask.


def test_a_unix_socket_is_asked_below_the_configuration_s_folder(tmp_path: Path) -> None:
    with Service(tmp_path, admin="unix:admin.sock") as service:
        made = document("keys", "create", "ci", "--config", service.config)
        assert service.verify(made["key"]) == 200
        assert done("lockouts", "list", "--config", service.config) == "nobody is locked out\n"
    assert refused("lockouts", "list", "--config", service.config) == [
        "no service runs here: nobody listens on unix:admin.sock (server.admin)"
    ]


def test_a_service_on_every_address_is_asked_on_the_loopback(tmp_path: Path) -> None:
    with Service(tmp_path, admin=f"0.0.0.0:{free_port()}") as service:
        assert done("lockouts", "list", "--config", service.config) == "nobody is locked out\n"


def test_a_service_without_a_token_follows_by_itself_and_the_command_says_so(tmp_path: Path) -> None:
    with Service(tmp_path, more="") as service:
        ran = run("keys", "create", "ci", "--config", service.config, "--json")
        assert ran.exit_code == 0
        assert ran.stderr == (
            "forwardauth: warning: the change is made; the running service was not told, and follows within a second: "
            "control calls need server.admin_token: set it to the name of a file, and restart the service\n"
        )
        key = json.loads(ran.stdout)["key"]
        # By its own look at the database, twice a second.
        assert any(service.verify(key, f"203.0.113.{number}") == 200 for number in range(200) if wait(0.02))
        for command in (["lockouts", "list"], ["lockouts", "clear"], ["explain", "--live", URL]):
            assert refused(*command, "--config", service.config) == [
                "control calls need server.admin_token: set it to the name of a file, and restart the service"
            ]


def wait(seconds: float) -> bool:
    threading.Event().wait(seconds)
    return True


def test_where_no_service_runs_a_change_is_made_in_silence(tmp_path: Path) -> None:
    config = configure(tmp_path, admin=f"127.0.0.1:{free_port()}", more=", admin_token: admin.token")
    made = document("keys", "create", "ci", "--config", config)
    assert document("keys", "revoke", made["id"], "--config", config)[0]["state"] == "revoked"


@pytest.mark.parametrize("command", [["lockouts", "list"], ["lockouts", "clear"], ["explain", "--live", URL]])
def test_where_no_service_runs_there_is_nobody_to_ask(tmp_path: Path, command: list[str]) -> None:
    port = free_port()
    config = configure(tmp_path, admin=f"127.0.0.1:{port}")
    assert refused(*command, "--config", config) == [
        f"no service runs here: nobody listens on 127.0.0.1:{port} (server.admin)"
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "(server.admin_token) cannot be read: No such file or directory"),
        (b"", "(server.admin_token) holds no token: remove it, and restart the service"),
        (b"one-half\nof-a-token", "(server.admin_token) holds no token: remove it, and restart the service"),
        (b"\xff\xfe", "(server.admin_token) holds no token: remove it, and restart the service"),
        (b"not-the-one-of-the-service", "does not accept the token of"),
    ],
)
def test_a_token_that_does_not_do_is_told_and_not_shown(
    service: Service, tmp_path: Path, content: bytes | None, said: str
) -> None:
    config = configure(tmp_path, admin=f"127.0.0.1:{service.admin_port}", more=", admin_token: other.token")
    if content is not None:
        (tmp_path / "other.token").write_bytes(content)
    (line,) = refused("lockouts", "list", "--config", config)
    assert said in line
    assert "half" not in line
    assert "not-the-one" not in line
    ran = run("keys", "create", "ci", "--config", config)
    assert (ran.exit_code, len(ran.stdout.splitlines()), said in ran.stderr) == (0, 3, True)


def test_no_proxy_of_the_environment_is_asked(service: Service) -> None:
    """Attack: a proxy that is meant for the internet reads the token of the control calls."""
    proxy = f"http://127.0.0.1:{free_port()}"
    ran = subprocess.run(
        [sys.executable, "-m", "forwardauth", "lockouts", "list", "--json", "--config", str(service.config)],
        env=own_environment(http_proxy=proxy, HTTP_PROXY=proxy, all_proxy=proxy, no_proxy=""),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


# Somebody else on the address.


class Stranger:
    """Another program where the service would be, which says what it is told to."""

    def __init__(self, folder: Path, status: int, body: bytes) -> None:
        class Answers(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 (the name is http.server's)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Answers)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        (folder / "admin.token").write_text("a-token-of-ours\n")
        self.config = configure(folder, admin=self.address, more=", admin_token: admin.token")

    def __enter__(self) -> "Stranger":
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>welcome</html>", "answers 200, and not as this version of forwardauth would"),
        (200, b"[]", "answers 200, and not as this version of forwardauth would"),
        (200, b"{}", "answers 200, and not as this version of forwardauth would"),
        (404, b"nothing here", "does not know this call: is it forwardauth, and of this version?"),
        (403, b"no", "answers 403, and not as this version of forwardauth would"),
        (503, b'{"error": "the database\\n\\u001b[2Jcannot be read"}', "answers 503: the database [2Jcannot be read"),
        (302, b"", "answers 302, and not as this version of forwardauth would"),
    ],
)
def test_an_answer_that_is_not_the_service_s_is_told_and_loses_no_key(
    tmp_path: Path, status: int, body: bytes, said: str
) -> None:
    with Stranger(tmp_path, status, body) as stranger:
        assert refused("lockouts", "list", "--config", stranger.config) == [f"{stranger.address} {said}"]
        ran = run("keys", "create", "ci", "--config", stranger.config)
        assert (ran.exit_code, len(id_in(ran.stdout.splitlines()[1]))) == (0, 12)
        assert ran.stderr.endswith(f"{stranger.address} {said}\n")
        assert "a-token-of-ours" not in ran.output


def test_whoever_never_answers_is_waited_for_only_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        (tmp_path / "admin.token").write_text("a-token-of-ours")
        config = configure(tmp_path, admin=address, more=", admin_token: admin.token")
        assert refused("lockouts", "list", "--config", config) == [f"{address} did not answer within 0 seconds"]


def test_whoever_hangs_up_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        (tmp_path / "admin.token").write_text("a-token-of-ours")
        config = configure(tmp_path, admin=address, more=", admin_token: admin.token")

        def hang_up() -> None:
            accepted, _ = listening.accept()
            accepted.recv(65536)
            accepted.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        assert refused("lockouts", "list", "--config", config) == [f"{address} broke off: RemoteDisconnected"]
        thread.join()
