"""Edits of key files: what they change and keep, and that nothing is lost by a kill, a second writer or a full disk."""

import errno
import fcntl
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forwardauth.stores import key_editing
from forwardauth.stores.key_editing import (
    KeyFileError,
    add_key,
    generate_key,
    list_keys,
    random_key,
    remove_key,
    toggle_auth,
)

ROOT = Path(__file__).parent.parent.parent

# seeds/001: the document's own file.
ORCHESTRA = """{
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
}"""
NEW = {"valid_keys": [], "require_auth_for_external": True, "local_networks": ["127.0.0.1", "localhost", "::1"]}

SHAPES: dict[str, tuple[Any, Callable[[Any], list[str]]]] = {
    "api_keys.json": ({"valid_keys": ["one"], "later": {"b": 1, "a": [2.5, None]}}, lambda read: read["valid_keys"]),
    "list.client-keys.json": (["one"], lambda read: read),
    "keys.client-keys.json": ({"owner": "Zoë", "keys": ["one"], "note": "x"}, lambda read: read["keys"]),
    "client_api_keys.client-keys.json": ({"client_api_keys": ["one"], "z": 1}, lambda read: read["client_api_keys"]),
}
BROKEN = {
    "empty": "",
    "blank": " \n",
    "cut": ORCHESTRA[:60],
    "keys that are text": '{"valid_keys": "abc"}',
    "a key that is no text": '{"valid_keys": ["abc", 1]}',
    "no list": '{"require_auth_for_external": true}',
    "a switch that is no boolean": '{"valid_keys": [], "require_auth_for_external": "yes"}',
    "networks that are no list": '{"valid_keys": [], "local_networks": "127.0.0.1"}',
    "a word twice": '{"valid_keys": ["a"], "valid_keys": []}',
    "deep": "[" * 100_000,
    "a number without an end": '{"valid_keys": [], "n": ' + "1" * 5000 + "}",
    "no number": '{"valid_keys": [], "n": NaN}',
    "text": '"abc"',
    "null": "null",
}


