"""`forwardauth serve`: runs the service."""

import os
import sys

import click

from forwardauth.cli.mistakes import EXIT_MISTAKES, fail
from forwardauth.config.load import Overrides
from forwardauth.config.mistakes import ConfigurationError


@click.command()
@click.option("--config", metavar="FILE", help="The configuration (FORWARDAUTH_CONFIG).")
@click.option("--listen", metavar="ADDRESS", help="Where gateways ask: HOST:PORT or unix:PATH (FORWARDAUTH_LISTEN).")
@click.option("--public", metavar="ADDRESS", help="Where people sign in (FORWARDAUTH_PUBLIC).")
@click.option("--admin", metavar="ADDRESS", help="Where /metrics and /ready are (FORWARDAUTH_ADMIN).")
@click.option("--disable-auth", is_flag=True, help="Let everybody pass, with a warning (FORWARDAUTH_DISABLE_AUTH).")
def serve(config: str | None, listen: str | None, public: str | None, admin: str | None, disable_auth: bool) -> None:
    """Run the service until SIGTERM."""
    # Imported here: `check` and `explain` need no sockets, and start faster without them.
    from forwardauth.app import ListenError
    from forwardauth.app import serve as run
    from forwardauth.telemetry.redact import configure_logging

    configure_logging()
    try:
        run(Overrides(config, listen, public, admin, disable_auth), os.environ)
    except ConfigurationError as failure:
        fail(failure)
    except ListenError as failure:
        click.echo(f"forwardauth: {failure}", err=True)
        sys.exit(EXIT_MISTAKES)
