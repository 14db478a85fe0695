"""A lane that knows the shape of a message, beside one that knows none."""

from forwardauth.core.model import Headers
from forwardauth.server.lane import Connection, Lane
from tests.server.transport import Recorder, Transport, connect

ASKED = (
    b"GET /verify/traefik HTTP/1.1\r\nHost: a\r\nX-Forwarded-Uri: /v1?x=1\r\nX-API-Token: secret-1\r\n"
    b"Content-Length: 0\r\nAccept: text/html, */*\r\n\r\n"
)
OTHER = ASKED.replace(b"/v1?x=1", b"/v2").replace(b"secret-1", b"another").replace(b"traefik", b"traefik/b?c=%20")
OFTEN = 16


def taught(message: bytes = ASKED) -> tuple[Lane, Recorder]:
    """A lane that knows the shape of a message, and what it is asked from then on."""
    recorder = Recorder()
    lane = Lane(recorder, 1000)
    connection, transport = connect(lane)
    for number in range(OFTEN):
        # Another query each time: what comes again byte by byte is remembered before its shape is learnt.
        connection.data_received(message.replace(b" HTTP/1.1", b"?%d HTTP/1.1" % number, 1))
    assert transport.statuses == [200] * OFTEN
    recorder.asked.clear()
    return lane, recorder


def pairs(headers: Headers) -> list[tuple[bytes, bytes]]:
    return headers if isinstance(headers, list) else list(zip(headers.names, headers.values, strict=True))


def _outcome(connection: Connection, transport: Transport, recorder: Recorder, data: bytes) -> tuple[object, ...]:
    """Everything that bytes lead to, on a connection and behind it."""
    recorder.asked.clear()
    connection.data_received(data)
    if not transport.closed:
        connection.data_received(ASKED)
    asked = [(each.method, each.target, pairs(each.headers), each.peer) for each in recorder.asked]
    return asked, transport.written, transport.closed


def same(data: bytes, lane: Lane, recorder: Recorder) -> None:
    """A lane that knows shapes does what one does that was just opened."""
    plain = Recorder()
    fresh = Lane(plain, 1000)
    connection, transport = connect(lane)
    assert _outcome(connection, transport, recorder, data) == _outcome(*connect(fresh), plain, data), data
    connection.connection_lost(None)
