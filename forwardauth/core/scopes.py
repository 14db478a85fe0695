"""What a credential may do: scopes as people and databases write them, and whether one covers a request.

Knows paths, methods, hosts and client networks, and no credential. Several scopes are alternatives; none at all means
everything that the routes allow.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from forwardauth.core.client_ip import parse_address, parse_networks, within
from forwardauth.core.model import Client, Scope
from forwardauth.core.reasons import DENIALS, INSUFFICIENT_SCOPE, MODEL_NOT_ALLOWED, Denial
from forwardauth.core.routes import HostPattern, Place, matches_path

METHOD_NAME = re.compile(r"[A-Z][A-Z-]{0,31}")
"""A method as operators write it."""

_MODEL = re.compile(r"[!-~]{1,128}")
_LISTS = ("methods", "hosts", "clients", "models")
_WORDS = {"path": "path", "method": "methods", "host": "hosts", "client": "clients", "model": "models"}


class ScopeError(ValueError):
    """What is wrong with a scope. `where` is the word it is about, empty for the scope as a whole."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}" if where else what)
        self.where = where
        self.what = what


def refusal(scopes: tuple[Scope, ...], method: bytes, place: Place, client: Client) -> Denial | None:
    """Why none of the scopes covers a request, or None where one does.

    Nothing that a decision reads tells the model of a request, so a scope that names models covers none.
    """
    needs_model = False
    for scope in scopes:
        if _covers(scope, method, place, client):
            if not scope.models:
                return None
            needs_model = True
    return DENIALS[MODEL_NOT_ALLOWED if needs_model else INSUFFICIENT_SCOPE]


def _covers(scope: Scope, method: bytes, place: Place, client: Client) -> bool:
    return (
        (scope.methods is None or method in scope.methods)
        and matches_path((scope.path,), place.path)
        and (not scope.hosts or any(_pattern(host).matches(place.host) for host in scope.hosts))
        and (not scope.clients or within(parse_address(client.address), scope.clients))
    )


# Operators write these texts, never a request, so that a few of them stand for all keys.
_pattern = lru_cache(1024)(HostPattern)


def path_pattern(text: str) -> bool:
    """Whether a text is a path pattern: printable ASCII that begins with `/`, `*` only as its last character."""
    return re.fullmatch(r"/[!-)+-~]*\*?", text) is not None


def make_scope(entry: Mapping[str, Any]) -> Scope:
    """A scope of `path`, `methods`, `hosts`, `clients` and `models`, each of which may be absent. Raises ScopeError."""
    unknown = set(entry) - {"path", *_LISTS}
    if unknown:
        raise ScopeError("", f"unknown: {', '.join(sorted(unknown))}; known: path, {', '.join(_LISTS)}")
    path = entry.get("path", "/*")
    if not isinstance(path, str) or not path_pattern(path):
        raise ScopeError("path", "expected a path that begins with / and has * only at its end")
    lists = {word: tuple(_texts(word, entry[word])) for word in _LISTS if entry.get(word) is not None}
    for index, method in enumerate(lists.get("methods", ())):
        if not METHOD_NAME.fullmatch(method):
            raise ScopeError(f"methods[{index}]", f"{method!r} is no method; they are in capitals: GET, POST")
    for index, model in enumerate(lists.get("models", ())):
        if not _MODEL.fullmatch(model):
            raise ScopeError(f"models[{index}]", f"{model!r} is no name of a model")
    for index, host in enumerate(lists.get("hosts", ())):
        try:
            HostPattern(host)
        except ValueError:
            what = f"{host!r} is no host name or address, with *. before it for one label"
            raise ScopeError(f"hosts[{index}]", what) from None
    try:
        clients = parse_networks(lists.get("clients", ()))
    except ValueError as mistake:
        raise ScopeError("clients", str(mistake)) from None
    methods = frozenset(method.encode() for method in lists["methods"]) if "methods" in lists else None
    return Scope(path, methods, lists.get("hosts", ()), clients, lists.get("models", ()))


def _texts(word: str, value: Any) -> Iterator[str]:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(text, str) for text in value):
        raise ScopeError(word, "expected a list of at least one; leave the word out to allow all")
    yield from value


def parse_scopes(text: str) -> tuple[Scope, ...]:
    """Scopes as a database holds them: a JSON list of objects. Raises ValueError."""
    entries = json.loads(text)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ScopeError("", "expected a list of scopes")
    return tuple(make_scope(entry) for entry in entries)


def scopes_text(entries: list[dict[str, Any]]) -> str:
    """The form in which a database holds scopes; equal ones are equal texts. Raises ScopeError."""
    for entry in entries:
        make_scope(entry)
    return json.dumps(entries, sort_keys=True, separators=(",", ":"))


def read_scope(words: str) -> dict[str, Any]:
    """One scope as an operator types it: `POST /v1/* host=api.example.com client=10.0.0.0/8`. Raises ScopeError.

    A word that begins with `/` is the path, one in capitals (`GET,POST`) are methods; `path=`, `method=`, `host=`,
    `client=` and `model=` say it in full, several values by commas.
    """
    entry: dict[str, Any] = {}
    for word in words.split():
        name, equals, value = word.partition("=")
        if word.startswith("/"):
            name, value = "path", word
        elif not equals and all(METHOD_NAME.fullmatch(method) for method in word.split(",")):
            name, value = "method", word
        elif name not in _WORDS or not value:
            raise ScopeError("", f"{word!r} is none of /path, METHOD, {', '.join(f'{known}=' for known in _WORDS)}")
        key = _WORDS[name]
        if key in entry:
            raise ScopeError(key, "stands there twice; put several values into one word, by commas")
        entry[key] = value if key == "path" else value.split(",")
    if not entry:
        raise ScopeError("", "expected at least a path or a method, such as 'POST /v1/*'")
    make_scope(entry)
    return entry
