"""aiohttp applications on listening sockets. Knows which application belongs to which listener, and no page."""

import asyncio
import socket
from typing import Any

from aiohttp import web

from forwardauth.doors import IDLE_SECONDS, Answerer
from forwardauth.web.admin import Operations, admin_application
from forwardauth.web.connection import Connection
from forwardauth.web.verify import CONNECTION_OPTIONS, verify_routes

_ADMIN_OPTIONS: dict[str, Any] = {"access_log": None, "keepalive_timeout": IDLE_SECONDS}

_DRAIN_SECONDS = 12
"""aiohttp waits for as long twice: for answers in flight, then for what it cancelled. Both are within 25 seconds."""


class Sites:
    """The running applications of one process, each with its own budget of connections.

    `backlog` is how many connections may wait to be accepted, on each listener.
    """

    def __init__(self, backlog: int) -> None:
        self._backlog = backlog
        self._sites: list[tuple[asyncio.Server, web.AppRunner]] = []
        self._decisions: web.Server | None = None

    @property
    def decision_connections(self) -> int:
        """Open connections on the aiohttp door; none where the decision lane answers."""
        return 0 if self._decisions is None else len(self._decisions.connections)

    async def start_decisions(self, answerer: Answerer, listening: socket.socket, most: int) -> None:
        """The aiohttp door in the place of the decision lane (`server.engine: aiohttp`)."""
        door = web.Application()
        door.add_routes(verify_routes(answerer))
        self._decisions = await self._start(door, CONNECTION_OPTIONS, listening, most)

    async def start_admin(
        self, operations: Operations, token: str | None, own_host: str, listening: socket.socket, most: int
    ) -> None:
        """The admin listener."""
        await self._start(admin_application(operations, token, own_host), _ADMIN_OPTIONS, listening, most)

    async def stop(self) -> None:
        """Take no new connection, answer what is in flight, and end."""
        for server, _ in self._sites:
            server.close()
        await asyncio.gather(*(runner.cleanup() for _, runner in self._sites))

    async def _start(
        self, application: web.Application, options: dict[str, Any], listening: socket.socket, most: int
    ) -> web.Server:
        runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=_DRAIN_SECONDS)
        await runner.setup()
        running = runner.server
        assert running is not None
        loop = asyncio.get_running_loop()

        def connect() -> asyncio.Protocol:
            if len(running.connections) >= most:
                return _Refused()
            return Connection(running, loop=loop, **options)

        create = loop.create_unix_server if listening.family == socket.AF_UNIX else loop.create_server
        self._sites.append((await create(connect, sock=listening, backlog=self._backlog), runner))
        return running


class _Refused(asyncio.Protocol):
    """A connection over the budget: it ends at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
