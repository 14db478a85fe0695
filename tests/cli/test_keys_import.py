"""`forwardauth keys import`: all rows or none, every mistake with its line, and nothing that stands there repeated."""

import hashlib
import json
import os
import pty
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from forwardauth.core.keys import KeyFormat
from tests.cli.commands import configure, document, done, judged, own_environment, refused, run

HASHED = hashlib.sha256(b"a hashed key").hexdigest()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return configure(tmp_path)


@pytest.fixture(params=["file", "stdin"])
def read(request: pytest.FixtureRequest, config: Path) -> "Reader":
    return Reader(config, request.param == "stdin")


class Reader:
    """Imports a text, as a file or from stdin."""

    def __init__(self, config: Path, stdin: bool) -> None:
        self.config = config
        self.stdin = stdin

    def arguments(self, text: str | bytes, *more: str) -> list[str | Path]:
        self.text = text.encode() if isinstance(text, str) else text
        file = self.config.parent / "keys.csv"
        file.write_bytes(self.text)
        return ["keys", "import", "-" if self.stdin else file, "--config", self.config, *more]

    def done(self, text: str | bytes, *more: str) -> str:
        arguments = self.arguments(text, *more)
        return done(*arguments, given=self.text if self.stdin else None)

    def refused(self, text: str | bytes, *more: str) -> list[str]:
        arguments = self.arguments(text, *more)
        return refused(*arguments, given=self.text if self.stdin else None)


def names(config: Path) -> list[str]:
    return [row["name"] for row in document("keys", "list", "--config", config)]


def test_csv_and_json_lines_say_the_same(read: Reader) -> None:
    rows = [
        {"name": "one", "key": "plain-key-1", "owner": "alice", "tenant": "red", "expires": "2037-01-31"},
        {"name": "two, hashed", "sha256": HASHED.upper(), "expires": "30d"},
        {"key": "plain-key-3", "expires": "never"},
    ]
    csv = (
        "Name,key,sha256,owner,tenant,expires\r\n"
        "one,plain-key-1,,alice,red,2037-01-31\r\n"
        f'"two, hashed",,{HASHED},,,30d\r\n'
        "\r\n"
        ",plain-key-3,,,,never\r\n"
    )
    assert read.done(csv) == "imported: 3\n"
    first = document("keys", "list", "--config", read.config)
    assert [(row["name"], row["owner"], row["tenant"], row["expires"] is None) for row in first] == [
        ("one", "alice", "red", False),
        ("two, hashed", "", "", False),
        (f"sha256:{hashlib.sha256(b'plain-key-3').hexdigest()[:12]}", "", "", True),
    ]
    lines = "\ufeff" + "\n\n".join(map(json.dumps, rows))
    assert read.refused(lines)[0].startswith("line 1: this key is there already, or in an earlier one (id ")
    assert read.done(lines, "--skip-existing") == "imported: 0, there already: 3\n"
    assert document("keys", "list", "--config", read.config) == first


@pytest.mark.parametrize("pepper", ["", "of our own"])
def test_imported_keys_of_any_look_are_accepted(tmp_path: Path, pepper: str) -> None:
    config = configure(tmp_path, pepper=pepper)
    key = "sk-proj-" + secrets.token_urlsafe(40)
    hashed = hashlib.sha256(b"another-one").hexdigest()
    assert done("keys", "import", "-", "--config", config, given=f"key,sha256\n{key},\n,{hashed}\n") == "imported: 2\n"
    for known, row in zip((key, "another-one"), document("keys", "list", "--config", config), strict=True):
        assert f"200 as key {row['id']}" in judged(config, known)


def test_a_key_of_our_own_format_keeps_the_id_that_stands_in_it(config: Path) -> None:
    made = KeyFormat("fa_").mint(secrets.randbelow)
    other = KeyFormat("other-").mint(secrets.randbelow)
    done("keys", "import", "-", "--config", config, given=f"key\n{made.key}\n{other.key}\n")
    first, second = document("keys", "list", "--config", config)
    assert first["id"] == made.id
    assert second["id"] != other.id


