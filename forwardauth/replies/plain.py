"""One line of text, for people with curl."""

from forwardauth.core.reasons import Denial


def render(denial: Denial) -> bytes:
    """The body of a denial."""
    return denial.message.encode("ascii")
