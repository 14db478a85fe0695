"""Kubernetes as far as the tests look: the shipped objects, and an API server that has them and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import yaml
from aiohttp import web

from .files import DEPLOY
from .programs import free_ports
from .server import ServerThread

FOLDER = DEPLOY / "kubernetes"

Object = dict[str, Any]


def objects(name: str) -> list[Object]:
    """The objects of a file of `deploy/kubernetes`."""
    return [document for document in yaml.safe_load_all((FOLDER / name).read_text()) if document is not None]


def found(objects: Iterable[Object], kind: str) -> Object:
    """The one object of a kind."""
    (it,) = [each for each in objects if each["kind"] == kind]
    return it


class ApiServer:
    """Answers every watch with the objects of that kind, then with silence: what a controller reads at its start.

    A controller asks for `sendInitialEvents`: each object as ADDED, and a BOOKMARK that says that these were all
    (KEP-3157).
    """

    def __init__(self, objects: Iterable[Object]) -> None:
        (self.port,) = free_ports(1)
        self._objects: dict[str, list[Object]] = {}
        for number, each in enumerate(objects, 1):
            metadata = {"namespace": "default", "uid": str(number), "resourceVersion": "1", "generation": 1}
            written = each | {"metadata": metadata | each["metadata"]}
            self._objects.setdefault(each["kind"].lower() + "s", []).append(written)
        self._server = ServerThread(self._application, port=self.port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def _application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/{group:.*}/{resources}", self._watch)
        return app

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("sendInitialEvents") != "true":
            return web.json_response({"kind": "Status", "status": "Failure", "code": 400}, status=400)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for each in self._objects.get(request.match_info["resources"], []):
            await self._send(response, "ADDED", each)
        ended = {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}
        kind, version = self._kind(request)
        await self._send(response, "BOOKMARK", {"kind": kind, "apiVersion": version, "metadata": ended})
        await asyncio.Event().wait()  # nothing ever happens to these objects
        return response

    @staticmethod
    async def _send(response: web.StreamResponse, event: str, each: Object) -> None:
        await response.write(json.dumps({"type": event, "object": each}).encode() + b"\n")

    def _kind(self, request: web.Request) -> tuple[str, str]:
        """Kind and version for a bookmark; a typed client reads no other."""
        version = request.match_info["group"].removeprefix("apis/").removeprefix("api/")
        return KINDS[request.match_info["resources"]], version


KINDS = {
    kind.lower() + "s": kind
    for kind in (
        "ConfigMap",
        "EndpointSlice",
        "IngressRoute",
        "IngressRouteTCP",
        "IngressRouteUDP",
        "Middleware",
        "MiddlewareTCP",
        "Node",
        "Secret",
        "ServersTransport",
        "ServersTransportTCP",
        "Service",
        "TLSOption",
        "TLSStore",
        "TraefikService",
    )
}
"""What Traefik watches, by the word in the path."""
