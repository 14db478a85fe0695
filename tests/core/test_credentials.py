"""Where a secret stands in a request, what is nothing, and what belongs to somebody else."""

import base64
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.credentials import (
    FOREIGN,
    BasicSource,
    BearerSource,
    CookieSource,
    HeaderSource,
    PasswordSource,
    Presented,
    QuerySource,
    basic_pair,
    basic_user,
    foreign_shape,
    without_cookies,
    without_parameters,
)
from forwardauth.core.model import RequestView
from tests.building import basic, fields

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        pytest.param("Bearer secret", b"secret", id="the usual way"),
        pytest.param("bearer secret", b"secret", id="in small letters"),
        pytest.param("BEARER secret", b"secret", id="in capitals"),
        pytest.param("bEaReR   secret \t", b"secret", id="with spaces around"),
        pytest.param("  Bearer secret", b"secret", id="with spaces before"),
        pytest.param("Bearer a b", b"a b", id="a space inside is part of it"),
        pytest.param("Bearer", None, id="a scheme without a value is missing"),
        pytest.param("Bearer  ", None, id="a scheme and spaces are missing"),
        pytest.param("", None, id="an empty header is missing"),
        pytest.param("   ", None, id="spaces are missing"),
        pytest.param("Basic Ym9iOng=", FOREIGN, id="Basic is somebody else's"),
        pytest.param("Digest username=x", FOREIGN, id="any other scheme is somebody else's"),
        pytest.param("Bearersecret", None, id="no space, no scheme"),
    ],
)
def test_a_bearer_token_stands_behind_its_scheme(value: str, found: Presented) -> None:
    assert BearerSource().find(fields(("Authorization", value))) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("Basic Ym9iOng=", b"Ym9iOng="),
        ("basic  Ym9iOng= ", b"Ym9iOng="),
        ("Basic", None),
        ("", None),
        ("Bearer secret", FOREIGN),
    ],
)
def test_a_password_stands_behind_its_scheme(value: str, found: Presented) -> None:
    assert BasicSource().find(fields(("Authorization", value))) == found


@pytest.mark.parametrize(("value", "found"), [("secret", b"secret"), (" secret\t", b"secret"), ("", None), (" ", None)])
def test_another_header_holds_the_bare_secret(value: str, found: Presented) -> None:
    assert HeaderSource(b"x-api-token", "X-API-Token").find(fields(("X-API-Token", value))) == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        pytest.param("key=secret", b"secret", id="one cookie"),
        pytest.param("a=b; key=secret; c=d", b"secret", id="among others"),
        pytest.param('key="secret"', b"secret", id="in quotes"),
        pytest.param("key=a=b", b"a=b", id="with an equals sign"),
        pytest.param("key=secret; key=secret", b"secret", id="the same value twice"),
        pytest.param("key=", None, id="an empty one is missing"),
        pytest.param("Key=secret", None, id="names have case"),
        pytest.param("xkey=secret", None, id="a longer name"),
        pytest.param("key", None, id="no value"),
        pytest.param("", None, id="an empty header"),
    ],
)
def test_a_cookie_is_found_by_its_name(line: str, found: Presented) -> None:
    assert CookieSource(b"key").find(fields(("Cookie", line))) == found


@given(st.lists(st.sampled_from(["good", "bad"]), min_size=2, max_size=4))
def test_two_cookies_of_one_name_are_never_one_that_somebody_knows(values: list[str]) -> None:
    """Attack: a sibling domain sets a second cookie, and gateway and backend take different ones (THREATS 3)."""
    found = CookieSource(b"key").find(fields(("Cookie", "; ".join(f"key={value}" for value in values))))
    assert found == (values[0].encode() if len(set(values)) == 1 else found)
    assert len(set(values)) == 1 or found not in (b"good", b"bad", None)


def test_nothing_is_found_in_an_empty_request() -> None:
    for source in (BearerSource(), BasicSource(), HeaderSource(b"x-key", "X-Key"), CookieSource(b"key")):
        assert source.find(fields()) is None


def test_browsers_send_cookies_and_passwords_unasked() -> None:
    assert CookieSource(b"key").ambient
    assert BasicSource().ambient
    assert not BearerSource().ambient
    assert not HeaderSource(b"x-key", "X-Key").ambient


@pytest.mark.parametrize(
    ("value", "foreign"),
    [
        (JWT, True),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", True),
        ("sk-ant-oat01-abc", True),
        ("sk-ant-api03-abc", False),
        ("eyJ.only", False),
        ("plain", False),
        (f"x{JWT}", False),
    ],
)
def test_a_jwt_and_a_providers_token_are_somebody_elses(value: str, foreign: bool) -> None:
    assert foreign_shape(value.encode()) is foreign


