"""Changes of key files by commands: whole or not at all. Knows the shapes of the files, no request and no service.

A file is written beside the old one and renamed over it, so that whoever reads sees the old keys or the new ones, and a
killed writer leaves the old ones. One writer at a time holds the lock of the folder, which outlives the rename.
"""

import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import string
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forwardauth.core.key_lists import (
    CLIENT_KEYS_SUFFIX,
    LOCAL_NETWORKS,
    REQUIRE_AUTH,
    VALID_KEYS,
    client_keys,
    local_networks,
    parse_document,
    requires_auth,
    valid_keys,
)
from forwardauth.stores.files import read_text

WAIT_SECONDS = 10.0
"""How long a writer waits for another one."""

# One name for each folder, so that the next writer removes what a killed one left.
_UNFINISHED = ".forwardauth-keys.new"

_SENDABLE = re.compile(r"[!-~]{1,4096}")
_ALPHABET = string.ascii_letters + string.digits + "_-"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class KeyFileError(Exception):
    """Why nothing was changed, in a sentence for an operator. Holds no key."""


@dataclass(frozen=True, slots=True)
class KeyListing:
    """What a key file says. `require_auth` is None where the shape has no such switch.

    A file that does not exist reads as the one that the first change would make.
    """

    exists: bool
    keys: tuple[str, ...] = field(repr=False)
    require_auth: bool | None
    local_networks: tuple[str, ...]


def list_keys(path: Path) -> KeyListing:
    """The keys in their order, without blanks. Raises KeyFileError."""
    target = _target(path)
    text = _text(target)
    document = _document(target, text)
    keys = tuple(key.strip() for key in _keys(document) if key.strip())
    if not _has_switch(document):
        return KeyListing(text is not None, keys, None, ())
    networks = tuple(str(entry) for entry in local_networks(document))
    return KeyListing(text is not None, keys, requires_auth(document), networks)


def add_key(path: Path, key: str) -> bool:
    """Put a key at the end of the list; False when it is there already. Makes a missing file. Raises KeyFileError."""
    if not _SENDABLE.fullmatch(key):
        raise KeyFileError("a key is printable ASCII without spaces, at most 4096 characters: nothing else can be sent")

    def add(document: Any) -> bool:
        keys = _keys(document)
        if any(entry.strip() == key for entry in keys):
            return False
        keys.append(key)
        return True

    return _edit(path, add)


def remove_key(path: Path, key: str) -> bool:
    """Take a key out of the list, wherever it stands; False when it is not there. Raises KeyFileError."""

    def remove(document: Any) -> bool:
        keys = _keys(document)
        kept = [entry for entry in keys if entry.strip() != key.strip()]
        if len(kept) == len(keys):
            return False
        keys[:] = kept
        return True

    return _edit(path, remove)


def generate_key(path: Path, prefix: str = "") -> str:
    """Add a new random key, and answer it. Raises KeyFileError."""
    key = random_key(prefix)
    add_key(path, key)
    return key


def random_key(prefix: str = "") -> str:
    """A key of 32 characters of A-Za-z0-9_-; behind a prefix, of 43 (32 random bytes as base64url)."""
    if prefix:
        return prefix + secrets.token_urlsafe(32)
    # A key that begins with a dash would be an option on the next command line.
    first = secrets.choice(_ALPHABET.rstrip("-"))
    return first + "".join(secrets.choice(_ALPHABET) for _ in range(31))


def toggle_auth(path: Path) -> bool:
    """Turn `require_auth_for_external` over, and answer what it is now. Makes a missing file. Raises KeyFileError."""
    required = True

    def toggle(document: Any) -> bool:
        nonlocal required
        if not _has_switch(document):
            raise ValueError(f"has no {REQUIRE_AUTH}, as its keys do not stand in {VALID_KEYS}")
        required = document[REQUIRE_AUTH] = not requires_auth(document)
        return True

    _edit(path, toggle)
    return required


# What a file says.


def _document(target: Path, text: str | None) -> Any:
    """The whole document, checked, or a new one. Raises KeyFileError: what is broken is never written over."""
    if text is None:
        return _new_document(target.name)
    try:
        document: Any = parse_document(text)
        _keys(document)
        if _has_switch(document):
            requires_auth(document)
            local_networks(document)
    except ValueError as failure:
        raise KeyFileError(f"{target} {failure}; it was left as it is") from None
    return document


