"""Words about keys, as operators type and read them. Knows texts, no file and no database."""

from collections.abc import Sequence
from datetime import UTC, datetime

from forwardauth.core.keys import parse_lifetime

LONGEST_TEXT = 256

# No calendar of ours shows it.
_YEAR_10000 = 253_402_300_800


def readable(text: str) -> str:
    """A text that a table, a header and a terminal can show. Raises ValueError."""
    text = text.strip()
    if len(text) > LONGEST_TEXT or not text.isprintable():
        raise ValueError(f"expected at most {LONGEST_TEXT} printable characters")
    return text


def end_of_life(text: str, created: float) -> float | None:
    """When a key ends that was made at `created`; None for never. Raises ValueError."""
    expires = parse_lifetime(text, created)
    if expires is not None and expires >= _YEAR_10000:
        raise ValueError("expected a time before the year 10000, or never")
    return expires


def moment(seconds: float | None) -> str | None:
    """A time as everybody reads it: RFC 3339, UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def public_name(sha256: bytes) -> str:
    """What the audit and the backend call a key that brings no name, by its digest."""
    return f"sha256:{sha256.hex()[:12]}"


def masked(key: str) -> str:
    """What its owner recognises a key by, and nobody can use: of a short one nothing at all."""
    if len(key) < 12:
        return "***"
    return f"{key[:3]}***" if len(key) < 32 else f"{key[:4]}***{key[-4:]}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (header, *rows)]
