"""Keys of a database and of files in the running service: made, taken back and read again while it decides."""

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Process, wait_until

CONFIGURATION = """
server: {{listen: "127.0.0.1:{listen}", admin: "127.0.0.1:{admin}", admin_token: admin.token{more}}}
database: sqlite:///data/keys.db
authenticators:
  keys: {{virtual_key: {{from: [{{header: X-API-Token}}, bearer], pepper: a-pepper-of-the-test}}}}
  file: {{key_file: {{path: api_keys.json}}}}
  tenants: {{tenant_keys: {{directory: trains, from: [{{header: X-Train-Key}}]}}}}
routes:
  - {{name: file, path: /infer, require: file, errors: detail}}
  - {{name: tenants, path: /train, require: tenants}}
  - {{name: all, path: /*, require: keys}}
audit: {{path: audit.log}}
"""
FILE_KEY = "file-key-0123456789"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    process.configure(text=CONFIGURATION)
    write_keys(process, FILE_KEY)
    yield process
    process.stop()


@pytest.fixture
def running(process: Process) -> Process:
    process.start("--config", "forwardauth.yml")
    return process


def write_keys(process: Process, *keys: str) -> None:
    content = {"valid_keys": keys, "require_auth_for_external": True, "local_networks": ["127.0.0.1"]}
    (process.folder / "api_keys.json").write_text(json.dumps(content))


def create(process: Process, *words: str) -> dict[str, str]:
    done = process.command("keys", "create", "one", "--config", "forwardauth.yml", "--json", *words)
    assert done.returncode == 0, done.stderr
    made: dict[str, str] = json.loads(done.stdout)
    return made


def change(process: Process, *words: str) -> None:
    done = process.command("keys", *words, "--config", "forwardauth.yml")
    assert done.returncode == 0, done.stderr


def fresh_addresses() -> Iterator[str]:
    """A client for each attempt of a test that waits: wrong attempts of one would lock it out."""
    return (f"198.51.100.{number}" for number in range(1, 255))


class Kept:
    """One connection of a gateway that stays open."""

    def __init__(self, process: Process) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", process.listen, timeout=10)

    def verify(self, key: str) -> int:
        forwarded = {"Method": "GET", "Proto": "https", "Host": "a.example", "Uri": "/v1", "For": "192.0.2.7"}
        headers = {f"X-Forwarded-{name}": value for name, value in forwarded.items()}
        self.connection.request("GET", "/verify/traefik", headers=headers | {"X-API-Token": key})
        answer = self.connection.getresponse()
        answer.read()
        return answer.status


def test_what_a_command_changes_is_in_force_when_it_returns_on_every_open_connection(running: Process) -> None:
    """Attack: go on with a key on a connection that was open before it was taken back (THREATS 31)."""
    kept = Kept(running)
    made = create(running, "--owner", "ada")
    assert kept.verify(made["key"]) == 200
    change(running, "disable", made["id"])
    assert kept.verify(made["key"]) == 401
    change(running, "enable", made["id"])
    assert kept.verify(made["key"]) == 200
    change(running, "revoke", made["id"])
    assert kept.verify(made["key"]) == 401
    kept.connection.close()


def test_a_change_without_a_word_to_the_service_is_in_force_soon(process: Process) -> None:
    text = (process.folder / "forwardauth.yml").read_text()
    (process.folder / "forwardauth.yml").write_text(text.replace(", admin_token: admin.token", ""))
    process.start("--config", "forwardauth.yml")
    made = create(process)
    addresses = fresh_addresses()

    def verify() -> int:
        return process.ask("/verify/traefik", token=made["key"], X_Forwarded_For=next(addresses))[0]

    wait_until(lambda: verify() == 200, process)
    change(process, "revoke", made["id"])
    wait_until(lambda: verify() == 401, process)


