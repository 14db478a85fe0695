"""The service as a process: starting, reloading, draining, and refusing to start."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forwardauth.app import App
from forwardauth.config.load import Overrides
from forwardauth.server.lane import Lane
from tests.running import SHA_CORRECT, Process, free_port, wait_until
from tests.server.transport import connect


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    process.configure()
    yield process
    process.stop()


@pytest.fixture
def running(process: Process) -> Process:
    process.start("--config", "forwardauth.yml")
    return process


def test_it_serves_and_ends_with_0_after_sigterm(running: Process) -> None:
    assert running.verify("right-token") == 200
    assert running.verify("wrong-token") == 401
    assert running.ask("/ready", port=running.admin)[0] == 200
    assert running.stop() == 0
    lines = [json.loads(line) for line in (running.folder / "audit.log").read_text().splitlines()]
    assert [(line["decision"], line["reason"]) for line in lines] == [
        ("allow", None),
        ("deny", "invalid_credential"),
    ]


@pytest.mark.parametrize("engine", ["httptools", "aiohttp"])
def test_both_engines_give_the_same_verdicts(process: Process, engine: str) -> None:
    process.configure(more=f", engine: {engine}")
    process.start("--config", "forwardauth.yml")
    assert process.verify("right-token") == 200
    assert process.verify("wrong-token") == 401
    assert process.ask("/metrics")[0] == 404


def test_each_listener_answers_404_to_the_paths_of_the_others(running: Process) -> None:
    """Attack: ask for a verdict where operators ask, or for metrics where gateways ask (THREATS 39)."""
    for path in ("/metrics", "/ready", "/control/lockouts", "/auth/login"):
        assert running.ask(path)[0] == 404
    for path in ("/verify/traefik", "/verify/nginx", "/health", "/auth/login"):
        assert running.ask(path, token="right-token", port=running.admin)[0] == 404


def test_a_changed_configuration_is_in_force_without_a_restart(running: Process) -> None:
    """Attack: go on with a key that was taken away (THREATS 31)."""
    running.configure(token="new-token")
    wait_until(lambda: 'reloads_total{result="success"} 1.0' in running.metrics(), running)
    assert running.verify("new-token") == 200
    assert running.verify("right-token") == 401


def test_a_changed_file_that_the_configuration_names_is_read_again(running: Process) -> None:
    # `bob:correct` in Base64; the user is not in the file yet.
    asked = {"uri": "/staff", "Authorization": "Basic Ym9iOmNvcnJlY3Q="}
    assert running.ask("/verify/traefik", **asked)[0] == 401
    (running.folder / "users").write_text(f"bob:{SHA_CORRECT}\n")
    wait_until(lambda: 'reloads_total{result="success"} 1.0' in running.metrics(), running)
    assert running.ask("/verify/traefik", **asked)[0] == 200


def test_sighup_reads_the_configuration_again(running: Process) -> None:
    assert running.process is not None
    running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: 'reloads_total{result="success"} 1.0' in running.metrics(), running)


def test_a_bad_reload_keeps_the_old_configuration_and_says_so(running: Process) -> None:
    """Attack on the operator: a save that went wrong (THREATS 34, 52)."""
    (running.folder / "forwardauth.yml").write_text("routes: [{path: /*, requir: ci}]\n")
    wait_until(lambda: "routes[0].requir: unknown key; did you mean require?" in running.log.read_text(), running)
    assert 'reloads_total{result="failure"}' in running.metrics()
    assert running.verify("right-token") == 200
    running.configure(token="third-token")
    wait_until(lambda: 'reloads_total{result="success"} 1.0' in running.metrics(), running)
    assert running.verify("third-token") == 200


def test_a_missing_file_at_reload_keeps_the_old_users_and_its_return_is_seen(running: Process) -> None:
    """Attack on the operator: a file that is gone for a moment (THREATS 34, 52)."""
    (running.folder / "users").rename(running.folder / "elsewhere")
    wait_until(lambda: 'reloads_total{result="failure"} 1.0' in running.metrics(), running)
    assert running.verify("right-token") == 200
    (running.folder / "elsewhere").rename(running.folder / "users")
    wait_until(lambda: 'reloads_total{result="success"} 1.0' in running.metrics(), running)


def test_environment_alone_is_a_configuration(process: Process) -> None:
    process.start(
        environment={
            "FORWARDAUTH_TOKEN": "right-token",
            "FORWARDAUTH_HEADER": "X-API-Token",
            "FORWARDAUTH_LISTEN": f"127.0.0.1:{process.listen}",
            "FORWARDAUTH_ADMIN": f"127.0.0.1:{process.admin}",
        }
    )
    assert process.verify("right-token") == 200
    assert process.ask("/verify/traefik", uri="/health")[0] == 200
    status, _, body = process.ask("/verify/traefik")
    assert (status, json.loads(body)["error"]["code"]) == (401, "missing_token_header")


def test_the_command_line_beats_the_environment_which_beats_the_file(process: Process) -> None:
    from_environment, from_command_line = free_port(), free_port()
    process.listen = from_command_line
    process.start(
        "--config",
        "forwardauth.yml",
        "--listen",
        f"127.0.0.1:{from_command_line}",
        environment={"FORWARDAUTH_LISTEN": f"127.0.0.1:{from_environment}"},
    )
    assert process.ask("/health", port=from_environment)[0] == 0


@pytest.mark.parametrize("how", ["option", "environment"])
def test_disabled_authentication_lets_everybody_pass_and_says_so_loudly(process: Process, how: str) -> None:
    listen = {"FORWARDAUTH_LISTEN": f"127.0.0.1:{process.listen}", "FORWARDAUTH_ADMIN": f"127.0.0.1:{process.admin}"}
    if how == "option":
        process.start("--disable-auth", environment=listen)
    else:
        process.start(environment={**listen, "FORWARDAUTH_DISABLE_AUTH": "true"})
    assert process.verify("anything") == 200
    assert "AUTHENTICATION IS DISABLED" in process.log.read_text()
    assert "forwardauth_auth_disabled 1.0" in process.metrics()


def run(*arguments: str, cwd: Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "forwardauth", *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_it_refuses_to_start_without_a_key_and_says_what_to_set(tmp_path: Path) -> None:
    """Attack on the operator: no configuration at all, which could mean "everybody" (THREATS 35)."""
    for environment in ({}, {"FORWARDAUTH_TOKEN": ""}, {"FORWARDAUTH_DISABLE_AUTH": "false"}):
        refused = run("serve", cwd=tmp_path, environment=environment)
        assert refused.returncode == 2
        for name in ("FORWARDAUTH_TOKEN", "FORWARDAUTH_CONFIG", "FORWARDAUTH_DISABLE_AUTH"):
            assert name in refused.stderr
        assert "Traceback" not in refused.stderr


MISTAKES = {
    "unreadable": ("\x00\x01", ["not readable as YAML"]),
    "empty": ("", ["the file is empty"]),
    "misspelt": ("rotues: []", ["rotues: unknown key; did you mean routes?", "routes: expected at least one route"]),
    "contradictory": (
        "authenticators: {a: {token: {tokens: [{name: x, value: y}]}}}\nroutes: [{path: /, public: true, require: a}]",
        ["routes[0]: either public or require, not both"],
    ),
    "many at once": (
        "server: {listen: nowhere}\nroutes: [{path: x, require: nobody}]\nlockout: {ttl_seconds: 0}\nerrors: xml",
        ["server.listen: ", "routes[0].path: ", "routes[0].require: ", "lockout.ttl_seconds: ", "errors: "],
    ),
    "not built": ("routes: [{path: /, public: true}]\ninject: {}", ["inject: is not built into this version yet"]),
}


@pytest.mark.parametrize("command", ["serve", "check"])
@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES)
def test_a_bad_configuration_gets_one_line_per_mistake_and_exit_2(
    tmp_path: Path, command: str, text: str, expected: list[str]
) -> None:
    (tmp_path / "bad.yml").write_text(text)
    refused = run(command, "--config", "bad.yml", cwd=tmp_path)
    assert refused.returncode == 2
    lines = refused.stderr.splitlines()
    for text_of_mistake in expected:
        assert [line for line in lines if text_of_mistake in line], refused.stderr
    assert all(line.startswith("forwardauth: ") for line in lines)


def test_an_audit_file_that_cannot_be_written_is_said_plainly(tmp_path: Path) -> None:
    text = "routes: [{path: /*, public: true}]\naudit: {path: nowhere/audit.log}\n"
    (tmp_path / "forwardauth.yml").write_text(text)
    refused = run("serve", "--config", "forwardauth.yml", cwd=tmp_path)
    assert refused.returncode == 2
    assert "audit.path: " in refused.stderr
    assert "No such file or directory" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_taken_port_is_said_plainly(running: Process, tmp_path: Path) -> None:
    refused = run("serve", "--config", "forwardauth.yml", cwd=tmp_path)
    assert refused.returncode == 2
    assert f"server.listen: cannot listen on 127.0.0.1:{running.listen}" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_unix_socket_serves_a_second_start_is_refused_and_the_end_removes_it(process: Process) -> None:
    path = process.folder / "fa.sock"
    text = (process.folder / "forwardauth.yml").read_text()
    text = text.replace(f'"127.0.0.1:{process.listen}"', f'"unix:{path}"')
    (process.folder / "forwardauth.yml").write_text(text)
    process.start("--config", "forwardauth.yml", ready=lambda: process.ask("/ready", port=process.admin)[0] == 200)
    assert path.stat().st_mode & 0o777 == 0o660
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(path))
        asking.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert asking.recv(1000).startswith(b"HTTP/1.1 200 OK")
    second = run("serve", "--config", "forwardauth.yml", "--admin", f"127.0.0.1:{free_port()}", cwd=process.folder)
    assert second.returncode == 2
    assert process.stop() == 0
    assert not path.exists()


def test_a_unix_socket_is_removed_and_nothing_else_after_the_configuration_named_another(process: Process) -> None:
    (process.folder / "precious.txt").write_text("precious")
    text = (process.folder / "forwardauth.yml").read_text()
    tcp = f'"127.0.0.1:{process.listen}"'
    (process.folder / "forwardauth.yml").write_text(text.replace(tcp, '"unix:fa.sock"'))
    process.start("--config", "forwardauth.yml", ready=lambda: process.ask("/ready", port=process.admin)[0] == 200)
    (process.folder / "forwardauth.yml").write_text(text.replace(tcp, '"unix:precious.txt"'))
    wait_until(lambda: "a restart is needed for server.listen" in process.log.read_text(), process)
    assert process.stop() == 0
    assert not (process.folder / "fa.sock").exists()
    assert (process.folder / "precious.txt").read_text() == "precious"


def test_a_start_that_fails_leaves_no_socket_behind(running: Process, tmp_path: Path) -> None:
    refused = run("serve", "--config", "forwardauth.yml", "--listen", "unix:second.sock", cwd=running.folder)
    assert refused.returncode == 2
    assert "server.admin: cannot listen" in refused.stderr
    assert not (running.folder / "second.sock").exists()


def test_a_start_that_fails_behind_the_listeners_leaves_no_socket_behind(process: Process) -> None:
    text = (process.folder / "forwardauth.yml").read_text()
    text = text.replace(f'"127.0.0.1:{process.listen}"', '"unix:fa.sock"') + "database: sqlite:///nowhere/at/all.db\n"
    (process.folder / "forwardauth.yml").write_text(text)
    refused = run("serve", "--config", "forwardauth.yml", cwd=process.folder)
    assert refused.returncode == 2
    assert "database: " in refused.stderr
    assert not (process.folder / "fa.sock").exists()


async def test_what_stays_wrong_is_tried_again_less_and_less_often(tmp_path: Path) -> None:
    """Attack: none. Each try holds every decision up for as long as reading takes."""
    file = tmp_path / "forwardauth.yml"
    file.write_text('authenticators: {}\nroutes: [{path: /*, public: true}]\naudit: {path: "off"}\n')
    app = App(Overrides(config=str(file)), {})
    file.write_text("nonsense: true\n")
    app.reload()
    waits = [app._try_again_after]
    for _ in range(8):
        app.reload(tries_again=True)
        waits.append(app._try_again_after)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    app.reload()
    assert app._try_again_after == 1


def test_a_change_that_could_not_be_read_is_read_when_it_can_be(running: Process) -> None:
    """Attack: hold every file that the service may open while a user is removed."""
    assert running.process is not None
    right = {"Authorization": "Basic YWxpY2U6Y29ycmVjdA=="}

    def alice() -> int:
        return running.ask("/verify/traefik", uri="/staff", **right)[0]

    assert alice() == 200
    _, hard = resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (3, hard))
    (running.folder / "users").write_text("bob:{SHA}MXmmXv8lI7veU8mbKZtxnBCjUjU=\n")
    wait_until(lambda: "Too many open files" in running.log.read_text(), running)
    resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (hard, hard))
    wait_until(lambda: alice() == 401, running)
    assert running.log.read_text().count("the running one stays") == 1


def control(process: Process, path: str, **headers: str) -> tuple[int, bytes]:
    status, _, body = process.ask(path, port=process.admin, **headers)
    return status, body


def test_control_calls_need_the_admin_token_a_host_of_ours_and_post_to_change(running: Process) -> None:
    """Attack: change the running service from a web page, by a name of its own (DNS rebinding) (THREATS 39)."""
    file = running.folder / "admin.token"
    assert file.stat().st_mode & 0o777 == 0o600
    right = {"Authorization": f"Bearer {file.read_text().strip()}"}
    assert control(running, "/control/lockouts")[0] == 401
    assert control(running, "/control/lockouts", Authorization="Bearer wrong")[0] == 401
    assert control(running, "/control/lockouts", **right)[0] == 200
    assert control(running, "/control/lockouts", **right, Host="evil.example.com")[0] == 403
    assert control(running, "/control/lockouts/clear", **right)[0] == 405
    assert control(running, "/metrics", Host="prometheus.example.com")[0] == 200


def test_lockouts_can_be_listed_and_cleared(running: Process) -> None:
    right = {"Authorization": f"Bearer {(running.folder / 'admin.token').read_text().strip()}"}
    assert [running.verify("wrong-token") for _ in range(6)] == [401] * 5 + [429]
    (lockout,) = json.loads(control(running, "/control/lockouts", **right)[1])["lockouts"]
    assert lockout["client"] == "192.0.2.7"
    assert 0 < lockout["seconds"] <= 30
    assert "forwardauth_lockouts_active 1.0" in running.metrics()
    assert json.loads(control(running, "/control/lockouts/clear", method="POST", **right)[1]) == {"cleared": 1}
    assert running.verify("right-token") == 200


def test_a_reload_by_control_call_says_what_is_wrong(running: Process) -> None:
    right = {"Authorization": f"Bearer {(running.folder / 'admin.token').read_text().strip()}"}
    status, body = control(running, "/control/reload", method="POST", **right)
    assert (status, json.loads(body)) == (200, {"reloaded": True, "mistakes": []})
    (running.folder / "forwardauth.yml").write_text("nonsense: true\n")
    status, body = control(running, "/control/reload", method="POST", **right)
    assert status == 422
    assert any("nonsense" in mistake for mistake in json.loads(body)["mistakes"])


def test_a_token_file_that_others_can_read_turns_control_calls_off(process: Process) -> None:
    (process.folder / "admin.token").write_text("known-to-all\n")
    (process.folder / "admin.token").chmod(0o644)
    process.start("--config", "forwardauth.yml")
    assert control(process, "/control/lockouts", Authorization="Bearer known-to-all")[0] == 401
    assert "others can read" in process.log.read_text()


def test_no_secret_is_in_the_log(running: Process) -> None:
    running.verify("wrong-token-guess")
    running.configure(token="'${NOT_SET}'")
    wait_until(lambda: "NOT_SET" in running.log.read_text(), running)
    running.stop()
    log = running.log.read_text() + (running.folder / "audit.log").read_text()
    assert not re.search("right-token|wrong-token-guess|MXmmXv8l", log)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        pytest.param(lambda path: path.mkdir(mode=0o700), "is no file", id="a folder"),
        pytest.param(lambda path: path.write_bytes(b"\xff\xfe\xfd"), "is no UTF-8 text", id="no text"),
        pytest.param(lambda path: path.write_bytes(b"\n"), "is empty", id="empty"),
        pytest.param(lambda path: path.symlink_to("nowhere/token"), "control calls are off", id="a link to nothing"),
    ],
)
def test_a_token_file_that_cannot_be_read_turns_control_calls_off(
    process: Process, make: Callable[[Path], object], said: str
) -> None:
    file = process.folder / "admin.token"
    make(file)
    if file.is_file():
        file.chmod(0o600)
    process.start("--config", "forwardauth.yml")
    assert process.verify("right-token") == 200
    assert control(process, "/control/lockouts", Authorization="Bearer ")[0] == 401
    assert said in process.log.read_text()
    assert "Traceback" not in process.log.read_text()


async def test_a_reload_lets_go_of_what_the_old_configuration_read(tmp_path: Path) -> None:
    (tmp_path / "forwardauth.yml").write_text(
        'authenticators: {}\nroutes: [{path: /*, public: true}]\naudit: {path: "off"}\n'
    )
    app = App(Overrides(config=str(tmp_path / "forwardauth.yml")), {})
    lane = app._lane = Lane(app.service, 10)
    connection, transport = connect(lane)
    for _ in range(3):
        connection.data_received(b"GET /verify/traefik HTTP/1.1\r\nHost: a\r\n\r\n")
    assert len(lane.messages) == 1
    assert app.reload() == []
    assert len(lane.messages) == 0
    assert transport.statuses == [400, 400, 400]
