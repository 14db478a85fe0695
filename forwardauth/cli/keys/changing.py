"""Changing keys: their end. Knows ids; the running service is told once the change is made."""

import json
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from forwardauth.cli.configuration import config_option, json_option, loaded_for_keys
from forwardauth.cli.control import tell_of_keys
from forwardauth.cli.database import opened
from forwardauth.cli.keys.showing import called, document, ends
from forwardauth.cli.keys.words import end_of_life
from forwardauth.cli.mistakes import end, read_option

if TYPE_CHECKING:
    from forwardauth.stores.sql import KeyRow, KeyStore


@click.command()
@click.argument("key_ids", metavar="ID...", nargs=-1, required=True)
@config_option
@json_option
def revoke(key_ids: tuple[str, ...], config: str | None, as_json: bool) -> None:
    """End keys for ever: their next request is refused, on every open connection."""
    now = time.time()
    _change(config, key_ids, lambda store, key_id: store.revoke(key_id, now), as_json, revoked_too=True)


@click.command()
@click.argument("key_ids", metavar="ID...", nargs=-1, required=True)
@config_option
@json_option
def disable(key_ids: tuple[str, ...], config: str | None, as_json: bool) -> None:
    """Refuse keys until they are enabled again."""
    _change(config, key_ids, lambda store, key_id: store.disable(key_id), as_json)


@click.command()
@click.argument("key_ids", metavar="ID...", nargs=-1, required=True)
@config_option
@json_option
def enable(key_ids: tuple[str, ...], config: str | None, as_json: bool) -> None:
    """Accept disabled keys again; a revoked one stays so."""
    _change(config, key_ids, lambda store, key_id: store.enable(key_id), as_json)


@click.command()
@click.argument("key_id", metavar="ID")
@click.argument("when")
@config_option
@json_option
def expire(key_id: str, when: str, config: str | None, as_json: bool) -> None:
    """Set when a key ends: 2027-01-31, 30d (from its creation), never or now."""
    now = time.time()
    with opened(loaded_for_keys(config)) as keys:
        row = keys.row(key_id)
        at = now if when.strip() == "now" else read_option("WHEN", lambda: end_of_life(when, row.created))
        row = keys.store.expire(row.id, at)
    click.echo(json.dumps(document(row, now)) if as_json else f"{called(row)}: {row.state(now)}; it {ends(row)}")
    tell_of_keys(keys.configuration)


def _change(
    config: str | None,
    key_ids: Iterable[str],
    change: Callable[["KeyStore", str], "KeyRow"],
    as_json: bool,
    revoked_too: bool = False,
) -> None:
    now = time.time()
    with opened(loaded_for_keys(config)) as keys:
        # All are looked up before the first one changes: a typo changes nothing.
        found = [keys.row(key_id) for key_id in dict.fromkeys(key_ids)]
        for row in found:
            if row.revoked is not None and not revoked_too:
                end(f"key {row.id} is revoked, which is for ever: nothing was changed")
        rows = [change(keys.store, row.id) for row in found]
    if as_json:
        click.echo(json.dumps([document(row, now) for row in rows], indent=2))
    else:
        for row in rows:
            click.echo(f"{called(row)}: {row.state(now)}")
    tell_of_keys(keys.configuration)
