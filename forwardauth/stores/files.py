"""Files that a configuration names: their text, and whether they changed. Knows paths, no meaning."""

import os
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