def _new_document(name: str) -> dict[str, Any]:
    if name.endswith(CLIENT_KEYS_SUFFIX):
        return {"keys": []}
    return {VALID_KEYS: [], REQUIRE_AUTH: True, LOCAL_NETWORKS: ["127.0.0.1", "localhost", "::1"]}


def _has_switch(document: Any) -> bool:
    return isinstance(document, dict) and VALID_KEYS in document


def _keys(document: Any) -> list[str]:
    """The list itself: who changes it changes the document. Raises ValueError."""
    return valid_keys(document) if _has_switch(document) else client_keys(document)


def _written(target: Path, document: Any) -> bytes:
    try:
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (ValueError, RecursionError):
        raise KeyFileError(
            f"{target} holds a number or a depth that cannot be written again; nothing changed"
        ) from None
    # Half of a surrogate pair is JSON (RFC 8259 8.2) and no UTF-8: it goes back as the escape that it was.
    return text.encode("utf-8", "backslashreplace")


# How a file is changed.


def _edit(path: Path, change: Callable[[Any], bool]) -> bool:
    """Change a document and write it. False, and nothing written, where `change` says that there is nothing to do."""
    target = _target(path)
    with _locked(target.parent):
        text = _text(target)
        document = _document(target, text)
        try:
            changes = change(document)
        except ValueError as failure:
            raise KeyFileError(f"{target} {failure}; nothing was changed") from None
        if changes:
            _replace(target, text, _written(target, document))
        return changes


def _target(path: Path) -> Path:
    """The file itself: where the path is a link, what it leads to is replaced, and the link stays."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        raise KeyFileError(f"{path} leads nowhere") from None


def _text(target: Path) -> str | None:
    """The text of the file; None where there is none. Raises KeyFileError."""
    try:
        target.lstat()
        return read_text(target)
    except FileNotFoundError:
        return None
    except OSError as failure:
        raise KeyFileError(f"{target} cannot be read: {failure.strerror}") from None
    except ValueError as failure:
        raise KeyFileError(str(failure)) from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which its holder's end releases too. Raises KeyFileError when another one keeps it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as failure:
        raise KeyFileError(f"the folder {folder} cannot be opened: {failure.strerror}") from None
    try:
        until = time.monotonic() + WAIT_SECONDS
        while not _lock(descriptor, folder):
            if time.monotonic() > until:
                raise KeyFileError(f"another program is changing keys in {folder}; nothing was changed, try again")
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as failure:
        raise KeyFileError(f"the folder {folder} cannot be locked: {failure.strerror}; nothing was changed") from None
    return True


def _replace(target: Path, text: str | None, content: bytes) -> None:
    """Write the content beside the file and rename it over it. `text` is what the file said when it was read."""
    unfinished = target.with_name(_UNFINISHED)
    try:
        unfinished.unlink(missing_ok=True)
        try:
            _write(unfinished, content, target if text is not None else None)
            # An editor knows nothing of the lock. What it saved since then must not be lost.
            if _text(target) != text:
                raise KeyFileError(f"{target} was changed by another program meanwhile; nothing was written, try again")
            unfinished.rename(target)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as failure:
        raise KeyFileError(f"{target} {_why(failure)}; nothing was changed") from None
    _confirm(target)


def _write(unfinished: Path, content: bytes, like: Path | None) -> None:
    """A new file on the disk, 0600 or with mode, owner and access list of another one."""
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        if like is not None:
            _keep_owner(descriptor, like)
            shutil.copystat(like, unfinished)
            os.utime(descriptor)
        os.fsync(descriptor)


def _keep_owner(descriptor: int, like: Path) -> None:
    """Give a file the owner of another one: a service that could read the old file must be able to read the new."""
    old, new = like.stat(), os.fstat(descriptor)
    if (old.st_uid, old.st_gid) == (new.st_uid, new.st_gid):
        return
    try:
        os.fchown(descriptor, old.st_uid, old.st_gid)
    except PermissionError:
        raise KeyFileError(f"{like} belongs to somebody else; nothing was changed, run this as its owner") from None


def _confirm(target: Path) -> None:
    """Have the rename on the disk, too."""
    try:
        descriptor = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as failure:
        # Some network file systems have no fsync for folders.
        if failure.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise KeyFileError(f"{target} was changed, but the disk did not confirm it: {failure.strerror}") from None


def _why(failure: OSError) -> str:
    if failure.errno in _FULL:
        return f"cannot be written ({failure.strerror}): free space and try again"
    if failure.errno == errno.EBUSY:
        return "is mounted by itself, and so cannot be replaced: mount the folder that it is in, or edit it outside"
    return f"cannot be written: {failure.strerror}"
