"""`forwardauth explain`: one decision, station by station; changes nothing. `--live` asks the running service."""

import asyncio
import sys

import click

from forwardauth.authn.basic import PASSWORD
from forwardauth.cli.configuration import config_option, loaded
from forwardauth.cli.control import ask
from forwardauth.cli.database import load_keys
from forwardauth.config.materials import Records
from forwardauth.config.snapshot import Snapshot
from forwardauth.core.decide import Decision
from forwardauth.core.model import RequestView
from forwardauth.explanation import stations, view_of
from forwardauth.service import Service
from forwardauth.stores.passwords import PasswordChecks
from forwardauth.telemetry.audit import AuditLog
from forwardauth.telemetry.metrics import Metrics

EXIT_DENIED = 1


@click.command()
@config_option
@click.option("-X", "--request", "method", default="GET", show_default=True, metavar="METHOD", help="The method.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header; may be repeated.")
@click.option("--client", default="192.0.2.1", show_default=True, metavar="IP", help="The caller's address.")
@click.option("--live", is_flag=True, help="Ask the running service, which knows lockouts and used-up rates.")
@click.argument("url")
def explain(config: str | None, method: str, headers: tuple[str, ...], client: str, live: bool, url: str) -> None:
    """Decide about one request and print every station's answer. Exit code 0 means allowed, 1 denied."""
    split = [_split(header) for header in headers]
    records = Records()
    configuration = loaded(config, records)
    if live:
        asked = {"method": method, "url": url, "headers": split, "client": client}
        answer = ask(configuration, "POST", "/control/explain", ["allowed", "lines"], asked)
        allowed, lines = answer["allowed"], answer["lines"]
    else:
        snapshot = configuration.snapshot
        try:
            view = view_of(snapshot, method, split, client, url)
        except ValueError as mistake:
            raise click.BadParameter(str(mistake), param_hint="URL") from None
        if snapshot.settings.database:
            load_keys(configuration, records.key_index)
        decision = asyncio.run(_decide(snapshot, view))
        allowed, lines = decision.denial is None, stations(decision, snapshot)
    for line in lines:
        click.echo(line)
    if not allowed:
        sys.exit(EXIT_DENIED)


def _split(header: str) -> tuple[str, str]:
    name, colon, value = header.partition(":")
    if not colon or not name.strip():
        raise click.BadParameter(f"{name!r} is no 'NAME: VALUE'", param_hint="-H")
    return name.strip(), value.strip()


async def _decide(snapshot: Snapshot, view: RequestView) -> Decision:
    passwords = PasswordChecks()
    try:
        service = Service(snapshot, {PASSWORD: passwords.fetch}, AuditLog("off"), Metrics(""))
        return await service.explain(view, snapshot)
    finally:
        passwords.close()
