"""The least that an auth server in aiohttp can do: look one header up. It guards nothing else and logs nothing.

python -m benchmarks.plain_aiohttp PORT TOKENS
"""

import sys
from pathlib import Path

import uvloop
from aiohttp import web


def application(tokens: frozenset[str]) -> web.Application:
    async def verify(request: web.Request) -> web.Response:
        if request.headers.get("X-API-Token") in tokens:
            return web.Response(headers={"X-Auth-User": ""})
        return web.Response(status=401)

    async def health(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/health", health)
    app.router.add_get("/verify/{gateway}", verify)
    return app


if __name__ == "__main__":
    port, tokens = int(sys.argv[1]), frozenset(Path(sys.argv[2]).read_text().split())
    loop = uvloop.new_event_loop()
    web.run_app(application(tokens), host="127.0.0.1", port=port, access_log=None, print=None, loop=loop)
