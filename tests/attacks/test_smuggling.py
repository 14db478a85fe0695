"""Requests inside requests: what stands behind a subrequest's headers on a connection that goes on."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forwardauth.core.reasons import DENIALS, Reason
from forwardauth.doors import LARGEST_HEAD, MOST_HEADERS
from forwardauth.gateways import GATEWAYS
from forwardauth.replies import FORMATS, deny
from tests.attacks.gate import (
    CHAT,
    DIALECTS,
    PATIENT,
    Asking,
    Gate,
    own_headers,
    subrequest,
    token,
)
from tests.server.transport import Recorder, connected

GATE = Gate(PATIENT)
OPEN = Asking(url="https://open.example.com/x")

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)
at_once = pytest.mark.parametrize("at_once", [0, 1, 7])


def targets(gate: Gate) -> list[bytes]:
    return [asked.target for asked in gate.recording.asked]


def with_lines(message: bytes, *lines: bytes) -> bytes:
    """A message with further header lines, byte by byte as given; Envoy's own length makes room for them."""
    head = message.removesuffix(b"\r\n\r\n").replace(b"\r\nContent-Length: 0", b"")
    return b"\r\n".join([head, *lines]) + b"\r\n\r\n"


def announced(hidden: bytes) -> dict[str, tuple[list[bytes], bytes]]:
    """Ways to announce a body, and the body that holds the hidden request."""
    size = len(hidden)
    chunked = b"Transfer-Encoding: chunked"
    return {
        "length": ([b"Content-Length: %d" % size], hidden),
        "length, one short": ([b"Content-Length: %d" % (size - 1)], hidden),
        "length, leading zeros": ([b"Content-Length: 000%d" % size], hidden),
        "length of one byte": ([b"Content-Length: 1"], b"G" + hidden),
        "length, and Expect": ([b"Expect: 100-continue", b"Content-Length: %d" % size], hidden),
        "length of another": ([b"Content-Length: 18446744073709551615"], hidden),
        "chunks": ([chunked], b"%x\r\n%s\r\n0\r\n\r\n" % (size, hidden)),
        "chunks with extensions": ([chunked], b'%x;a=b;c="d"\r\n%s\r\n0;x\r\n\r\n' % (size, hidden)),
        "chunks with a trailer": ([chunked], b"1\r\nx\r\n0\r\nX-Auth-User: admin\r\n\r\n" + hidden),
        "chunks, empty": ([chunked], b"0\r\n\r\n" + hidden),
        "chunks, in capitals": ([b"TRANSFER-ENCODING: CHUNKED"], b"0\r\n\r\n" + hidden),
        "chunks, broken": ([chunked], b"zz\r\n" + hidden),
        "chunks, an endless size": ([chunked], b"f" * 40 + b"\r\n" + hidden),
        "chunks, by line feeds": ([chunked], b"0\n\n" + hidden),
        "chunks behind gzip": ([b"Transfer-Encoding: gzip, chunked"], b"0\r\n\r\n" + hidden),
        "gzip alone": ([b"Transfer-Encoding: gzip"], hidden),
    }


BODIES = list(announced(b""))


@every_dialect
@at_once
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("arrives", [True, False], ids=["with the bytes", "without the bytes"])
def test_nothing_behind_an_announced_body_is_a_request(dialect: str, at_once: int, body: str, arrives: bool) -> None:
    """Attack: a client's body, or the next client's header, is read as a request of the gateway (seen behind nginx).

    One answer, then the connection ends, in whatever packets it comes (THREATS 41).
    """
    gate = Gate()
    lines, content = announced(subrequest(dialect, OPEN, ("X-Hidden", "1")))[body]
    wire = gate.connect()
    wire.send(with_lines(subrequest(dialect, CHAT), *lines) + (content if arrives else b""), at_once)
    wire.send(subrequest(dialect, OPEN, ("X-Hidden", "1")))
    assert not [asked for asked in gate.recording.asked if (b"X-Hidden", b"1") in asked.headers]
    assert [answer.meant for answer in wire.answers] in ([401], [400])
    assert wire.transport.closed
    assert wire.answers[-1].closes


