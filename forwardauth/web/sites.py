"""aiohttp applications on listening sockets. Knows which application belongs to which listener, and no page."""

import asyncio
import socket

from aiohttp import web

from forwardauth.doors import Answerer
from forwardauth.web.admin import Operations, admin_application
from forwardauth.web.verify import RUNNER_OPTIONS, verify_routes


class Sites:
    """The running applications of one process, each with its own budget of connections."""

    def __init__(self) -> None:
        self._sites: list[tuple[asyncio.Server, web.AppRunner]] = []

    async def start_decisions(self, answerer: Answerer, listening: socket.socket, most: int) -> None:
        """The aiohttp door in the place of the decision lane (`server.engine: aiohttp`)."""
        door = web.Application()
        door.add_routes(verify_routes(answerer))
        await self._start(web.AppRunner(door, **RUNNER_OPTIONS), listening, most)

    async def start_admin(
        self, operations: Operations, token: str | None, own_host: str, listening: socket.socket, most: int
    ) -> None:
        """The admin listener."""
        application = admin_application(operations, token, own_host)
        await self._start(web.AppRunner(application, access_log=None, handle_signals=False), listening, most)

    async def stop(self) -> None:
        """Take no new connection, answer what is in flight, and end."""
        for server, runner in self._sites:
            server.close()
            await runner.cleanup()

    async def _start(self, runner: web.AppRunner, listening: socket.socket, most: int) -> None:
        await runner.setup()
        connections = runner.server
        assert connections is not None

        def connect() -> asyncio.Protocol:
            return connections() if len(connections.connections) < most else _Refused()

        loop = asyncio.get_running_loop()
        create = loop.create_unix_server if listening.family == socket.AF_UNIX else loop.create_server
        self._sites.append((await create(connect, sock=listening), runner))


class _Refused(asyncio.Protocol):
    """A connection over the budget: it ends at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
