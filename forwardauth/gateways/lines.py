"""The lines of a gateway's own file that depend on header names. Knows no gateway's name and no syntax."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    """Header names as they are written: `identity` to set from our 200, `credentials` to delete from the request.

    A credential that our 200 carries (`pass_credentials`) is put back under its own name.
    """

    identity: tuple[str, ...]
    credentials: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of a shipped file that belong together. `file` is below `deploy/`; `where` says what they stand in."""

    file: str
    where: str
    text: str
