"""The door: a file or the environment, and what beats what."""

from dataclasses import replace
from pathlib import Path

import pytest

from forwardauth.app import App
from forwardauth.config.load import Configuration, Overrides, load
from forwardauth.config.mistakes import ConfigurationError
from forwardauth.core.requirement import One
from forwardauth.stores.files import stamp
from tests.building import PROCESS_KEY, SHA_OF_PASSWORD

OPEN = "routes: [{path: /*, public: true}]\n"


def loaded(environment: dict[str, str], overrides: Overrides | None = None) -> Configuration:
    return load(overrides or Overrides(), environment, PROCESS_KEY)


def refusal(environment: dict[str, str], overrides: Overrides | None = None) -> str:
    with pytest.raises(ConfigurationError) as failure:
        loaded(environment, overrides)
    return str(failure.value)


def test_without_anything_it_refuses_and_says_what_to_set() -> None:
    """It never starts open by accident."""
    said = refusal({})
    for name in ("FORWARDAUTH_TOKEN", "FORWARDAUTH_HEADER", "FORWARDAUTH_CONFIG", "--config"):
        assert name in said
    assert "FORWARDAUTH_DISABLE_AUTH=true" in said
    assert "\n" not in said


@pytest.mark.parametrize("value", ["", "false", "0", "no"])
def test_a_switch_that_is_off_opens_nothing(value: str) -> None:
    assert "FORWARDAUTH_TOKEN" in refusal({"FORWARDAUTH_DISABLE_AUTH": value})


def test_a_switch_that_is_no_switch_is_told() -> None:
    assert "FORWARDAUTH_DISABLE_AUTH: expected true or false" in refusal(
        {"FORWARDAUTH_DISABLE_AUTH": "tru", "FORWARDAUTH_TOKEN": "secret"}
    )


def test_a_token_is_a_whole_configuration() -> None:
    snapshot = loaded({"FORWARDAUTH_TOKEN": "secret"}).snapshot
    health, rest = snapshot.routes.routes
    assert (health.paths, health.requirement) == (("/health",), None)
    assert rest.paths == ("/*",)
    assert isinstance(rest.requirement, One)
    assert rest.requirement.authenticator.sources[0].header == b"authorization"
    assert snapshot.errors == "openai"
    assert snapshot.require_auth


@pytest.mark.parametrize(
    ("header", "lower"),
    [("X-API-Token", b"x-api-token"), ("Authorization", b"authorization"), ("", b"authorization")],
)
def test_its_header_may_be_chosen(header: str, lower: bytes) -> None:
    built = loaded({"FORWARDAUTH_TOKEN": "secret", "FORWARDAUTH_HEADER": header}).snapshot.authenticators["token"]
    assert [source.header for source in built.sources] == [lower]


@pytest.mark.parametrize("token", ["${HOME}", "$2b$12$x", "a'b\"c", "{x:y}"])
def test_a_token_of_the_environment_is_what_it_is(token: str) -> None:
    assert loaded({"FORWARDAUTH_TOKEN": token}).snapshot.authenticators


@pytest.mark.parametrize("token", [" ", "a b", "ü", "abc\udcff"])
def test_a_token_that_cannot_be_sent_is_told(token: str) -> None:
    assert refusal({"FORWARDAUTH_TOKEN": token}).startswith("FORWARDAUTH_TOKEN: expected printable ASCII")


@pytest.mark.parametrize("header", ["X Y", "X_Y", "X-Y:", "Cookie", "\udcff"])
def test_a_header_of_the_environment_that_is_none_is_told_by_its_variable(header: str) -> None:
    said = refusal({"FORWARDAUTH_TOKEN": "secret", "FORWARDAUTH_HEADER": header})
    assert said == "FORWARDAUTH_HEADER: expected the name of the header that carries the token, such as X-API-Token"