FRAMINGS = {
    "length and chunks": [b"Content-Length: 4", b"Transfer-Encoding: chunked"],
    "chunks and length": [b"Transfer-Encoding: chunked", b"Content-Length: 4"],
    "two lengths": [b"Content-Length: 0", b"Content-Length: 4"],
    "one length twice": [b"Content-Length: 0", b"Content-Length: 0"],
    "a list of lengths": [b"Content-Length: 0, 4"],
    "a sign": [b"Content-Length: +0"],
    "a negative length": [b"Content-Length: -1"],
    "hex": [b"Content-Length: 0x0"],
    "an empty length": [b"Content-Length: "],
    "words": [b"Content-Length: none"],
    "digits of another script": ["Content-Length: \u0660".encode()],
    "chunks twice": [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
    "chunks not last": [b"Transfer-Encoding: chunked, gzip"],
    "a space before the colon": [b"Transfer-Encoding : chunked"],
    "a tab before the colon": [b"Content-Length\t: 4"],
    "a vertical tab": [b"Transfer-Encoding: \x0bchunked"],
    "a form feed": [b"Transfer-Encoding: \x0cchunked"],
    "NUL in a value": [b"X-A: a\0b"],
    "NUL in a name": [b"X-\0A: b"],
    "a folded line": [b"X-A: a", b" X-Auth-User: admin"],
    "a line folded by a tab": [b"X-A: a", b"\tTransfer-Encoding: chunked"],
    "a line feed alone": [b"X-A: a\nX-Hidden: 1"],
    "a carriage return alone": [b"X-A: a\rX-Hidden: 1"],
    "a line without a colon": [b"X-A"],
    "no name": [b": a"],
    "a space in a name": [b"X A: b"],
    "a byte above ASCII in a name": [b"X-\xc3\xa9: b"],
    "a bracket in a name": [b"X(A): b"],
    "a control byte in a value": [b"X-A: \x7f\x01"],
}


@every_dialect
@at_once
@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_head_that_two_parsers_read_differently_is_a_400(dialect: str, at_once: int, framing: str) -> None:
    """Attack: hide a header or a body in line ends, folding, spaces, signs and codings (THREATS 41)."""
    gate = Gate()
    wire = gate.connect()
    message = with_lines(subrequest(dialect, OPEN, token()), *FRAMINGS[framing])
    wire.send(message + b"0\r\n\r\n" + subrequest(dialect, OPEN, ("X-Hidden", "1")), at_once)
    assert [answer.status for answer in wire.answers] == [400]
    assert wire.transport.closed
    assert gate.recording.asked == []


LINES = {
    "no version": "GET {target}",
    "HTTP of another sort": "GET {target} HTCPCP/1.1",
    "a version too far": "GET {target} HTTP/3.0",
    "a version of two digits": "GET {target} HTTP/1.10",
    "a space in the target": "GET {target} /health HTTP/1.1",
    "a tab between": "GET\t{target}\tHTTP/1.1",
    "a method of no list": "STEAL {target} HTTP/1.1",
    "small letters": "get {target} HTTP/1.1",
    "NUL": "GET {target}\0 HTTP/1.1",
    "a byte above ASCII": "GET {target}\u00e9 HTTP/1.1",
    "HTTP/2": "PRI * HTTP/2.0",
}


@at_once
@pytest.mark.parametrize("line", LINES)
def test_a_first_line_that_is_none_opens_nothing(at_once: int, line: str) -> None:
    """Attack: a request line that only lenient parsers read (THREATS 10, 41)."""
    gate = Gate()
    wire = gate.connect()
    first = LINES[line].format(target=GATEWAYS["traefik"].path)
    own = "".join(f"{name}: {value}\r\n" for name, value in own_headers("traefik", CHAT).items())
    wire.send(f"{first}\r\n{own}\r\n".encode(), at_once)
    assert [answer.status for answer in wire.answers] in ([400], [401])
    assert wire.transport.closed


KINDS = [
    subrequest(dialect, asking, *more) for dialect in DIALECTS for asking in (CHAT, OPEN) for more in ([], [token()])
]
EXPECTED = [401, 200, 200, 200] * len(DIALECTS)


@given(st.lists(st.integers(0, len(KINDS) - 1), max_size=12), st.integers(0, 700))
@example(list(range(len(KINDS))), 0)
@example([0, 3, 0, 3, 0], 1)
def test_pipelined_questions_get_their_own_answers_in_order(order: list[int], at_once: int) -> None:
    """Attack: have the answer to a public path stand for the next question, a closed one (THREATS 41)."""
    wire = GATE.connect()
    wire.send(b"".join(KINDS[number] for number in order), at_once)
    wire.connection.connection_lost(None)
    assert [answer.meant for answer in wire.answers] == [EXPECTED[number] for number in order]


UPGRADE = [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]


@every_dialect
@at_once
def test_an_upgrade_is_judged_like_any_request_and_the_connection_goes_on(dialect: str, at_once: int) -> None:
    """Attack: an upgrade that the service follows, after which nothing on that connection is judged (THREATS 37)."""
    gate = Gate(PATIENT)
    wire = gate.connect()
    for headers, expected in (([], 401), ([token()], 200), ([token("guess")], 401)):
        wire.send(with_lines(subrequest(dialect, CHAT, *headers), *UPGRADE), at_once)
        wire.send(subrequest(dialect, CHAT), at_once)
        assert [answer.meant for answer in wire.answers][-2:] == [expected, 401]
    assert len(wire.answers) == 6
    assert not wire.transport.closed


@every_dialect
@pytest.mark.parametrize("size", [9_000, 30_000, 32_768])
@pytest.mark.parametrize("name", ["Authorization", "Cookie", "X-API-Token", "X-Other", "path", "query"])
def test_what_is_large_is_judged(dialect: str, size: int, name: str) -> None:
    """Attack: headers beyond a server's default limits, which become a 500 at nginx's clients (THREATS 32)."""
    gate = Gate()
    large = "x" * size
    if name in ("path", "query"):
        asking = Asking(url=f"https://api.example.com/v1{'/' if name == 'path' else '?'}{large}")
        assert (gate.ask(dialect, asking).meant, gate.ask(dialect, asking, token()).meant) == (401, 200)
        return
    header = (name, large)
    assert gate.ask(dialect, CHAT, header).meant == 401
    assert gate.ask(dialect, CHAT, header, *([] if name == "X-API-Token" else [token()])).meant in (200, 401)
    assert gate.ask(dialect, OPEN, header).meant == 200


@every_dialect
@pytest.mark.parametrize("at_once", [1460, 65_536])
def test_what_is_too_large_gets_a_431_and_is_not_judged(dialect: str, at_once: int) -> None:
    """Attack: headers without an end, many of them, or one long name (THREATS 32)."""
    for lines in (
        [b"X-Large: " + b"x" * 3 * LARGEST_HEAD],
        [b"X" * 3 * LARGEST_HEAD + b": x"],
        [b"X-%d: x" % number for number in range(MOST_HEADERS)],
        [b"X: x"] * MOST_HEADERS,
    ):
        gate = Gate()
        wire = gate.connect()
        wire.send(with_lines(subrequest(dialect, CHAT, token()), *lines), at_once)
        assert [answer.status for answer in wire.answers] == [431]
        assert gate.recording.asked == []


@every_dialect
def test_what_stands_last_of_very_many_headers_still_decides(dialect: str) -> None:
    """Attack: hide the second key, or a look-alike, behind two hundred other headers (THREATS 3, 4, 32)."""
    many = [(f"X-Filler-{number}", "x") for number in range(200)]
    gate = Gate(PATIENT)
    assert gate.ask(dialect, CHAT, *many, token()).meant == 200
    assert gate.ask(dialect, CHAT, token(), *many, token("guess")).word == "ambiguous_credentials"
    assert gate.ask(dialect, CHAT, token(), *many, ("X_Auth_User", "admin")).word == "lookalike_header"


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("reason", DENIALS, ids=lambda reason: str(reason.word))
def test_every_denial_is_small_at_every_gateway(reason: Reason, kind: str) -> None:
    """Attack: an error page that does not fit the gateway's buffer becomes its own 500 (26998, THREATS 33).

    nginx carries the body in a header, within the default of 4 kB (`proxy_buffer_size`).
    """
    denial = DENIALS[reason]
    for dialect in GATEWAYS.values():
        if kind == "browser" and not dialect.carries_html:
            continue
        reply = dialect.write(deny(denial, kind, 12.0))
        head = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
        assert len(head) + len(reply.body) < 4000
        assert "\n" not in "".join(value for _, value in reply.headers)


_HIDDEN = b"GET /verify/traefik HTTP/1.1\r\nHost: a\r\nX-Hidden: 1\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: %d\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n",
    ],
    ids=["upgrade and length", "CONNECT and length", "upgrade and chunks"],
)
def test_a_body_behind_an_upgrade_is_no_request_either(head: bytes) -> None:
    """Attack: announce a body together with an upgrade, behind which parsers leave a body out (THREATS 37, 41)."""
    recorder = Recorder()
    connection, transport = connected(recorder)
    connection.data_received(head % len(_HIDDEN) + _HIDDEN)
    assert len(recorder.asked) == 1
    assert transport.statuses == [200]
    assert transport.closed
