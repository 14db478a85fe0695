"""Docker as far as Traefik looks: compose files, and an engine whose containers carry their labels."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from .server import ServerThread

_REFERENCE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>\w+)|\{(?P<name>\w+)(?:(?P<operator>:?[-?])(?P<word>[^}]*))?\})"
)


def interpolate(text: str, env: Mapping[str, str]) -> str:
    """A compose file's `$NAME`, `${NAME:-default}`, `${NAME:?message}` and `$$`, as `docker compose` reads them."""

    def value(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        name, operator = match["plain"] or match["name"], match["operator"] or ""
        found = env.get(name)
        if found or (found is not None and ":" not in operator):
            return found
        if "?" in operator:
            raise ValueError(f"{name}: {match['word']}")
        return match["word"] or ""

    return _REFERENCE.sub(value, text)


def compose(text: str, env: Mapping[str, str]) -> dict[str, Any]:
    """The services of a compose file. Values are interpolated after YAML, so that comments never are."""

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: walk(value) for key, value in node.items()}
        if isinstance(node, list):
            return [walk(value) for value in node]
        return interpolate(node, env) if isinstance(node, str) else node

    services: dict[str, Any] = walk(yaml.safe_load(text))["services"]
    return services


def labels(service: Mapping[str, Any]) -> dict[str, str]:
    """Labels in the order in which they are written; as a list or as a mapping."""
    written = service.get("labels", [])
    return dict(written) if isinstance(written, dict) else dict(item.split("=", 1) for item in written)


class Engine:
    """The five calls of Docker's API that Traefik makes, on a unix socket."""

    def __init__(self, containers: Mapping[str, Mapping[str, str]]) -> None:
        # A unix socket's path has room for about a hundred characters, less than the tests' own folders may need.
        self._folder = tempfile.TemporaryDirectory(prefix="docker-")
        self.socket = Path(self._folder.name) / "docker.sock"
        self._containers = {name: self._container(name, found) for name, found in containers.items()}
        self._server = ServerThread(self._application, path=self.socket)

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()
        self._folder.cleanup()

    def _application(self) -> web.Application:
        app = web.Application()
        # Clients put a version before the path once they have negotiated one.
        for prefix in ("", r"/v{version:\d+\.\d+}"):
            app.router.add_get(prefix + "/_ping", self._ping)
            app.router.add_get(prefix + "/version", self._version)
            app.router.add_get(prefix + "/containers/json", self._list)
            app.router.add_get(prefix + "/containers/{name}/json", self._inspect)
            app.router.add_get(prefix + "/events", self._events)
        return app

    @staticmethod
    def _container(name: str, labels: Mapping[str, str]) -> dict[str, Any]:
        return {
            "Id": name,
            "Name": f"/{name}",
            "Names": [f"/{name}"],
            "State": {"Status": "running", "Running": True},
            "Config": {"Labels": dict(labels)},
            "HostConfig": {"NetworkMode": "default"},
            "NetworkSettings": {"Networks": {"default": {"IPAddress": "127.0.0.1"}}, "Ports": {}},
        }

    async def _ping(self, request: web.Request) -> web.Response:
        return web.Response(text="OK", headers={"Api-Version": "1.44"})

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"Version": "25.0.0", "ApiVersion": "1.44", "MinAPIVersion": "1.24"})

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response([found | {"State": "running"} for found in self._containers.values()])

    async def _inspect(self, request: web.Request) -> web.Response:
        return web.json_response(self._containers[request.match_info["name"]])

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await asyncio.Event().wait()  # nothing ever happens to these containers
        return response
