"""aiohttp applications on listening sockets. Knows which application belongs to which listener, and no page."""

import socket

from aiohttp import web

from forwardauth.doors import Answerer
from forwardauth.web.admin import Operations, admin_application
from forwardauth.web.verify import RUNNER_OPTIONS, verify_routes


class Sites:
    """The running applications of one process."""

    def __init__(self) -> None:
        self._runners: list[web.AppRunner] = []

    async def start_decisions(self, answerer: Answerer, listening: socket.socket) -> None:
        """The aiohttp door in the place of the decision lane (`server.engine: aiohttp`)."""
        door = web.Application()
        door.add_routes(verify_routes(answerer))
        await self._start(web.AppRunner(door, **RUNNER_OPTIONS), listening)

    async def start_admin(
        self, operations: Operations, token: str | None, own_host: str, listening: socket.socket
    ) -> None:
        """The admin listener."""
        application = admin_application(operations, token, own_host)
        await self._start(web.AppRunner(application, access_log=None, handle_signals=False), listening)

    async def stop(self) -> None:
        """Answer what is in flight, and end."""
        for runner in self._runners:
            await runner.cleanup()

    async def _start(self, runner: web.AppRunner, listening: socket.socket) -> None:
        await runner.setup()
        await web.SockSite(runner, listening).start()
        self._runners.append(runner)