def test_keys_outlive_a_restart_and_the_last_use_is_written(running: Process) -> None:
    made = create(running)
    assert running.verify(made["key"]) == 200
    assert running.stop() == 0
    shown = running.command("keys", "show", made["id"], "--config", "forwardauth.yml", "--json")
    used = json.loads(shown.stdout)["last_used"]
    assert used, shown.stdout
    running.start("--config", "forwardauth.yml")
    assert running.verify(made["key"]) == 200


def test_a_rotated_key_works_twice_while_they_overlap(running: Process) -> None:
    made = create(running)
    done = running.command("keys", "rotate", made["id"], "--overlap", "1h", "--config", "forwardauth.yml", "--json")
    renewed = json.loads(done.stdout)
    assert renewed["id"] == made["id"]
    assert [running.verify(key) for key in (made["key"], renewed["key"])] == [200, 200]
    done = running.command("keys", "rotate", made["id"], "--config", "forwardauth.yml", "--json")
    last = json.loads(done.stdout)
    assert [running.verify(key) for key in (renewed["key"], last["key"])] == [401, 200]


def test_the_control_call_says_which_revision_is_in_force(running: Process) -> None:
    status, before = running.control("/control/keys/refresh", {})
    assert status == 200
    create(running)
    status, after = running.control("/control/keys/refresh", {})
    assert (status, after["refreshed"]) == (200, True)
    assert int(str(after["revision"])) > int(str(before["revision"]))


def test_the_running_service_explains_by_what_it_knows(running: Process) -> None:
    made = create(running, "--owner", "ada")
    asked = {
        "method": "GET",
        "url": "https://a.example/v1",
        "client": "192.0.2.7",
        "headers": [["X-API-Token", made["key"]]],
    }
    status, told = running.control("/control/explain", asked)
    assert (status, told["allowed"]) == (200, True)
    lines = told["lines"]
    assert isinstance(lines, list)
    assert lines[-1] == f"200 as user ada, key {made['id']}"
    for _ in range(8):
        status, told = running.control("/control/explain", {**asked, "headers": [["X-API-Token", "guess"]]})
        assert (status, told["allowed"]) == (200, False)
    assert running.control("/control/lockouts")[1] == {"lockouts": []}, "explaining changes nothing"


@pytest.mark.parametrize(
    "asked",
    [
        [],
        {},
        {"method": "GET", "url": "/v1", "client": "192.0.2.7"},
        {"method": "GET", "url": 7, "client": "192.0.2.7"},
        {"method": "GET", "url": "https://a.example/", "client": "192.0.2.7", "headers": [["one"]]},
        {"method": "GET", "url": "https://a.example/", "client": "192.0.2.7", "headers": 7},
    ],
)
def test_a_question_that_is_none_is_told(running: Process, asked: object) -> None:
    status, told = running.control("/control/explain", asked)
    assert status == 400
    assert told["error"]


def test_the_block_of_one_client_can_be_lifted(running: Process) -> None:
    for client in ("192.0.2.20", "192.0.2.21"):
        for _ in range(6):
            running.ask("/verify/traefik", token="guess", X_Forwarded_For=client)
    assert len(running.control("/control/lockouts")[1]["lockouts"]) == 2  # type: ignore[arg-type]
    assert running.control("/control/lockouts/clear", {"client": "192.0.2.20"}) == (200, {"cleared": 1})
    left = running.control("/control/lockouts")[1]["lockouts"]
    assert isinstance(left, list)
    assert [block["client"] for block in left] == ["192.0.2.21"]
    for nobody in ("everybody", "", 7, None, ["192.0.2.21"]):
        assert running.control("/control/lockouts/clear", {"client": nobody})[0] == 400
    assert running.control("/control/lockouts")[1]["lockouts"], "none of them means everybody"