def test_all_that_is_wrong_in_the_environment_is_told_at_once() -> None:
    lines = refusal({"FORWARDAUTH_TOKEN": "a b", "FORWARDAUTH_HEADER": "Host", "FORWARDAUTH_ADMIN": "x"}).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "FORWARDAUTH_ADMIN",
        "FORWARDAUTH_TOKEN",
        "FORWARDAUTH_HEADER",
    ]
    assert "the header Host has another meaning here" in lines[2]


@pytest.mark.parametrize(
    ("environment", "overrides"),
    [
        ({"FORWARDAUTH_DISABLE_AUTH": "true"}, Overrides()),
        ({"FORWARDAUTH_DISABLE_AUTH": "1"}, Overrides()),
        ({}, Overrides(disable_auth=True)),
    ],
)
def test_disabled_authentication_is_a_whole_configuration(environment: dict[str, str], overrides: Overrides) -> None:
    snapshot = loaded(environment, overrides).snapshot
    assert not snapshot.require_auth
    assert [route.paths for route in snapshot.routes.routes] == [("/*",)]


def test_the_command_line_beats_the_environment_which_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text(OPEN + "server: {listen: '127.0.0.1:1', public: '127.0.0.1:2', admin: '127.0.0.1:3'}\n")
    other = tmp_path / "b.yml"
    other.write_text(OPEN)
    environment = {
        "FORWARDAUTH_CONFIG": str(other),
        "FORWARDAUTH_LISTEN": "127.0.0.1:11",
        "FORWARDAUTH_PUBLIC": "127.0.0.1:12",
        "FORWARDAUTH_TOKEN": "not read beside a file",
    }
    found = loaded(environment, Overrides(config=str(file), listen="127.0.0.1:21"))
    server = found.snapshot.settings.server
    assert (server.listen, server.public, server.admin) == ("127.0.0.1:21", "127.0.0.1:12", "127.0.0.1:3")
    assert found.source == str(file)
    assert loaded(environment).source == str(other)


@pytest.mark.parametrize("key", ["listen", "public", "admin"])
def test_an_address_of_the_environment_is_checked(key: str) -> None:
    variable = f"FORWARDAUTH_{key.upper()}"
    said = refusal({"FORWARDAUTH_TOKEN": "x", variable: "nowhere"})
    assert said.startswith(f"{variable}: expected HOST:PORT")
    assert "\n" not in said
    said = refusal({"FORWARDAUTH_TOKEN": "x", variable: ":1"}, Overrides(**{key: "nowhere"}))
    assert said.startswith(f"--{key}: expected HOST:PORT")


@pytest.mark.parametrize(
    ("server", "environment", "overrides", "said"),
    [
        (
            "{listen: ':9002', admin: '0.0.0.0:9002'}",
            {},
            Overrides(),
            "server.admin: 0.0.0.0:9002 is server.listen too; expected an address of its own",
        ),
        (
            "{listen: 'unix:a.sock', public: 'unix:a.sock'}",
            {},
            Overrides(),
            "server.public: unix:a.sock is server.listen too; expected an address of its own",
        ),
        (
            "{}",
            {"FORWARDAUTH_LISTEN": "127.0.0.1:9002"},
            Overrides(),
            "server.admin: 127.0.0.1:9002 is FORWARDAUTH_LISTEN too; expected an address of its own",
        ),
        (
            "{listen: ':9100'}",
            {"FORWARDAUTH_PUBLIC": ":9100"},
            Overrides(public=":9101", admin=":9101"),
            "--admin: 0.0.0.0:9101 is --public too; expected an address of its own",
        ),
    ],
)
def test_listeners_share_no_address(
    tmp_path: Path, server: str, environment: dict[str, str], overrides: Overrides, said: str
) -> None:
    file = tmp_path / "a.yml"
    file.write_text(f"{OPEN}server: {server}\n")
    assert refusal(environment, replace(overrides, config=str(file))) == said