def test_every_mistake_is_told_with_its_line_and_nothing_is_imported(read: Reader) -> None:
    mistyped = KeyFormat("fa_").mint(secrets.randbelow).key[:-1] + "!"
    wrong = KeyFormat("fa_").mint(secrets.randbelow).key
    wrong = wrong[:-1] + ("a" if wrong[-1] != "a" else "b")
    text = (
        "name,key,sha256,expires\n"
        "fine,a-fine-key,,\n"
        "both,a-key,00,\n"
        "neither,,,\n"
        '"a name\nof three\nlines",a-key,,\n'
        "short,a-key\n"
        "hash,,abc,\n"
        "space,a key,,\n"
        "end,another-key,,30 days\n"
        f"typo,{wrong},,\n"
        f"no typo of ours,{mistyped},,\n"
        'quote,"a"key,,\n'
    )
    assert read.refused(text) == [
        "line 3: expected either key or sha256",
        "line 4: expected either key or sha256",
        "line 5: name: expected at most 256 printable characters",
        "line 8: has 2 fields, where the header line has 4",
        "line 9: sha256: expected 64 hex digits, as sha256sum prints them",
        "line 10: key: expected printable ASCII without spaces: nothing else can be sent",
        "line 11: expires: expected a duration (30d), a date (2027-01-31), a time (2027-01-31T12:00:00Z) or never",
        "line 12: key: has our own format and a wrong checksum, so that it would never be accepted",
        "line 14: is no CSV: ',' expected after '\"'",
        "nothing was imported",
    ]
    assert names(read.config) == []


def test_every_mistake_of_json_lines_is_told_too(read: Reader) -> None:
    text = (
        '{"key": "a-fine-key"}\n'
        '{"key": "cut off\n'
        "\n"
        '["a-key"]\n'
        '{"key": "a-key", "color": "red"}\n'
        '{"key": 5}\n'
        '{"key": null, "name": "nothing"}\n' + "[" * 100_000 + "\n"
    )
    assert read.refused(text) == [
        "line 2: expected one whole JSON object",
        "line 4: expected one whole JSON object",
        "line 5: has an unknown name; known: name, key, sha256, owner, tenant, expires",
        "line 6: expected texts as values",
        "line 7: expected either key or sha256",
        "line 8: expected one whole JSON object",
        "nothing was imported",
    ]
    assert names(read.config) == []


def test_the_first_twenty_mistakes_are_told(config: Path) -> None:
    text = "name,key\n" + "nobody,\n" * 1000
    lines = refused("keys", "import", "-", "--config", config, given=text)
    assert lines[:20] == [f"line {number}: expected either key or sha256" for number in range(2, 22)]
    assert lines[20:] == ["there may be more mistakes", "nothing was imported"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "hunter2-is-my-secret,alice\n",
        "name,secret\nci,hunter2-is-my-secret\n",
        "name,owner\nhunter2-is-my-secret,alice\n",
        "key,key\nhunter2-is-my-secret,hunter2-is-my-secret\n",
        '"key\nhunter2-is-my-secret\n',
    ],
)
def test_a_file_without_a_header_line_is_refused_and_not_repeated(config: Path, text: str) -> None:
    """Attack: read keys in what an import complains about."""
    line, last = refused("keys", "import", "-", "--config", config, given=text)
    assert line == (
        "line 1: expected a header line out of name,key,sha256,owner,tenant,expires with key or sha256, "
        "or JSON of the same"
    )
    assert last == "nothing was imported"


def test_text_that_is_no_utf8_is_a_mistake_of_its_line(config: Path) -> None:
    given = b"name,key\nb\xe4r,key-of-a-bear\nb\xc3\xa4r,key-of-another\n"
    lines = refused("keys", "import", "-", "--config", config, given=given)
    assert lines == ["line 2: name: expected at most 256 printable characters", "nothing was imported"]


def test_a_key_that_stands_there_twice_is_refused_with_its_line(config: Path) -> None:
    text = "key,name\nfirst-key,a\n\nsecond-key,b\nfirst-key,c\n"
    (line, last) = refused("keys", "import", "-", "--config", config, given=text)
    assert line.startswith("line 5: this key is there already, or in an earlier one")
    assert (names(config), last) == ([], "nothing was imported")
    assert document("keys", "import", "-", "--skip-existing", "--config", config, given=text) == {
        "added": 2,
        "skipped": 1,
    }
    assert names(config) == ["a", "b"]


