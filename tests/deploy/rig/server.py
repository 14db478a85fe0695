"""An aiohttp application in a thread of its own, for servers that the tests look into."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from aiohttp import web


class ServerThread:
    """Serves `app` on a loopback port or a unix socket until `stop`."""

    def __init__(
        self, app: Callable[[], web.Application], *, port: int | None = None, path: Path | None = None
    ) -> None:
        self._app = app
        self._port = port
        self._path = path
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _serve(self) -> None:
        # A gateway keeps connections and Docker's event stream never ends: neither is worth waiting for.
        self._runner = web.AppRunner(
            self._app(), access_log=None, shutdown_timeout=0.2, max_field_size=65536, max_line_size=65536
        )
        await self._runner.setup()
        if self._path is not None:
            await web.UnixSite(self._runner, str(self._path)).start()
        else:
            await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def _end(self) -> None:
        await self._runner.cleanup()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
