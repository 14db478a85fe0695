"""The words that several kinds share: places of a credential, patterns of paths."""

import pytest

from forwardauth.core.scopes import path_pattern
from tests.building import mistakes, snapshot

TOKEN = "authenticators: {ci: {token: {from: [%s], tokens: [{name: a, value: x}]}}}\nroutes: [{path: /*, require: ci}]"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("/", True),
        ("/*", True),
        ("/v1/messages*", True),
        ("/a%20b", True),
        ("/%2F", True),
        ("v1", False),
        ("*", False),
        ("", False),
        ("/a*b", False),
        ("/**", False),
        ("/a b", False),
        ("/é", False),
        ("/a\n", False),
    ],
)
def test_a_pattern_begins_with_a_slash_and_has_a_star_only_at_its_end(text: str, is_one: bool) -> None:
    assert path_pattern(text) is is_one


@pytest.mark.parametrize(
    ("source", "headers", "cookies"),
    [
        ("bearer", [], []),
        ("{header: X-Odd-Key}", ["X-Odd-Key"], []),
        ("{cookie: key}", ["Cookie"], [b"key"]),
        ("basic", [], []),
        ("{query: api_key}", [], []),
    ],
)
def test_every_place_is_one_that_gateways_must_strip(source: str, headers: list[str], cookies: list[bytes]) -> None:
    built = snapshot(TOKEN.replace("%s", source))
    always = {"Authorization", "X-API-Key", "X-API-Token"}
    assert set(built.credential_headers.values()) == always | set(headers)
    assert sorted(built.credential_cookies) == cookies


@pytest.mark.parametrize(
    "source",
    [
        "{header: X_Key}",
        "{header: X.Key}",
        "{header: 'X Key'}",
        "{header: ''}",
        "{header: Cookie}",
        "{cookie: 'a b'}",
        "{cookie: a=b}",
        "{query: 'a&b'}",
        "{header: A, cookie: b}",
        "header",
        "Bearer",
    ],
)
def test_a_place_that_cannot_be_sent_is_a_mistake(source: str) -> None:
    assert list(mistakes(TOKEN.replace("%s", source))) == ["authenticators.ci.token.from[0]"]


OTHERS = "X-Forwarded-For X-Original-URL X-Auth-User x-auth-key Host Origin Accept Connection Content-Length X-Real-IP"


@pytest.mark.parametrize("header", [*OTHERS.split(), "X-Request-ID", "Forwarded"])
def test_a_header_with_another_meaning_cannot_carry_a_secret(header: str) -> None:
    """Attack: what a gateway or a browser sets anyway would be somebody's credential."""
    ((path, text),) = mistakes(TOKEN.replace("%s", f"{{header: {header}}}")).items()
    assert path.startswith("authenticators")
    assert header in text
