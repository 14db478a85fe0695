"""`forwardauth lockouts`: who is locked out of the running service, and letting them in again."""

import json

import click

from forwardauth.cli.configuration import config_option, json_option, loaded
from forwardauth.cli.control import ask


@click.group()
def lockouts() -> None:
    """See who is locked out of the running service, and let them in again."""


@lockouts.command("list")
@config_option
@json_option
def list_lockouts(config: str | None, as_json: bool) -> None:
    """Print the live blocks: each client, and the seconds that are left."""
    found = ask(loaded(config), "GET", "/control/lockouts", ["lockouts"])["lockouts"]
    if as_json:
        click.echo(json.dumps(found))
        return
    width = max([len("client"), *(len(each["client"]) for each in found)])
    click.echo(f"{'client':<{width}}  seconds left" if found else "nobody is locked out")
    for each in found:
        click.echo(f"{each['client']:<{width}}  {each['seconds']:.0f}")


@lockouts.command()
@click.argument("client", required=False)
@config_option
@json_option
def clear(client: str | None, config: str | None, as_json: bool) -> None:
    """Forget the failed attempts and blocks of one client, or of everybody."""
    document = None if client is None else {"client": client}
    answer = ask(loaded(config), "POST", "/control/lockouts/clear", ["cleared"], document)
    if as_json:
        click.echo(json.dumps(answer))
    else:
        click.echo(f"cleared: {answer['cleared']}")
