"""The admin listener: `/metrics`, `/ready` and the control calls of the commands. Never routed to the public.

Control calls need the admin token and a Host that is loopback or the listener's own, so that no web page in a browser
on this machine reaches them by a name of its own (DNS rebinding); what changes something is a POST.
"""

import asyncio
import hmac
import json
import logging
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler

from forwardauth.core.client_ip import NAMED_NETWORKS, parse_address, parse_networks, within
from forwardauth.doors import TOO_SLOW

log = logging.getLogger("forwardauth")

BODY_SECONDS = 10
"""How long the body of a control call may take."""

_LOOPBACK = parse_networks(NAMED_NETWORKS["loopback"])


class Operations(Protocol):
    """What operators may ask of a running service."""

    def metrics(self) -> bytes:
        """The text of `/metrics`."""
        ...

    def ready(self) -> bool:
        """Whether new requests should come here."""
        ...

    def reload(self) -> list[str]:
        """Read the configuration again; the mistakes that kept the old one running, or none."""
        ...

    def lockouts(self) -> list[dict[str, object]]:
        """The live blocks."""
        ...

    def clear_lockouts(self, client: str | None) -> int:
        """Forget every failure and block, or those of one client; says how many there were. Raises ValueError."""
        ...

    async def refresh_keys(self) -> int | None:
        """Take what changed in the database; its revision, None without a database."""
        ...

    async def explain(
        self, method: str, headers: list[tuple[str, str]], client: str, url: str
    ) -> tuple[bool, list[str]]:
        """Whether a request would pass now, and every station's answer. Raises ValueError."""
        ...


def admin_application(operations: Operations, token: str | None, own_host: str) -> web.Application:
    """The application. Without a token every control call is refused."""
    app = web.Application()
    guard = _guard(token, own_host)

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=operations.metrics(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def ready(request: web.Request) -> web.Response:
        state = operations.ready()
        return web.json_response({"status": "ready" if state else "draining"}, status=200 if state else 503)

    async def reload(request: web.Request) -> web.Response:
        mistakes = operations.reload()
        return web.json_response({"reloaded": not mistakes, "mistakes": mistakes}, status=422 if mistakes else 200)

    async def lockouts(request: web.Request) -> web.Response:
        return web.json_response({"lockouts": operations.lockouts()})

    async def clear(request: web.Request) -> web.Response:
        asked = await _asked(request, "client")
        client = asked.get("client")
        if "client" in asked and not isinstance(client, str):
            # Null is no way to say everybody: who names a client means one.
            raise _bad_request("client: expected text")
        try:
            return web.json_response({"cleared": operations.clear_lockouts(client)})
        except ValueError as mistake:
            raise _bad_request(f"client: {mistake}") from None

    async def refresh(request: web.Request) -> web.Response:
        try:
            revision = await operations.refresh_keys()
        except Exception:
            log.exception("the database of keys cannot be read")
            return web.json_response({"error": "the database cannot be read; the log says why"}, status=503)
        if revision is None:
            raise _bad_request("the running service has no database")
        return web.json_response({"refreshed": True, "revision": revision})

    async def explain(request: web.Request) -> web.Response:
        asked = await _asked(request, "method", "url", "headers", "client")
        try:
            method, client, url = (_text(asked, word) for word in ("method", "client", "url"))
            headers = [(str(name), str(value)) for name, value in asked.get("headers", [])]
            allowed, lines = await operations.explain(method, headers, client, url)
        except (TypeError, ValueError) as mistake:
            raise _bad_request(str(mistake)) from None
        return web.json_response({"allowed": allowed, "lines": lines})

    app.add_routes(
        [
            web.get("/metrics", metrics),
            web.get("/ready", ready),
            web.post("/control/reload", guard(reload)),
            web.get("/control/lockouts", guard(lockouts)),
            web.post("/control/lockouts/clear", guard(clear)),
            web.post("/control/keys/refresh", guard(refresh)),
            web.post("/control/explain", guard(explain)),
        ]
    )
    return app


async def _asked(request: web.Request, *known: str) -> dict[str, Any]:
    """The JSON object of a request, which may hold these words; empty without a body."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            asked = await request.json() if request.can_read_body else {}
    except TimeoutError:
        raise _too_slow() from None
    except (LookupError, RecursionError, ValueError):
        asked = None
    if not isinstance(asked, dict):
        raise _bad_request("expected a JSON object")
    for word in asked:
        if word not in known:
            raise _bad_request(f"{word}: unknown; known here: {', '.join(known)}")
    return asked


def _text(asked: dict[str, Any], word: str) -> str:
    value = asked.get(word)
    if not isinstance(value, str):
        raise ValueError(f"{word}: expected text")
    return value


def _bad_request(what: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=json.dumps({"error": what}), content_type="application/json")


def _too_slow() -> web.HTTPRequestTimeout:
    late = web.HTTPRequestTimeout(text=TOO_SLOW.body.decode(), content_type=TOO_SLOW.content_type)
    late.force_close()
    return late


def _guard(token: str | None, own_host: str) -> Callable[[Handler], Handler]:
    expected = None if token is None else sha256(token.encode()).digest()

    def guarded(handler: Handler) -> Handler:
        async def check(request: web.Request) -> web.StreamResponse:
            if not _host_is_ours(request.headers.get("Host", ""), own_host):
                raise web.HTTPForbidden(text="this Host is not the admin listener's\n")
            scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
            digest = sha256(presented.strip().encode("utf-8", "surrogateescape")).digest()
            if expected is None or scheme.lower() != "bearer" or not hmac.compare_digest(digest, expected):
                raise web.HTTPUnauthorized(text="the admin token is needed\n", headers={"WWW-Authenticate": "Bearer"})
            return await handler(request)

        return check

    return guarded


def _host_is_ours(host: str, own: str) -> bool:
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    name = name.strip("[]").lower()
    if name in ("localhost", own.lower()):
        return True
    try:
        return within(parse_address(name), _LOOPBACK)
    except ValueError:
        return False
