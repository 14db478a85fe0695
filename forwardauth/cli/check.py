"""`forwardauth check`: validates a configuration and prints the routes that it means."""

import os
import secrets
import textwrap
from collections.abc import Iterator

import click

from forwardauth.cli.mistakes import fail
from forwardauth.config.load import Overrides, load
from forwardauth.config.mistakes import ConfigurationError
from forwardauth.config.risks import default_gateways, risks
from forwardauth.config.snapshot import Snapshot
from forwardauth.core.routes import Route
from forwardauth.explanation import described
from forwardauth.gateways import GATEWAYS

PATH_COLUMN = 56


@click.command()
@click.option("--config", metavar="FILE", help="The configuration (FORWARDAUTH_CONFIG).")
@click.option("--gateway", type=click.Choice(sorted(GATEWAYS)), help="Print what this gateway's file must hold.")
def check(config: str | None, gateway: str | None) -> None:
    """Validate a configuration; print the routes in the order in which they are tried.

    With a gateway: the header lists of its shipped file, for the names of this configuration.
    """
    try:
        configuration = load(Overrides(config), os.environ, secrets.token_bytes(32))
    except ConfigurationError as failure:
        fail(failure)
    snapshot = configuration.snapshot
    click.echo(f"{configuration.source}: no mistakes")
    click.echo(f"gateways: {', '.join(snapshot.dialects)}")
    for line in _routes(snapshot):
        click.echo(line)
    if gateway is not None:
        for block in GATEWAYS[gateway].blocks(snapshot.names):
            click.echo(f"\n# deploy/{block.file}, {block.where}\n{block.text}")
    for risk in risks(snapshot, default_gateways()):
        click.echo(f"warning: {risk.text}", err=True)


def _routes(snapshot: Snapshot) -> list[str]:
    rows = [("route", "methods", "host", "path", "who may pass")]
    rows += [row for route in snapshot.routes.routes for row in _rows(route)]
    rows.append(("-", "*", "*", "anything else", "nobody (403 no_route)"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return ["  ".join([*map(str.ljust, row[:4], widths), row[4]]).rstrip() for row in rows]


def _rows(route: Route) -> Iterator[tuple[str, str, str, str, str]]:
    """A row for the route, and more where its paths need them: those of a preset would fill screens."""
    methods = "*" if route.methods is None else ",".join(sorted(method.decode() for method in route.methods))
    who = "everybody" if route.requirement is None else described(route.requirement)
    paths, *further = textwrap.wrap(" ".join(route.paths), PATH_COLUMN, break_long_words=False, break_on_hyphens=False)
    yield route.name, methods, route.host or "*", paths, who
    yield from (("", "", "", paths, "") for paths in further)
