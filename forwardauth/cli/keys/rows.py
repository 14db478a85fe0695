"""The rows of an import: CSV with a header line, or JSON. Knows columns and what may stand in them, no database.

Lines stream, so that a million of them are never in memory at once; one JSON array is read whole. A mistake tells its
line and never what stands there: the first line of a file without a header is a key.
"""

import csv
import json
import re
import secrets
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from forwardauth.cli.keys.words import end_of_life, public_name, readable
from forwardauth.core.keys import ID_LENGTH, KeyFormat, digest, random_id

T = TypeVar("T")

COLUMNS = ("name", "key", "sha256", "owner", "tenant", "expires")
MOST_MISTAKES = 20

_BLANK = object()


class ImportMistakes(Exception):
    """What is wrong with a file: a number and a sentence each, the first of them. `unit` is what the numbers count."""

    def __init__(self, mistakes: list[tuple[int, str]], unit: str = "line") -> None:
        super().__init__(f"{len(mistakes)} mistakes")
        self.mistakes = mistakes
        self.unit = unit


class Row(NamedTuple):
    """One key of an import; `sha256` is the digest of its secret."""

    id: str
    name: str
    sha256: bytes
    owner: str
    tenant: str
    expires: float | None

    def __repr__(self) -> str:
        return f"Row({self.id!r})"


class Reading:
    """One pass over the lines of an import. `created` is when its keys are made, from which a lifetime counts."""

    def __init__(self, lines: Iterable[bytes], form: KeyFormat, created: float) -> None:
        self._lines = lines
        self._form = form
        self.created = created
        self.unit = "line"
        self._mistakes: list[tuple[int, str]] = []
        self._numbers = array("Q")

    def rows(self) -> Iterator[Row]:
        """Every row in order. Raises ImportMistakes at the end, or early when there are too many."""
        for number, entry in self._entries():
            try:
                row = self._row(entry)
            except ValueError as mistake:
                self._note(number, str(mistake))
                continue
            # With a mistake nothing will be imported: the rest is read for its mistakes alone.
            if not self._mistakes:
                self._numbers.append(number)
                yield row
        if self._mistakes:
            raise ImportMistakes(self._mistakes, self.unit)

    def number_of(self, position: int) -> int:
        """The line, or the entry, of the row at a position, the first being 1."""
        return self._numbers[position - 1]

    def _note(self, number: int, text: str) -> None:
        self._mistakes.append((number, text))
        if len(self._mistakes) == MOST_MISTAKES:
            raise ImportMistakes(self._mistakes, self.unit)

    # Lines to entries.

    def _entries(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        lines = _texts(self._lines)
        first = next(lines, "")
        every = chain([first], lines)
        if first.lstrip().startswith("{"):
            return self._objects(enumerate(map(_json, every), 1))
        return self._array(every) if first.lstrip().startswith("[") else self._csv(every)

    def _array(self, lines: Iterable[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        whole = _json("".join(lines))
        if not isinstance(whole, list):
            raise ImportMistakes([(1, "is no whole JSON array")])
        self.unit = "entry"
        return self._objects(enumerate(whole, 1))

    def _objects(self, entries: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        for number, entry in entries:
            if entry is _BLANK:
                continue
            if not isinstance(entry, dict):
                self._note(number, "expected one whole JSON object")
            elif not entry.keys() <= set(COLUMNS):
                self._note(number, f"has an unknown name; known: {', '.join(COLUMNS)}")
            elif not all(value is None or isinstance(value, str) for value in entry.values()):
                self._note(number, "expected texts as values")
            else:
                yield number, entry

    def _csv(self, lines: Iterable[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        reader = csv.reader(lines, strict=True)
        header = self._header(reader)
        while True:
            # Of a row over several lines, the first.
            number = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as failure:
                self._note(number, f"is no CSV: {failure}")
                continue
            if fields and len(fields) != len(header):
                self._note(number, f"has {len(fields)} fields, where the header line has {len(header)}")
            elif fields:
                yield number, dict(zip(header, fields, strict=True))

    def _header(self, reader: Iterator[list[str]]) -> list[str]:
        try:
            header = [name.strip().lower() for name in next(reader, [])]
        except csv.Error:
            header = []
        if set(header) <= set(COLUMNS) and len(set(header)) == len(header) and {"key", "sha256"} & set(header):
            return header
        text = f"expected a header line out of {','.join(COLUMNS)} with key or sha256, or JSON of the same"
        raise ImportMistakes([(1, text)])

    # Entries to rows.

    def _row(self, entry: Mapping[str, Any]) -> Row:
        """The key of one entry. Raises ValueError with what is wrong."""
        key, hashed = ((entry.get(column) or "").strip() for column in ("key", "sha256"))
        if bool(key) == bool(hashed):
            raise ValueError("expected either key or sha256")
        key_id, secret = self._plain(key) if key else (random_id(secrets.randbelow), _hashed(hashed))
        expires = _told(entry, "expires", str.strip)
        return Row(
            id=key_id,
            # Without a name it is called as key files call theirs.
            name=_told(entry, "name", readable) or public_name(secret),
            sha256=secret,
            owner=_told(entry, "owner", readable),
            tenant=_told(entry, "tenant", readable),
            expires=_told(entry, "expires", lambda text: end_of_life(text, self.created)) if expires else None,
        )

    def _plain(self, key: str) -> tuple[str, bytes]:
        """The id and the digest of a key. One of our own format keeps the id that stands in it."""
        if not re.fullmatch(r"[!-~]+", key):
            raise ValueError("key: expected printable ASCII without spaces: nothing else can be sent")
        secret = key.encode()
        if self._form.mistyped(secret):
            raise ValueError("key: has our own format and a wrong checksum, so that it would never be accepted")
        start = len(self._form.prefix)
        key_id = key[start : start + ID_LENGTH] if self._form.matches(secret) else random_id(secrets.randbelow)
        return key_id, digest(secret)


def _json(text: str) -> Any:
    """What a text says; None for what is no JSON."""
    if not text.strip():
        return _BLANK
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _texts(lines: Iterable[bytes]) -> Iterator[str]:
    """Lines as texts. What is no UTF-8 becomes characters that no column accepts, so that it is told with its line."""
    encoding = "utf-8-sig"
    for line in lines:
        yield line.decode(encoding, "surrogateescape")
        encoding = "utf-8"


def _told(entry: Mapping[str, Any], column: str, reading: Callable[[str], T]) -> T:
    try:
        return reading(entry.get(column) or "")
    except ValueError as mistake:
        raise ValueError(f"{column}: {mistake}") from None


def _hashed(text: str) -> bytes:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise ValueError("sha256: expected 64 hex digits, as sha256sum prints them")
    return bytes.fromhex(text)
