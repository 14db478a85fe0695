"""Listening sockets: whose file is removed, what is stale, and what is said about an address that cannot be had."""

import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from forwardauth.config.settings import parse_listen
from forwardauth.server.listen import ListenError, Listening, allow_connections, open_socket


def opened(folder: Path) -> Listening:
    return open_socket(parse_listen("unix:fa.sock"), "listen", folder)


def test_the_file_of_a_socket_goes_with_it(tmp_path: Path) -> None:
    listening = opened(tmp_path)
    with listening.socket:
        assert (tmp_path / "fa.sock").stat().st_mode & 0o777 == 0o660
        listening.remove_file()
        assert not (tmp_path / "fa.sock").exists()
        listening.remove_file()


def test_what_stands_there_by_now_is_left(tmp_path: Path) -> None:
    """A successor that started while this one drained listens there."""
    old = opened(tmp_path)
    (tmp_path / "fa.sock").unlink()
    new = opened(tmp_path)
    with old.socket, new.socket:
        old.remove_file()
        assert (tmp_path / "fa.sock").is_socket()


def test_a_socket_that_nobody_listens_on_is_replaced(tmp_path: Path) -> None:
    opened(tmp_path).socket.close()
    with opened(tmp_path).socket, socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(tmp_path / "fa.sock"))


def test_a_service_that_is_too_busy_to_accept_is_alive(tmp_path: Path) -> None:
    """Attack: fill the backlog, and have a second start take the socket away."""
    path = tmp_path / "fa.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
        busy.bind(str(path))
        busy.listen(0)
        first.connect(str(path))
        with pytest.raises(
            ListenError, match=r"server\.listen: cannot listen on unix:fa\.sock: Address already in use"
        ):
            opened(tmp_path)
        assert path.is_socket()


@pytest.mark.parametrize("make", [lambda path: path.write_text("precious"), lambda path: path.mkdir()])
def test_what_is_no_socket_stays(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "fa.sock")
    with pytest.raises(ListenError, match="Address already in use"):
        opened(tmp_path)
    assert (tmp_path / "fa.sock").exists()


def test_a_name_that_is_no_host_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match=r"cannot listen on nosuch\.invalid:9000: (?!Unknown error)[A-Z]"):
        open_socket(parse_listen("nosuch.invalid:9000"), "listen", tmp_path)


def test_as_many_files_may_be_open_as_connections_need() -> None:
    program = (
        "import resource; from forwardauth.server.listen import allow_connections as allow;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300));"
        "print(allow(50), allow(200), resource.getrlimit(resource.RLIMIT_NOFILE)[0], allow(9000))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["50", "200", "200", "300"]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert allow_connections(1) == 1
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
