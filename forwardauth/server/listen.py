"""Listening sockets: TCP and unix, opened so that a second start says plainly what is taken."""

import os
import socket
import stat
from pathlib import Path

from forwardauth.config.settings import Address

BACKLOG = 2048
"""Traefik keeps two idle connections to a host and opens new ones under load; HAProxy opens one for each request."""


class ListenError(Exception):
    """A listener that cannot be opened; its text says which, why and what to change."""


def open_socket(address: Address, setting: str, folder: Path) -> socket.socket:
    """A listening, non-blocking socket; a unix path is below `folder`. Raises ListenError."""
    try:
        if address.unix:
            return _unix(folder / address.unix)
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        listening = socket.create_server(
            (address.host, address.port), family=family, backlog=BACKLOG, dualstack_ipv6=address.host == "::"
        )
    except OSError as failure:
        # asyncio and socket add the address to the text; the number alone says why.
        reason = os.strerror(failure.errno) if failure.errno else str(failure)
        raise ListenError(f"server.{setting}: cannot listen on {address}: {reason}; choose another address") from None
    listening.setblocking(False)
    return listening


def _unix(path: Path) -> socket.socket:
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    # Who may connect may ask: owner and group, so the gateway shares a group with this service.
    path.chmod(0o660)
    listening.listen(BACKLOG)
    listening.setblocking(False)
    return listening


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
        except OSError:
            path.unlink(missing_ok=True)
