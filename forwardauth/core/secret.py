"""A text that must not be seen. Knows nothing of what it opens."""


class Secret(str):
    """A secret in a configuration: a text whose repr hides it, so that no log of an object shows it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"
