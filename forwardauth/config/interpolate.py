"""`${NAME}`, `${NAME:-default}` and `${file:PATH}` inside values. Knows an environment and files, no setting.

A default may hold references of its own: `${TRAINS:-${FOLDER:-credentials}/trains}`.
"""

import re
from collections.abc import Callable, Mapping

_OPENING = re.compile(r"\$?\$\{")
_BRACE = re.compile(r"[{}]")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_DEEPEST = 16
_LITERAL = "write $${ for a literal ${"


class Whole(str):
    """A value that was one reference whole: its type is read from its target, not from YAML."""

    __slots__ = ()

    def parts(self) -> list["Whole"]:
        """A list by its commas."""
        return [Whole(part.strip()) for part in self.split(",") if part.strip()]


def expand(text: str, environment: Mapping[str, str], read_file: Callable[[str], str], _level: int = 0) -> str:
    """A text with its references replaced; `$${` means a literal `${`. Raises ValueError with what is wrong.

    Braces inside a reference come in pairs. What a reference brings in is never read again.
    """

    def value(reference: str) -> str:
        if reference.startswith("file:"):
            # Editors and `docker secret create` end files with a line break that belongs to no secret.
            return read_file(reference[5:]).rstrip("\r\n")
        named = _NAME.fullmatch(reference)
        if named is None:
            # Without the reference: it may be a part of a secret.
            what = "something in ${…} is no reference; write ${NAME}, ${NAME:-default} or ${file:PATH}"
            raise ValueError(f"{what}; {_LITERAL}")
        name, default = named.groups()
        found = environment.get(name)
        if found or (found is not None and default is None):
            return found
        if default is None:
            raise ValueError(f"the environment variable {name} is not set, and has no default (${{{name}:-default}})")
        return str(expand(default, environment, read_file, _level + 1))

    if _level > _DEEPEST:
        raise ValueError(f"references stand in each other's defaults more than {_DEEPEST} deep")
    pieces: list[str] = []
    position, is_whole = 0, False
    while opening := _OPENING.search(text, position):
        pieces.append(text[position : opening.start()])
        position = opening.end()
        if opening[0] == "$${":
            pieces.append("${")
            continue
        end = _closing_brace(text, position)
        pieces.append(value(text[position:end]))
        is_whole = opening.start() == 0 and end == len(text) - 1
        position = end + 1
    pieces.append(text[position:])
    expanded = "".join(pieces)
    return Whole(expanded) if is_whole else expanded


def _closing_brace(text: str, start: int) -> int:
    """Where the brace closes that was opened before `start`."""
    level = 1
    for brace in _BRACE.finditer(text, start):
        level += 1 if brace[0] == "{" else -1
        if level == 0:
            return brace.start()
    raise ValueError(f"a ${{ has no closing brace; close it, or {_LITERAL}")
