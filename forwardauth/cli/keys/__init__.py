"""`forwardauth keys`: API keys, in a configuration's database or in a key file. Knows which of the two is meant."""

import os

import click

from forwardauth.cli.configuration import config_option, json_option
from forwardauth.cli.keys import changing, files, importing, looking, making
from forwardauth.cli.mistakes import end

STATES = ("active", "expired", "disabled", "revoked")


@click.group()
def keys() -> None:
    """API keys: in the configuration's database, or in a key file such as api_keys.json."""


@keys.command("list")
@click.option("--file", metavar="FILE", help="A key file, in place of a database (API_KEYS_FILE).")
@click.option("--reveal", is_flag=True, help="Show the keys of a key file whole.")
@click.option("--owner", metavar="USER", help="Only keys of this owner.")
@click.option("--tenant", metavar="TENANT", help="Only keys of this tenant.")
@click.option("--state", type=click.Choice(STATES), help="Only keys in this state.")
@config_option
@json_option
def list_keys(
    file: str | None,
    reveal: bool,
    owner: str | None,
    tenant: str | None,
    state: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Print the keys: of `--file`, or of the configuration's database, or of the key file of API_KEYS_FILE or here."""
    if file is not None and config is not None:
        end("--file and --config name two places: expected one of them")
    if file is None and (config or os.environ.get("FORWARDAUTH_CONFIG")):
        if reveal:
            end("--reveal: a database holds digests, and no key that could be shown")
        looking.list_database(config, owner, tenant, state, as_json)
        return
    if (owner, tenant, state) != (None, None, None):
        end("a key file knows no owners, tenants and states; name a configuration with --config")
    files.list_file(file, reveal, as_json)


for command in (
    making.create,
    looking.show,
    making.rotate,
    changing.revoke,
    changing.disable,
    changing.enable,
    changing.expire,
    importing.import_keys,
    files.add,
    files.remove,
    files.generate,
    files.toggle,
):
    keys.add_command(command)
