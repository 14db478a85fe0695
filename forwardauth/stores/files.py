"""Files that a configuration names: their text, and whether they changed. Knows paths, no meaning."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

_LARGEST = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes when a file is saved, renamed over or touched: inode, size, mtime and ctime (nanoseconds)."""

    inode: int
    size: int
    mtime: int
    ctime: int


def stamp(path: Path) -> Stamp | None:
    """The stamp of a file, or None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Stamp(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def read_text(path: Path) -> str:
    """The text of a file, without a byte order mark. Raises ValueError with what is wrong."""
    try:
        if not path.is_file():
            raise ValueError(f"{path} is no file" if path.exists() else f"{path} does not exist")
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"{path} is larger than 64 MiB")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no UTF-8 text") from None
    except OSError as failure:
        raise ValueError(f"{path} cannot be read: {os.strerror(failure.errno or 0)}") from None


def own_secret(path: Path) -> str:
    """The secret in a file that nobody else may read; the file is made if it is missing. Raises ValueError."""
    try:
        # O_EXCL: a file that somebody else laid there first is read, and refused if others can read it.
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    except OSError as failure:
        raise ValueError(f"{path} cannot be made: {failure.strerror}") from None
    else:
        os.write(made, secrets.token_urlsafe(32).encode() + b"\n")
        os.close(made)
    secret = read_text(path).strip()
    if path.stat().st_mode & 0o077:
        raise ValueError(f"others can read {path}; chmod 600 it")
    if not secret:
        raise ValueError(f"{path} is empty; delete it, and a new one is made at the next start")
    return secret
