"""`${NAME}`, `${NAME:-default}` and `${file:PATH}` inside values. Knows an environment and files, no setting.

A default may hold references of its own: `${TRAINS:-${FOLDER:-credentials}/trains}`.
"""

import re
from collections.abc import Callable, Mapping

_REFERENCE = re.compile(r"\$(?:\$(?=\{)|\{((?:\$\{[^}]*\}|[^}])*)\})")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


class Whole(str):
    """A value that was one reference whole: its type is read from its target, not from YAML."""

    __slots__ = ()


def expand(text: str, environment: Mapping[str, str], read_file: Callable[[str], str]) -> str:
    """A text with its references replaced; `$${` means a literal `${`. Raises ValueError with what is missing."""

    def value(match: re.Match[str]) -> str:
        reference = match[1]
        if reference is None:
            return "$"
        if reference.startswith("file:"):
            # Editors and `docker secret create` end files with a line break that belongs to no secret.
            return read_file(reference[5:]).rstrip("\r\n")
        named = _NAME.fullmatch(reference)
        if named is None:
            raise ValueError(f"${{{reference}}} is no reference; write ${{NAME}}, ${{NAME:-default}} or ${{file:PATH}}")
        name, default = named.groups()
        found = environment.get(name)
        if found or (found is not None and default is None):
            return found
        if default is None:
            raise ValueError(f"the environment variable {name} is not set, and has no default (${{{name}:-default}})")
        return str(expand(default, environment, read_file))

    expanded = _REFERENCE.sub(value, text)
    whole = _REFERENCE.fullmatch(text)
    return Whole(expanded) if whole is not None and whole[1] is not None else expanded
