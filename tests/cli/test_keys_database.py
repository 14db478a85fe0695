"""`forwardauth keys` on a database: the life of a key, on a real SQLite file."""

import json
import re
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from forwardauth.core.keys import KeyFormat
from tests.cli.commands import configure, document, done, id_in, judged, program, refused, run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return configure(tmp_path)


def create(config: Path, *arguments: str, name: str = "ci") -> Any:
    return document("keys", "create", name, "--config", config, *arguments)


def listed(config: Path, *arguments: str) -> list[str]:
    return [row["name"] for row in document("keys", "list", "--config", config, *arguments)]


# Making keys.


def test_a_key_stands_on_a_line_of_its_own_and_is_accepted(config: Path) -> None:
    said, key, shown = done("keys", "create", "ci", "--config", config).splitlines()
    assert said == f"{id_in(key)} (ci) is made; it never expires."
    assert shown == "It is shown only now: the database holds its digest."
    assert KeyFormat("fa_").matches(key.encode())
    assert not KeyFormat("fa_").mistyped(key.encode())
    assert f"200 as key {id_in(key)}" in judged(config, key)


def test_as_json_everything_about_it_is_told(config: Path) -> None:
    made = create(
        config,
        *("--owner", "alice", "--tenant", "red", "--expires", "2037-01-31", "--rate", "100/h"),
        *("--scope", "POST /v1/*", "--scope", "GET /v1/models client=10.0.0.0/8"),
        *("--metadata", "team=search", "--metadata", "ticket=A-1=2"),
    )
    assert made["id"] == id_in(made["key"])
    told = {name: value for name, value in made.items() if name not in ("id", "key", "created")}
    assert told == {
        "name": "ci",
        "owner": "alice",
        "tenant": "red",
        "state": "active",
        "expires": "2037-01-31T00:00:00Z",
        "disabled": False,
        "revoked": None,
        "last_used": None,
        "overlap_until": None,
        "scopes": [
            {"methods": ["POST"], "path": "/v1/*"},
            {"clients": ["10.0.0.0/8"], "methods": ["GET"], "path": "/v1/models"},
        ],
        "rate": "100/h",
        "metadata": {"team": "search", "ticket": "A-1=2"},
    }
    assert {"key": made["key"], **document("keys", "show", made["id"], "--config", config)} == made


def test_what_a_key_may_do_holds(config: Path) -> None:
    made = create(config, "--scope", "POST /v1/*")
    assert "403 insufficient_scope" in judged(config, made["key"])


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [
        ([" "], "NAME: expected a name"),
        (["a\x1b[2J"], "NAME: expected at most 256 printable characters"),
        (["ci", "--owner", "o" * 257], "--owner: expected at most 256 printable characters"),
        (["ci", "--expires", "3 months"], "--expires: expected a duration (30d), a date (2027-01-31), a time"),
        (["ci", "--expires", "2020-01-31"], "--expires: this lies in the past"),
        (["ci", "--expires", "999999999w"], "--expires: expected a time before the year 10000, or never"),
        (["ci", "--rate", "often"], "--rate: expected a rate such as 100/h"),
        (["ci", "--scope", "v1"], "--scope: 'v1' is none of /path, METHOD"),
        (["ci", "--metadata", "team"], "--metadata: expected NAME=VALUE, each name once"),
        (["ci", "--metadata", "a=1", "--metadata", "a=2"], "--metadata: expected NAME=VALUE, each name once"),
        (["ci", "--authenticator", "others"], "--authenticator: no virtual_key has this name; known here: keys"),
    ],
)
def test_a_mistake_makes_no_key(config: Path, arguments: list[str], mistake: str) -> None:
    (line,) = refused("keys", "create", *arguments, "--config", config)
    assert line.startswith(mistake)
    assert listed(config) == []


