"""`forwardauth explain`: one decision, station by station; changes nothing."""

import asyncio
import os
import secrets
import sys
from urllib.parse import urlsplit

import click

from forwardauth.authn.basic import PASSWORD
from forwardauth.cli.check import described
from forwardauth.cli.mistakes import fail
from forwardauth.config.load import Overrides, load
from forwardauth.config.mistakes import ConfigurationError
from forwardauth.config.snapshot import Snapshot
from forwardauth.core.decide import STATIONS, Decision
from forwardauth.core.model import RequestView
from forwardauth.service import Service
from forwardauth.stores.passwords import PasswordChecks
from forwardauth.telemetry.audit import AuditLog
from forwardauth.telemetry.metrics import Metrics

EXIT_DENIED = 1


@click.command()
@click.option("--config", metavar="FILE", help="The configuration (FORWARDAUTH_CONFIG).")
@click.option("-X", "--request", "method", default="GET", show_default=True, metavar="METHOD", help="The method.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header; may be repeated.")
@click.option("--client", default="192.0.2.1", show_default=True, metavar="IP", help="The caller's address.")
@click.argument("url")
def explain(config: str | None, method: str, headers: tuple[str, ...], client: str, url: str) -> None:
    """Decide about one request and print every station's answer. Exit code 0 means allowed, 1 denied."""
    try:
        snapshot = load(Overrides(config), os.environ, secrets.token_bytes(32)).snapshot
    except ConfigurationError as failure:
        fail(failure)
    view = _view(snapshot, method, headers, client, url)
    decision = asyncio.run(_decide(snapshot, view))
    for line in _stations(decision, snapshot):
        click.echo(line)
    if decision.denial is not None:
        sys.exit(EXIT_DENIED)


def _view(snapshot: Snapshot, method: str, headers: tuple[str, ...], client: str, url: str) -> RequestView:
    """The request as a gateway would tell it."""
    parts = urlsplit(url)
    if not parts.scheme or not parts.netloc:
        raise click.BadParameter("expected a whole URL, such as https://api.example.com/v1/models", param_hint="URL")
    sent = [(b"Host", b"forwardauth")]
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise click.BadParameter(f"{name!r} is no 'NAME: VALUE'", param_hint="-H")
        sent.append((name.strip().encode(), value.strip().encode()))
    target = url[len(parts.scheme) + 3 + len(parts.netloc) :] or "/"
    view = RequestView(peer_trusted=True)
    next(iter(snapshot.header_names.values())).read(sent, view)
    view.method = method.encode()
    view.scheme = parts.scheme.encode()
    view.host = parts.netloc.encode()
    view.target = target.encode() if target.startswith("/") else b"/" + target.encode()
    view.forwarded_for = client.encode()
    return view


async def _decide(snapshot: Snapshot, view: RequestView) -> Decision:
    passwords = PasswordChecks()
    try:
        service = Service(snapshot, {PASSWORD: passwords.fetch}, AuditLog("off"), Metrics(""))
        return await service.explain(view, snapshot)
    finally:
        passwords.close()


def _stations(decision: Decision, snapshot: Snapshot) -> list[str]:
    """A line for each station up to the one that answered."""
    details = _details(decision, snapshot)
    width = max(map(len, STATIONS))
    lines = []
    for station in STATIONS[: STATIONS.index(decision.station)]:
        lines.append(f"{station.ljust(width)}  ok    {details.get(station, '')}".rstrip())
    denial = decision.denial
    if denial is None:
        lines.append(f"{decision.station.ljust(width)}  ALLOW {details.get(decision.station, '')}".rstrip())
        lines.append(f"200 as {_identity(decision)}")
    else:
        wait = f", in {decision.retry_after:.0f} s again" if decision.retry_after else ""
        lines.append(f"{decision.station.ljust(width)}  DENY  {denial.reason.word}{wait}")
        lines.append(f"{denial.reason.status} {denial.code}: {denial.message}")
    return lines


def _details(decision: Decision, snapshot: Snapshot) -> dict[str, str]:
    details: dict[str, str] = {}
    if decision.place is not None:
        route = decision.place.route
        details["route"] = f"{route.name} ({decision.place.host.name} {decision.place.path})"
        details["public"] = "" if route.requirement is None else f"no, needs {described(route.requirement)}"
        if not snapshot.require_auth:
            details["public"] = "authentication is disabled"
    if decision.client is not None:
        details["client address"] = decision.client.address
    if decision.identity.authenticators:
        details["authenticators"] = f"{decision.identity.method}: {_identity(decision)}"
    return details


def _identity(decision: Decision) -> str:
    identity = decision.identity
    named = {"user": identity.user, "email": identity.email, "tenant": identity.tenant, "key": identity.key}
    return ", ".join(f"{name} {value}" for name, value in named.items() if value) or "nobody in particular"
