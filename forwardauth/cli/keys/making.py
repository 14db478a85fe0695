"""Making keys: a new one, and a new secret for an old one. Knows what an operator says of a key, and prints it once."""

import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import click

from forwardauth.authn.virtual_key import Settings as VirtualKeySettings
from forwardauth.authn.virtual_key import VirtualKey
from forwardauth.cli.configuration import config_option, json_option, loaded_for_keys
from forwardauth.cli.control import tell_of_keys
from forwardauth.cli.database import opened
from forwardauth.cli.keys.showing import called, ends, show_key
from forwardauth.cli.keys.words import end_of_life, moment, readable
from forwardauth.cli.mistakes import end, read_option
from forwardauth.config.load import Configuration
from forwardauth.core.keys import KeyFormat, Pepper, digest, parse_duration
from forwardauth.core.rate import parse_limit
from forwardauth.core.scopes import read_scope, scopes_text

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
        name=read_option("NAME", lambda: _named(name)),
        owner=read_option("--owner", lambda: readable(owner)),
        tenant=read_option("--tenant", lambda: readable(tenant)),
        expires=read_option("--expires", lambda: _future(expires, now)),
        scopes=read_option("--scope", lambda: scopes_text([read_scope(words) for words in scopes])),
        rate=read_option("--rate", lambda: _rate(rate)),
        metadata=read_option("--metadata", lambda: _metadata(metadata)),
    )
    with opened(loaded_for_keys(config)) as keys:
        from forwardauth.stores.sql import NewKey

        made_by = making(keys.configuration, authenticator)
        made = made_by.format.mint(secrets.randbelow)
        stored, pepper = made_by.stored(digest(made.key.encode()))
        row = keys.store.create(NewKey(id=made.id, digest=stored, pepper=pepper, created=now, **asdict(told)))
    show_key(row, made.key, now, f"{called(row)} is made; it {ends(row)}.", as_json)
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
    until = now + read_option("--overlap", lambda: _overlap(overlap))
    with opened(loaded_for_keys(config)) as keys:
        key_id = keys.row(key_id).id
        made_by = making(keys.configuration, authenticator)
        # With the old id: whoever finds the key in a log revokes it by what stands in it.
        made = made_by.format.mint(secrets.randbelow, key_id)
        row = keys.store.rotate(key_id, *made_by.stored(digest(made.key.encode())), now, until)
    working = row.overlap_until is not None and row.overlap_until > now
    old = f"the old one works until {moment(row.overlap_until)}" if working else "the old one works no more"
    show_key(row, made.key, now, f"{called(row)} has a new secret; {old}.", as_json)
    tell_of_keys(keys.configuration)


# What an operator types.


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
