"""Digests, fingerprints and the moments at which credentials end."""

from datetime import UTC, date, datetime, timedelta, timezone
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.keys import digest, fingerprint, parse_expiry

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