def run(code: str, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
    """Another process that edits."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, text=True, stdout=subprocess.PIPE, **options
    )


# What an edit changes.


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_its_words_and_their_order_stay(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    document, keys = SHAPES[name]
    path.write_text(json.dumps(document))
    assert add_key(path, "two") is True
    assert remove_key(path, "one") is True
    keys(document)[:] = ["two"]
    assert path.read_text() == json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    assert list_keys(path).keys == ("two",)


def test_the_documents_own_commands(tmp_path: Path) -> None:
    """seeds/001: list, add, remove, generate, toggle-auth."""
    path = tmp_path / "api_keys.json"
    path.write_text(ORCHESTRA)
    listing = list_keys(path)
    assert listing.keys == ("demo-key-12345", "prod-key-67890", "iszcx8YNM7xqyo_lj-_iD8vMODMfW7xc")
    assert (listing.exists, listing.require_auth, listing.local_networks) == (
        True,
        True,
        ("127.0.0.1", "localhost", "::1"),
    )
    assert add_key(path, "your-custom-key-here") is True
    assert remove_key(path, "demo-key-12345") is True
    made = generate_key(path)
    assert toggle_auth(path) is False
    after = list_keys(path)
    assert after.keys == ("prod-key-67890", "iszcx8YNM7xqyo_lj-_iD8vMODMfW7xc", "your-custom-key-here", made)
    assert after.require_auth is False
    assert toggle_auth(path) is True
    assert list_keys(path).require_auth is True


def test_a_key_that_is_there_and_one_that_is_not_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "api_keys.json"
    path.write_text('{"valid_keys": [" one "]}')
    before = path.stat()
    assert add_key(path, "one") is False
    assert remove_key(path, "two") is False
    assert path.stat() == before


def test_a_key_is_removed_wherever_it_stands(tmp_path: Path) -> None:
    """Attack on the operator: a key that is there twice, or between blanks, works on after its removal."""
    path = tmp_path / "api_keys.json"
    path.write_text('{"valid_keys": ["one", "two", " one\\n"]}')
    assert remove_key(path, "one") is True
    assert list_keys(path).keys == ("two",)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("api_keys.json", NEW | {"valid_keys": ["first"]}),
        ("alpha.client-keys.json", {"keys": ["first"]}),
    ],
)
def test_a_missing_file_is_made_for_its_owner_alone(tmp_path: Path, name: str, made: object) -> None:
    path = tmp_path / name
    assert not list_keys(path).exists
    assert remove_key(path, "first") is False
    assert not path.exists()
    assert add_key(path, "first") is True
    assert json.loads(path.read_text()) == made
    assert path.stat().st_mode & 0o7777 == 0o600
    assert list_keys(path).exists


def test_a_missing_switch_counts_as_on(tmp_path: Path) -> None:
    path = tmp_path / "api_keys.json"
    path.write_text('{"valid_keys": []}')
    assert list_keys(path).require_auth is True
    assert toggle_auth(path) is False
    assert json.loads(path.read_text()) == {"valid_keys": [], "require_auth_for_external": False}


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "api_keys.json"])
def test_a_file_without_the_switch_has_nothing_to_toggle(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(SHAPES[name][0]))
    with pytest.raises(KeyFileError, match="has no require_auth_for_external"):
        toggle_auth(path)
    assert json.loads(path.read_text()) == SHAPES[name][0]
    assert list_keys(path).require_auth is None


def test_random_keys_look_as_the_two_systems_make_them() -> None:
    made = {random_key() for _ in range(500)}
    assert len(made) == 500
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{31}", key) for key in made)
    assert set("".join(made)) == set(key_editing._ALPHABET)
    assert re.fullmatch(r"cnp_live_[A-Za-z0-9_-]{43}", random_key("cnp_live_"))


@pytest.mark.parametrize("key", ["", " ", "a b", "a\tb", "a\nb", "ä", "\x7f", "x" * 4097])
def test_a_key_that_nobody_can_send_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(KeyFileError, match="printable ASCII"):
        add_key(tmp_path / "api_keys.json", key)
    assert list(tmp_path.iterdir()) == []


def test_a_prefix_that_nobody_can_send_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="printable ASCII"):
        generate_key(tmp_path / "api_keys.json", "my key ")


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    """Attack on the operator: a command that makes a fresh file out of a damaged one loses every key (THREATS 52)."""
    path = tmp_path / "api_keys.json"
    path.write_text(text)
    edits: list[Callable[[], object]] = [
        lambda: list_keys(path),
        lambda: add_key(path, "one"),
        lambda: remove_key(path, "abc"),
        lambda: generate_key(path),
        lambda: toggle_auth(path),
    ]
    for edit in edits:
        with pytest.raises(KeyFileError) as told:
            edit()
        assert str(path) in str(told.value)
        assert "abc" not in str(told.value).replace(str(path), "")
    assert path.read_text() == text
    assert [each.name for each in tmp_path.iterdir()] == ["api_keys.json"]


def test_what_json_can_say_and_utf_8_cannot_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "api_keys.json"
    path.write_text('{"valid_keys": [], "half": "\\ud83d", "name": "Zoë"}')
    add_key(path, "one")
    assert json.loads(path.read_text()) == {"valid_keys": ["one"], "half": "\ud83d", "name": "Zoë"}


@pytest.mark.parametrize("odd", ["1e999", "[" * 980 + "]" * 980], ids=["large", "deep"])
def test_what_could_not_be_written_again_is_refused(tmp_path: Path, odd: str) -> None:
    path = tmp_path / "api_keys.json"
    text = f'{{"valid_keys": [], "odd": {odd}}}'
    path.write_text(text)
    with pytest.raises(KeyFileError, match=r"cannot be written again|nested too deeply"):
        add_key(path, "one")
    assert path.read_text() == text


# What an edit keeps.


def test_the_mode_stays_and_the_file_is_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "api_keys.json"
    path.write_text(ORCHESTRA)
    path.chmod(0o640)
    os.utime(path, (1, 1))
    before = path.stat()
    add_key(path, "one")
    after = path.stat()
    assert after.st_mode == before.st_mode
    assert after.st_ino != before.st_ino
    assert after.st_mtime > before.st_mtime


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_the_owner_stays(tmp_path: Path) -> None:
    path = tmp_path / "api_keys.json"
    path.write_text(ORCHESTRA)
    os.chown(path, 12345, 23456)
    add_key(path, "one")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


ADD = """
import sys
from pathlib import Path
from forwardauth.stores.key_editing import KeyFileError, add_key
try:
    add_key(Path(sys.argv[1]), "one")
except KeyFileError as failure:
    print(failure)
"""


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("setpriv"), reason="only root gives files and rights away")
def test_who_cannot_keep_the_owner_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "api_keys.json"
    path.write_text(ORCHESTRA)
    os.chown(path, 12345, 23456)
    ran = subprocess.run(
        ["setpriv", "--bounding-set=-chown", "--inh-caps=-chown", sys.executable, "-c", ADD, path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "belongs to somebody else; nothing was changed" in ran.stdout
    assert path.read_text() == ORCHESTRA
    assert path.stat().st_uid == 12345
    assert [each.name for each in tmp_path.iterdir()] == ["api_keys.json"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "keys"
    target.write_text(ORCHESTRA)
    link = tmp_path / "api_keys.json"
    link.symlink_to("real/keys")
    add_key(link, "one")
    assert link.readlink() == Path("real/keys")
    assert not target.is_symlink()
    assert "one" in json.loads(target.read_text())["valid_keys"]


def test_a_link_to_nothing_makes_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "api_keys.json").symlink_to("later.json")
    add_key(tmp_path / "api_keys.json", "one")
    assert (tmp_path / "api_keys.json").is_symlink()
    assert json.loads((tmp_path / "later.json").read_text())["valid_keys"] == ["one"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.mkdir(), "is no file"),
        (lambda path: path.symlink_to(path.name), "leads nowhere"),
        (lambda path: path.symlink_to("none/deeper"), "the folder .*none cannot be opened: No such file or directory"),
        (lambda path: path.write_bytes(b"\xff"), "is no UTF-8 text"),
    ],
    ids=["a folder", "a circle", "no folder", "no text"],
)
def test_what_is_no_key_file_is_told(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    path = tmp_path / "api_keys.json"
    make(path)
    with pytest.raises(KeyFileError, match=said):
        add_key(path, "one")


# Kills, other writers, disks.

ADD_FOR_EVER = """
import itertools, sys
from pathlib import Path
from forwardauth.stores.key_editing import add_key
for number in itertools.count():
    print("begin", number, flush=True)
    add_key(Path(sys.argv[1]), f"{sys.argv[2]}-{number}")
    print("done", number, flush=True)
"""


def test_a_killed_writer_leaves_the_old_keys_or_the_new(tmp_path: Path) -> None:
    """SIGKILL at some moment of a write, often: every key that was told to be there is there, and the file is whole."""
    path = tmp_path / "api_keys.json"
    expected: set[str] = set()
    for round_ in range(12):
        writer = run(ADD_FOR_EVER, path, round_)
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(2 * round_ + 3)]
        writer.kill()
        told += writer.communicate(timeout=60)[0].splitlines()
        done = {line.split()[1] for line in told if line.startswith("done")}
        begun = {line.split()[1] for line in told if line.startswith("begin")}
        expected |= {f"{round_}-{number}" for number in done}
        keys = set(list_keys(path).keys)
        assert expected <= keys <= expected | {f"{round_}-{number}" for number in begun}
        expected = keys
    add_key(path, "last")
    assert [each.name for each in tmp_path.iterdir()] == ["api_keys.json"]
    assert set(list_keys(path).keys) == expected | {"last"}


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "api_keys.json"
    path.write_text(ORCHESTRA)
    left = tmp_path / ".forwardauth-keys.new"
    left.write_text('{"valid_keys": ["half')
    left.chmod(0o644)
    add_key(path, "one")
    assert [each.name for each in tmp_path.iterdir()] == ["api_keys.json"]
    assert len(list_keys(path).keys) == 4


ADD_MANY = """
import sys
from pathlib import Path
from forwardauth.stores.key_editing import add_key
for number in range(60):
    assert add_key(Path(sys.argv[1]), f"{sys.argv[2]}-{number}")
"""


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "api_keys.json"
    writers = [run(ADD_MANY, path, name) for name in "ab"]
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    expected = {f"{name}-{number}" for name in "ab" for number in range(60)}
    assert sorted(list_keys(path).keys) == sorted(expected)
    assert [each.name for each in tmp_path.iterdir()] == ["api_keys.json"]


def test_a_writer_that_never_ends_is_told_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_editing, "WAIT_SECONDS", 0.05)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(KeyFileError, match="another program is changing keys in"):
            add_key(tmp_path / "api_keys.json", "one")
    finally:
        os.close(descriptor)
    assert add_key(tmp_path / "api_keys.json", "one") is True


@pytest.mark.parametrize(
    ("before", "after"),
    [(ORCHESTRA, ORCHESTRA.replace("demo", "DEMO")), (None, ORCHESTRA), (ORCHESTRA, None)],
    ids=["saved", "made", "removed"],
)
def test_what_an_editor_saved_meanwhile_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None, after: str | None
) -> None:
    path = tmp_path / "api_keys.json"
    if before is not None:
        path.write_text(before)
    real = key_editing._write

    def save_first(*arguments: Any) -> None:
        real(*arguments)
        path.unlink(missing_ok=True)
        if after is not None:
            path.write_text(after)

    monkeypatch.setattr(key_editing, "_write", save_first)
    with pytest.raises(KeyFileError, match="changed by another program meanwhile"):
        add_key(path, "one")
    assert (path.read_text() if path.exists() else None) == after
    assert not (tmp_path / ".forwardauth-keys.new").exists()


ADD_ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from forwardauth.stores.key_editing import KeyFileError, add_key
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    add_key(Path(sys.argv[1]), "one")
except KeyFileError as failure:
    print(failure)
"""


@pytest.mark.parametrize("limit", [0, 100])
@pytest.mark.parametrize("before", [ORCHESTRA, None], ids=["changed", "made"])
def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path, before: str | None, limit: int) -> None:
    """The kernel itself refuses to write more than some bytes: none at all, or half of the file."""
    path = tmp_path / "api_keys.json"
    if before is not None:
        path.write_text(before)
    with run(ADD_ON_A_FULL_DISK, path, limit) as writer:
        said = writer.communicate(timeout=60)[0]
    assert f"{path} cannot be written ({os.strerror(errno.EFBIG)}): free space and try again; nothing was" in said
    assert (path.read_text() if path.exists() else None) == before
    assert not (tmp_path / ".forwardauth-keys.new").exists()


