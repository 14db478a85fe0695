"""Files: what shows that one changed, and what cannot be read."""

import os
from pathlib import Path

import pytest

from forwardauth.stores.files import Stamp, read_text, stamp


def rewrite(path: Path) -> None:
    path.write_text("three")


def replace(path: Path) -> None:
    path.with_name("new").write_text("two")
    path.with_name("new").rename(path)


def touch(path: Path) -> None:
    os.utime(path, (1, 1))


def chmod(path: Path) -> None:
    touch(path)
    path.chmod(0o600)


@pytest.mark.parametrize("change", [rewrite, replace, touch, chmod, Path.unlink], ids=lambda change: change.__name__)
def test_a_stamp_changes_with_its_file(tmp_path: Path, change: object) -> None:
    """Attack on the operator: a save of the same length within one tick of the clock is not seen (THREATS 52)."""
    path = tmp_path / "file"
    path.write_text("one")
    before = stamp(path)
    assert stamp(path) == before
    assert callable(change)
    change(path)
    assert stamp(path) != before


def test_a_file_of_the_same_size_and_time_is_another_file(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for path in (one, two):
        path.write_text("same")
        os.utime(path, ns=(7, 7))
    before = stamp(one)
    two.rename(one)
    assert stamp(one) != before


def test_a_stamp_is_inode_size_and_both_times(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    found = path.stat()
    assert stamp(path) == Stamp(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def test_what_is_not_there_has_no_stamp(tmp_path: Path) -> None:
    assert stamp(tmp_path / "none") is None
    assert stamp(tmp_path / "none" / "deeper") is None


def test_a_text_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xef\xbb\xbfgr\xc3\xbcn\n")
    assert read_text(path) == "grün\n"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none", "does not exist"),
        (".", "is no file"),
        ("latin", "is no UTF-8 text"),
        ("large", "larger than 64 MiB"),
        ("n" * 300, "cannot be read: File name too long"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "latin").write_bytes(b"gr\xfcn")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(65 * 1024 * 1024)
    with pytest.raises(ValueError, match=said):
        read_text(tmp_path / name)
