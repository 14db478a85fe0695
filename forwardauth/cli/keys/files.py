"""`forwardauth keys` on a key file, such as `api_keys.json`. Knows options and what is printed.

How a file is changed whole or not at all stands in `stores/key_editing.py`. A key is shown once, when it is made;
afterwards only by `--reveal`.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from forwardauth.cli.configuration import json_option
from forwardauth.cli.keys.showing import show_once
from forwardauth.cli.keys.words import masked, public_name, table
from forwardauth.cli.mistakes import end
from forwardauth.core.keys import digest
from forwardauth.stores.key_editing import (
    KeyFileError,
    add_key,
    generate_key,
    list_keys,
    random_key,
    remove_key,
    toggle_auth,
)

DEFAULT_FILE = "api_keys.json"

file_option = click.option("--file", metavar="FILE", help="The key file (API_KEYS_FILE, or api_keys.json here).")


def file_of_environment() -> str | None:
    """The key file that the environment names."""
    return os.environ.get("API_KEYS_FILE") or None


def list_file(file: str | None, reveal: bool, as_json: bool) -> None:
    """Print the keys of a file."""
    path = _path(file)
    with _mistakes():
        listing = list_keys(path)
    shown: Callable[[str], str] = str if reveal else masked
    rows = [(shown(key), _name(key)) for key in listing.keys]
    if as_json:
        document = {
            "file": str(path),
            "keys": [{"key": key, "name": name} for key, name in rows],
            "require_auth_for_external": listing.require_auth,
            "local_networks": listing.local_networks,
        }
        click.echo(json.dumps(document, indent=2))
        return
    count = f"{len(rows)} key{'' if len(rows) == 1 else 's'}"
    click.echo(f"{path}: {count if listing.exists else 'does not exist'}")
    for line in table(("key", "name"), rows) if rows else []:
        click.echo(line)
    if listing.require_auth is not None:
        click.echo(f"authentication for external access: {'required' if listing.require_auth else 'not required'}")
        click.echo(f"local networks: {', '.join(listing.local_networks) or 'none'}")


@click.command()
@click.argument("key")
@file_option
@json_option
def add(key: str, file: str | None, as_json: bool) -> None:
    """Add a key of your own to a key file; `-` reads it from stdin, where no list of processes shows it."""
    key = _given(key)
    with _mistakes():
        added = add_key(_path(file), key)
    if as_json:
        click.echo(json.dumps({"added": added, "name": _name(key)}))
    else:
        click.echo(f"{'added' if added else 'is there already'}: {masked(key)} ({_name(key)})")


@click.command()
@click.argument("key")
@file_option
@json_option
def remove(key: str, file: str | None, as_json: bool) -> None:
    """Take a key out of a key file; `-` reads it from stdin."""
    key = _given(key)
    path = _path(file)
    with _mistakes():
        removed = remove_key(path, key)
    if not removed:
        end(f"{path} has no such key")
    if as_json:
        click.echo(json.dumps({"removed": removed, "name": _name(key)}))
    else:
        click.echo(f"removed: {masked(key)} ({_name(key)})")


@click.command()
@click.option("--prefix", default="", metavar="TEXT", help="Print a key that begins so, and change no file.")
@click.option("-n", "--count", type=click.IntRange(1, 10_000), default=1, show_default=True, metavar="N", help="Keys.")
@file_option
@json_option
def generate(prefix: str, count: int, file: str | None, as_json: bool) -> None:
    """Make a random key and print it, this once.

    Without a prefix: 32 characters, and the key is added to the key file. With a prefix: the prefix and 43 characters,
    and the key is added nowhere unless `--file` says where.
    """
    if not re.fullmatch(r"[!-~]{0,64}", prefix):
        end("--prefix: expected at most 64 printable ASCII characters without spaces")
    alone = bool(prefix) and file is None
    path = _path(file)
    lost = "run it again" if alone else f"{path} has what was made: forwardauth keys list --reveal --file {path}"
    made = []
    for _ in range(count):
        with _mistakes():
            made.append(random_key(prefix) if alone else generate_key(path, prefix))
        if not as_json:
            show_once(made[-1], lost)
    if as_json:
        entries = [{"key": key, "name": _name(key)} for key in made]
        show_once(json.dumps(entries[0] if count == 1 else entries), lost)


@click.command("toggle-auth")
@file_option
@json_option
def toggle(file: str | None, as_json: bool) -> None:
    """Turn `require_auth_for_external` of a key file over, and say what it is now."""
    with _mistakes():
        required = toggle_auth(_path(file))
    if as_json:
        click.echo(json.dumps({"require_auth_for_external": required}))
    else:
        click.echo(f"authentication for external access: {'required' if required else 'not required'}")


def _name(key: str) -> str:
    return public_name(digest(key.encode()))


def _path(file: str | None) -> Path:
    return Path(file or file_of_environment() or DEFAULT_FILE)


def _given(key: str) -> str:
    if key != "-":
        return key
    return sys.stdin.readline().strip()


@contextmanager
def _mistakes() -> Iterator[None]:
    try:
        yield
    except KeyFileError as failure:
        end(str(failure))