# A file that is bind-mounted alone, as Docker does with `-v ./api_keys.json:/data/api_keys.json`.
ADD_TO_A_MOUNT = """
import subprocess, sys
from pathlib import Path
from forwardauth.stores.key_editing import KeyFileError, add_key
if subprocess.run(["mount", "--bind", sys.argv[2], sys.argv[1]], stderr=subprocess.DEVNULL).returncode:
    sys.exit("cannot mount")
try:
    add_key(Path(sys.argv[1]), "one")
except KeyFileError as failure:
    print(failure)
"""


def test_a_file_that_is_mounted_by_itself_is_told(tmp_path: Path) -> None:
    path, outside = tmp_path / "api_keys.json", tmp_path / "outside.json"
    for each in (path, outside):
        each.write_text(ORCHESTRA)
    ran = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", ADD_TO_A_MOUNT, path, outside],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if ran.returncode:
        pytest.skip("nothing can be mounted here")
    assert "is mounted by itself, and so cannot be replaced" in ran.stdout
    assert outside.read_text() == ORCHESTRA
    assert sorted(each.name for each in tmp_path.iterdir()) == ["api_keys.json", "outside.json"]


def test_no_error_and_no_repr_tells_a_key(tmp_path: Path) -> None:
    path = tmp_path / "api_keys.json"
    path.write_text(ORCHESTRA)
    assert "demo-key" not in repr(list_keys(path))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    with pytest.raises(KeyFileError) as told:
        add_key(path, "demo key")
    assert "demo" not in str(told.value)
