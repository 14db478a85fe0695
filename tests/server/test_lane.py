"""The decision lane, whole messages and byte by byte."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.model import Subrequest
from forwardauth.core.reply import Reply
from forwardauth.doors import HEAD_SECONDS, IDLE_SECONDS, LARGEST_HEAD, MOST_HEADERS
from forwardauth.server.lane import LAST_QUESTIONS_SECONDS, Lane
from tests.server.transport import Recorder, Transport, connect, connected

GET = b"GET /verify/traefik?x=1 HTTP/1.1\r\nHost: a\r\nX-Forwarded-Uri: /v1\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Type: text/plain\r\nX-Number: 1\r\n\r\nyes"


def in_parts(message: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(message), size):
        yield message[start : start + size]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_request_is_answered_the_same_whole_and_in_parts(size: int) -> None:
    recorder = Recorder()
    connection, transport = connected(recorder)
    for part in in_parts(GET, size):
        connection.data_received(part)
    assert transport.written == ANSWER
    assert not transport.closed
    (asked,) = recorder.asked
    assert (asked.method, asked.target, asked.peer) == (b"GET", b"/verify/traefik?x=1", "127.0.0.1")
    assert asked.headers == [(b"Host", b"a"), (b"X-Forwarded-Uri", b"/v1")]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_pipelined_requests_are_answered_in_order_wherever_the_packets_end(sizes: list[int]) -> None:
    recorder = Recorder()
    connection, transport = connected(recorder)
    rest = GET * 5
    for size in sizes:
        part, rest = rest[:size], rest[size:]
        if part:
            connection.data_received(part)
    if rest:
        connection.data_received(rest)
    assert transport.written.count(b"X-Number") == 5
    assert [int(part[:1]) for part in transport.written.split(b"X-Number: ")[1:]] == [1, 2, 3, 4, 5]


def test_a_unix_socket_has_no_peer_address() -> None:
    recorder = Recorder()
    connection, _ = connected(recorder, peer="")
    connection.data_received(GET)
    assert recorder.asked[0].peer is None


def test_head_is_answered_like_get_without_the_body() -> None:
    connection, transport = connected(Recorder())
    connection.data_received(GET.replace(b"GET", b"HEAD"))
    assert transport.written == ANSWER[: -len(b"yes")]


@pytest.mark.parametrize(
    ("message", "ends"),
    [
        (GET.replace(b"HTTP/1.1", b"HTTP/1.0"), True),
        (GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), True),
        (GET.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"), False),
        (GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"), False),
    ],
    ids=["HTTP/1.0 ends", "close ends", "keep-alive goes on", "an empty body is no body (Envoy announces one)"],
)
def test_the_connection_goes_on_unless_the_gateway_ends_it(message: bytes, ends: bool) -> None:
    connection, transport = connected(Recorder())
    connection.data_received(message)
    assert transport.statuses == [200]
    assert transport.closed is ends
    assert (b"Connection: close" in transport.written) is ends


SMUGGLED = b"GET /verify/traefik HTTP/1.1\r\nHost: a\r\nX-Forwarded-Uri: /admin\r\n\r\n"
BODIES = {
    "length": b"Content-Length: %d\r\n\r\n" % len(SMUGGLED),
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(SMUGGLED),
    "empty chunk": b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("size", [1, 5, 4000])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("arrives", [True, False], ids=["with the bytes", "without the bytes"])
def test_nothing_behind_an_announced_body_is_a_request(body: bytes, arrives: bool, size: int) -> None:
    """A client's POST with a body makes nginx announce one on the kept connection and send the next client's request
    behind it: what the attacker wrote would be read as a request of its own, and allowed (THREATS 41)."""
    recorder = Recorder()
    connection, transport = connected(recorder)
    head, mark, rest = (b"POST /verify/nginx HTTP/1.1\r\nHost: a\r\n" + body).partition(b"\r\n\r\n")
    message = head + mark + (rest + SMUGGLED + b"\r\n0\r\n\r\n" + GET if arrives else b"")
    for part in in_parts(message, size):
        if not transport.closed:
            connection.data_received(part)
    connection.data_received(GET)
    assert transport.statuses == [200]
    assert transport.closed
    assert b"Connection: close" in transport.written
    assert [asked.target for asked in recorder.asked] == [b"/verify/nginx"]


def test_a_request_before_an_announced_body_keeps_its_answer() -> None:
    recorder = Recorder()
    connection, transport = connected(recorder)
    connection.data_received(GET + b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + GET)
    assert transport.statuses == [200, 200]
    assert transport.closed


def test_an_upgrade_is_answered_in_http_and_the_next_request_too() -> None:
    """Caddy forwards `Connection: Upgrade`; the parser stops there, and the kept connection must stay usable.

    (THREATS 37)
    """
    upgrade = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    for size in (1, 4000):
        recorder = Recorder()
        connection, transport = connected(recorder)
        for part in in_parts(upgrade + GET + upgrade + GET, size):
            connection.data_received(part)
        assert transport.statuses == [200, 200, 200, 200]
        assert not transport.closed


MALFORMED = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a space in a name": b"GET / HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\n b\r\n\r\n",
    "a control byte in a value": b"GET / HTTP/1.1\r\nHost: a\r\nA: \x00\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "length and chunks": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a length that is no number": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a lonely line feed": b"GET / HTTP/1.1\nHost: a\n\n",
}


@pytest.mark.parametrize("size", [1, 4000])
@pytest.mark.parametrize("message", MALFORMED.values(), ids=MALFORMED)
def test_malformed_http_gets_400_and_never_reaches_a_decision(message: bytes, size: int) -> None:
    """Attack: a head that only lenient parsers read (THREATS 41)."""
    recorder = Recorder()
    connection, transport = connected(recorder)
    for part in in_parts(message, size):
        connection.data_received(part)
    assert transport.statuses == [400]
    assert transport.closed
    assert recorder.asked == []


@given(st.binary(max_size=300))
def test_whatever_bytes_arrive_nothing_escapes(data: bytes) -> None:
    recorder = Recorder()
    connection, transport = connected(recorder)
    connection.data_received(data)
    connection.data_received(data)
    assert all(status in (200, 400) for status in transport.statuses)


def test_headers_of_32_kilobytes_pass() -> None:
    recorder = Recorder()
    connection, transport = connected(recorder)
    message = GET.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer " + b"x" * 32_768 + b"\r\n\r\n")
    for part in in_parts(message, 1460):
        connection.data_received(part)
    assert transport.statuses == [200]


def test_an_endless_head_is_431() -> None:
    """Attack: a head without an end (THREATS 32)."""
    connection, transport = connected(Recorder())
    connection.data_received(b"GET / HTTP/1.1\r\nHost: a\r\nA: ")
    for _ in range(LARGEST_HEAD // 1000 + 1):
        if not transport.closed:
            connection.data_received(b"x" * 1000)
    assert transport.statuses == [431]


LARGE = b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * LARGEST_HEAD


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"], ids=["without its end", "whole"])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_head_that_is_too_large_is_431_however_it_comes(end: bytes, parts: int) -> None:
    recorder = Recorder()
    connection, transport = connected(recorder)
    for part in in_parts(LARGE + end, (len(LARGE) + len(end)) // parts + 1):
        connection.data_received(part)
    assert transport.statuses == [431]
    assert recorder.asked == []


def test_many_small_requests_are_no_large_one() -> None:
    connection, transport = connected(Recorder())
    pipelined = GET.replace(b"Host: a", b"Host: a\r\nA: " + b"x" * 9000) * 30
    connection.data_received(pipelined + GET[:20])
    assert transport.statuses == [200] * 30
    connection.data_received(GET[20:])
    assert transport.statuses == [200] * 31


def test_too_many_headers_end_the_connection_unheard() -> None:
    recorder = Recorder()
    connection, transport = connected(recorder)
    connection.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: 1\r\n" * MOST_HEADERS + b"\r\n")
    assert transport.statuses == [431]
    assert recorder.asked == []
    assert transport.closed


class Slow:
    """Answers when it is told to; `/fast` at once."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[Reply]] = []

    def answer(self, subrequest: Subrequest) -> Reply | asyncio.Future[Reply]:
        if subrequest.target == b"/fast":
            return Reply(200, (("X-Path", "fast"),))
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]