def encoded(text: str | bytes) -> bytes:
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize(
    ("value", "pair"),
    [
        pytest.param(encoded("bob:pass"), ("bob", "pass"), id="user and password"),
        pytest.param(encoded("bob:a:b"), ("bob", "a:b"), id="colons in the password"),
        pytest.param(encoded("bob:"), ("bob", ""), id="an empty password"),
        pytest.param(encoded(":pass"), ("", "pass"), id="an empty user"),
        pytest.param(encoded("jörg:pässword"), ("jörg", "pässword"), id="UTF-8"),
        pytest.param(encoded("bob"), None, id="no colon"),
        pytest.param(encoded(b"b\xf6b:pass"), None, id="Latin-1"),
        pytest.param(encoded("bob\0:pass"), None, id="NUL in the user"),
        pytest.param(encoded("bob:pa\nss"), None, id="a line break in the password"),
        pytest.param(encoded("bob:pa\x7fss"), None, id="DEL in the password"),
        pytest.param(b"Ym9iOnBhc3M", None, id="no padding"),
        pytest.param(b"Ym9i OnBhc3M=", None, id="a space"),
        pytest.param(b"Ym9iOnBhc3M=!", None, id="no base64"),
        pytest.param(b"\xff\xfe", None, id="no ASCII"),
    ],
)
def test_user_and_password_are_read_strictly(value: bytes, pair: tuple[str, str] | None) -> None:
    assert basic_pair(value) == pair


@given(st.binary(max_size=40))
def test_whatever_stands_there_reading_it_raises_nothing(value: bytes) -> None:
    pair = basic_pair(value)
    assert pair is None or ":" not in pair[0]


def test_the_claimed_user_is_told_without_being_believed() -> None:
    assert basic_user(fields(basic("bob", "x"))) == "bob"
    assert basic_user(fields(("Authorization", "Bearer Ym9iOng="))) is None
    assert basic_user(fields()) is None


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        ("key=secret", ""),
        ("a=b; key=secret; c=d", "a=b; c=d"),
        ("key=1; key=2; a=b", "a=b"),
        (" key =secret;a=b", "a=b"),
        ("a=b;c=d", "a=b; c=d"),
        ("keys=x", "keys=x"),
    ],
)
def test_our_cookies_are_taken_out_of_a_line(line: str, rest: str) -> None:
    assert without_cookies(line.encode(), frozenset({b"key"})) == rest.encode()


@pytest.mark.parametrize(
    ("value", "found"),
    [
        pytest.param(basic("anybody", "secret")[1], b"secret", id="whatever the user"),
        pytest.param(basic("", "secret")[1], b"secret", id="no user"),
        pytest.param(basic("user", "")[1], None, id="no password is missing"),
        pytest.param("Basic", None, id="a scheme without a value is missing"),
        pytest.param("", None, id="an empty header is missing"),
        pytest.param("Basic !!!", b"!!!", id="what is unreadable is a password that nobody knows"),
        pytest.param("Bearer secret", FOREIGN, id="any other scheme is somebody else's"),
    ],
)
def test_a_key_can_be_the_password_of_basic(value: str, found: Presented) -> None:
    assert PasswordSource().find(fields(("Authorization", value))) == found


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (b"/v1", None),
        (b"/v1?", None),
        (b"/v1?other=secret", None),
        (b"/v1?key=", None),
        (b"/v1?key", None),
        (b"/v1?key=secret", b"secret"),
        (b"/v1?a=b&key=secret&c", b"secret"),
        (b"/v1?k%65y=s%65cret", b"secret"),
        (b"/v1?key=a+b", b"a b"),
        (b"/v1?key=a=b", b"a=b"),
        (b"/v1?key=secret&key=secret", b"secret"),
        (b"/v1?key=one&key=two", b"one&two"),
        (b"/v1?key=one&k%65y=two", b"one&two"),
        (b"/v1?KEY=secret", None),
        (b"/v1?a?key=secret", None),
        (b"/v1?a;key=secret", None),
    ],
)
def test_a_key_can_stand_in_the_query(target: bytes, found: Presented) -> None:
    assert QuerySource(b"key").find(RequestView(target=target)) == found


@pytest.mark.parametrize(
    ("target", "left"),
    [
        (b"/v1", b"/v1"),
        (b"/v1?", b"/v1?"),
        (b"/v1?a=b", b"/v1?a=b"),
        (b"/v1?key=secret", b"/v1"),
        (b"/v1?a=b&key=secret&c=d", b"/v1?a=b&c=d"),
        (b"/v1?k%65y=secret&a", b"/v1?a"),
        (b"/v1?key=one&key=two", b"/v1"),
    ],
)
def test_a_target_loses_the_keys_in_its_query_and_nothing_else(target: bytes, left: bytes) -> None:
    assert without_parameters(target, frozenset({b"key"})) == left
    assert without_parameters(target, frozenset()) == target


@given(st.text("key=&%65+?abc", max_size=30))
def test_no_way_of_writing_it_keeps_a_key_in_a_query(query: str) -> None:
    left = without_parameters(f"/v1?{query}".encode(), frozenset({b"key"})).decode()
    assert "key" not in dict(parse_qsl(left.partition("?")[2], keep_blank_values=True))


def test_a_query_of_very_many_parameters_is_not_looked_through() -> None:
    """Attack: 64 kB of parameters, 30 ms of everybody's time for each request (THREATS 32)."""
    query = b"&".join([b"%61"] * 255)
    assert QuerySource(b"key").find(RequestView(target=b"/v1?" + query + b"&key=secret")) == b"secret"
    assert QuerySource(b"key").find(RequestView(target=b"/v1?" + query + b"&a&key=secret")) is None


def test_a_line_of_very_many_cookies_is_not_looked_through() -> None:
    """Attack: 64 kB of cookies, 11 ms of everybody's time for each request (THREATS 32)."""
    line = ";".join(["a"] * 999)
    assert CookieSource(b"key").find(fields(("Cookie", f"{line};key=secret"))) == b"secret"
    assert CookieSource(b"key").find(fields(("Cookie", f"{line};a;key=secret"))) is None
