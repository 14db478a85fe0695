"""What comes in one turn of the loop is answered together, in order, and nothing is lost where a connection ends."""

from collections.abc import Callable

import pytest

from forwardauth.server.lane import Connection, Lane
from forwardauth.server.turn import MOST_RECEIVED
from tests.server.transport import Recorder, connect

ASK = b"GET /verify/traefik HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /verify/traefik HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
BROKEN = b"GET /verify/traefik HTTP/9.9\r\n\r\n"


class Turn:
    """One turn of a loop: what was called soon, and runs when the test says so."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def end(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@pytest.fixture
def turn() -> Turn:
    return Turn()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def lane(turn: Turn, recorder: Recorder) -> Lane:
    lane = Lane(recorder, 100)
    lane.turn.call_soon = turn.call_soon
    return lane


def test_everybody_is_received_then_decided_then_answered(lane: Lane, turn: Turn, recorder: Recorder) -> None:
    pairs = [connect(lane) for _ in range(3)]
    for connection, transport in pairs:
        connection.data_received(ASK)
        assert transport.written == b""
    assert recorder.asked == []
    assert len(turn.calls) == 1
    turn.end()
    assert [transport.statuses for _, transport in pairs] == [[200]] * 3
    pairs[0][0].data_received(ASK)
    assert len(turn.calls) == 1


def test_answers_of_one_connection_keep_their_order(lane: Lane, turn: Turn) -> None:
    connection, transport = connect(lane)
    connection.data_received(ASK * 5)
    turn.end()
    assert [int(part[:1]) for part in transport.written.split(b"X-Number: ")[1:]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("ending", "statuses"),
    [
        (lambda connection: connection.data_received(LAST), [200, 200]),
        (lambda connection: connection.data_received(BROKEN), [200, 400]),
        (lambda connection: connection.eof_received(), [200]),
    ],
    ids=["the last request", "a broken one", "the client's end"],
)
def test_what_was_answered_before_the_end_comes_before_it(
    lane: Lane, turn: Turn, ending: Callable[[Connection], object], statuses: list[int]
) -> None:
    connection, transport = connect(lane)
    connection.data_received(ASK)
    ending(connection)
    turn.end()
    assert transport.statuses == statuses
    assert transport.closed or statuses == [200]


def test_a_question_before_the_end_of_the_clients_side_is_answered_at_once(lane: Lane) -> None:
    connection, transport = connect(lane)
    connection.data_received(ASK)
    assert connection.eof_received() is False
    assert transport.statuses == [200]


def test_a_question_of_a_connection_that_is_lost_is_not_decided(lane: Lane, turn: Turn, recorder: Recorder) -> None:
    connection, transport = connect(lane)
    connection.data_received(ASK)
    transport.abort()
    connection.connection_lost(None)
    turn.end()
    assert recorder.asked == []


def test_a_turn_without_an_end_is_ended_by_what_it_collects(lane: Lane, turn: Turn) -> None:
    """Attack: packets on all connections in one turn, to have them all kept (THREATS 32)."""
    pairs = [connect(lane) for _ in range(MOST_RECEIVED + 1)]
    for connection, _ in pairs:
        connection.data_received(ASK)
    assert [transport.statuses for _, transport in pairs] == [[200]] * MOST_RECEIVED + [[]]
    turn.end()
    turn.end()
    assert pairs[-1][1].statuses == [200]


def test_a_connection_that_cannot_be_read_takes_no_answer_from_another(
    lane: Lane, turn: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, broken), (second, other) = connect(lane), connect(lane)

    def fail(data: bytes) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(first, "read", fail)
    first.data_received(ASK)
    second.data_received(ASK)
    turn.end()
    assert (broken.aborted, broken.written) == (True, b"")
    assert other.statuses == [200]
    second.data_received(ASK)
    turn.end()
    assert other.statuses == [200, 200]


def test_a_connection_that_cannot_even_be_ended_does_not_stop_the_next_turn(
    lane: Lane, turn: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, _), (second, other) = connect(lane), connect(lane)

    def fail(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(first, "read", fail)
    monkeypatch.setattr(first, "abort", fail)
    first.data_received(ASK)
    with pytest.raises(RuntimeError):
        turn.end()
    second.data_received(ASK)
    turn.end()
    assert other.statuses == [200]


def test_a_connection_that_went_away_gets_nothing(lane: Lane, turn: Turn) -> None:
    (gone, closed), (_, other) = connect(lane), connect(lane)
    gone.data_received(ASK)
    closed.abort()
    turn.end()
    assert closed.written == b""
    assert other.written == b""


def test_a_broken_connection_takes_no_answer_from_another(
    lane: Lane, turn: Turn, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, broken), (second, other) = connect(lane), connect(lane)

    def fail(data: bytes) -> None:
        raise RuntimeError("closed behind our back")

    monkeypatch.setattr(broken, "write", fail)
    first.data_received(ASK)
    second.data_received(ASK)
    turn.end()
    assert broken.aborted
    assert other.statuses == [200]


async def test_a_drain_loses_no_answer(turn: Turn) -> None:
    lane = Lane(Recorder(), 10)
    lane.turn.call_soon = turn.call_soon
    connection, transport = connect(lane)
    connection.data_received(ASK)
    await lane.drain(1)
    assert transport.statuses == [200]
    assert transport.closed


def test_without_a_loop_an_answer_is_written_at_once() -> None:
    connection, transport = connect(Lane(Recorder(), 10))
    connection.data_received(ASK)
    assert transport.statuses == [200]