def test_neither_the_key_nor_its_digest_is_ever_shown_again_or_stored(config: Path) -> None:
    """Attack: read the database, a backup of it, or what commands print, and use what stands there."""
    key = create(config)["key"]
    printed = done("keys", "list", "--config", config) + done("keys", "show", id_in(key), "--config", config)
    printed += done("keys", "list", "--config", config, "--json")
    secret = key.split("_")[2]
    assert secret not in printed
    stored = b"".join(path.read_bytes() for path in (config.parent / "data").iterdir())
    assert id_in(key).encode() in stored
    assert secret.encode() not in stored


def test_a_pepper_is_in_the_digest_and_the_key_is_found_by_it(tmp_path: Path) -> None:
    config = configure(tmp_path, pepper="of our own")
    key = create(config)["key"]
    assert f"200 as key {id_in(key)}" in judged(config, key)
    assert "401 invalid_token" in judged(configure(tmp_path, pepper="another"), key)


def test_without_an_authenticator_a_key_has_the_usual_prefix_and_stderr_says_so(tmp_path: Path) -> None:
    config = tmp_path / "forwardauth.yml"
    config.write_text("database: sqlite:///keys.db\nroutes: [{path: /, public: true}]\n")
    result = run("keys", "create", "ci", "--config", config, "--json")
    assert json.loads(result.stdout)["key"].startswith("fa_")
    assert result.stderr == ("forwardauth: no virtual_key is configured: made with the prefix fa_ and no pepper\n")


def test_with_several_authenticators_it_has_to_be_said_whose_key_it_is(tmp_path: Path) -> None:
    config = tmp_path / "forwardauth.yml"
    config.write_text(
        "database: sqlite:///keys.db\n"
        "authenticators:\n"
        "  users: {virtual_key: {prefix: us-, pepper: one}}\n"
        "  robots: {virtual_key: {from: [{header: X-Robot}], prefix: ro-, pepper: two}}\n"
        "routes: [{path: /v1/*, require: {any: [users, robots]}}]\n"
    )
    assert refused("keys", "create", "ci", "--config", config) == [
        "--authenticator: say whose key it is, users or robots"
    ]
    made = create(config, "--authenticator", "robots")
    assert made["key"].startswith("ro-")
    assert f"200 as key {made['id']}" in judged(config, made["key"], "X-Robot")
    again = document("keys", "rotate", made["id"], "--authenticator", "users", "--config", config)
    assert again["key"].startswith(f"us-{made['id']}_")
    assert f"200 as key {made['id']}" in judged(config, again["key"])


def test_a_key_that_cannot_be_printed_says_how_to_get_another_one(config: Path) -> None:
    """Attack on the operator: a full disk where the new key was to be written."""
    with Path("/dev/full").open("w") as full:
        ran = program("keys", "create", "ci", "--config", config, stdout=full, stderr=subprocess.PIPE)
    (row,) = document("keys", "list", "--config", config)
    assert ran.returncode == 2
    assert ran.stderr == (
        "forwardauth: the new key could not be printed (No space left on device); "
        f"the database has it: forwardauth keys rotate {row['id']}\n"
    )


# Life.


def test_the_keys_of_an_inference_gateway_are_created_listed_and_revoked(tmp_path: Path) -> None:
    """The document of a system whose keys begin with `ix-api-key-`, and go in Bearer or in X-API-Key."""
    config = configure(tmp_path, prefix="ix-api-key-")
    made = create(config, name="My Application")
    assert made["key"].startswith("ix-api-key-")
    assert listed(config) == ["My Application"]
    for header in ("Authorization: Bearer", "X-API-Key"):
        assert f"200 as key {made['id']}" in judged(config, made["key"], header)
    assert done("keys", "revoke", made["id"], "--config", config) == f"{made['id']} (My Application): revoked\n"
    for header in ("Authorization: Bearer", "X-API-Key"):
        assert "revoked_credential 401 invalid_token" in judged(config, made["key"], header)


def test_without_overlap_a_rotation_ends_the_old_secret_at_once(config: Path) -> None:
    old = create(config)["key"]
    said, new, _ = done("keys", "rotate", id_in(old), "--config", config).splitlines()
    assert said == f"{id_in(old)} (ci) has a new secret; the old one works no more."
    assert id_in(new) == id_in(old)
    assert new != old
    assert "200 as key" in judged(config, new)
    assert "expired_credential 401" in judged(config, old)


