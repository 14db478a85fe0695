"""Listening sockets: TCP and unix, opened so that a second start says plainly what is taken."""

import os
import resource
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from forwardauth.config.settings import Address

BACKLOG = 2048
"""Traefik keeps two idle connections to a host and opens new ones under load; HAProxy opens one for each request."""


class ListenError(Exception):
    """A listener that cannot be opened; its text says which, why and what to change."""


@dataclass(frozen=True, slots=True)
class Listening:
    """A listening, non-blocking socket; `file` is what it made in the file system: path, device and inode."""

    socket: socket.socket
    file: tuple[Path, int, int] | None = None

    def remove_file(self) -> None:
        """Remove the file of a unix socket, unless another socket or file stands there by now."""
        if self.file is None:
            return
        path, device, inode = self.file
        try:
            found = path.lstat()
            if (found.st_dev, found.st_ino) == (device, inode):
                path.unlink()
        except OSError:
            return


def open_socket(address: Address, setting: str, folder: Path) -> Listening:
    """The listener of a setting; a unix path is below `folder`. Raises ListenError."""
    try:
        if address.unix:
            return _unix(folder / address.unix)
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        listening = socket.create_server(
            (address.host, address.port), family=family, backlog=BACKLOG, dualstack_ipv6=address.host == "::"
        )
    except OSError as failure:
        # asyncio and socket add the address to the text; the number alone says why. A resolver's numbers are its own.
        is_systems = failure.errno is not None and failure.errno > 0
        reason = os.strerror(failure.errno or 0) if is_systems else str(failure.strerror).partition(" (while")[0]
        raise ListenError(f"server.{setting}: cannot listen on {address}: {reason}; choose another address") from None
    listening.setblocking(False)
    return Listening(listening)


def allow_connections(count: int) -> int:
    """Raise this process's limit of open files to `count` as far as it may; the limit that is in force then.

    Services and shells mostly start with 1,024, which many connections reach, and then no changed file can be read.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return count
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def _unix(path: Path) -> Listening:
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))
        # Who may connect may ask: owner and group, so the gateway shares a group with this service.
        path.chmod(0o660)
        listening.listen(BACKLOG)
        listening.setblocking(False)
        made = path.lstat()
    except OSError:
        listening.close()
        raise
    return Listening(listening, (path, made.st_dev, made.st_ino))


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens on any more; anything else at that path stays and is an error."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            # Somebody lives there: a full backlog is EAGAIN, a stranger's socket EACCES. To bind says that it is taken.
            return
