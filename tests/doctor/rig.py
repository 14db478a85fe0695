"""A deployment for the doctor: a real gateway, with the shipped files or broken ones, before a backend that echoes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from click.testing import CliRunner

from forwardauth.cli import main
from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import HOST
from tests.deploy.rig.deployment import Deployment, Sources
from tests.deploy.rig.gateways import Gateway
from tests.deploy.rig.programs import free_ports
from tests.deploy.rig.service import Setup
from tests.deploy.rig.setups import HEADER_TOKEN, basic, token

URL = f"http://{HOST}/v1/models"
BURST = ("--burst", "8")


class EchoingBackend(Backend):
    """The rig's backend, of which every path that is no stream answers with the headers of the request, as JSON."""

    async def _echo(self, request: web.Request) -> web.Response:
        headers: dict[str, list[str]] = {}
        for name, value in request.raw_headers:
            headers.setdefault(name.decode(), []).append(value.decode("latin-1"))
        return web.json_response({"path": request.raw_path, "headers": headers})

    _health = _models = _echo


@dataclass(frozen=True)
class Edit:
    """What somebody forgot or added: `old`, which stands in a file of the gateway, is `new` there.

    SERVICE stands in `new` for the service's address, BACKEND for the backend's.
    """

    file: str
    old: str
    new: str = ""


@dataclass(frozen=True)
class Break:
    """A configuration with a mistake: its edits, the checks that find it, and a line that the doctor has to name.

    `line` is its file and text. Nothing else is found.
    """

    name: str
    edits: tuple[Edit, ...]
    found_by: frozenset[str]
    line: tuple[str, str]
    options: tuple[str, ...] = ()
    setup: Setup = HEADER_TOKEN
    hosts: tuple[str, ...] = (HOST,)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Report:
    """What the doctor said, as `--json` has it."""

    code: int
    document: dict[str, Any]

    @property
    def findings(self) -> dict[str, list[str]]:
        """What was found, by check."""
        return {
            check["check"]: [finding["what"] for finding in check["findings"]]
            for check in self.document["checks"]
            if check["findings"]
        }

    @property
    def skipped(self) -> dict[str, str]:
        """Why checks were not made."""
        return {check["check"]: check["skipped"] for check in self.document["checks"] if check["skipped"]}

    def lines(self, gateway: str) -> set[tuple[str, str]]:
        """The file and text of every line that is named for a gateway, whether it has to be there or must not."""
        return {
            (line["file"], line["text"])
            for check in self.document["checks"]
            for finding in check["findings"]
            for line in finding["lines"][gateway]
        }


def broken(kind: type[Gateway], edits: Sequence[Edit]) -> type[Gateway]:
    """The gateway with the shipped files changed; each edit must find its place."""

    class Broken(kind):  # type: ignore[misc, valid-type]
        def command(self) -> list[str | Path]:
            command = super().command()
            places = {"SERVICE": f"127.0.0.1:{self.service_port}", "BACKEND": f"127.0.0.1:{self.backend_port}"}
            for edit in edits:
                path = self.folder / edit.file
                text, new = path.read_text(), edit.new
                assert edit.old in text, f"{edit.file} has nothing like {edit.old!r}"
                for place, address in places.items():
                    new = new.replace(place, address)
                path.write_text(text.replace(edit.old, new))
            return command  # type: ignore[no-any-return]

    return Broken


def finds(gateway: str, kind: type[Gateway], planted: Break, folder: Path) -> None:
    """The doctor finds this break and nothing else, knows the gateway, and names the line."""
    made = broken(kind, planted.edits)
    said = examined(made, folder / "site", *planted.options, setup=planted.setup, hosts=planted.hosts)
    assert set(said.findings) == planted.found_by, said.findings
    assert said.code == 1
    assert gateway in said.document["gateways"]
    assert planted.line in said.lines(gateway)


def examined(
    kind: type[Gateway],
    folder: Path,
    *options: str,
    setup: Setup = HEADER_TOKEN,
    hosts: Sequence[str] = (HOST,),
    url: str = URL,
) -> Report:
    """The doctor's report about a deployment of its own: started, examined with the right token, stopped."""
    backend = EchoingBackend()
    backend.start()
    try:
        site = Deployment.start(kind, setup, folder, backend, Sources(), hosts)
        try:
            return report(site, *options, url=url)
        finally:
            site.stop()
    finally:
        backend.stop()


def report(site: Deployment, *options: str, url: str = URL) -> Report:
    """The doctor's report about a running deployment.

    In options BACKEND stands for the backend's address, ENCRYPTED for the gateway's second one. Without `--backend` the
    backend is said to be where nobody listens.
    """
    (nobody,) = free_ports(1)
    places = {"BACKEND": site.backend.port, "ENCRYPTED": site.gateway.other_port}
    credentials = [*([basic()] if site.gateway.asks_password else []), token()]
    told = [word for header in credentials for word in ("-H", ": ".join(header))]
    told += [
        "--connect",
        f"127.0.0.1:{site.gateway.port}",
        "--backend",
        f"http://127.0.0.1:{nobody}",
        "--echo",
        "--json",
    ]
    for option in options:
        for place, port in places.items():
            option = option.replace(place, f"127.0.0.1:{port}")
        told.append(option)
    result = CliRunner().invoke(main, ["doctor", url, *told])
    assert result.exit_code in (0, 1), result.output
    return Report(result.exit_code, json.loads(result.stdout))
