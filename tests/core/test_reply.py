"""Identity headers: every one, once, and a value can never be more than a value."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forwardauth.core.model import ANONYMOUS, Identity
from forwardauth.core.reply import IDENTITY_FIELDS, header_value, identity_headers

NAMES = ["X-Auth-User", "X-Auth-Email", "X-Auth-Groups", "X-Auth-Tenant", "X-Auth-Key", "X-Auth-Method"]
FURTHER = {"user": ("Remote-User", "X-Webauth-User"), "groups": ("Remote-Groups",)}
TEXTS = st.text(max_size=30)


def test_an_unknown_identity_is_every_header_empty() -> None:
    """Attack: send `X-Auth-User: admin` where nobody is authenticated; the gateway deletes only what we answer (16)."""
    assert identity_headers(ANONYMOUS, {}) == tuple((name, "") for name in NAMES)


@given(st.builds(Identity, user=TEXTS, email=TEXTS, tenant=TEXTS, key=TEXTS, groups=st.lists(TEXTS).map(tuple)))
def test_every_header_is_there_once_in_visible_ascii(identity: Identity) -> None:
    """Attack: a line break in a user's name ends the header; a comma in a group's makes two groups."""
    headers = identity_headers(identity, FURTHER)
    assert sorted(name for name, _ in headers) == sorted([*NAMES, *FURTHER["user"], *FURTHER["groups"]])
    for name, value in headers:
        assert re.fullmatch(r"[!-~]*", value), (name, value)
        if name in ("X-Auth-Groups", "Remote-Groups"):
            assert value.count(",") == max(len(identity.groups) - 1, 0)
        else:
            assert "," not in value


def test_further_names_carry_the_same_value() -> None:
    headers = dict(identity_headers(Identity(user="bob", groups=("a", "b")), FURTHER))
    assert headers["X-Auth-User"] == headers["Remote-User"] == headers["X-Webauth-User"] == "bob"
    assert headers["X-Auth-Groups"] == headers["Remote-Groups"] == "a,b"


def test_the_names_that_accepted_are_joined_by_plus() -> None:
    assert dict(identity_headers(Identity(authenticators=("staff", "ci")), {}))["X-Auth-Method"] == "staff+ci"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("bob", "bob"),
        ("bob@example.com", "bob@example.com"),
        ("a,b", "a%2Cb"),
        ("100%", "100%25"),
        ("a\r\nX-Auth-User: admin", "a%0D%0AX-Auth-User:%20admin"),
        ("Jörg", "J%C3%B6rg"),
        ("\x7f", "%7F"),
        ("John Doe", "John%20Doe"),
    ],
)
def test_what_is_not_visible_ascii_is_percent_encoded(text: str, value: str) -> None:
    assert header_value(text) == value


@given(TEXTS, TEXTS)
@example(" bob", "bob")
@example("a,b", "a%2Cb")
def test_two_names_never_become_one(first: str, second: str) -> None:
    """Attack: register a name that reads as somebody else's once it is a header."""
    assert (header_value(first) == header_value(second)) is (first == second)


def test_every_field_has_its_name() -> None:
    assert list(IDENTITY_FIELDS.values()) == NAMES
