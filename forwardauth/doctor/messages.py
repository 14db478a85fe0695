"""Requests of unusual shape: large headers, announced bodies, upgrades."""

from collections.abc import AsyncIterator

from forwardauth.doctor.finding import Finding
from forwardauth.doctor.site import Site, arrived, described
from forwardauth.doctor.wire import Answer, Headers

_SIZES = (9_000, 30_000)
"""Beyond nginx's usual buffer of 8 kB, and what a JWT with many groups or a cookie grows to."""

_WEBSOCKET: Headers = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "Zm9yd2FyZGF1dGggZG9jdA=="),
)
_H2C: Headers = (
    ("Connection", "Upgrade, HTTP2-Settings"),
    ("Upgrade", "h2c"),
    ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
)


async def large_headers(site: Site) -> AsyncIterator[Finding]:
    """A client makes the gateway or the service fail by its headers: an error page instead of a verdict."""
    for size in _SIZES:
        for credential in dict.fromkeys([(), site.told.credential]):
            answer = await site.ask(site.closed, ("Cookie", f"doctor={'x' * size}"), credential=credential)
            if _fails(answer):
                yield Finding(f"headers of {size // 1000} kB get {described(answer)}", "sizes")
                break


def _fails(answer: Answer) -> bool:
    return answer.status == 0 or answer.status >= 500


async def announced_body(site: Site) -> AsyncIterator[Finding]:
    """A body is announced and never sent: a verdict needs only the headers, and comes at once."""
    shapes: tuple[Headers, ...] = (
        (("Content-Length", "127"),),
        (("Content-Length", "127"), ("Expect", "100-continue")),
        (("Transfer-Encoding", "chunked"),),
    )
    await site.need_guarded_post()
    for headers in shapes:
        answer = await site.ask(site.closed, *headers, method="POST")
        written = ", ".join(f"{name}: {value}" for name, value in headers)
        if site.came_through(answer, site.closed):
            yield Finding(f"{site.closed} opens by {written}", "ask")
        elif _fails(answer):
            yield Finding(f"{written} without a body gets {described(answer)}", "body")


async def websocket(site: Site) -> AsyncIterator[Finding]:
    """A WebSocket is opened on a closed path without a credential."""
    answer = await site.ask(site.closed, *_WEBSOCKET)
    if site.came_through(answer, site.closed):
        yield Finding(f"{site.closed} opens for a WebSocket: {described(answer)}", "ask")


async def other_upgrades(site: Site) -> AsyncIterator[Finding]:
    """`Upgrade: h2c` on an open path is a tunnel to a backend that knows it: nobody is asked about what is in there."""
    for way in site.echoing:
        answer = await site.along(way, *_H2C)
        if answer.status == 101 or any("h2c" in value.lower() for value in arrived(answer).get("upgrade", ())):
            yield Finding(f"Upgrade: h2c reached the backend on {way.target}", "upgrades")
