"""Secrets that programs send: digest, fingerprint and expiry. Knows no request.

Random keys of 128 bits and more need no slow hash: one SHA-256 is looked up in a dictionary, so that nothing compares
the secret byte by byte and an unknown one costs what a known one costs.
"""

import hmac
from datetime import UTC, date, datetime
from hashlib import sha256


def digest(secret: bytes) -> bytes:
    """The SHA-256 by which a secret is looked up."""
    return sha256(secret).digest()


def fingerprint(process_key: bytes, *parts: bytes) -> bytes:
    """A keyed digest that names a credential in this process's tables without telling anything about it.

    Every part is preceded by its length: ("a", "bc") and ("ab", "c") must not be one credential.
    """
    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.digest(process_key, message, "sha256")[:16]


def parse_expiry(value: str | date | datetime) -> float | None:
    """When a credential ends, in seconds since 1970; None for `never`. Raises ValueError.

    A date is the moment at which that day begins, UTC; a time without a zone is UTC.
    """
    if isinstance(value, str):
        text = value.strip()
        if text == "never":
            return None
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError("expected a date (2027-01-31), a time (2027-01-31T12:00:00Z) or never") from None
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
