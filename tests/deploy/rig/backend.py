"""The LLM backend: it has no authentication of its own, repeats what reached it, and remembers it."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web
from aiohttp.typedefs import Handler

from .programs import free_ports
from .server import ServerThread

WORDS = ["Hello", " there"]


@dataclass(frozen=True)
class Seen:
    """A request as it arrived behind the gateway."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name: str) -> str:
        """A header's value, empty when it is absent or empty; twice is a mistake wherever it is asked for."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} arrived {len(values)} times: {values}"
        return values[0] if values else ""


@dataclass
class Backend:
    port: int = field(default_factory=lambda: free_ports(1)[0])
    seen: list[Seen] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)  # a stream sends its first event, then waits for it

    def start(self) -> None:
        self._server = ServerThread(self._application, port=self.port)
        self._server.start()

    def stop(self) -> None:
        self.go_on.set()
        self._server.stop()

    @property
    def last(self) -> Seen:
        return self.seen[-1]

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20, middlewares=[self._remember])
        app.router.add_get("/health", self._health)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/api/v1/chat/completions", self._chat)
        app.router.add_get("/v1/ws", self._websocket)
        app.router.add_get("/v1/stream", self._stream)
        app.router.add_get("/v1/refuses", self._refuses)
        app.router.add_route("*", "/{rest:.*}", self._echo)
        return app

    @web.middleware
    async def _remember(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        body = await request.read()
        headers = [(name.decode(), value.decode("latin-1")) for name, value in request.raw_headers]
        self.seen.append(Seen(request.method, request.raw_path, headers, body))
        return await handler(request)

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "healthy"})

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "x"}]}
        )

    async def _echo(self, request: web.Request) -> web.Response:
        return web.Response(body=await request.read(), content_type="application/octet-stream")

    async def _refuses(self, request: web.Request) -> web.Response:
        """The backend's own 403, with headers that mean something only in the service's answer."""
        planted = {
            "X-Deny-Status": "503",
            "X-Deny-Body": "planted",
            "X-Auth-User": "planted",
            "WWW-Authenticate": "Own",
        }
        return web.Response(status=403, text="the backend says no", headers=planted)

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(f"echo {message.data}")
        return socket

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        await asyncio.get_running_loop().run_in_executor(None, self.go_on.wait, 10)
        await response.write(b"data: second\n\n")
        return response

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        head = {"id": "c", "created": 1, "model": asked["model"]}
        if not asked.get("stream"):
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "".join(WORDS)}}
            return web.json_response(head | {"object": "chat.completion", "choices": [choice]})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for word in WORDS:
            choice = {"index": 0, "finish_reason": None, "delta": {"role": "assistant", "content": word}}
            chunk = head | {"object": "chat.completion.chunk", "choices": [choice]}
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response
