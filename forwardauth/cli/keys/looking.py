"""Looking at keys: what the database holds of them, which is no key. Changes nothing."""

import json
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

from forwardauth.cli.configuration import config_option, json_option, loaded_for_keys
from forwardauth.cli.database import opened
from forwardauth.cli.keys.showing import document, print_row
from forwardauth.cli.keys.words import moment, table

if TYPE_CHECKING:
    from forwardauth.stores.sql import KeyRow

_AT_ONCE = 1000
"""Rows of a listing that are aligned with each other: a million of them are printed as they come."""


def list_database(config: str | None, owner: str | None, tenant: str | None, state: str | None, as_json: bool) -> None:
    """Print the keys of a database, the oldest first."""
    now = time.time()
    with opened(loaded_for_keys(config)) as keys:
        rows = (row for row in keys.store.rows(owner=owner, tenant=tenant) if state in (None, row.state(now)))
        for line in _json_lines(rows, now) if as_json else _table_lines(rows, now):
            click.echo(line)


def _json_lines(rows: Iterable["KeyRow"], now: float) -> Iterator[str]:
    """One JSON array, a row on each line."""
    before = "["
    for row in rows:
        yield f"{before}{json.dumps(document(row, now))}"
        before = ","
    yield "]" if before == "," else "[]"


def _table_lines(rows: Iterable["KeyRow"], now: float) -> Iterator[str]:
    header = ("id", "name", "owner", "tenant", "state", "expires", "last used")
    remaining = iter(rows)
    while some := list(islice(remaining, _AT_ONCE)):
        yield from table(
            header,
            [
                (
                    row.id,
                    row.name,
                    row.owner or "-",
                    row.tenant or "-",
                    row.state(now),
                    moment(row.expires) or "never",
                    moment(row.last_used) or "-",
                )
                for row in some
            ],
        )


@click.command()
@click.argument("key_id", metavar="ID")
@config_option
@json_option
def show(key_id: str, config: str | None, as_json: bool) -> None:
    """Print all that the database holds of a key, which is not the key."""
    now = time.time()
    with opened(loaded_for_keys(config)) as keys:
        row = keys.row(key_id)
    print_row(row, now, as_json)
