"""Plain data to settings classes, with every mistake at once. Knows types, no setting.

Settings are dataclasses that live beside what they set; msgspec converts the leaves. A field's YAML key is its name, or
`key` in its metadata where the name is a word of Python.
"""

import dataclasses
import difflib
import functools
import re
import types
import typing
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, TypeVar

import msgspec

from forwardauth.config.interpolate import Whole
from forwardauth.config.mistakes import Mistakes, join
from forwardauth.core.secret import Secret

T = TypeVar("T")

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})
_EXPECTED = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    date: "a date",
    datetime: "a time",
    dict: "settings",
}
_WRONG = object()


# Python works them out anew each time, which was a third of the time that a thousand tokens take.
@functools.cache
def _hints(settings: Any) -> dict[str, Any]:
    return typing.get_type_hints(settings)


class Reader:
    """Reads values into types; `expand` replaces references in texts and raises ValueError.

    Each value is expanded once; what stands below a `dict[str, Any]` not at all, as it is read again by its own types.
    `unbuilt` names keys by YAML path pattern (`routes[].inject`) that the contract has and this version has not.
    """

    def __init__(self, mistakes: Mistakes, expand: Callable[[str], str], unbuilt: frozenset[str] = frozenset()) -> None:
        self._mistakes = mistakes
        self._expand = expand
        self._unbuilt = unbuilt

    def read(self, wanted: type[T], value: Any, path: str) -> T | None:
        """The value as the wanted type, or None when a mistake was noted."""
        before = len(self._mistakes.found)
        found = self.read_partly(wanted, value, path)
        return None if len(self._mistakes.found) > before else found

    def read_partly(self, wanted: type[T], value: Any, path: str) -> T | None:
        """As much of the value as can be used, so that what is built from it can be looked at for mistakes too.

        A key that is wrong has its default. Where there is none, and in lists (so that the places of the others hold),
        something empty stands for it. Nothing may be decided by that: a mistake was noted.
        """
        found = self._read(wanted, value, path)
        return None if found is _WRONG else typing.cast(T, found)

    def _wrong(self, path: str, text: str) -> Any:
        self._mistakes.add_unreadable(path, text)
        return _WRONG

    def _read(self, wanted: Any, value: Any, path: str) -> Any:
        if isinstance(value, str) and not isinstance(value, Whole):
            try:
                value = self._expand(value)
            except ValueError as mistake:
                return self._wrong(path, str(mistake))
        if isinstance(value, str) and "\0" in value:
            # No file, socket or header can have one, and Python raises where it is used.
            return self._wrong(path, "expected text without NUL (\\0)")
        return self._convert(wanted, value, path)

    def _convert(self, wanted: Any, value: Any, path: str) -> Any:
        """A value whose references are expanded."""
        if dataclasses.is_dataclass(wanted):
            return self._read_settings(wanted, value, path)
        origin = typing.get_origin(wanted)
        if origin in (typing.Union, types.UnionType):
            return self._read_union(typing.get_args(wanted), value, path)
        if origin is list:
            return self._read_list(typing.get_args(wanted)[0], value, path)
        if origin is dict:
            return self._read_mapping(typing.get_args(wanted)[1], value, path)
        if wanted is Any:
            return self._read_any(value, path)
        return self._read_scalar(wanted, value, path)

    def _read_settings(self, wanted: Any, value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            return self._wrong(path, "expected settings below it (key: value)")
        hints = _hints(wanted)
        fields = {field.metadata.get("key", field.name): field for field in dataclasses.fields(wanted)}
        for key in value:
            if key not in fields:
                self._unknown(key, join(path, key), list(fields))
        arguments: dict[str, Any] = {}
        for key, field in fields.items():
            if key in value:
                found = self._read(hints[field.name], value[key], join(path, key))
                if found is not _WRONG:
                    arguments[field.name] = found
                    continue
            if _is_required(field):
                if key not in value:
                    self._wrong(join(path, key), "is missing")
                arguments[field.name] = _stand_in(hints[field.name])
        settings = wanted(**arguments)
        mistakes = getattr(settings, "mistakes", None)
        if mistakes is not None:
            for key, text in mistakes():
                self._mistakes.add(join(path, key), text)
        return settings

    def _unknown(self, key: str, path: str, known: list[str]) -> None:
        if _pattern(path) in self._unbuilt:
            self._mistakes.add(path, "is not built into this version yet")
            return
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(known))}"
        self._mistakes.add(path, f"unknown key; {hint}")

    def _read_union(self, options: tuple[Any, ...], value: Any, path: str) -> Any:
        if value is None and type(None) in options:
            return None
        options = tuple(option for option in options if option is not type(None))
        if isinstance(value, Whole) and len(options) > 1:
            value = _by_its_looks(options, value)
        if isinstance(value, list | dict):
            shape = type(value)
            for option in options:
                if typing.get_origin(option) is shape or (shape is dict and dataclasses.is_dataclass(option)):
                    return self._convert(option, value, path)
        scalars = [option for option in options if typing.get_origin(option) is None]
        for option in scalars:
            if not dataclasses.is_dataclass(option) and _fits(option, value):
                return self._convert(option, value, path)
        if len(options) == 1:
            return self._convert(options[0], value, path)
        return self._wrong(path, f"expected {' or '.join(dict.fromkeys(map(_name, options)))}")

    def _read_list(self, wanted: Any, value: Any, path: str) -> Any:
        if isinstance(value, Whole):
            value = value.parts()
        if not isinstance(value, list):
            return self._wrong(path, "expected a list")
        found = [self._read(wanted, entry, f"{path}[{index}]") for index, entry in enumerate(value)]
        return [_stand_in(wanted) if entry is _WRONG else entry for entry in found]

    def _read_mapping(self, wanted: Any, value: Any, path: str) -> Any:
        if not isinstance(value, dict):
            return self._wrong(path, "expected settings below it (key: value)")
        if wanted is Any:
            return value
        found = {key: self._read(wanted, entry, join(path, key)) for key, entry in value.items()}
        return {key: entry for key, entry in found.items() if entry is not _WRONG}

    def _read_any(self, value: Any, path: str) -> Any:
        if isinstance(value, list):
            return self._read_list(Any, value, path)
        if isinstance(value, dict):
            found = {key: self._read(Any, entry, join(path, key)) for key, entry in value.items()}
            return {key: _stand_in(Any) if entry is _WRONG else entry for key, entry in found.items()}
        return value

    def _read_scalar(self, wanted: Any, value: Any, path: str) -> Any:
        if wanted is Secret:
            return self._read_secret(value, path)
        if isinstance(value, Whole):
            if wanted is bool and value.lower() in _TRUE | _FALSE:
                return value.lower() in _TRUE
            value = str(value)
            strict = wanted is bool
        else:
            strict = True
        if wanted is str and value is not None and not isinstance(value, str | list | dict):
            return self._wrong(path, "expected text; put it in quotes")
        try:
            return msgspec.convert(value, wanted, strict=strict)
        except msgspec.ValidationError:
            return self._wrong(path, f"expected {_name(wanted)}")

    def _read_secret(self, value: Any, path: str) -> Any:
        if not isinstance(value, str):
            return self._wrong(path, "expected text; put it in quotes")
        return Secret(value) if value else self._wrong(path, "the secret is empty")


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _stand_in(wanted: Any) -> Any:
    """Something empty of a type, in the place of what could not be read."""
    if wanted is Any:
        return ""
    origin = typing.get_origin(wanted)
    if origin in (typing.Union, types.UnionType):
        return _stand_in(typing.get_args(wanted)[0])
    if dataclasses.is_dataclass(wanted):
        hints = _hints(typing.cast(Any, wanted))
        required = [field.name for field in dataclasses.fields(wanted) if _is_required(field)]
        return typing.cast(Any, wanted)(**{name: _stand_in(hints[name]) for name in required})
    return (origin or wanted)()


def _by_its_looks(options: tuple[Any, ...], value: Whole) -> Any:
    """A value of the environment where several types may stand: a switch, a list by commas, or text."""
    if bool in options and value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    if "," in value and any(typing.get_origin(option) is list for option in options):
        return value.parts()
    return value


def _pattern(path: str) -> str:
    return re.sub(r"\[\d+\]", "[]", path)


def _fits(wanted: Any, value: Any) -> bool:
    if isinstance(value, str):
        return wanted in (str, Secret)
    if wanted is date:
        return type(value) is date
    return isinstance(value, wanted) and not (isinstance(value, bool) and wanted is not bool)


def _name(wanted: Any) -> str:
    if typing.get_origin(wanted) is list:
        return "a list"
    return _EXPECTED.get(typing.get_origin(wanted) or wanted, "text")
