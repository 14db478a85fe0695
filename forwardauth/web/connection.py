"""A connection of our aiohttp listeners, as strict as one of the decision lane. Knows no page and no decision.

aiohttp alone waits for headers without end, and shows malformed ones in its log and in its answer.
"""

import asyncio

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from forwardauth.core.reply import Reply
from forwardauth.doors import BAD_REQUEST, HEAD_SECONDS, LARGEST_HEAD, TOO_LARGE, TOO_SLOW
from forwardauth.wire import render

_END = b"\r\n\r\n"


class Connection(web.RequestHandler):
    """A connection that ends where a request's headers are too slow, too large or malformed, and repeats none of them.

    Headers are under way behind the end of those before. A body counts as such too: its reader has its own time, and
    at worst a connection that carried one ends early.
    """

    _under_way = 0
    _tail = b""
    _timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        super().data_received(data)
        _, ended, rest = (self._tail + data).rpartition(_END)
        if ended or self._timer is None:
            self._stop_timer()
            # Empty lines between requests belong to none (RFC 9112 2.2).
            rest = data = rest.lstrip(b"\r\n")
            self._under_way = 0
        self._tail = rest[1 - len(_END) :]
        self._under_way += len(data)
        if self._under_way and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._end_slow)
        if self._under_way > LARGEST_HEAD and self._waits():
            self._end_with(TOO_LARGE)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no request, or to one whose answering failed."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        large = isinstance(exc, LineTooLong) or exc.message == "Too many headers received"
        self._end_with(TOO_LARGE if large else BAD_REQUEST)
        # Nobody gets it: the connection has ended.
        return web.Response(status=status)

    def _end_slow(self) -> None:
        if self._waits():
            self._end_with(TOO_SLOW)
        else:
            # What is being answered gets its answer, and the connection ends behind it.
            self.close()

    def _waits(self) -> bool:
        """Whether no request is being answered."""
        return self._waiter is not None and not self._waiter.done()

    def _end_with(self, reply: Reply) -> None:
        if self.transport is not None:
            self.transport.write(render(reply, close=True))
        self.force_close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
