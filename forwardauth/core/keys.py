"""Secrets that programs send: format, checksum, digest, fingerprint and expiry. Knows no request.

Random keys of 128 bits and more need no slow hash: one SHA-256 is looked up in a dictionary, so that nothing compares
the secret byte by byte and an unknown one costs what a known one costs.
"""

import hmac
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from hashlib import blake2b, sha256
from typing import NamedTuple
from zlib import crc32

ID_LENGTH = 12
SECRET_LENGTH = 43
"""Characters of base62: 256 bits, as many as the digest has."""

PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Two digits at once: a checksum is compared on every request, and six divisions take longer than the SHA-256.
_PAIRS = [(high + low).encode() for high in _DIGITS for low in _DIGITS]

_ID = re.compile(rf"[0-9A-Za-z]{{{ID_LENGTH}}}")
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Minted(NamedTuple):
    """A new key: its public id, and the whole text, which is shown once."""

    id: str
    key: str


class KeyFormat:
    """`<prefix><12 of id>_<43 of secret>_<6 of checksum>`, all base62; the prefix brings its own separator.

    `expression` is the regular expression of every such key, for secret scanners. The checksum, the CRC-32 of what
    stands before it, tells a typo from a key that somebody revoked or made up, without asking anybody.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        letters = "[0-9A-Za-z]"
        self.expression = f"{re.escape(prefix)}{letters}{{{ID_LENGTH}}}_{letters}{{{SECRET_LENGTH}}}_{letters}{{6}}"
        self._matches = re.compile(self.expression.encode()).fullmatch

    def matches(self, value: bytes) -> bool:
        """Whether a value has this format as a whole, whatever its checksum."""
        return self._matches(value) is not None

    def mistyped(self, value: bytes) -> bool:
        """Whether a value has this format as a whole, and a checksum that is not its own."""
        return self._matches(value) is not None and value[-6:] != _checksum(value[:-7])

    def mint(self, randbelow: Callable[[int], int], key_id: str | None = None) -> Minted:
        """A new key, or a new secret for the key of an id. `randbelow(n)` answers an unpredictable number below n."""
        key_id = key_id or random_id(randbelow)
        body = f"{self.prefix}{key_id}_{_base62(randbelow(62**SECRET_LENGTH), SECRET_LENGTH)}"
        return Minted(key_id, f"{body}_{_checksum(body.encode()).decode()}")


def random_id(randbelow: Callable[[int], int]) -> str:
    """A public id for a key."""
    return _base62(randbelow(62**ID_LENGTH), ID_LENGTH)


def is_id(text: str) -> bool:
    """Whether a text can be the public id of a key. What cannot may be a secret, and is not repeated."""
    return _ID.fullmatch(text) is not None


def _base62(number: int, size: int) -> str:
    digits = []
    for _ in range(size):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def _checksum(body: bytes) -> bytes:
    rest, low = divmod(crc32(body), 3844)
    high, middle = divmod(rest, 3844)
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]


class Pepper:
    """A secret of the server, without which the digests of a stolen database cannot be checked against guesses.

    `id` names it beside each digest that was made with it, so that a lost or changed pepper is noticed.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()
        self.id = hmac.digest(self._secret, b"forwardauth pepper", "sha256").hex()[:8]

    def digest(self, sha256_digest: bytes) -> bytes:
        """What is stored for a secret: HMAC-SHA-256 of its SHA-256, so that hashed keys can be imported too."""
        return hmac.digest(self._secret, sha256_digest, "sha256")


def digest(secret: bytes) -> bytes:
    """The SHA-256 by which a secret is looked up."""
    return sha256(secret).digest()


def fingerprint(process_key: bytes, *parts: bytes) -> bytes:
    """A keyed digest that names a credential in this process's tables without telling anything about it.

    Every part is preceded by its length: ("a", "bc") and ("ab", "c") must not be one credential.
    """
    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    # Keyed by itself (RFC 7693 2.9), and a third of the time of an HMAC: keys of a database are met one by one.
    return blake2b(message, key=process_key, digest_size=16).digest()


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


def parse_duration(text: str) -> float:
    """Seconds of `30d`, `24h`, `90m`, `10s` or `2w`. Raises ValueError; a month has no length."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("expected a duration such as 24h, 30d or 2w")
    return float(int(match[1]) * _SECONDS[match[2]])


def parse_lifetime(text: str, created: float) -> float | None:
    """When a key that was made at `created` ends, in seconds since 1970; None for `never`. Raises ValueError.

    `30d` counts from its creation; a date or time is what `parse_expiry` says.
    """
    try:
        return created + parse_duration(text)
    except ValueError:
        pass
    try:
        return parse_expiry(text)
    except ValueError:
        raise ValueError(
            "expected a duration (30d), a date (2027-01-31), a time (2027-01-31T12:00:00Z) or never"
        ) from None
