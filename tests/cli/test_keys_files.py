"""`forwardauth keys` on a key file: what the script `manage_api_keys.py` of a system that has one does, one to one."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from forwardauth.stores.key_editing import list_keys
from tests.cli.commands import configure, document, done, own_environment, program, refused, run

# The example of its documentation.
DOCUMENT = """{
  "valid_keys": [
    "demo-key-12345",
    "prod-key-67890",
    "iszcx8YNM7xqyo_lj-_iD8vMODMfW7xc"
  ],
  "require_auth_for_external": true,
  "local_networks": [
    "127.0.0.1",
    "localhost",
    "::1"
  ]
}
"""
KEYS = ["demo-key-12345", "prod-key-67890", "iszcx8YNM7xqyo_lj-_iD8vMODMfW7xc"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test stands in a folder with the example."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "api_keys.json").write_text(DOCUMENT)
    return tmp_path


def valid_keys(file: str = "api_keys.json") -> list[str]:
    return list(list_keys(Path(file)).keys)


# The five words of the script.


def test_list_shows_every_key_masked() -> None:
    out = done("keys", "list")
    assert out.splitlines() == [
        "api_keys.json: 3 keys",
        "key          name",
        "dem***       sha256:367fe8933ad8",
        "pro***       sha256:e3d6c51ac570",
        "iszc***W7xc  sha256:956f56f9fc56",
        "authentication for external access: required",
        "local networks: 127.0.0.1, localhost, ::1",
    ]


def test_add_puts_a_key_at_the_end_once() -> None:
    assert done("keys", "add", "your-custom-key-here") == "added: you*** (sha256:92b2e8fdd300)\n"
    assert done("keys", "add", "your-custom-key-here").startswith("is there already: ")
    assert valid_keys() == [*KEYS, "your-custom-key-here"]


def test_remove_takes_a_key_out() -> None:
    assert done("keys", "remove", "prod-key-67890") == "removed: pro*** (sha256:e3d6c51ac570)\n"
    assert valid_keys() == [KEYS[0], KEYS[2]]
    assert refused("keys", "remove", "prod-key-67890") == ["api_keys.json has no such key"]


def test_generate_adds_a_random_key_and_prints_it_alone() -> None:
    key = done("keys", "generate").removesuffix("\n")
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{31}", key)
    assert valid_keys() == [*KEYS, key]
    assert done("keys", "generate") != f"{key}\n"


def test_toggle_auth_turns_the_switch_over_and_says_what_it_is() -> None:
    assert done("keys", "toggle-auth") == "authentication for external access: not required\n"
    assert json.loads(Path("api_keys.json").read_text())["require_auth_for_external"] is False
    assert document("keys", "toggle-auth") == {"require_auth_for_external": True}
    assert json.loads(Path("api_keys.json").read_text()) == json.loads(DOCUMENT)


# More of them.


def test_a_key_can_come_from_stdin_where_no_list_of_processes_shows_it() -> None:
    done("keys", "add", "-", given="from-a-pipe-12345\n")
    assert valid_keys()[-1] == "from-a-pipe-12345"
    done("keys", "remove", "-", given="from-a-pipe-12345\n")
    assert valid_keys() == KEYS


def test_a_key_that_could_not_be_sent_is_refused() -> None:
    for key in ("two words", "", "käse"):
        (line,) = refused("keys", "add", "-", given=f"{key}\n")
        assert "printable ASCII without spaces" in line
        assert not key or key not in line
    assert valid_keys() == KEYS


def test_generate_with_a_prefix_touches_no_file() -> None:
    first, second = done("keys", "generate", "--prefix", "cnp_live_", "-n", "2").splitlines()
    for key in (first, second):
        assert re.fullmatch(r"cnp_live_[A-Za-z0-9_-]{43}", key)
    assert first != second
    assert Path("api_keys.json").read_text() == DOCUMENT
    assert [path.name for path in Path().iterdir()] == ["api_keys.json"]


def test_generate_with_a_prefix_and_a_file_adds_the_key_there() -> None:
    """The other seed's files: a tenant's keys, made in its own format."""
    file = "train-alpha.client-keys.json"
    Path(file).write_text('{ "keys": ["cnp_live_your_generated_key"] }\n')
    key = done("keys", "generate", "--prefix", "cnp_live_", "--file", file).removesuffix("\n")
    assert re.fullmatch(r"cnp_live_[A-Za-z0-9_-]{43}", key)
    assert json.loads(Path(file).read_text()) == {"keys": ["cnp_live_your_generated_key", key]}
    assert document("keys", "list", "--file", file)["require_auth_for_external"] is None
    assert "external access" not in done("keys", "list", "--file", file)
    (line,) = refused("keys", "toggle-auth", "--file", file)
    assert "has no require_auth_for_external" in line


def test_a_prefix_that_could_not_be_sent_is_refused() -> None:
    assert refused("keys", "generate", "--prefix", "a b") == [
        "--prefix: expected at most 64 printable ASCII characters without spaces"
    ]


def test_several_keys_are_generated_at_once() -> None:
    keys = done("keys", "generate", "--count", "3").splitlines()
    assert valid_keys() == [*KEYS, *keys]
    assert len(set(keys)) == 3


def test_everything_can_be_read_by_programs() -> None:
    one = document("keys", "generate")
    two = document("keys", "generate", "-n", "2")
    assert valid_keys() == [*KEYS, one["key"], two[0]["key"], two[1]["key"]]
    assert document("keys", "add", "another-key") == {"added": True, "name": "sha256:dfc42b516926"}
    assert document("keys", "remove", "another-key") == {"removed": True, "name": "sha256:dfc42b516926"}
    shown = document("keys", "list")
    assert shown["file"] == "api_keys.json"
    assert shown["local_networks"] == ["127.0.0.1", "localhost", "::1"]
    assert shown["keys"][0] == {"key": "dem***", "name": "sha256:367fe8933ad8"}
    assert [each["name"] for each in shown["keys"][3:]] == [each["name"] for each in (one, *two)]


def test_only_reveal_shows_keys() -> None:
    """Attack: read keys over a shoulder, or in the scrollback of a terminal."""
    Path("api_keys.json").write_text(json.dumps({"valid_keys": [*KEYS, "hunter2", "eleven-char", "twelve-chars"]}))
    masked = done("keys", "list") + done("keys", "list", "--json")
    for key in [*KEYS, "hunter2", "hun", "eleven-char", "ele"]:
        assert key not in masked
    whole = [each["key"] for each in document("keys", "list", "--reveal")["keys"]]
    assert whole == valid_keys()
    assert all(key in done("keys", "list", "--reveal") for key in whole)


# Which file.


def test_the_environment_names_the_file_and_the_option_beats_it(folder: Path) -> None:
    (folder / "one.json").write_text('{"valid_keys": ["the-key-of-one"]}')
    (folder / "two.json").write_text('{"valid_keys": ["the-key-of-two"]}')
    variable = {"API_KEYS_FILE": str(folder / "one.json")}
    done("keys", "add", "added-by-variable", **variable)
    done("keys", "add", "added-by-option", "--file", "two.json", **variable)
    assert valid_keys("one.json") == ["the-key-of-one", "added-by-variable"]
    assert valid_keys("two.json") == ["the-key-of-two", "added-by-option"]
    assert valid_keys() == KEYS
    assert document("keys", "list", **variable)["file"] == str(folder / "one.json")
    assert document("keys", "list", "--file", "two.json", **variable)["file"] == "two.json"


def test_a_configuration_beats_the_environment_s_key_file(folder: Path) -> None:
    config = str(configure(folder))
    done("keys", "create", "of-the-database", "--config", config)
    for arguments, variables in (
        (["--config", config], {"API_KEYS_FILE": "api_keys.json"}),
        ([], {"API_KEYS_FILE": "api_keys.json", "FORWARDAUTH_CONFIG": config}),
    ):
        assert [row["name"] for row in document("keys", "list", *arguments, **variables)] == ["of-the-database"]
    beside = document("keys", "list", "--file", "api_keys.json", FORWARDAUTH_CONFIG=config)
    assert len(beside["keys"]) == 3
    (line,) = refused("keys", "list", "--file", "api_keys.json", "--config", config)
    assert line == "--file and --config name two places: expected one of them"


@pytest.mark.parametrize("option", [["--owner", "alice"], ["--tenant", "red"], ["--state", "active"]])
def test_a_key_file_knows_no_owners(option: list[str]) -> None:
    assert refused("keys", "list", *option) == [
        "a key file knows no owners, tenants and states; name a configuration with --config"
    ]


def test_a_missing_file_lists_as_none_and_is_made_by_the_first_key(folder: Path) -> None:
    (folder / "api_keys.json").unlink()
    assert done("keys", "list").splitlines()[0] == "api_keys.json: does not exist"
    assert not (folder / "api_keys.json").exists()
    key = done("keys", "generate").strip()
    assert json.loads((folder / "api_keys.json").read_text()) == {
        "valid_keys": [key],
        "require_auth_for_external": True,
        "local_networks": ["127.0.0.1", "localhost", "::1"],
    }
    assert (folder / "api_keys.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "command", [["list"], ["add", "a-key-of-mine"], ["remove", "k"], ["generate"], ["toggle-auth"]]
)
def test_a_broken_file_is_left_as_it_is(folder: Path, command: list[str]) -> None:
    """Attack on the operator: a save that went wrong, and a command that makes it final (THREATS 52)."""
    broken = DOCUMENT[:-5]
    (folder / "api_keys.json").write_text(broken)
    (line,) = refused("keys", *command)
    assert str(folder / "api_keys.json") in line
    assert "a-key-of-mine" not in line
    assert (folder / "api_keys.json").read_text() == broken


def test_two_that_add_keys_at_once_lose_none() -> None:
    command = [sys.executable, "-m", "forwardauth", "keys", "generate", "-n", "20"]
    both = [subprocess.Popen(command, env=own_environment(), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [line for each in both for line in each.communicate(timeout=60)[0].splitlines()]
    assert len(printed) == 40
    assert sorted(valid_keys()) == sorted([*KEYS, *printed])


def test_a_key_that_cannot_be_printed_is_not_lost() -> None:
    with Path("/dev/full").open("w") as full:
        ran = program("keys", "generate", stdout=full, stderr=subprocess.PIPE)
    assert ran.returncode == 2
    assert ran.stderr == (
        "forwardauth: the new key could not be printed (No space left on device); "
        "api_keys.json has what was made: forwardauth keys list --reveal --file api_keys.json\n"
    )
    assert len(valid_keys()) == 4


def test_no_library_of_databases_is_loaded_for_a_key_file() -> None:
    code = (
        "import sys; from forwardauth.cli import main; main(['keys', 'list'], standalone_mode=False); "
        "print([name for name in ('sqlalchemy', 'alembic', 'rich') if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env=own_environment(), capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "[]"


def test_help_names_every_command() -> None:
    out = run("keys", "--help").stdout
    for word in ("create", "list", "show", "rotate", "revoke", "disable", "enable", "expire", "import"):
        assert re.search(rf"^  {word} ", out, re.MULTILINE)
    for word in ("add", "remove", "generate", "toggle-auth"):
        assert re.search(rf"^  {word} ", out, re.MULTILINE)
