"""Answers of one turn of the loop, written together. Knows transports and bytes, and no request.

Written one by one, 20 µs apart, every second answer wakes a client that went to sleep after the one before, and to wake
another core costs this one 5 µs.
"""

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger("forwardauth.server")


class Outbox:
    """Keeps answers until the loop has read all that is there to read. Without a loop they are written at once."""

    def __init__(self) -> None:
        self.call_soon: Callable[[Callable[[], None]], object] | None = None
        self._answers: list[tuple[asyncio.Transport, bytes]] = []

    def put(self, transport: asyncio.Transport, answer: bytes) -> None:
        """Write an answer at the end of this turn, behind those that were put here before it."""
        if not self._answers:
            if self.call_soon is None:
                transport.write(answer)
                return
            self.call_soon(self.flush)
        self._answers.append((transport, answer))

    def flush(self) -> None:
        """Write what is kept, now: before a connection ends, or anything else is written to it."""
        answers, self._answers = self._answers, []
        for transport, answer in answers:
            try:
                if not transport.is_closing():
                    transport.write(answer)
            except Exception:
                # The others of this turn must not wait for ever because one connection is broken.
                log.exception("an answer could not be written")
                transport.abort()