def test_with_an_overlap_both_secrets_work(config: Path) -> None:
    old = create(config)["key"]
    made = document("keys", "rotate", id_in(old), "--overlap", "24h", "--config", config)
    assert "200 as key" in judged(config, old)
    assert "200 as key" in judged(config, made["key"])
    left = datetime.fromisoformat(made["overlap_until"]).timestamp() - time.time()
    assert 23.9 * 3600 < left <= 24 * 3600
    assert refused("keys", "rotate", id_in(old), "--overlap", "soon", "--config", config) == [
        "--overlap: expected a duration such as 24h, 30d or 2w"
    ]


def test_a_disabled_key_works_again_once_it_is_enabled(config: Path) -> None:
    key = create(config)["key"]
    assert done("keys", "disable", id_in(key), "--config", config) == f"{id_in(key)} (ci): disabled\n"
    assert "disabled_credential 401" in judged(config, key)
    assert done("keys", "enable", id_in(key), "--config", config) == f"{id_in(key)} (ci): active\n"
    assert "200 as key" in judged(config, key)


def test_a_lifetime_counts_from_the_creation_of_the_key(config: Path) -> None:
    made = create(config, "--expires", "30d")
    created = datetime.fromisoformat(made["created"]).timestamp()
    assert datetime.fromisoformat(made["expires"]).timestamp() - created == 30 * 86400
    longer = document("keys", "expire", made["id"], "60d", "--config", config)
    assert datetime.fromisoformat(longer["expires"]).timestamp() - created == 60 * 86400


def test_when_a_key_ends_can_be_changed(config: Path) -> None:
    key = create(config, "--expires", "30d")["key"]
    called = f"{id_in(key)} (ci)"
    assert done("keys", "expire", id_in(key), "2037-01-31", "--config", config) == (
        f"{called}: active; it expires at 2037-01-31T00:00:00Z\n"
    )
    assert done("keys", "expire", id_in(key), "now", "--config", config).startswith(f"{called}: expired; ")
    assert "expired_credential 401" in judged(config, key)
    assert done("keys", "expire", id_in(key), "never", "--config", config) == f"{called}: active; it never expires\n"
    assert "200 as key" in judged(config, key)
    (line,) = refused("keys", "expire", id_in(key), "later", "--config", config)
    assert line.startswith("WHEN: expected a duration (30d)")


def test_several_keys_are_revoked_together_and_with_a_typo_none(config: Path) -> None:
    ids = [create(config)["id"] for _ in range(3)]
    assert refused("keys", "revoke", ids[0], "AAAAAAAAAAAA", "--config", config) == [
        "no key has this id: `forwardauth keys list` shows them"
    ]
    assert len(listed(config, "--state", "active")) == 3
    done("keys", "revoke", *ids, ids[0], "--config", config)
    assert len(listed(config, "--state", "revoked")) == 3


@pytest.mark.parametrize("command", ["rotate", "disable", "enable", "expire"])
def test_a_revoked_key_is_revoked_for_ever(config: Path, command: str) -> None:
    ids = [create(config)["id"] for _ in range(2)]
    done("keys", "revoke", ids[1], "--config", config)
    both = ids if command in ("disable", "enable") else ids[1:]
    more = ["never"] if command == "expire" else []
    (line,) = refused("keys", command, *both, *more, "--config", config)
    assert "is revoked, which is for ever: nothing was changed" in line
    states = [row["state"] for row in document("keys", "list", "--config", config)]
    assert states == ["active", "revoked"]


@pytest.mark.parametrize("command", ["show", "rotate", "revoke", "disable", "enable"])
def test_a_key_in_the_place_of_its_id_is_not_repeated(config: Path, command: str) -> None:
    """Attack: read the secret in the log of whoever pasted it."""
    key = create(config)["key"]
    (line,) = refused("keys", command, key, "--config", config)
    assert line.startswith("expected the id of a key")
    assert key.split("_")[2] not in line


