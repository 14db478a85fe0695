"""A transport without a socket, so that the protocol is tested byte by byte."""

from forwardauth.core.model import Subrequest
from forwardauth.core.reply import Reply
from forwardauth.server.lane import Connection, Lane


class Transport:
    """Collects what a connection writes."""

    def __init__(self, peer: object = ("127.0.0.1", 40000)) -> None:
        self.peer = peer
        self.written = b""
        self.closed = False
        self.aborted = False
        self.reading = True

    def get_extra_info(self, name: str) -> object:
        return self.peer if name == "peername" else None

    def write(self, data: bytes) -> None:
        assert not self.closed, "written after the end"
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    @property
    def statuses(self) -> list[int]:
        """The statuses that were answered, in order."""
        return [int(part[:3]) for part in self.written.decode("latin-1").split("HTTP/1.1 ")[1:]]


class Recorder:
    """Answers 200 with the request's number, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[Subrequest] = []

    def answer(self, subrequest: Subrequest) -> Reply:
        self.asked.append(subrequest)
        return Reply(200, (("X-Number", str(len(self.asked))),), b"yes", "text/plain")


def connected(
    answerer: object, max_connections: int = 100, peer: object = ("127.0.0.1", 1)
) -> tuple[Connection, Transport]:
    """A connection of a lane of its own."""
    lane = Lane(answerer, max_connections)
    return connect(lane, peer)


def connect(lane: Lane, peer: object = ("127.0.0.1", 1)) -> tuple[Connection, Transport]:
    """One more connection of a lane."""
    connection = lane.connection()
    transport = Transport(peer)
    connection.connection_made(transport)
    return connection, transport
