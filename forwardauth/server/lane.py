"""The decision lane: connections of gateways, parsed by httptools and answered in the turn in which they asked.

It decides when a request's headers are complete and never reads a body. A request that announces one is answered, the
connection ends, and nothing behind its headers is parsed: on a kept connection an attacker's body would be read as the
next request (seen behind nginx). A verdict that must wait for the world holds the later requests of its connection
back, so that answers keep their order.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable
from typing import Any, cast

import httptools

from forwardauth.core.model import Subrequest
from forwardauth.core.reply import Reply
from forwardauth.doors import (
    BAD_REQUEST,
    FAILED,
    HEAD_SECONDS,
    IDLE_SECONDS,
    LARGEST_HEAD,
    MOST_HEADERS,
    TOO_LARGE,
    TOO_SLOW,
    Answerer,
)
from forwardauth.server.messages import Messages
from forwardauth.server.turn import Turn
from forwardauth.wire import kept, render

log = logging.getLogger("forwardauth.server")

_MOST_LATER = 64

LAST_QUESTIONS_SECONDS = 0.5
"""How long a draining lane still takes questions."""

Asked = tuple[Subrequest, bool]
"""A request, and whether the connection ends with its answer."""


class Lane:
    """What the connections of one listener share. `tick` counts seconds, so that no request asks for the time."""

    def __init__(self, answerer: Answerer, max_connections: int) -> None:
        self.answerer = answerer
        self.max_connections = max_connections
        self.connections: set[Connection] = set()
        self.messages = Messages()
        self.turn = Turn()
        self.tasks: set[asyncio.Task[None]] = set()
        self.tick = 0
        self.draining = False
        self.closed = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look for slow and resting connections, once a second."""
        loop = asyncio.get_running_loop()
        self.turn.call_soon = loop.call_soon
        self._timer = loop.call_later(1.0, self._sweep)

    def stop(self) -> None:
        """End that."""
        if self._timer is not None:
            self._timer.cancel()

    def connection(self) -> "Connection":
        """A protocol for the next connection."""
        return Connection(self)

    def forget(self) -> None:
        """Drop what an older configuration read, and with it that configuration."""
        self.messages.forget()

    async def drain(self, seconds: float) -> None:
        """Let the requests in flight be answered, at most `seconds`, then end every connection.

        A gateway sends its next question before it can know, so for a moment every answer tells it to go elsewhere
        (RFC 9112 9.6), and connections end by that.
        """
        self.draining = True
        self.turn.end()
        if self.connections:
            await asyncio.sleep(min(seconds, LAST_QUESTIONS_SECONDS))
        self.closed = True
        for connection in list(self.connections):
            connection.drain()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=seconds)
        self.turn.end()
        for connection in list(self.connections):
            connection.abort()

    def _sweep(self) -> None:
        self.tick += 1
        self.turn.end()
        for connection in list(self.connections):
            connection.check_time()
        self.start()


