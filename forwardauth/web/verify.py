"""The aiohttp door: the same answers as the decision lane's, mountable in anybody's aiohttp application.

    app.add_routes(verify_routes(service))

It knows no dialect, no format and no check.
"""

import re
from typing import Any, Protocol

from aiohttp import web

from forwardauth.core.model import Subrequest
from forwardauth.core.reply import Reply
from forwardauth.doors import IDLE_SECONDS, LARGEST_HEAD, MOST_HEADERS, Answerer

CONNECTION_OPTIONS: dict[str, Any] = {
    "access_log": None,
    "keepalive_timeout": IDLE_SECONDS,
    "lingering_time": 0,
    "max_field_size": LARGEST_HEAD,
    "max_headers": MOST_HEADERS,
    "max_line_size": LARGEST_HEAD,
    "auto_decompress": False,
}
"""What a connection needs so that large headers pass and no body is waited for."""

RUNNER_OPTIONS: dict[str, Any] = {"handle_signals": False, **CONNECTION_OPTIONS}
"""The same for an AppRunner. How long headers may take, and what is logged of malformed ones, is then up to aiohttp."""

_ESCAPED = re.compile("[\udc80-\udcff]")


class _Asking(Protocol):
    async def __call__(self, request: web.Request) -> web.StreamResponse: ...


def verify_routes(answerer: Answerer, prefix: str = "") -> list[web.RouteDef]:
    """Routes for `/verify/…` and `/health` below a prefix."""
    handler = _asking(answerer, prefix.encode())
    return [
        web.route("*", f"{prefix}/verify/{{rest:.*}}", handler, expect_handler=_expect_nothing),
        web.route("*", f"{prefix}/health", handler, expect_handler=_expect_nothing),
    ]


async def _expect_nothing(request: web.Request) -> None:
    """No interim answer and no 417 to an `Expect` that a gateway passes on from its client: no body is waited for."""


def _asking(answerer: Answerer, prefix: bytes) -> _Asking:
    async def ask(request: web.Request) -> web.StreamResponse:
        headers = list(request.raw_headers)
        target = request.raw_path.encode("utf-8", "surrogateescape").removeprefix(prefix)
        peer = request.transport.get_extra_info("peername") if request.transport is not None else None
        subrequest = Subrequest(request.method.encode(), target, headers, peer[0] if isinstance(peer, tuple) else None)
        answer = answerer.answer(subrequest)
        reply = answer if isinstance(answer, Reply) else await answer
        return _response(reply, close=request.body_exists)

    return ask


def _response(reply: Reply, close: bool) -> web.Response:
    response = _Response(status=reply.status, body=reply.body)
    for name, value in reply.headers:
        # One character stands for one byte here, and aiohttp writes text as UTF-8.
        response.headers.add(name, value.encode("latin-1").decode("utf-8", "surrogateescape"))
    # aiohttp names a type of its own for an empty body otherwise.
    response.headers["Content-Type"] = reply.content_type
    if not reply.content_type:
        del response.headers["Content-Type"]
    # Which aiohttp leaves out where a HEAD is answered without a body.
    response.headers["Content-Length"] = str(len(reply.body))
    if close:
        response.force_close()
    return response


class _Response(web.Response):
    """A response that can hand on a header of any bytes: aiohttp leaves out those that are no UTF-8."""

    async def _write_headers(self) -> None:
        lines = [f"{name}: {value}" for name, value in self.headers.items()]
        head = "\r\n".join((f"HTTP/1.1 {self.status} {self.reason}", *lines, "", ""))
        transport = self._req.transport if self._req is not None else None
        if transport is None or not _ESCAPED.search(head):
            await super()._write_headers()
        else:
            transport.write(head.encode("utf-8", "surrogateescape"))
