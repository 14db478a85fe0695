"""Key files that change under the service: what is in force, what is told to the log, and what closes."""

import gc
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from forwardauth.core.keys import digest
from forwardauth.stores import key_files
from forwardauth.stores.files import Stamp
from forwardauth.stores.key_editing import add_key
from forwardauth.stores.key_files import LiveFiles, LiveKeys, LiveTenants


def lay(path: Path, *keys: str, **words: object) -> None:
    path.write_text(json.dumps({"valid_keys": keys} | words))


def lay_tenant(folder: Path, tenant: str, *keys: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{tenant}.client-keys.json"
    path.write_text(json.dumps(keys))
    return path


def opens(live: LiveKeys, *keys: str) -> bool:
    """Whether these keys open, and no other."""
    return live.now is not None and live.now.digests == {digest(key.encode()) for key in keys}


def tenants(live: LiveTenants) -> dict[str, int | None]:
    """How many keys every tenant has; None for a broken file."""
    assert live.now is not None
    return {name.decode(): None if keys is None else len(keys) for name, keys in live.now.items()}


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    told = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
    caplog.clear()
    return told


@pytest.fixture(autouse=True)
def _told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="forwardauth")


# One file.


@pytest.mark.parametrize("save", ["over it", "beside it and renamed", "by a command"])
def test_a_change_is_in_force_at_the_next_look(tmp_path: Path, save: str) -> None:
    path = tmp_path / "api_keys.json"
    lay(path, "one")
    files = LiveFiles()
    live = files.keys(path)
    assert opens(live, "one")
    if save == "by a command":
        add_key(path, "two")
    else:
        target = path if save == "over it" else tmp_path / "new"
        lay(target, "one", "two")
        target.replace(path)
    assert opens(live, "one")
    files.refresh()
    assert opens(live, "one", "two")