class Connection(asyncio.Protocol):
    """One connection. State is grouped by how long it lives: connection, message, answers that wait."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._transport: asyncio.Transport = None  # type: ignore[assignment] # until connection_made
        self._peer: str | None = None
        self._parser: Any = httptools.HttpRequestParser(self)
        self._ended = False
        self._last_tick = lane.tick
        self._unread_since: int | None = None

        self._reading = False
        # Of the message: bytes that came since it began, with all of the packet where it was the first to begin.
        self._size = 0
        self._packet = 0
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []

        # Of the bytes that came last: how many requests they completed, and the one if it can be remembered.
        self._completed = 0
        self._whole: Subrequest | None = None

        # Answered, but it is not known yet whether a body follows; then requests that wait for their turn.
        self._asked: Asked | None = None
        self._answering = False
        self._later: deque[Asked] = deque()

    # The transport's calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A gateway connected; over the budget the connection ends at once."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        if len(self._lane.connections) >= self._lane.max_connections or self._lane.closed:
            self._ended = True
            self._transport.abort()
            return
        self._lane.connections.add(self)
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; a check that is under way is finished all the same, for the memory of successes."""
        self._ended = True
        self._later.clear()
        self._lane.connections.discard(self)
        # The parser holds this connection's methods: without this the two live on until the collector looks for cycles.
        self._parser = self._whole = None

    def data_received(self, data: bytes) -> None:
        """Bytes of the gateway."""
        self._lane.turn.receive(self, data)

    def read(self, data: bytes) -> None:
        """Answer what these bytes complete; the turn calls it when everybody's bytes are there."""
        if self._ended:
            return
        if self._reading or self._answering:
            self._parse(data)
            return
        messages = self._lane.messages
        subrequest = messages.read(self._peer, data)
        if subrequest is not None:
            self._last_tick = self._lane.tick
            self._decide(subrequest, close=False)
            return
        self._completed = 0
        self._whole = None
        self._parse(data)
        whole, self._whole = self._whole, None
        if whole is not None and self._completed == 1 and not self._reading and not self._ended:
            messages.note(self._peer, data, whole, self._lane.tick)

    def _parse(self, data: bytes) -> None:
        """Give bytes to the parser, and answer what they complete."""
        while data and not self._ended:
            self._size += len(data)
            self._packet = len(data)
            rest = b""
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # Caddy forwards `Upgrade`; we answer in HTTP, so HTTP goes on behind it (RFC 9110 7.8).
                self._parser = httptools.HttpRequestParser(self)
                self._whole = None
                rest = data[upgrade.args[0] :]
            except httptools.HttpParserCallbackError as failure:
                if not isinstance(failure.__context__, _BodyAnnouncedError):
                    log.error("a connection ends", exc_info=failure)
                    self._end_with(FAILED)
            except httptools.HttpParserError:
                # Behind complete headers only a body is broken, and behind a last request whatever there is: what was
                # asked gets its answer, and nothing more.
                if self._asked is None and not self._ended:
                    self._end_with(BAD_REQUEST)
            if self._asked is not None and not rest:
                self._answer(close=True)
            data = rest
        if self._reading and self._size > LARGEST_HEAD and not self._ended:
            self._end_with(TOO_LARGE)
        if self._answering and len(self._later) >= _MOST_LATER and not self._ended:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The gateway ended its side: what waits is still answered."""
        self._lane.turn.end()
        if not self._answering and self._transport is not None:
            self._ended = True
            return False
        return True

    def pause_writing(self) -> None:
        """Answers pile up unread: read no more until they are."""
        self._unread_since = self._lane.tick
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The gateway reads again."""
        self._unread_since = None
        if not self._ended:
            self._transport.resume_reading()

    # The parser's calls.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._reading = True
        self._size, self._packet = self._packet, 0
        self._last_tick = self._lane.tick

    def on_url(self, url: bytes) -> None:
        """The target, or a part of it where the bytes came in parts."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Everything that decides is known. What comes next tells whether a body follows."""
        self._reading = False
        url, headers = self._url, self._headers
        self._url, self._headers = b"", []
        if self._ended:
            return
        if len(headers) > MOST_HEADERS or (self._size > LARGEST_HEAD and _head_bytes(url, headers) > LARGEST_HEAD):
            self._end_with(TOO_LARGE)
            return
        parser = self._parser
        # Behind an upgrade the parser leaves out the body that is announced, and would take it for the next request.
        ends = not parser.should_keep_alive() or (parser.should_upgrade() and _announces_body(headers))
        self._asked = (Subrequest(parser.get_method(), url, headers, self._peer), ends)

    def on_message_complete(self) -> None:
        """No body, so the connection goes on: decide, now."""
        self._completed += 1
        asked = self._asked
        if asked is None:
            return
        if asked[1] or self._answering:
            self._answer(close=False)
            return
        self._asked = None
        self._whole = asked[0]
        self._decide(asked[0], close=False)

    def on_body(self, body: bytes) -> None:
        """A body: raising is the one way to make the parser leave what follows unread."""
        if self._asked is not None:
            self._answer(close=True)
        raise _BodyAnnouncedError

    def on_chunk_header(self) -> None:
        """A chunked body, even an empty one."""
        self.on_body(b"")

    # Answers.

    def _answer(self, close: bool) -> None:
        """Answer what was asked, or put it behind what is being answered."""
        assert self._asked is not None
        subrequest, ends = self._asked
        self._asked = None
        close = close or ends
        if close:
            self._ended = True
        if self._answering:
            self._later.append((subrequest, close))
        else:
            self._decide(subrequest, close)

    def _decide(self, subrequest: Subrequest, close: bool) -> None:
        reply = self._lane.answerer.answer(subrequest)
        if isinstance(reply, Reply):
            self._send(reply, subrequest, close)
            return
        self._answering = True
        task = asyncio.ensure_future(self._answer_when_known(reply, subrequest, close))
        self._lane.tasks.add(task)
        task.add_done_callback(self._lane.tasks.discard)

    async def _answer_when_known(self, answer: Awaitable[Reply], subrequest: Subrequest, close: bool) -> None:
        try:
            reply = await answer
        except Exception:
            log.exception("an answer failed")
            reply = FAILED
        self._answering = False
        self._send(reply, subrequest, close)
        while self._later and not self._answering:
            self._decide(*self._later.popleft())
        if not (self._answering or self._ended or self._unread_since is not None):
            self._transport.resume_reading()

    def _send(self, reply: Reply, subrequest: Subrequest, close: bool) -> None:
        if close or self._lane.draining or subrequest.method == b"HEAD":
            self._send_unlike(reply, subrequest.method == b"HEAD", close or self._lane.draining)
        else:
            self._lane.turn.put(self._transport, reply.wire or kept(reply))

    def _send_unlike(self, reply: Reply, head: bool, close: bool) -> None:
        """An answer that is not the one on every kept connection."""
        if self._transport.is_closing():
            return
        self._lane.turn.write()
        self._transport.write(render(reply, close=close, head=head))
        if close:
            self._ended = True
            self._later.clear()
            self._transport.close()

    def _end_with(self, reply: Reply) -> None:
        """Answer what cannot be read, and end; answers that still wait come first, so they are given up."""
        self._ended = True
        self._lane.turn.write()
        if not self._answering and not self._transport.is_closing():
            self._transport.write(render(reply, close=True))
        self._later.clear()
        self._transport.close()

    # Time.

    def check_time(self) -> None:
        """Once a second: end what is too slow or rests for too long."""
        rested = self._lane.tick - self._last_tick
        if self._unread_since is not None and self._lane.tick - self._unread_since > HEAD_SECONDS:
            self.abort()
        elif self._reading and rested > HEAD_SECONDS:
            self._end_with(TOO_SLOW)
        elif not self._answering and rested > IDLE_SECONDS:
            self._transport.close()

    def drain(self) -> None:
        """End a resting connection; one that is being answered ends with its answer."""
        if not self._answering:
            self._ended = True
            self._transport.close()

    def abort(self) -> None:
        """End at once."""
        self._ended = True
        self._transport.abort()


def _head_bytes(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)


def _announces_body(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a body follows (RFC 9112 6.3)."""
    return any(
        name.lower() == b"transfer-encoding" or (name.lower() == b"content-length" and value.strip(b" \t0"))
        for name, value in headers
    )


class _BodyAnnouncedError(Exception):
    """Stops the parser behind headers that announce a body."""
