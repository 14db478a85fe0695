"""Messages of a known shape are read as the parser reads them, or not at all."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.model import Shaped
from forwardauth.server.lane import Lane
from tests.server.shaping import ASKED, OFTEN, OTHER, pairs, same, taught
from tests.server.transport import Recorder, connect


def test_a_shape_is_learnt_and_read() -> None:
    lane, recorder = taught()
    assert len(lane.messages.shapes) == 1
    connection, transport = connect(lane)
    connection.data_received(OTHER)
    (asked,) = recorder.asked
    assert isinstance(asked.headers, Shaped)
    assert (asked.method, asked.target, asked.peer) == (b"GET", b"/verify/traefik/b?c=%20", "127.0.0.1")
    assert pairs(asked.headers) == [
        (b"Host", b"a"),
        (b"X-Forwarded-Uri", b"/v2"),
        (b"X-API-Token", b"another"),
        (b"Content-Length", b"0"),
        (b"Accept", b"text/html, */*"),
    ]
    assert transport.statuses == [200]
    assert not transport.closed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Content-Length: 0", b"Content-Length: 5"),
        (b"Content-Length: 0", b"Content-Length: 00"),
        (b"Content-Length: 0", b"Connection: close"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"GET", b"POST"),
        (b"secret-1", b"secret\r\nX-API-Token: 1"),
        (b"secret-1", b"secret\r\n\r\nGET /verify/traefik HTTP/1.1\r\nHost: a"),
        (b"secret-1", b"secret\n1"),
        (b"secret-1", b"secret\r1"),
        (b"secret-1", b"secret\x00"),
        (b"secret-1", b"secret\x7f"),
        (b"secret-1", b"secr\xe9t"),
        (b"secret-1", b"\tsecret"),
        (b"secret-1", b" secret"),
        (b"secret-1", b"secret "),
        (b"secret-1", b""),
        (b"X-API-Token: ", b"X-API-Token:"),
        (b"X-API-Token: ", b"X_API_Token: "),
        (b"X-API-Token: ", b"x-api-token: "),
        (b"/verify/traefik", b"http://a/verify/traefik"),
        (b"/verify/traefik", b"/verify/traefik#a"),
        (b"/verify/traefik", b"/verify/\xe9"),
        (b"/verify/traefik", b"*"),
        (b"\r\n\r\n", b"\r\n\r\n\r\n"),
        (b"\r\n\r\n", b"\r\n"),
        (b"GET /", b"\r\nGET /"),
    ],
)
def test_what_is_not_clearly_of_the_shape_is_left_to_the_parser(old: bytes, new: bytes) -> None:
    """Attack: bytes that one of two readers takes for another request, a body or an end (THREATS 41)."""
    lane, recorder = taught()
    message = ASKED.replace(old, new)
    assert message != ASKED
    assert lane.messages.shapes.read("127.0.0.1", message) is None
    same(message, lane, recorder)


EDGES = [b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b": ", b"\x80", b"\xff", b"\x7f", b"GET /", b" HTTP/1.1"]
HEADERS = [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Upgrade: h2c\r\n"]
LANE, RECORDER = taught()


@given(
    st.sampled_from([ASKED, OTHER]),
    st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(EDGES + HEADERS) | st.binary(max_size=6)),
        min_size=1,
        max_size=4,
    ),
)
def test_a_changed_message_is_read_as_the_parser_reads_it(
    message: bytes, changes: list[tuple[float, int, bytes]]
) -> None:
    for place, dropped, put in changes:
        start = int(place * len(message))
        message = message[:start] + put + message[start + dropped :]
    same(message, LANE, RECORDER)


@given(
    st.lists(st.text("".join(map(chr, range(0x20, 0x7F))), max_size=30), min_size=4, max_size=4),
    st.text("".join(map(chr, range(0x21, 0x7F))), max_size=30),
)
def test_any_visible_values_are_read_as_the_parser_reads_them(values: list[str], target: str) -> None:
    host, uri, key, accept = (value.encode() for value in values)
    same(
        b"GET /%s HTTP/1.1\r\nHost: %s\r\nX-Forwarded-Uri: %s\r\nX-API-Token: %s\r\nContent-Length: 0\r\nAccept: %s"
        b"\r\n\r\n" % (target.encode(), host, uri, key, accept),
        LANE,
        RECORDER,
    )


def test_a_part_of_another_message_is_no_message_of_the_shape() -> None:
    lane, recorder = taught()
    connection, transport = connect(lane)
    connection.data_received(b"GET /other HTTP/1.1\r\nHost: a\r\nX: ")
    connection.data_received(OTHER)
    assert [asked.target for asked in recorder.asked] == [b"/other"]
    assert transport.statuses == [200]


def test_a_flood_of_shapes_is_learnt_slowly_and_bounded() -> None:
    """Attack: other header names in every request, because a shape costs time and memory (THREATS 32)."""
    lane, recorder = taught()
    connection, _ = connect(lane)
    chance = random.Random(1)
    for second in range(1, 40):
        lane.tick = second
        for _ in range(3):
            name = b"X-%d" % chance.randrange(10**9)
            for number in range(OFTEN):
                connection.data_received(ASKED.replace(b"Accept", name).replace(b"x=1", b"x=%d" % number))
        assert len(lane.messages.shapes) <= min(second + 1, 8)
    # The one that was learnt first and is asked again and again stays.
    connection.data_received(OTHER)
    assert isinstance(recorder.asked[-1].headers, Shaped)


def test_a_shape_that_cannot_be_read_takes_nobodys_place() -> None:
    lane, recorder = taught()
    connection, _ = connect(lane)
    for second in range(1, 20):
        lane.tick = second
        for number in range(OFTEN):
            connection.data_received(ASKED.replace(b"secret-1", b"\xe9%d" % number).replace(b"Host", b"host"))
    connection.data_received(OTHER)
    assert isinstance(recorder.asked[-1].headers, Shaped)
    assert len(lane.messages.shapes) == 1


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(b"Proxy-Connection: " + b"x" * 2000, id="a long value that would stand in the expression"),
        pytest.param(b"X-Long: " + b"x" * 5000, id="a message that is never read by its shape"),
        pytest.param(b"\r\n".join(b"X-%d: 1" % number for number in range(70)), id="many names"),
        pytest.param(b"X-" + b"x" * 1100 + b": 1", id="a long name"),
    ],
)
def test_a_large_shape_is_not_learnt(more: bytes) -> None:
    """Attack: expressions without end, in time and in memory (THREATS 32)."""
    lane, _ = taught()
    connection, transport = connect(lane)
    for second in range(1, 3 * OFTEN):
        lane.tick = second
        connection.data_received(ASKED.replace(b"Accept", b"%s\r\nAccept" % more).replace(b"x=1", b"x=%d" % second))
    assert not transport.closed
    assert len(lane.messages.shapes) == 1


def test_messages_that_end_the_connection_teach_nothing() -> None:
    recorder = Recorder()
    lane = Lane(recorder, 1000)
    for second in range(2 * OFTEN):
        lane.tick = second
        for ending in (b"Connection: close", b"Content-Length: 5", b"Transfer-Encoding: chunked"):
            connection, transport = connect(lane)
            connection.data_received(ASKED.replace(b"Content-Length: 0", ending).replace(b"x=1", b"x=%d" % second))
            assert transport.closed
    assert len(lane.messages.shapes) == 0