def test_two_saves_of_one_length_in_one_tick_are_both_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack on the operator: the revoking save falls into the tick in which the file was read (THREATS 52)."""
    path = tmp_path / "api_keys.json"
    lay(path, "old-key")
    tick = Stamp(1, path.stat().st_size, time.time_ns(), time.time_ns())
    monkeypatch.setattr(key_files, "stamp", lambda path: tick)
    files = LiveFiles()
    live = files.keys(path)
    lay(path, "new-key")
    files.refresh()
    assert opens(live, "new-key")


def test_a_file_that_rests_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "api_keys.json"
    lay(path, "one")
    files = LiveFiles()
    live = files.keys(path)
    monkeypatch.setattr(key_files, "_UNSETTLED", -1)
    files.refresh()
    monkeypatch.setattr(key_files, "read_text", lambda path: pytest.fail("read again"))
    files.refresh()
    assert opens(live, "one")


BROKEN: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_text(""),
    "cut": lambda path: path.write_text('{"valid_keys": ["one", "tw'),
    "keys that are text": lambda path: path.write_text('{"valid_keys": "abc"}'),
    "no text": lambda path: path.write_bytes(b"\xff\xfe"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a link to nothing": lambda path: (path.unlink(), path.symlink_to("nothing")),
    "a circle": lambda path: (path.unlink(), path.symlink_to(path.name)),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "too large": lambda path: os.truncate(path, 65 * 1024 * 1024),
}


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN)
def test_a_missing_or_broken_file_closes_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], object]
) -> None:
    """Attack: the system whose file this is lets everybody in by a file that is gone or broken (54762; THREATS 34)."""
    path = tmp_path / "api_keys.json"
    lay(path, "one", "secret")
    files = LiveFiles()
    live = files.keys(path)
    lines(caplog)
    damage(path)
    for _ in range(3):
        files.refresh()
        assert live.now is None
    (told,) = lines(caplog)
    assert told.startswith(f"ERROR {path} ")
    assert told.endswith("; what needs it is answered 503 until it is mended")
    assert live.trouble in told
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    lay(path, "two")
    files.refresh()
    assert opens(live, "two")
    assert lines(caplog) == [f"INFO {path} was read: keys: 1, local networks: 0"]


def test_a_file_that_is_not_there_yet_is_read_when_it_comes(tmp_path: Path) -> None:
    files = LiveFiles()
    live = files.keys(tmp_path / "api_keys.json")
    assert live.now is None
    assert "does not exist" in live.trouble
    lay(tmp_path / "api_keys.json", "one")
    files.refresh()
    assert opens(live, "one")
    assert live.trouble == ""


def test_another_fault_of_a_broken_file_is_told_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "api_keys.json"
    path.write_text("{")
    files = LiveFiles()
    live = files.keys(path)
    assert len(lines(caplog)) == 1
    path.write_text("{}")
    files.refresh()
    assert lines(caplog) == [f"ERROR {path} has no valid_keys; what needs it is answered 503 until it is mended"]
    assert live.now is None


def test_what_is_left_out_is_told_by_its_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "api_keys.json"
    lay(path, "one", "zwölf", local_networks=["10.0.0.0/8", *["secret"] * 6])
    LiveFiles().keys(path)
    told = lines(caplog)
    assert told[0].startswith(f"WARNING {path}: left out: valid_keys[1] is no printable ASCII")
    assert told[0].endswith("local_networks[4] is no address, network or localhost; and 2 more")
    assert told[1] == f"INFO {path} was read: keys: 1, local networks: 1"
    assert "zw" not in "".join(told)
    assert "secret" not in "".join(told)


def test_a_file_that_asks_nobody_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "api_keys.json"
    lay(path, "one", require_auth_for_external=False)
    LiveFiles().keys(path)
    assert lines(caplog)[-1] == f"WARNING {path} asks nobody for a key: require_auth_for_external is false"


def test_an_unchanged_text_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "api_keys.json"
    lay(path, "one")
    files = LiveFiles()
    live = files.keys(path)
    lines(caplog)
    os.utime(path, (1, 1))
    files.refresh()
    assert lines(caplog) == []
    assert opens(live, "one")


# One object for each file, as long as somebody holds it.


def test_the_next_configuration_gets_the_same_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(tmp_path / "api_keys.json", "one")
    lay_tenant(tmp_path / "trains", "alpha", "one")
    files = LiveFiles()
    keys, trains = files.keys(tmp_path / "api_keys.json"), files.tenants(tmp_path / "trains")
    monkeypatch.chdir(tmp_path)
    assert files.keys(Path("api_keys.json")) is keys
    assert files.tenants(Path("trains")) is trains


def test_who_asks_for_a_file_gets_it_as_it_is(tmp_path: Path) -> None:
    """A reload must not run by keys of 0.4 s ago."""
    path = tmp_path / "api_keys.json"
    lay(path, "one")
    files = LiveFiles()
    first = files.keys(path)
    lay(path, "two")
    assert opens(files.keys(path), "two")
    assert opens(first, "two")


def test_what_nobody_holds_is_not_looked_at(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "api_keys.json"
    lay(path, "one")
    lay_tenant(tmp_path / "trains", "alpha", "one")
    files = LiveFiles()
    live = files.keys(path)
    trains = files.tenants(tmp_path / "trains")
    del live, trains
    gc.collect()
    lines(caplog)
    path.unlink()
    lay_tenant(tmp_path / "trains", "beta")
    files.refresh()
    assert lines(caplog) == []


# A folder of tenants.


def test_every_tenant_has_a_file_of_one_of_the_shapes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "train-client-keys"
    lay_tenant(folder, "list", "a", " b ", "")
    lay_tenant(folder, "keys").write_text('{"keys": ["cnp_live_your_generated_key"]}')
    lay_tenant(folder, "client_api_keys").write_text('{"client_api_keys": ["a", "b", "c"]}')
    lay_tenant(folder, "a.b:c_d-9")
    (folder / "other.json").write_text("{")
    (folder / "train.credentials.json").write_text("{")
    live = LiveFiles().tenants(folder)
    assert tenants(live) == {"list": 2, "keys": 1, "client_api_keys": 3, "a.b:c_d-9": 0}
    assert live.now is not None
    assert live.now[b"keys"] == {digest(b"cnp_live_your_generated_key")}
    assert lines(caplog) == [f"INFO {folder} was read: tenants: 4, changed: 4"]


def test_tenants_come_change_and_go(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    alpha = lay_tenant(tmp_path, "alpha", "a")
    lay_tenant(tmp_path, "gamma", "g")
    files = LiveFiles()
    live = files.tenants(tmp_path)
    lines(caplog)
    files.refresh()
    assert lines(caplog) == []
    lay_tenant(tmp_path, "beta", "a", "b")
    files.refresh()
    assert tenants(live) == {"alpha": 1, "beta": 2, "gamma": 1}
    lay_tenant(tmp_path, "beta", "b")
    files.refresh()
    assert tenants(live) == {"alpha": 1, "beta": 1, "gamma": 1}
    alpha.unlink()
    files.refresh()
    assert tenants(live) == {"beta": 1, "gamma": 1}
    assert lines(caplog) == [
        f"INFO {tmp_path} was read: tenants: 3, changed: 1",
        f"INFO {tmp_path} was read: tenants: 3, changed: 1",
        f"INFO {tmp_path} was read: tenants: 2, changed: 0",
    ]


@pytest.mark.parametrize("damage", [BROKEN[name] for name in BROKEN if name != "gone"])
def test_a_broken_file_closes_one_tenant(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], object]
) -> None:
    """Attack: a tenant's half-written file lets a key of nobody in, or locks the other tenants out (THREATS 34, 52)."""
    alpha = lay_tenant(tmp_path, "alpha", "one")
    lay_tenant(tmp_path, "beta", "two")
    files = LiveFiles()
    live = files.tenants(tmp_path)
    lines(caplog)
    damage(alpha)
    for _ in range(3):
        files.refresh()
        assert tenants(live) == {"alpha": None, "beta": 1}
    told = lines(caplog)
    assert [line.split()[0] for line in told] == ["ERROR", "INFO"]
    assert str(alpha) in told[0]


