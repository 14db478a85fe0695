"""What an operator reads of keys. Knows rows of the database, and a new key for as long as it takes to print it."""

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from forwardauth.cli.keys.words import moment
from forwardauth.cli.mistakes import end

if TYPE_CHECKING:
    from forwardauth.stores.sql import KeyRow


def show_once(text: str, otherwise: str) -> None:
    """Print a new secret. If stdout takes nothing (a full disk), the command ends with what to do `otherwise`."""
    try:
        click.echo(text)
    except OSError as failure:
        # What stdout still holds would fail again, and loudly, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        end(f"the new key could not be printed ({failure.strerror}); {otherwise}")


def show_key(row: "KeyRow", key: str, now: float, said: str, as_json: bool) -> None:
    """Print a new key: as JSON, or on a line of its own among what people want to know."""
    if as_json:
        text = json.dumps({"id": row.id, "key": key, **document(row, now)}, indent=2)
    else:
        text = f"{said}\n{key}\nIt is shown only now: the database holds its digest."
    show_once(text, f"the database has it: forwardauth keys rotate {row.id}")


def print_row(row: "KeyRow", now: float, as_json: bool) -> None:
    """Print all that the database holds of a key."""
    told = document(row, now)
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    width = max(map(len, told))
    for name, value in told.items():
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
        click.echo(f"{name:<{width}}  {text or '-'}")


def document(row: "KeyRow", now: float) -> dict[str, Any]:
    """A key as JSON tells it."""
    return {
        "id": row.id,
        "name": row.name,
        "owner": row.owner,
        "tenant": row.tenant,
        "state": row.state(now),
        "created": moment(row.created),
        "expires": moment(row.expires),
        "disabled": row.disabled,
        "revoked": moment(row.revoked),
        "last_used": moment(row.last_used),
        "overlap_until": moment(row.overlap_until),
        "scopes": json.loads(row.scopes),
        "rate": row.rate,
        "metadata": json.loads(row.metadata),
    }


def called(row: "KeyRow") -> str:
    """A key by its id and its name."""
    return f"{row.id} ({row.name})"


def ends(row: "KeyRow") -> str:
    """When a key ends, in words."""
    return "never expires" if row.expires is None else f"expires at {moment(row.expires)}"
