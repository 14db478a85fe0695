"""A gateway, service and backend in one small server that does everything right; a hole is one method replaced."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from forwardauth.doctor.site import Instructions, Site
from forwardauth.doctor.wire import Headers, Place

HOST, TOKEN = "llm.example.com", "right-token"
CREDENTIAL: Headers = (("X-API-Token", TOKEN),)
IDENTITY = {"X-Auth-User": "", "X-Auth-Key": "ci"}
DELETED = ("x-api-token", "x-api-key", "authorization", "upgrade", "connection")

_PLAIN = re.compile(r"(/[A-Za-z0-9_.-]*)+(\?[^#]*)?")


@dataclass(frozen=True)
class Asked:
    """A request as it came in."""

    method: str
    target: str
    headers: Headers

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


Said = tuple[int, dict[str, str], str]


def error(status: int, code: str, **headers: str) -> Said:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"Content-Type": "application/json", **more}, json.dumps({"error": {"code": code}})


class Fake:
    """Closed are all paths but /health; what comes through is repeated as JSON."""

    failures = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("utf-8").split("\r\n")[:-2]
        method, target, _ = first.split(" ", 2) if first.count(" ") == 2 else ("", "", "")
        split = (line.partition(":") for line in lines)
        asked = Asked(method, target, tuple((name, value.strip()) for name, _, value in split))
        status, headers, body = self.gateway(asked)
        written = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        content = b"" if method == "HEAD" else body.encode()
        writer.write(f"HTTP/1.1 {status} Said\r\n{written}\r\n".encode() + content)
        await writer.drain()

    def gateway(self, asked: Asked) -> Said:
        """Routes by host, asks the service, and hands on."""
        target, host = asked.target, asked.all("Host")
        if absolute := re.fullmatch(r"https?://([^/]*)(/.*)", target):
            host, target = [absolute[1]], absolute[2]
            asked = Asked(asked.method, target, asked.headers)
        if len(host) != 1:
            return error(400, "two_hosts")
        if host[0] != HOST:
            return error(421, "nobody")
        return self.service(asked) or self.backend(asked)

    def service(self, asked: Asked) -> Said | None:
        """A denial, or None."""
        if asked.method in ("TRACE", "TRACK"):
            return error(403, "no_route")
        if not _PLAIN.fullmatch(asked.target) or re.search(r"//|/\.+(/|$|\?)", asked.target):
            return error(400, "ambiguous_path")
        if any(re.search("[._~]", name) for name, _ in asked.headers):
            return error(400, "lookalike_header")
        return None if asked.path == "/health" else self.credential(asked)

    def credential(self, asked: Asked) -> Said | None:
        presented = asked.all("X-API-Token")
        if len(presented) > 1:
            return error(400, "ambiguous_credentials")
        if presented == [TOKEN]:
            return None
        if self.failures >= 5:
            return self.limited()
        self.failures += len(presented)
        return error(401, "invalid_token" if presented else "missing_token_header", WWW_Authenticate="ApiKey")

    def limited(self) -> Said:
        return error(429, "locked_out", Retry_After="30")

    def backend(self, asked: Asked) -> Said:
        """What reaches the backend, repeated."""
        if asked.path not in ("/health", "/v1/models"):
            return 404, {"Content-Type": "application/json"}, '{"detail":"Not Found"}'
        return 200, {"Content-Type": "application/json"}, json.dumps({"headers": self.handed_on(asked)})

    def handed_on(self, asked: Asked) -> dict[str, list[str]]:
        headers: dict[str, list[str]] = {}
        for name, value in asked.headers:
            if name.lower() not in DELETED and not name.lower().startswith(("x-auth-", "x-forwarded-")):
                headers.setdefault(name, []).append(value)
        known = IDENTITY if asked.path != "/health" else {}
        return headers | {name: [value] for name, value in known.items()} | {"X-Forwarded-For": ["127.0.0.1"]}


@asynccontextmanager
async def served_by(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A port on which each connection is served so; every one is over at the end."""
    tasks: set[asyncio.Task[None]] = set()

    async def served_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the doctor leaves as soon as it knows enough
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(served_once, "127.0.0.1", 0, limit=1 << 18)
    async with server:
        yield server.sockets[0].getsockname()[1]
    await asyncio.gather(*tasks)


@asynccontextmanager
async def served(fake: Fake) -> AsyncIterator[Place]:
    """The place where it listens."""
    async with served_by(fake.serve) as port:
        yield Place("127.0.0.1", port, seconds=5)


@asynccontextmanager
async def visited(fake: Fake, **told: object) -> AsyncIterator[Site]:
    """A site that was looked at."""
    async with served(fake) as place:
        usual = {"closed": ("/v1/models",), "credential": CREDENTIAL, "echo": True, "backend": None}
        site = Site(Instructions(place, HOST, **(usual | told)))  # type: ignore[arg-type]
        await site.look()
        yield site
