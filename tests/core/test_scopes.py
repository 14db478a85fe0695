"""Scopes: how they are written, stored and compared with a request."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.model import Scope
from forwardauth.core.routes import Host, Place, Route
from forwardauth.core.scopes import ScopeError, make_scope, parse_scopes, read_scope, refusal, scopes_text
from tests.building import client

PLACE = Place(Route("all", ("/*",)), Host("api.example.com", 443), "/v1/chat")


def answer(*entries: dict[str, object], method: str = "POST", address: str = "192.0.2.1") -> str | None:
    scopes = tuple(make_scope(entry) for entry in entries)
    refused = refusal(scopes, method.encode(), PLACE, client(address))
    return None if refused is None else refused.reason.word


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"path": "/v1/*"},
        {"path": "/v1/chat"},
        {"methods": ["GET", "POST"]},
        {"hosts": ["api.example.com"]},
        {"hosts": ["API.example.com:443"]},
        {"hosts": ["*.example.com"]},
        {"clients": ["192.0.2.0/24"]},
        {"clients": ["10.0.0.0/8", "192.0.2.1"]},
        {"path": "/v1/*", "methods": ["POST"], "hosts": ["*.example.com"], "clients": ["192.0.2.1"]},
    ],
)
def test_a_scope_covers_what_it_names(entry: dict[str, object]) -> None:
    assert answer(entry) is None


@pytest.mark.parametrize(
    "entry",
    [
        {"path": "/v2/*"},
        {"path": "/v1/chat/*"},
        {"methods": ["GET"]},
        {"hosts": ["example.com"]},
        {"hosts": ["api.example.com:8443"]},
        {"hosts": ["*.com"]},
        {"clients": ["198.51.100.0/24"]},
        {"clients": ["::/0"]},
    ],
)
def test_one_thing_that_differs_is_not_covered(entry: dict[str, object]) -> None:
    assert answer(entry) == "insufficient_scope"
    assert answer(entry, {"path": "/v1/*"}) is None, "scopes are alternatives"


def test_nothing_tells_the_model_of_a_request_so_a_scope_with_models_covers_none() -> None:
    assert answer({"models": ["gpt-4o"]}) == "model_not_allowed"
    assert answer({"models": ["gpt-4o"], "methods": ["GET"]}) == "insufficient_scope"
    assert answer({"models": ["gpt-4o"]}, {"methods": ["POST"]}) is None


@pytest.mark.parametrize(
    ("words", "entry"),
    [
        ("/v1/*", {"path": "/v1/*"}),
        ("POST", {"methods": ["POST"]}),
        ("GET,HEAD /v1/models", {"methods": ["GET", "HEAD"], "path": "/v1/models"}),
        (
            "path=/x method=GET host=a.example,*.b.example",
            {"path": "/x", "methods": ["GET"], "hosts": ["a.example", "*.b.example"]},
        ),
        ("client=10.0.0.0/8,::1 model=gpt-4o", {"clients": ["10.0.0.0/8", "::1"], "models": ["gpt-4o"]}),
    ],
)
def test_an_operator_types_a_scope_in_words(words: str, entry: dict[str, object]) -> None:
    assert read_scope(words) == entry


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "at least a path or a method"),
        ("get", "'get' is none of"),
        ("colour=red", "'colour=red' is none of"),
        ("path=", "'path=' is none of"),
        ("/a /b", "stands there twice"),
        ("path=v1", "expected a path"),
        ("GET POST", "stands there twice"),
        ("host=a/b", "no host name"),
        ("client=10.0.0.0/99", "no address, network"),
    ],
)
def test_a_mistake_in_the_words_is_told(words: str, said: str) -> None:
    with pytest.raises(ScopeError, match=said):
        read_scope(words)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "null",
        '["/v1"]',
        '[{"path": 1}]',
        '[{"paths": ["/"]}]',
        '[{"methods": []}]',
        '[{"methods": "GET"}]',
        "[[",
    ],
)
def test_what_is_no_list_of_scopes_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own mistakes and ours
        parse_scopes(text)


def test_equal_scopes_are_stored_as_equal_texts() -> None:
    one = scopes_text([{"path": "/v1/*", "methods": ["POST"]}])
    assert one == scopes_text([{"methods": ["POST"], "path": "/v1/*"}])
    assert parse_scopes(one) == (Scope("/v1/*", frozenset({b"POST"})),)
    assert parse_scopes(scopes_text([])) == ()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_a_database_holds_is_scopes_or_a_value_error(found: object) -> None:
    try:
        parse_scopes(json.dumps(found))
    except ValueError:
        return
