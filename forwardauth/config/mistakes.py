"""What is wrong with a configuration, collected. Knows YAML paths and sentences."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from forwardauth.stores.files import Stamp


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
    """Collects mistakes, each once."""

    found: list[Mistake] = field(default_factory=list)

    def add(self, path: str, text: str) -> None:
        """Note one."""
        mistake = Mistake(path, text)
        if mistake not in self.found:
            self.found.append(mistake)

    def check(self) -> None:
        """Raise ConfigurationError if there is any."""
        if self.found:
            raise ConfigurationError(self.found)


def join(path: str, key: str) -> str:
    """The YAML path of a key below a path."""
    if not path or not key:
        return path or key
    return f"{path}{key}" if key.startswith("[") else f"{path}.{key}"