def test_a_folder_that_is_gone_closes_all_tenants_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "trains"
    files = LiveFiles()
    live = files.tenants(folder)
    for _ in range(3):
        files.refresh()
        assert live.now is None
    said = f"ERROR {folder} cannot be listed: No such file or directory; what needs it is answered 503 until it is"
    assert lines(caplog) == [f"{said} mended"]
    lay_tenant(folder, "alpha", "one")
    files.refresh()
    assert tenants(live) == {"alpha": 1}
    folder.rename(tmp_path / "away")
    files.refresh()
    assert live.now is None
    (tmp_path / "away").rename(folder)
    files.refresh()
    assert tenants(live) == {"alpha": 1}


def test_an_empty_folder_has_no_tenant(tmp_path: Path) -> None:
    assert tenants(LiveFiles().tenants(tmp_path)) == {}


def test_a_file_as_a_folder_is_closed(tmp_path: Path) -> None:
    (tmp_path / "trains").write_text("")
    assert LiveFiles().tenants(tmp_path / "trains").now is None


@pytest.mark.parametrize("name", ["a b", "ä", "x" * 129, "", "a\nb"])
def test_a_file_that_no_tenants_name_leads_to_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    lay_tenant(tmp_path, name, "one")
    files = LiveFiles()
    live = files.tenants(tmp_path)
    files.refresh()
    assert tenants(live) == {}
    (told,) = [line for line in lines(caplog) if line.startswith("WARNING")]
    assert told == f"WARNING {tmp_path}: files that no tenant's name leads to: 1: {name + '.client-keys.json'!r}"
    assert "\n" not in told


def test_a_folder_of_too_many_tenants_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_files, "MOST_TENANTS", 2)
    for name in "abc":
        lay_tenant(tmp_path, name, "one")
    files = LiveFiles()
    live = files.tenants(tmp_path)
    assert live.now is None
    assert "more than 2 files of tenants" in live.trouble
    (tmp_path / "c.client-keys.json").unlink()
    files.refresh()
    assert tenants(live) == {"a": 1, "b": 1}


def mount(folder: Path, version: str, **keys: str) -> None:
    """Lay a secret as Kubernetes does: a folder for each version, and one link that is renamed over the other."""
    (folder / version).mkdir(parents=True)
    for tenant, key in keys.items():
        (folder / version / f"{tenant}.client-keys.json").write_text(json.dumps([key]))
        link = folder / f"{tenant}.client-keys.json"
        if not link.is_symlink():
            link.symlink_to(f"..data/{link.name}")
    (folder / "..data_tmp").symlink_to(version)
    (folder / "..data_tmp").rename(folder / "..data")


def test_a_mounted_secret_changes_as_a_whole(tmp_path: Path) -> None:
    files = LiveFiles()
    mount(tmp_path, "..2027_01", alpha="one", beta="two")
    live = files.tenants(tmp_path)
    before = live.now
    assert tenants(live) == {"alpha": 1, "beta": 1}
    mount(tmp_path, "..2027_02", alpha="uno", beta="due")
    files.refresh()
    assert live.now == {b"alpha": {digest(b"uno")}, b"beta": {digest(b"due")}}
    assert before == {b"alpha": {digest(b"one")}, b"beta": {digest(b"two")}}
