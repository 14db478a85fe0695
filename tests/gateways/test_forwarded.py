"""The `X-Forwarded-*` family: all five, or none."""

import pytest

from forwardauth.core.model import RequestView, Subrequest
from forwardauth.gateways.forwarded import HEADERS, read_forwarded

ASKED = Subrequest(b"GET", b"/verify/traefik", [], None)
WHOLE = {
    b"x-forwarded-method": b"POST",
    b"x-forwarded-proto": b"https",
    b"x-forwarded-host": b"api.example.com",
    b"x-forwarded-uri": b"/v1/chat?x=1",
    b"x-forwarded-for": b"192.0.2.1",
}


def read(**changed: bytes | None) -> RequestView:
    """A view of the whole family; by name, without `x-forwarded-`, what is different or missing."""
    fields = WHOLE | {f"x-forwarded-{name}".encode(): value for name, value in changed.items() if value is not None}
    missing = {f"x-forwarded-{name}".encode() for name, value in changed.items() if value is None}
    view = RequestView(fields={name: value for name, value in fields.items() if name not in missing})
    read_forwarded(ASKED, view)
    return view


def test_the_family_is_the_request() -> None:
    view = read()
    assert view.unreadable is None
    assert (view.method, view.scheme, view.host, view.target) == (
        b"POST",
        b"https",
        b"api.example.com",
        b"/v1/chat?x=1",
    )
    assert view.forwarded_for == b"192.0.2.1"


@pytest.mark.parametrize("name", ["method", "proto", "host", "uri", "for"])
@pytest.mark.parametrize("value", [None, b""], ids=["missing", "empty"])
def test_one_that_is_missing_or_empty_makes_the_request_unreadable(name: str, value: bytes | None) -> None:
    assert read(**{name: value}).unreadable is not None


@pytest.mark.parametrize("scheme", [b"https", b"http", b"ws", b"wss"])
def test_the_webs_schemes_are_schemes(scheme: bytes) -> None:
    assert read(proto=scheme).unreadable is None


@pytest.mark.parametrize("scheme", [b"ftp", b"HTTPS", b"https,http", b"https ", b"javascript"])
def test_nothing_else_is_a_scheme(scheme: bytes) -> None:
    assert read(proto=scheme).unreadable is not None


def test_another_family_is_not_read() -> None:
    """Attack: what one gateway sets, another passes on from its client (THREATS 2)."""
    view = RequestView(fields={b"x-original-url": b"https://a/", b"x-original-method": b"GET"} | WHOLE)
    read_forwarded(ASKED, view)
    assert (view.host, view.target) == (b"api.example.com", b"/v1/chat?x=1")
    assert frozenset(WHOLE) == HEADERS