# Looking at keys.


def test_keys_are_listed_in_columns_the_oldest_first(config: Path) -> None:
    create(config, "--owner", "alice", name="first")
    create(config, "--tenant", "red", "--expires", "2037-01-31", name="the second")
    lines = done("keys", "list", "--config", config).splitlines()
    assert [re.split(r"  +", line)[1:] for line in lines] == [
        ["name", "owner", "tenant", "state", "expires", "last used"],
        ["first", "alice", "-", "active", "never", "-"],
        ["the second", "-", "red", "active", "2037-01-31T00:00:00Z", "-"],
    ]


def test_a_listing_is_narrowed(config: Path) -> None:
    create(config, "--owner", "alice", name="a")
    create(config, "--owner", "bob", "--tenant", "red", name="b")
    create(config, "--owner", "bob", name="c")
    done("keys", "disable", document("keys", "list", "--config", config)[2]["id"], "--config", config)
    assert listed(config, "--owner", "bob") == ["b", "c"]
    assert listed(config, "--tenant", "red") == ["b"]
    assert listed(config, "--owner", "bob", "--state", "disabled") == ["c"]
    assert listed(config, "--state", "revoked") == []


def test_a_key_is_shown_in_lines(config: Path) -> None:
    made = create(config, "--scope", "POST /v1/*", "--metadata", "team=search")
    shown = dict(
        re.split(r"  +", line, maxsplit=1) for line in done("keys", "show", made["id"], "--config", config).splitlines()
    )
    assert shown["id"] == made["id"]
    assert shown["scopes"] == '[{"methods": ["POST"], "path": "/v1/*"}]'
    assert shown["metadata"] == '{"team": "search"}'
    assert shown["expires"] == "-"


# Where the keys are.


def test_the_environment_names_the_configuration(config: Path) -> None:
    key = document("keys", "create", "ci", FORWARDAUTH_CONFIG=str(config))["key"]
    assert [row["id"] for row in document("keys", "list", FORWARDAUTH_CONFIG=str(config))] == [id_in(key)]


def test_without_a_configuration_it_says_what_to_name(tmp_path: Path) -> None:
    line = "keys are in the database of a configuration: name it with --config or FORWARDAUTH_CONFIG"
    assert refused("keys", "create", "ci") == [line]
    assert refused("keys", "import", "-", given="key\nsecret\n") == [line]


def test_a_configuration_without_a_database_is_a_mistake(tmp_path: Path) -> None:
    config = tmp_path / "forwardauth.yml"
    config.write_text("routes: [{path: /, public: true}]\n")
    for arguments in (["create", "ci"], ["list"], ["show", "AAAAAAAAAAAA"], ["import", "-"]):
        assert refused("keys", *arguments, "--config", config) == [
            f"{config} names no database: add `database: sqlite:///data/forwardauth.db`, for example"
        ]


def test_a_database_that_is_none_is_a_sentence(config: Path) -> None:
    (config.parent / "data").mkdir()
    (config.parent / "data" / "keys.db").write_text("no database, but a text that is long enough to be read as one")
    (line,) = refused("keys", "list", "--config", config)
    assert "is no SQLite database" in line


def test_a_mistake_of_the_configuration_is_told(config: Path) -> None:
    config.write_text("routes: [{path: /, publik: true}]\n")
    assert "routes[0].publik: unknown key; did you mean public?" in refused("keys", "list", "--config", config)


def test_a_database_cannot_reveal_keys(config: Path) -> None:
    assert refused("keys", "list", "--reveal", "--config", config) == [
        "--reveal: a database holds digests, and no key that could be shown"
    ]


def test_who_only_asks_why_makes_no_database(config: Path) -> None:
    assert "missing_credential" in run("explain", "https://a.example/", "--config", config).stdout
    assert sorted(path.name for path in config.parent.iterdir()) == [config.name]
