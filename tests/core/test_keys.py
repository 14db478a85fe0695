"""Format, checksum, digests, fingerprints and the moments at which credentials end."""

import hmac
import re
import secrets
import string
import zlib
from datetime import UTC, date, datetime, timedelta, timezone
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.keys import (
    KeyFormat,
    Pepper,
    digest,
    fingerprint,
    parse_duration,
    parse_expiry,
    parse_lifetime,
)

NEW_YEAR = datetime(2027, 1, 31, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        pytest.param("2027-01-31", NEW_YEAR, id="a date is its beginning, UTC"),
        pytest.param(date(2027, 1, 31), NEW_YEAR, id="a date that YAML read"),
        pytest.param("2027-01-31T00:00:00", NEW_YEAR, id="a time without a zone is UTC"),
        pytest.param("2027-01-31T00:00:00Z", NEW_YEAR, id="UTC by Z"),
        pytest.param("2027-01-31T01:00:00+01:00", NEW_YEAR, id="another zone"),
        pytest.param("2027-01-31 00:00:00.500", NEW_YEAR + 0.5, id="with a space and a fraction"),
        pytest.param(datetime(2027, 1, 31), NEW_YEAR, id="a time that YAML read"),
        pytest.param(datetime(2027, 1, 31, 2, tzinfo=timezone(timedelta(hours=2))), NEW_YEAR, id="with its zone"),
        pytest.param(" never ", None, id="never"),
    ],
)
def test_an_expiry_is_a_date_a_time_or_never(value: str | date | datetime, moment: float | None) -> None:
    assert parse_expiry(value) == moment


@pytest.mark.parametrize("value", ["", "soon", "31.01.2027", "2027-02-30", "Never", "1800000000"])
def test_anything_else_is_told(value: str) -> None:
    with pytest.raises(ValueError, match=r"expected a date .* or never"):
        parse_expiry(value)


def test_the_digest_is_what_sha256sum_prints() -> None:
    assert digest(b"secret") == sha256(b"secret").digest()


PARTS = st.lists(st.binary(max_size=6), max_size=4)


@given(PARTS, PARTS)
def test_a_fingerprint_is_the_same_only_for_the_same_parts(first: list[bytes], second: list[bytes]) -> None:
    """Attack: ("a", "bc") in the place of ("ab", "c") (CVE 32701, THREATS 23)."""
    assert (fingerprint(b"key", *first) == fingerprint(b"key", *second)) is (first == second)


def test_a_fingerprint_tells_nothing_to_who_lacks_the_key() -> None:
    assert fingerprint(b"one process", b"secret") != fingerprint(b"another", b"secret")
    assert b"secret" not in fingerprint(b"key", b"secret")


OURS = KeyFormat("fa_")
DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
randbelow = st.randoms(use_true_random=False).map(lambda chance: chance.randrange)


def base62(text: str) -> int:
    number = 0
    for digit in text:
        number = number * 62 + DIGITS.index(digit)
    return number


@given(randbelow)
def test_a_key_is_prefix_id_secret_and_the_crc_of_what_stands_before(chance: object) -> None:
    minted = OURS.mint(chance)  # type: ignore[arg-type]
    body, _, checksum = minted.key.rpartition("_")
    assert re.fullmatch(rf"fa_{minted.id}_[0-9A-Za-z]{{43}}", body)
    assert len(minted.id) == 12
    assert len(checksum) == 6
    assert base62(checksum) == zlib.crc32(body.encode())
    assert re.fullmatch(OURS.expression, minted.key)
    assert OURS.matches(minted.key.encode())
    assert not OURS.mistyped(minted.key.encode())


@given(randbelow, st.integers(3, 65), st.sampled_from(DIGITS))
def test_one_wrong_character_is_a_typo(chance: object, place: int, digit: str) -> None:
    """A CRC finds every error of up to 32 bits in a row, so no single character goes unnoticed."""
    key = OURS.mint(chance).key  # type: ignore[arg-type]
    if key[place] in ("_", digit):
        return
    assert OURS.mistyped((key[:place] + digit + key[place + 1 :]).encode())


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("sk-proj-abcdefghijklmnop", id="another format"),
        pytest.param("fa_short_key_000000", id="our prefix alone"),
        pytest.param("", id="nothing"),
        pytest.param(KeyFormat("fa_").mint(lambda _: 0).key + "x", id="one character more"),
        pytest.param(KeyFormat("fa_").mint(lambda _: 0).key[:-1], id="one character less"),
        pytest.param(KeyFormat("fb_").mint(lambda _: 0).key, id="another prefix"),
        pytest.param(KeyFormat("fa_").mint(lambda _: 0).key + "\n", id="a line break"),
    ],
)
def test_what_does_not_match_as_a_whole_is_no_typo_of_ours(value: str) -> None:
    assert not OURS.matches(value.encode())
    assert not OURS.mistyped(value.encode())


@pytest.mark.parametrize("prefix", ["fa_", "ix-api-key-", "cnp_live_", "a.b+c"])
def test_a_prefix_is_taken_as_it_is(prefix: str) -> None:
    ours = KeyFormat(prefix)
    key = ours.mint(lambda below: below - 1).key
    assert key.startswith(prefix + "zzzz")
    assert ours.matches(key.encode())
    assert not ours.matches(b"X" + key.encode()[1:])


def test_keys_differ() -> None:
    assert len({OURS.mint(secrets.randbelow) for _ in range(50)}) == 50


def test_a_pepper_stores_the_hmac_of_the_sha256_and_tells_itself_apart() -> None:
    pepper, other = Pepper("one pepper"), Pepper("another")
    assert pepper.digest(digest(b"key")) == hmac.digest(b"one pepper", digest(b"key"), "sha256")
    assert pepper.digest(digest(b"key")) != other.digest(digest(b"key"))
    assert re.fullmatch(r"[0-9a-f]{8}", pepper.id)
    assert pepper.id != other.id
    assert "one pepper" not in repr(pepper)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("90m", 5400), ("24h", 86400), ("30d", 2592000), ("2w", 1209600), (" 1d ", 86400)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert parse_lifetime(text, 1000.0) == 1000.0 + seconds


@pytest.mark.parametrize("text", ["1mo", "0d", "-1h", "1.5h", "d", "30", "", "1h30m", "9999999999d"])
def test_a_month_and_other_words_have_no_length(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        parse_duration(text)
    with pytest.raises(ValueError, match="expected a duration"):
        parse_lifetime(text, 0.0)


def test_a_life_ends_at_a_date_or_never_too() -> None:
    assert parse_lifetime("2027-01-31", 5.0) == NEW_YEAR
    assert parse_lifetime("never", 5.0) is None
