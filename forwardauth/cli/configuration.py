"""The configuration that a command works with: the `--config` option, and the mistakes that end the command."""

import os
import secrets

import click

from forwardauth.cli.mistakes import end, fail
from forwardauth.config.load import Configuration, Overrides, load
from forwardauth.config.materials import Records
from forwardauth.config.mistakes import ConfigurationError

config_option = click.option("--config", metavar="FILE", help="The configuration (FORWARDAUTH_CONFIG).")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def loaded(config: str | None, records: Records | None = None) -> Configuration:
    """The configuration of this option and this environment; with mistakes the command ends.

    `records` are what its authenticators read, for a command that fills them.
    """
    try:
        return load(Overrides(config), os.environ, secrets.token_bytes(32), records)
    except ConfigurationError as failure:
        fail(failure)


def loaded_for_keys(config: str | None) -> Configuration:
    """The configuration that names a database of keys. The environment alone can name none."""
    if not config and not os.environ.get("FORWARDAUTH_CONFIG"):
        end("keys are in the database of a configuration: name it with --config or FORWARDAUTH_CONFIG")
    return loaded(config)
