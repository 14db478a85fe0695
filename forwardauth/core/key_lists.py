"""Files that hold keys: the JSON of two systems whose users move in, read and judged. Knows no file and no request.

`api_keys.json` is an object with `valid_keys`; a tenant's `client-keys.json` is a list, or an object with `keys` or
`client_api_keys`. What is wrong is told by its place alone: no sentence of this file holds anything that a file says.
"""

import json
import re
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, NoReturn

from forwardauth.core.client_ip import NAMED_NETWORKS, Network, parse_networks
from forwardauth.core.keys import digest

VALID_KEYS = "valid_keys"
REQUIRE_AUTH = "require_auth_for_external"
LOCAL_NETWORKS = "local_networks"
CLIENT_KEYS = ("keys", "client_api_keys")
"""The words of a tenant's file, in the order of looking."""

CLIENT_KEYS_SUFFIX = ".client-keys.json"
"""How the name of a tenant's file ends."""

TENANT = re.compile(r"[a-zA-Z0-9._:-]{1,128}")
"""What a tenant's name is made of. Nothing in it leads out of a folder."""

# Python refuses to read longer integers (sys.get_int_max_str_digits), in words of its own.
_MOST_DIGITS = 4300


@dataclass(frozen=True, slots=True)
class KeyList:
    """What an `api_keys.json` says. `left_out` are sentences about entries that mean nothing here."""

    digests: frozenset[bytes] = field(repr=False)
    require_auth: bool
    local_networks: tuple[Network, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """What a tenant's file says. `left_out` are sentences about keys that nobody can send."""

    digests: frozenset[bytes] = field(repr=False)
    left_out: tuple[str, ...]


def parse_document(text: str) -> object:
    """The value of a JSON text (RFC 8259), without words that stand there twice. Raises ValueError."""
    if not text.strip():
        raise ValueError("is empty")
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number, parse_int=_integer)
    except json.JSONDecodeError as failure:
        raise ValueError(f"is no JSON: line {failure.lineno}, column {failure.colno}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def parse_key_list(text: str) -> KeyList:
    """The keys, switch and networks of an `api_keys.json`. Raises ValueError with what is wrong.

    What is absent is the strict side: authentication is required, and no network is local.
    """
    document = parse_document(text)
    digests, left_out = _digests(valid_keys(document), VALID_KEYS)
    assert isinstance(document, dict)
    networks, unread = _networks(local_networks(document))
    return KeyList(digests, requires_auth(document), networks, (*left_out, *unread))


def parse_client_keys(text: str) -> ClientKeys:
    """The keys of a tenant's file. Raises ValueError with what is wrong."""
    return ClientKeys(*_digests(client_keys(parse_document(text)), "the list of keys"))


def valid_keys(document: object) -> list[str]:
    """The list of an `api_keys.json`, as it stands in the document. Raises ValueError."""
    if not isinstance(document, dict):
        raise ValueError("is no JSON object")
    if VALID_KEYS not in document:
        raise ValueError(f"has no {VALID_KEYS}")
    return _texts(document[VALID_KEYS], VALID_KEYS)


def client_keys(document: object) -> list[str]:
    """The list of a tenant's file, as it stands in the document. Raises ValueError."""
    if isinstance(document, list):
        return _texts(document, "the list of keys")
    for word in CLIENT_KEYS:
        if isinstance(document, dict) and word in document:
            return _texts(document[word], word)
    raise ValueError(f"is no list of keys, and no JSON object with {' or '.join(CLIENT_KEYS)}")


def requires_auth(document: dict[str, Any]) -> bool:
    """Whether clients from elsewhere need a key. Raises ValueError."""
    required = document.get(REQUIRE_AUTH, True)
    if not isinstance(required, bool):
        raise ValueError(f"{REQUIRE_AUTH} is neither true nor false")
    return required


def local_networks(document: dict[str, Any]) -> list[object]:
    """The list of networks, as it stands in the document. Raises ValueError."""
    entries = document.get(LOCAL_NETWORKS, [])
    if not isinstance(entries, list):
        raise ValueError(f"{LOCAL_NETWORKS} is no list")
    return entries


def _texts(value: object, word: str) -> list[str]:
    if not isinstance(value, list):
        raise ValueError(f"{word} is no list")
    for position, entry in enumerate(value):
        if not isinstance(entry, str):
            raise ValueError(f"{word}[{position}] is no text")
    return value


def _digests(keys: list[str], word: str) -> tuple[frozenset[bytes], tuple[str, ...]]:
    """The keys that somebody can send, without blanks around them; an entry of blanks is no key."""
    digests: set[bytes] = set()
    left_out: list[str] = []
    for position, entry in enumerate(keys):
        key = entry.strip()
        if not (key.isascii() and key.isprintable()):
            left_out.append(f"{word}[{position}] is no printable ASCII, so that nobody can send it")
        elif key:
            digests.add(digest(key.encode("ascii")))
    return frozenset(digests), tuple(left_out)


def _networks(entries: list[object]) -> tuple[tuple[Network, ...], tuple[str, ...]]:
    networks: list[Network] = []
    left_out: list[str] = []
    for position, entry in enumerate(entries):
        try:
            networks += _network(entry)
        except ValueError:
            left_out.append(f"{LOCAL_NETWORKS}[{position}] is no address, network or localhost")
    return tuple(dict.fromkeys(networks)), tuple(left_out)


def _network(entry: object) -> tuple[Network, ...]:
    """One entry; an address means itself alone."""
    if not isinstance(entry, str) or entry in NAMED_NETWORKS or "%" in entry:
        raise ValueError
    if entry.strip() == "localhost":
        return ip_network("127.0.0.1"), ip_network("::1")
    return parse_networks([entry])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; which of two equal words counts is not defined (RFC 8259 4)."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("has the same word twice")
    return document


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"holds {text}, which is no JSON")


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError("holds a number that is too long")
    return int(text)
