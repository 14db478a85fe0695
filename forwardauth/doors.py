"""What both doors to decisions agree on: limits of a request, and the answers to what is no request.

The decision lane in `server/` and the aiohttp door in `web/` are held to one suite; neither knows a dialect, a format
or a check.
"""

from collections.abc import Awaitable
from typing import Protocol

from forwardauth.core.model import Subrequest
from forwardauth.core.reply import Reply

LARGEST_HEAD = 64 * 1024
"""Bytes of request line and headers; twice what a backend's client may send, as gateways add their own."""

MOST_HEADERS = 256

HEAD_SECONDS = 10
"""How long a request's headers may take, and how long a client may leave answers unread."""

IDLE_SECONDS = 180
"""How long a kept connection may rest: Go's clients keep theirs for 90 s, Caddy for 120 s."""

_JSON = "application/json"
BAD_REQUEST = Reply(400, (), b'{"error": "bad request"}', _JSON)
TOO_SLOW = Reply(408, (), b'{"error": "request timeout"}', _JSON)
TOO_LARGE = Reply(431, (), b'{"error": "request header fields too large"}', _JSON)
FAILED = Reply(503, (), b'{"error": "unavailable"}', _JSON)


class Answerer(Protocol):
    """Whoever answers, at once or later."""

    def answer(self, subrequest: Subrequest) -> Reply | Awaitable[Reply]:
        """The reply to a request."""
        ...
