"""`forwardauth keys` on the database of a configuration: the life of a key, from create to revoke.

Knows options and what is printed; what happens in the database stands in `stores/sql`, which only these commands load.
A change is committed first, printed then, and told to the running service last: a key that was made is never lost.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import click

from forwardauth.authn.virtual_key import Settings as VirtualKeySettings
from forwardauth.authn.virtual_key import VirtualKey
from forwardauth.cli.configuration import config_option, json_option, loaded_for_keys
from forwardauth.cli.control import tell_of_keys
from forwardauth.cli.database import opened
from forwardauth.cli.key_words import end_of_life, moment, readable, table
from forwardauth.cli.mistakes import end
from forwardauth.cli.once import show_once
from forwardauth.config.load import Configuration
from forwardauth.core.keys import KeyFormat, Pepper, digest, parse_duration
from forwardauth.core.rate import parse_limit
from forwardauth.core.scopes import read_scope, scopes_text

if TYPE_CHECKING:
    from forwardauth.stores.sql import KeyRow, KeyStore

T = TypeVar("T")

_AT_ONCE = 1000
"""Rows of a listing that are aligned with each other: a million of them are printed as they come."""

authenticator_option = click.option(
    "--authenticator", metavar="NAME", help="Whose prefix and pepper, where several virtual_key are configured."
)


@dataclass(frozen=True, slots=True)
class Making:
    """How keys are made: the format and the pepper of one authenticator."""

    format: KeyFormat
    pepper: Pepper | None

    def stored(self, sha256: bytes) -> tuple[bytes, str]:
        """What the database holds of a secret: its digest, and the id of the pepper in it."""
        return (sha256, "") if self.pepper is None else (self.pepper.digest(sha256), self.pepper.id)


def making(configuration: Configuration, authenticator: str | None) -> Making:
    """The format and pepper of the authenticator of that name, or of the only one that keeps keys in a database."""
    known = {name: each for name, each in configuration.snapshot.authenticators.items() if isinstance(each, VirtualKey)}
    if authenticator is not None and authenticator not in known:
        end(f"--authenticator: no virtual_key has this name; known here: {', '.join(known) or 'none'}")
    if authenticator is None and len(known) > 1:
        end(f"--authenticator: say whose key it is, {' or '.join(known)}")
    for name, each in known.items():
        if authenticator in (None, name):
            return Making(each.format, each.pepper)
    prefix = VirtualKeySettings().prefix
    click.echo(f"forwardauth: no virtual_key is configured: made with the prefix {prefix} and no pepper", err=True)
    return Making(KeyFormat(prefix), None)


# Making keys.


@dataclass(frozen=True, slots=True)
class _Told:
    """What an operator says of a new key, checked, in the words of the database."""

    name: str
    owner: str
    tenant: str
    expires: float | None
    scopes: str
    rate: str
    metadata: str


@click.command()
@click.argument("name")
@click.option("--owner", default="", metavar="USER", help="Who the backend reads as the user.")
@click.option("--tenant", default="", metavar="TENANT", help="Who the backend reads as the tenant.")
@click.option("--expires", default="never", show_default=True, metavar="WHEN", help="30d, 2027-01-31 or never.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="WORDS",
    help="What it may do, such as 'POST /v1/* host=api.example.com client=10.0.0.0/8'; may be repeated. "
    "Without one: whatever the routes allow.",
)
@click.option("--rate", default="", metavar="RATE", help="100/h, in place of the authenticator's.")
@click.option("--metadata", multiple=True, metavar="NAME=VALUE", help="Something to remember; may be repeated.")
@authenticator_option
@config_option
@json_option
def create(
    name: str,
    owner: str,
    tenant: str,
    expires: str,
    scopes: tuple[str, ...],
    rate: str,
    metadata: tuple[str, ...],
    authenticator: str | None,
    config: str | None,
    as_json: bool,
) -> None:
    """Make a key, and print it, this once."""
    now = time.time()
    told = _Told(
        name=_read("NAME", lambda: _named(name)),
        owner=_read("--owner", lambda: readable(owner)),
        tenant=_read("--tenant", lambda: readable(tenant)),
        expires=_read("--expires", lambda: _future(expires, now)),
        scopes=_read("--scope", lambda: scopes_text([read_scope(words) for words in scopes])),
        rate=_read("--rate", lambda: _rate(rate)),
        metadata=_read("--metadata", lambda: _metadata(metadata)),
    )
    with opened(loaded_for_keys(config)) as keys:
        from forwardauth.stores.sql import NewKey

        made_by = making(keys.configuration, authenticator)
        made = made_by.format.mint(secrets.randbelow)
        stored, pepper = made_by.stored(digest(made.key.encode()))
        row = keys.store.create(NewKey(id=made.id, digest=stored, pepper=pepper, created=now, **asdict(told)))
    _show_key(row, made.key, now, f"{_called(row)} is made; it {_ends(row)}.", as_json)
    tell_of_keys(keys.configuration)


@click.command()
@click.argument("key_id", metavar="ID")
@click.option(
    "--overlap", default="0s", show_default=True, metavar="DURATION", help="How long the old secret works on: 24h."
)
@authenticator_option
@config_option
@json_option
def rotate(key_id: str, overlap: str, authenticator: str | None, config: str | None, as_json: bool) -> None:
    """Give a key a new secret, and print it, this once. The old one ends at once, or after the overlap."""
    now = time.time()
    until = now + _read("--overlap", lambda: _overlap(overlap))
    with opened(loaded_for_keys(config)) as keys:
        key_id = keys.row(key_id).id
        made_by = making(keys.configuration, authenticator)
        # With the old id: whoever finds the key in a log revokes it by what stands in it.
        made = made_by.format.mint(secrets.randbelow, key_id)
        row = keys.store.rotate(key_id, *made_by.stored(digest(made.key.encode())), now, until)
    working = row.overlap_until is not None and row.overlap_until > now
    old = f"the old one works until {moment(row.overlap_until)}" if working else "the old one works no more"
    _show_key(row, made.key, now, f"{_called(row)} has a new secret; {old}.", as_json)
    tell_of_keys(keys.configuration)


# Looking at keys.


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
        yield f"{before}{json.dumps(_document(row, now))}"
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
    _print_row(row, now, as_json)


# Changing keys.


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
        at = now if when.strip() == "now" else _read("WHEN", lambda: end_of_life(when, row.created))
        row = keys.store.expire(row.id, at)
    click.echo(json.dumps(_document(row, now)) if as_json else f"{_called(row)}: {row.state(now)}; it {_ends(row)}")
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
        click.echo(json.dumps([_document(row, now) for row in rows], indent=2))
    else:
        for row in rows:
            click.echo(f"{_called(row)}: {row.state(now)}")
    tell_of_keys(keys.configuration)


# What an operator types.


def _read(option: str, reading: Callable[[], T]) -> T:
    try:
        return reading()
    except ValueError as mistake:
        end(f"{option}: {mistake}")


def _named(text: str) -> str:
    if not text.strip():
        raise ValueError("expected a name")
    return readable(text)


def _future(text: str, now: float) -> float | None:
    expires = end_of_life(text, now)
    if expires is not None and expires <= now:
        raise ValueError("this lies in the past")
    return expires


def _overlap(text: str) -> float:
    return 0.0 if text.strip() in ("0", "0s") else parse_duration(text)


def _rate(text: str) -> str:
    if text:
        parse_limit(text)
    return text.strip()


def _metadata(entries: Iterable[str]) -> str:
    found: dict[str, str] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals or not name.strip() or name.strip() in found:
            raise ValueError("expected NAME=VALUE, each name once")
        found[readable(name)] = readable(value)
    return json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


# What an operator reads.


def _show_key(row: "KeyRow", key: str, now: float, said: str, as_json: bool) -> None:
    """Print a new key: as JSON, or on a line of its own among what people want to know."""
    if as_json:
        text = json.dumps({"id": row.id, "key": key, **_document(row, now)}, indent=2)
    else:
        text = f"{said}\n{key}\nIt is shown only now: the database holds its digest."
    show_once(text, f"the database has it: forwardauth keys rotate {row.id}")


def _print_row(row: "KeyRow", now: float, as_json: bool) -> None:
    document = _document(row, now)
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    width = max(map(len, document))
    for name, value in document.items():
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
        click.echo(f"{name:<{width}}  {text or '-'}")


def _document(row: "KeyRow", now: float) -> dict[str, Any]:
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


def _called(row: "KeyRow") -> str:
    return f"{row.id} ({row.name})"


def _ends(row: "KeyRow") -> str:
    return "never expires" if row.expires is None else f"expires at {moment(row.expires)}"
