"""The aiohttp door: the same answers as the decision lane's, mountable in anybody's aiohttp application.

    app.add_routes(verify_routes(service))

It knows no dialect, no format and no check.
"""

from typing import Any, Protocol

from aiohttp import web

from forwardauth.core.model import Subrequest
from forwardauth.core.reply import Reply
from forwardauth.doors import IDLE_SECONDS, LARGEST_HEAD, MOST_HEADERS, Answerer

RUNNER_OPTIONS: dict[str, Any] = {
    "access_log": None,
    "handle_signals": False,
    "keepalive_timeout": IDLE_SECONDS,
    "lingering_time": 0,
    "max_field_size": LARGEST_HEAD,
    "max_headers": MOST_HEADERS,
    "max_line_size": LARGEST_HEAD,
    "auto_decompress": False,
}
"""What an AppRunner needs so that large headers pass and no body is waited for."""


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
    response = web.Response(status=reply.status, body=reply.body)
    for name, value in reply.headers:
        response.headers.add(name, value)
    # aiohttp names a type of its own for an empty body otherwise.
    response.headers["Content-Type"] = reply.content_type
    if not reply.content_type:
        del response.headers["Content-Type"]
    # Which aiohttp leaves out where a HEAD is answered without a body.
    response.headers["Content-Length"] = str(len(reply.body))
    if close:
        response.force_close()
    return response