def test_a_secret_that_was_rotated_away_cannot_come_back_by_an_import(config: Path) -> None:
    done("keys", "import", "-", "--config", config, given="key,name\nan-old-key,a\n")
    (row,) = document("keys", "list", "--config", config)
    done("keys", "rotate", row["id"], "--config", config)
    assert len(refused("keys", "import", "-", "--config", config, given="key,name\nan-old-key,b\n")) == 2
    assert "expired_credential" in judged(config, "an-old-key")


def test_a_file_that_cannot_be_read_is_a_sentence(config: Path) -> None:
    nowhere = config.parent / "nowhere.csv"
    assert refused("keys", "import", nowhere, "--config", config) == [
        f"{nowhere} cannot be read: No such file or directory"
    ]
    assert refused("keys", "import", config.parent, "--config", config) == [
        f"{config.parent} cannot be read: Is a directory"
    ]


def test_no_imported_key_is_stored_or_shown(config: Path) -> None:
    """Attack: look for plain keys in the database after an import, or in what was printed."""
    key = "plain-" + secrets.token_urlsafe(32)
    result = run("keys", "import", "-", "--config", config, given=f"name,key\nmoved,{key}\n")
    shown = result.output + done("keys", "list", "--json", "--config", config)
    stored = b"".join(path.read_bytes() for path in (config.parent / "data").iterdir())
    assert b"moved" in stored
    assert key.encode() not in stored
    assert key not in shown


def test_a_large_import_shows_its_progress_on_a_terminal_and_prints_its_result_alone(config: Path) -> None:
    rows = "".join(f"key-number-{number}\n" for number in range(30_000))
    file = config.parent / "many.csv"
    file.write_text(f"key\n{rows}")
    terminal, other_end = pty.openpty()
    command = [sys.executable, "-m", "forwardauth", "keys", "import", str(file), "--config", str(config)]
    ran = subprocess.Popen(
        command, env=own_environment(TERM="xterm"), stdin=other_end, stdout=subprocess.PIPE, stderr=other_end
    )
    os.close(other_end)
    seen = b""
    try:
        while chunk := os.read(terminal, 65536):
            seen += chunk
    except OSError:
        # Linux answers EIO once the last one has closed the other end.
        pass
    finally:
        os.close(terminal)
    out, _ = ran.communicate(timeout=60)
    assert (ran.returncode, out) == (0, b"imported: 30000\n")
    assert b"importing" in seen
    assert b"30,000 keys" in seen


def test_a_killed_import_imports_nothing(config: Path) -> None:
    """Attack on the operator: the machine goes away in the middle of an import."""
    done("keys", "import", "-", "--config", config, given="key,name\nbefore,before\n")
    command = [sys.executable, "-m", "forwardauth", "keys", "import", "-", "--config", str(config)]
    ran = subprocess.Popen(
        command, env=own_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert ran.stdin is not None
    ran.stdin.write(b"key\n" + b"".join(b"key-%d\n" % number for number in range(50_000)))
    ran.stdin.flush()
    # More than a pipe holds: most of it was read, and the end is still to come.
    ran.kill()
    ran.communicate(timeout=30)
    assert names(config) == ["before"]
    assert done("keys", "import", "-", "--config", config, given="key,name\nafter,after\n") == "imported: 1\n"


def test_one_json_array_is_read_too(read: Reader) -> None:
    rows = [{"name": "one", "key": "plain-key-1"}, {"name": "two", "sha256": HASHED, "expires": "30d"}]
    assert read.done(json.dumps(rows, indent=2)) == "imported: 2\n"
    assert names(read.config) == ["one", "two"]
    assert "200 as" in judged(read.config, "plain-key-1")


def test_mistakes_of_an_array_are_told_by_its_entries(read: Reader) -> None:
    rows = [{"key": "plain-key-1"}, "plain-key-2", {"key": "plain-key-3", "colour": "red"}, {}]
    assert read.refused(json.dumps(rows)) == [
        "entry 2: expected one whole JSON object",
        "entry 3: has an unknown name; known: name, key, sha256, owner, tenant, expires",
        "entry 4: expected either key or sha256",
        "nothing was imported",
    ]
    assert read.refused('[{"key": "plain-key-1"}')[0] == "line 1: is no whole JSON array"
    assert names(read.config) == []