def test_a_key_file_is_read_live_and_closed_while_it_is_broken(running: Process) -> None:
    """Attack: ask while a key file is cut, empty, of a wrong type or gone (THREATS 34, 52)."""

    def infer(key: str | None = FILE_KEY, client: str = "192.0.2.7") -> int:
        headers = {} if key is None else {"X_API_Key": key}
        return running.ask("/verify/traefik", uri="/infer", X_Forwarded_For=client, **headers)[0]

    addresses = fresh_addresses()
    assert infer() == 200
    assert infer("unknown") == 401
    write_keys(running, "another-key")
    wait_until(lambda: infer("another-key", next(addresses)) == 200, running)
    assert infer() == 401
    for broken in ("", '{"valid_keys": ["another', '{"valid_keys": "abc"}', "[1, 2]"):
        (running.folder / "api_keys.json").write_text(broken)
        wait_until(lambda: infer("another-key", next(addresses)) == 503, running)
        assert [infer("guess") for _ in range(8)] == [503] * 8, "nobody's failure"
    (running.folder / "api_keys.json").unlink()
    wait_until(lambda: infer("another-key", next(addresses)) == 503, running)
    write_keys(running, FILE_KEY)
    wait_until(lambda: infer(client=next(addresses)) == 200, running)
    assert infer() == 200


def test_tenants_files_are_read_live(running: Process) -> None:
    def train(tenant: str, key: str) -> int:
        asked = {"X_Train_Key": key, "MSL_Train_Id": tenant, "X_Forwarded_For": next(addresses)}
        return running.ask("/verify/traefik", uri="/train", **asked)[0]

    addresses = fresh_addresses()
    assert train("alpha", "alpha-key") == 503
    folder = running.folder / "trains"
    folder.mkdir()
    (folder / "alpha.client-keys.json").write_text('{"keys": ["alpha-key"]}')
    wait_until(lambda: train("alpha", "alpha-key") == 200, running)
    (folder / "beta.client-keys.json").write_text('["beta-key"')
    wait_until(lambda: train("beta", "beta-key") == 503, running)
    assert train("alpha", "alpha-key") == 200, "a broken file is its own tenant's trouble"


@pytest.mark.parametrize(
    ("database", "said"),
    [
        ("sqlite:///forwardauth.yml", "no SQLite database"),
        ("mysql://host/db", "expected sqlite:///PATH or postgresql://"),
        ("postgresql://ada:hidden-word@127.0.0.1:1/keys", "cannot be reached"),
    ],
)
def test_it_does_not_start_without_its_database_and_says_why(process: Process, database: str, said: str) -> None:
    text = (process.folder / "forwardauth.yml").read_text()
    (process.folder / "forwardauth.yml").write_text(text.replace("sqlite:///data/keys.db", database))
    done = process.command("serve", "--config", "forwardauth.yml")
    assert done.returncode == 2
    assert re.search(rf"^forwardauth: database: .*{said}", done.stderr, re.M), done.stderr
    assert "hidden-word" not in done.stderr
    assert "Traceback" not in done.stderr


def test_no_secret_is_in_logs_audit_metrics_or_database(running: Process) -> None:
    """Attack: read keys where operators look (THREATS 24, 38)."""
    keys = [create(running)["key"] for _ in range(3)]
    for key in [*keys, "guessed-secret-0123456789"]:
        running.verify(key)
        running.ask("/verify/traefik", uri=f"/v1?api_key={key}", Authorization=f"Bearer {key}")
        running.ask("/verify/traefik", uri="/infer", X_API_Key=key)
    metrics = running.metrics()
    running.stop()
    told = metrics.encode() + b"".join(
        path.read_bytes()
        for path in running.folder.rglob("*")
        if path.suffix != ".json" and path.is_file() and path.name != "forwardauth.yml"
    )
    for secret in [
        *keys,
        *(key.split("_")[2] for key in keys),
        "guessed-secret-0123456789",
        FILE_KEY,
        "a-pepper-of-the-test",
    ]:
        assert secret.encode() not in told