def test_listeners_that_take_any_free_port_share_none(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text(f"{OPEN}server: {{listen: '127.0.0.1:0', public: '127.0.0.1:0', admin: '127.0.0.1:0'}}\n")
    assert loaded({}, Overrides(str(file)))


@pytest.mark.parametrize("switch", ["disable_auth: true", "require_auth: false"])
def test_authentication_is_disabled_by_the_file_too(tmp_path: Path, switch: str) -> None:
    file = tmp_path / "a.yml"
    file.write_text(f"{OPEN}{switch}\n")
    assert not loaded({}, Overrides(str(file))).snapshot.require_auth


def test_a_file_is_told_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    assert "does not exist" in refusal({}, Overrides(str(tmp_path / "none.yml")))
    assert "is no file" in refusal({}, Overrides(str(tmp_path)))
    binary = tmp_path / "binary.yml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "is no UTF-8 text" in refusal({}, Overrides(str(binary)))
    empty = tmp_path / "empty.yml"
    empty.write_text("")
    assert "the file is empty" in refusal({}, Overrides(str(empty)))


@pytest.mark.parametrize(
    "setting",
    [
        "authenticators: {a: {token: {tokens: [{name: a, value: '${BYTES}'}]}}}",
        "authenticators: {a: {tenant_keys: {directory: keys, tenant_header: '${BYTES}'}}}",
        "authenticators: {a: {tenant_keys: {directory: keys, default_tenant: 'x${BYTES}'}}}",
        "authenticators: {a: {virtual_key: {pepper: '${BYTES}'}}}",
        "authenticators: {a: {virtual_key: {prefix: '${BYTES}'}}}",
        "authenticators: {a: {basic: {users: ['${BYTES}:x']}}}",
        "server: {gateway_user_header: '${BYTES}'}",
        "identity_headers: {user: ['${BYTES}']}",
    ],
)
def test_a_variable_whose_bytes_are_no_text_is_a_mistake(tmp_path: Path, setting: str) -> None:
    """Python hands such bytes (here 0xFF) on as characters that nothing can encode."""
    file = tmp_path / "a.yml"
    file.write_text(f"{OPEN}database: sqlite:///keys.db\n{setting}\n")
    assert "BYTES" not in refusal({"BYTES": "abc\udcff"}, Overrides(str(file)))
    assert "expected UTF-8 text" in refusal({"BYTES": "abc\udcff"}, Overrides(str(file)))


def test_a_route_of_such_bytes_is_a_mistake_too(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("routes: [{path: /*, public: true, methods: ['${BYTES}'], origins: ['${BYTES}']}]\n")
    said = refusal({"BYTES": "\udcff"}, Overrides(str(file)))
    assert [line.partition(": ")[0] for line in said.splitlines()] == ["routes[0].methods[0]", "routes[0].origins[0]"]


def test_every_file_that_was_read_is_remembered_with_its_stamp(tmp_path: Path) -> None:
    """A reload must see a change of any of them; also where one was missing or wrong."""
    (tmp_path / "users").write_text(f"bob:{SHA_OF_PASSWORD}\n")
    (tmp_path / "secret").write_text("hunter2\n")
    file = tmp_path / "a.yml"
    text = """
        authenticators:
          staff: {basic: {htpasswd: users}}
          ci: {token: {tokens: [{name: a, value: "${file:secret}"}]}}
        routes: [{path: /*, require: {all: [staff, ci]}}]
    """
    file.write_text(text)
    paths = [tmp_path / name for name in ("a.yml", "users", "secret")]
    assert loaded({}, Overrides(str(file))).stamps == {path: stamp(path) for path in paths}
    (tmp_path / "users").unlink()
    with pytest.raises(ConfigurationError) as failure:
        loaded({}, Overrides(str(file)))
    assert failure.value.stamps == {path: stamp(path) for path in paths}
    assert failure.value.stamps[tmp_path / "users"] is None


async def test_relative_paths_start_at_the_configurations_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "etc", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "a.yml").write_text(OPEN + "audit: {path: audit.log}\n")
    monkeypatch.chdir(elsewhere)
    App(Overrides("../etc/a.yml"), {})
    assert (folder / "audit.log").exists()
    assert list(elsewhere.iterdir()) == []
