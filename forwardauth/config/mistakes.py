"""What is wrong with a configuration, collected. Knows YAML paths and sentences."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from forwardauth.stores.files import Stamp

_MOST = 1000
_STEP = re.compile(r"[.\[]")


class Mistake(NamedTuple):
    """One mistake: its YAML path (`routes[2].rate`, empty for the whole file) and what was expected."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


class ConfigurationError(Exception):
    """A configuration that cannot be used. Its text has one line for each mistake.

    `stamps` are the files that were read: when one changes, reading again may succeed.
    """

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes
        self.stamps: dict[Path, Stamp | None] = {}


@dataclass(slots=True)
class Mistakes:
    """Collects mistakes, each once. The thousandth ends the reading: raises ConfigurationError.

    Of a value that could not be read, its own mistake is all that can be told: what is looked at in its place was
    written by nobody. So it is with what is below it, and with the settings right above it as a whole.
    """

    found: list[Mistake] = field(default_factory=list)
    _unreadable: set[str] = field(default_factory=set)
    _incomplete: set[str] = field(default_factory=set)

    def add(self, path: str, text: str, *keys: str) -> None:
        """Note one, unless it follows from a value that could not be read.

        `keys` are those below the path that it is about, where it is about no more.
        """
        above = (path[: step.start()] for step in _STEP.finditer(path))
        about = (join(path, key) for key in keys)
        if self._unreadable.isdisjoint([path, *above, *about]) and (keys or path not in self._incomplete):
            self._note(path, text)

    def add_unreadable(self, path: str, text: str) -> None:
        """Note a value that could not be read."""
        self._note(path, text)
        self._mark(path)

    def keep(self, count: int) -> None:
        """Forget all but the first ones."""
        del self.found[count:]
        marked = self._unreadable.intersection(mistake.path for mistake in self.found)
        self._unreadable, self._incomplete = set(), set()
        for path in marked:
            self._mark(path)

    def _mark(self, path: str) -> None:
        self._unreadable.add(path)
        *_, last = _STEP.finditer(f".{path}")
        if last.start():
            self._incomplete.add(path[: last.start() - 1])

    def check(self) -> None:
        """Raise ConfigurationError if there is any."""
        if self.found:
            raise ConfigurationError(self.found)

    def _note(self, path: str, text: str) -> None:
        mistake = Mistake(path, text)
        if mistake in self.found:
            return
        self.found.append(mistake)
        if len(self.found) == _MOST:
            raise ConfigurationError(
                [*self.found, Mistake("", f"nothing more was looked at: these are the first {_MOST} mistakes")]
            )


def join(path: str, key: str) -> str:
    """The YAML path of a key below a path."""
    if not path or not key:
        return path or key
    return f"{path}{key}" if key.startswith("[") else f"{path}.{key}"