def request(path: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n{more}\r\n".encode()


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_slow_verdict_holds_the_later_ones_of_its_connection_back() -> None:
    slow = Slow()
    connection, transport = connected(slow)
    connection.data_received(request("/slow") + request("/fast") + request("/slow") + request("/fast"))
    await turn()
    assert transport.written == b""
    slow.waiting[0].set_result(Reply(401))
    await turn()
    assert transport.statuses == [401, 200]
    slow.waiting[1].set_result(Reply(403))
    await turn()
    assert transport.statuses == [401, 200, 403, 200]


async def test_a_slow_verdict_does_not_hold_other_connections_back() -> None:
    slow = Slow()
    lane = Lane(slow, 10)
    first, _ = connect(lane)
    second, transport = connect(lane)
    first.data_received(request("/slow"))
    second.data_received(request("/fast"))
    assert transport.statuses == [200]
    slow.waiting[0].set_result(Reply(200))
    await turn()


async def test_a_connection_with_many_requests_behind_a_slow_one_is_read_no_more_for_a_while() -> None:
    slow = Slow()
    connection, transport = connected(slow)
    connection.data_received(request("/slow"))
    for _ in range(70):
        if transport.reading:
            connection.data_received(request("/fast"))
    assert not transport.reading
    slow.waiting[0].set_result(Reply(200))
    await turn()
    assert transport.reading
    assert len(transport.statuses) == 65


def test_many_upgrades_in_one_packet_are_answered_each() -> None:
    upgrade = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    connection, transport = connected(Recorder())
    connection.data_received(upgrade * 2000)
    assert len(transport.statuses) == 2000


async def test_a_slow_verdict_that_fails_is_503() -> None:
    slow = Slow()
    connection, transport = connected(slow)
    connection.data_received(request("/slow"))
    slow.waiting[0].set_exception(RuntimeError("a fault"))
    await turn()
    assert transport.statuses == [503]


def test_a_connection_that_is_gone_is_freed_at_once() -> None:
    """Attack: connect and leave, a million times, faster than the collector looks for cycles."""
    lane = Lane(Recorder(), 10)
    gc.collect()
    gc.disable()
    try:
        connection, transport = connect(lane)
        connection.data_received(GET * 2)
        connection.connection_lost(None)
        gone = weakref.ref(connection)
        del connection, transport
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("more", ["", "Connection: close\r\n"])
async def test_a_client_that_leaves_does_not_stop_its_check(more: str) -> None:
    slow = Slow()
    lane = Lane(slow, 10)
    connection, transport = connect(lane)
    connection.data_received(request("/slow", more))
    [check] = lane.tasks
    transport.closed = True
    connection.connection_lost(None)
    slow.waiting[0].set_result(Reply(200))
    await check
    assert transport.written == b""


@pytest.mark.parametrize("behind", [b"GET /fast HTTP/1.1\r\nHost: a\r\n\r\n", b"nonsense\r\n\r\n", b"\0"])
@pytest.mark.parametrize("last", [request("/slow", "Connection: close\r\n"), b"GET /slow HTTP/1.0\r\nHost: a\r\n\r\n"])
async def test_a_last_request_is_answered_whatever_stands_behind_it(last: bytes, behind: bytes) -> None:
    slow = Slow()
    connection, transport = connected(slow)
    connection.data_received(last + behind)
    [check] = slow.waiting
    check.set_result(Reply(401))
    await turn()
    assert transport.statuses == [401]
    assert transport.closed


async def test_malformed_bytes_behind_a_slow_verdict_end_the_connection_unanswered() -> None:
    """An answer to the second message must not be taken for the answer to the first."""
    slow = Slow()
    connection, transport = connected(slow)
    connection.data_received(request("/slow") + b"nonsense\r\n\r\n")
    assert transport.closed
    assert transport.written == b""
    slow.waiting[0].set_result(Reply(200))
    await turn()
    assert transport.written == b""


class Clock:
    """Lets the seconds of a lane pass."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane

    def pass_seconds(self, seconds: int) -> None:
        for _ in range(seconds):
            self.lane.tick += 1
            for connection in list(self.lane.connections):
                connection.check_time()


def test_a_head_that_drips_is_408() -> None:
    """Attack: hold connections by heads that come byte by byte (THREATS 32)."""
    lane = Lane(Recorder(), 10)
    connection, transport = connect(lane)
    clock = Clock(lane)
    for byte in GET[: HEAD_SECONDS + 5]:
        connection.data_received(bytes((byte,)))
        clock.pass_seconds(1)
        if transport.closed:
            break
    assert transport.statuses == [408]


def test_a_resting_connection_is_kept_longer_than_any_gateway_keeps_it() -> None:
    lane = Lane(Recorder(), 10)
    connection, transport = connect(lane)
    connection.data_received(GET)
    Clock(lane).pass_seconds(130)
    assert not transport.closed
    Clock(lane).pass_seconds(IDLE_SECONDS)
    assert transport.closed


def test_a_gateway_that_does_not_read_is_read_no_more_and_then_ended() -> None:
    lane = Lane(Recorder(), 10)
    connection, transport = connect(lane)
    connection.pause_writing()
    assert not transport.reading
    Clock(lane).pass_seconds(HEAD_SECONDS + 2)
    assert transport.aborted


def test_a_gateway_that_reads_again_is_read_again() -> None:
    lane = Lane(Recorder(), 10)
    connection, transport = connect(lane)
    connection.pause_writing()
    connection.resume_writing()
    assert transport.reading
    Clock(lane).pass_seconds(HEAD_SECONDS + 2)
    assert not transport.closed


def test_connections_over_the_budget_end_at_once_and_leave_make_room() -> None:
    lane = Lane(Recorder(), 2)
    opened = [connect(lane) for _ in range(3)]
    assert [transport.aborted for _, transport in opened] == [False, False, True]
    opened[0][0].connection_lost(None)
    _, fourth = connect(lane)
    assert not fourth.aborted


async def test_draining_answers_what_is_in_flight_and_ends_what_rests() -> None:
    slow = Slow()
    lane = Lane(slow, 10)
    busy, busy_transport = connect(lane)
    _, resting = connect(lane)
    busy.data_received(request("/slow"))
    draining = asyncio.ensure_future(lane.drain(5))
    await asyncio.sleep(LAST_QUESTIONS_SECONDS + 0.1)
    assert resting.closed
    assert not busy_transport.closed
    slow.waiting[0].set_result(Reply(200))
    await draining
    assert busy_transport.statuses == [200]
    assert b"Connection: close" in busy_transport.written
    assert busy_transport.closed
    _, late = connect(lane)
    assert late.aborted


async def test_a_question_that_was_on_its_way_when_draining_began_is_answered() -> None:
    lane = Lane(Recorder(), 10)
    connection, transport = connect(lane)
    connection.data_received(GET)
    draining = asyncio.ensure_future(lane.drain(5))
    await turn()
    assert not transport.closed
    connection.data_received(GET)
    # The system had accepted it before the listener was closed.
    accepted, its_transport = connect(lane)
    accepted.data_received(GET)
    await draining
    assert (its_transport.statuses, its_transport.closed) == ([200], True)
    assert transport.statuses == [200, 200]
    assert transport.written.count(b"Connection: close") == 1
    assert transport.closed


def test_a_half_closed_connection_without_a_question_ends() -> None:
    connection, _ = connected(Recorder())
    assert connection.eof_received() is False


async def test_a_half_closed_connection_still_gets_its_answer() -> None:
    slow = Slow()
    connection, transport = connected(slow)
    connection.data_received(request("/slow"))
    assert connection.eof_received() is True
    slow.waiting[0].set_result(Reply(200))
    await turn()
    assert transport.statuses == [200]


def test_transport_of_these_tests_refuses_a_write_after_the_end() -> None:
    transport = Transport()
    transport.close()
    with pytest.raises(AssertionError):
        transport.write(b"x")


class TestMessagesThatComeAgain:
    """A message that comes again byte by byte is parsed once; its verdict is not remembered."""

    def test_every_one_of_them_is_asked_about(self) -> None:
        recorder = Recorder()
        connection, transport = connected(recorder)
        for _ in range(5):
            connection.data_received(GET)
        assert transport.written.count(b"X-Number") == 5
        assert [asked.headers for asked in recorder.asked] == [recorder.asked[0].headers] * 5

    def test_a_message_of_another_peer_is_another_message(self) -> None:
        """Attack: repeat from outside what a gateway asked (THREATS 23)."""
        recorder = Recorder()
        lane = Lane(recorder, 10)
        for peer in (("10.0.0.1", 1), ("10.0.0.2", 1), "", ("10.0.0.1", 2)):
            connection, _ = connect(lane, peer)
            for _ in range(3):
                connection.data_received(GET)
        assert [asked.peer for asked in recorder.asked] == ["10.0.0.1"] * 3 + ["10.0.0.2"] * 3 + [None] * 3 + [
            "10.0.0.1"
        ] * 3

    @pytest.mark.parametrize(
        "message",
        [
            GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n"),
            GET.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
            GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
            GET.replace(b"HTTP/1.1", b"HTTP/1.0"),
        ],
        ids=["length", "chunked", "close", "HTTP/1.0"],
    )
    def test_one_that_ends_its_connection_ends_it_each_time(self, message: bytes) -> None:
        lane = Lane(Recorder(), 10)
        for _ in range(4):
            connection, transport = connect(lane)
            connection.data_received(message)
            assert transport.closed

    @pytest.mark.parametrize(
        "behind",
        [
            GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello"),
            GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n"),
            GET.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            b"nonsense\r\n\r\n",
        ],
        ids=["a body", "a body that comes later", "chunks", "nonsense"],
    )
    def test_one_with_something_behind_it_that_ends_the_connection_ends_it_each_time(self, behind: bytes) -> None:
        """Attack: have the packet remembered as its first request, so that the next answer is taken for another's.

        (THREATS 41)
        """
        recorder = Recorder()
        lane = Lane(recorder, 10)
        said = []
        for _ in range(4):
            connection, transport = connect(lane)
            connection.data_received(GET + behind)
            assert transport.closed
            said.append(transport.statuses)
            connection.connection_lost(None)
        assert said == [said[0]] * 4
        assert len(said[0]) == 2

    def test_a_part_that_looks_like_a_whole_message_is_still_a_part(self) -> None:
        """Bytes that are known as a request stand inside another one's header."""
        recorder = Recorder()
        lane = Lane(recorder, 10)
        connection, _ = connect(lane)
        for _ in range(3):
            connection.data_received(GET)
        connection, transport = connect(lane)
        connection.data_received(b"GET /other HTTP/1.1\r\nHost: a\r\nX: ")
        connection.data_received(GET)
        assert [asked.target for asked in recorder.asked[3:]] == [b"/other"]
        assert transport.statuses == [200]

    def test_half_of_a_known_message_behind_it_is_continued(self) -> None:
        recorder = Recorder()
        connection, transport = connected(recorder)
        for _ in range(3):
            connection.data_received(GET)
        connection.data_received(GET[:20])
        connection.data_received(GET[20:] + GET[:10])
        connection.data_received(GET[10:])
        assert transport.statuses == [200] * 5

    def test_memory_is_bounded(self) -> None:
        lane = Lane(Recorder(), 10)
        connection, _ = connect(lane)
        for number in range(3000):
            for _ in range(2):
                connection.data_received(GET.replace(b"x=1", b"x=%d" % number))
        assert len(lane.messages) <= 1024
        for _ in range(3):
            connection.data_received(GET.replace(b"x=1", b"x=" + b"1" * 5000))
        assert lane.messages.read("127.0.0.1", GET.replace(b"x=1", b"x=" + b"1" * 5000)) is None

    async def test_one_that_waits_holds_the_next_one_back(self) -> None:
        slow = Slow()
        connection, transport = connected(slow)
        for _ in range(3):
            connection.data_received(request("/slow"))
        await turn()
        assert len(slow.waiting) == 1
        for number in range(3):
            slow.waiting[number].set_result(Reply(200))
            await turn()
        assert transport.statuses == [200, 200, 200]


@pytest.mark.parametrize("coding", [b"gzip", b"identity", b"xchunked"])
def test_what_gets_a_400_was_never_decided(coding: bytes) -> None:
    """A decision whose answer is thrown away would be counted, charged and audited all the same."""
    recorder = Recorder()
    connection, transport = connected(recorder)
    connection.data_received(b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: " + coding + b"\r\n\r\n")
    assert len(recorder.asked) == transport.statuses.count(200)
    assert transport.closed
