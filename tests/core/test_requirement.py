"""`any` and `all`: which identity, which refusal, which challenges, and what counts as a failure."""

from collections.abc import Callable

import pytest

from tests.building import SHA_OF_PASSWORD, Bench, basic, bearer, failures, who, word

CONFIGURATION = f"""
authenticators:
  one:    {{token: {{from: [{{header: X-One}}], tokens: [
            {{name: first, value: one}}, {{name: old, value: stale, expires: 2020-01-01}}]}}}}
  two:    {{token: {{from: [{{header: X-Two}}], tokens: [
            {{name: second, value: two}}, {{name: old, value: worn, expires: 2020-01-01}}]}}}}
  left:   {{token: {{tokens: [{{name: left, value: left}}, {{name: old, value: past, expires: 2020-01-01}}]}}}}
  right:  {{token: {{tokens: [{{name: right, value: right}}]}}}}
  both:   {{token: {{from: [bearer, {{header: X-Both}}], tokens: [
            {{name: a, value: aaa}}, {{name: b, value: bbb}}, {{name: left, value: ccc}}]}}}}
  cookie: {{token: {{from: [{{cookie: key}}], tokens: [{{name: biscuit, value: crumb}}]}}}}
  staff:  {{basic: {{users: ["bob:{SHA_OF_PASSWORD}", "eve:{SHA_OF_PASSWORD}"]}}}}
  office: {{network: {{allow: [10.8.0.0/16]}}}}
routes: [{{path: /*, require: %s}}]
"""
OFFICE = "10.8.0.1"


def bench(require: str) -> Bench:
    return Bench(CONFIGURATION.replace("%s", require))


def header(name: str) -> Callable[[str], tuple[str, str]]:
    return lambda value: (name, value)


ONE, TWO, BOTH = map(header, ("X-One", "X-Two", "X-Both"))
BOB = basic("bob", "password")
WRONG_BOB = basic("bob", "wrong")


@pytest.mark.parametrize(
    ("require", "headers", "address", "said", "counted"),
    [
        # any
        ("{any: [one, two]}", [ONE("one")], "", "first by one", 0),
        ("{any: [one, two]}", [TWO("two")], "", "second by two", 0),
        ("{any: [one, two]}", [], "", "missing_credential", 0),
        ("{any: [one, two]}", [ONE("x")], "", "invalid_credential", 1),
        ("{any: [one, two]}", [ONE("x"), TWO("y")], "", "invalid_credential", 1),
        ("{any: [one, two]}", [ONE("stale")], "", "expired_credential", 0),
        ("{any: [one, two]}", [ONE("x"), TWO("worn")], "", "invalid_credential", 1),
        # A guess beside an old key is a guess: its holder must not have endless ones.
        ("{any: [one, two]}", [ONE("stale"), TWO("y")], "", "expired_credential", 1),
        ("{any: [one, two]}", [ONE("stale"), TWO("two")], "", "second by two", 0),
        ("{any: [one, two]}", [ONE("x"), TWO("two")], "", "second by two", 0),
        ("{any: [one, two]}", [ONE("one"), TWO("two")], "", "ambiguous_credentials", 0),
        # One value, several members that could own it.
        ("{any: [left, right]}", [bearer("right")], "", "right by right", 0),
        ("{any: [right, left]}", [bearer("right")], "", "right by right", 0),
        ("{any: [right, left]}", [bearer("past")], "", "expired_credential", 0),
        ("{any: [left, right]}", [bearer("neither")], "", "invalid_credential", 1),
        ("{any: [staff, left]}", [bearer("neither")], "", "invalid_credential", 1),
        ("{any: [staff, left]}", [bearer("left")], "", "left by left", 0),
        ("{any: [left, staff]}", [BOB], "", "bob by staff", 0),
        # Several sources of one authenticator.
        ("both", [bearer("aaa"), BOTH("aaa")], "", "a by both", 0),
        ("both", [bearer("aaa"), BOTH("bbb")], "", "ambiguous_credentials", 0),
        ("both", [bearer("aaa"), BOTH("x")], "", "a by both", 0),
        ("both", [bearer("x"), BOTH("aaa")], "", "invalid_credential", 1),
        ("both", [BOB, BOTH("aaa")], "", "a by both", 0),
        ("{any: [left, both]}", [bearer("left"), BOTH("ccc")], "", "left by left", 0),
        ("{any: [one, both]}", [ONE("one"), BOTH("aaa")], "", "ambiguous_credentials", 0),
        # Networks.
        ("{any: [office, one]}", [], OFFICE, " by office", 0),
        ("{any: [office, one]}", [], "", "missing_credential", 0),
        ("{any: [office, one]}", [ONE("x")], "", "invalid_credential", 1),
        ("{any: [one, office]}", [ONE("one")], OFFICE, "first by one", 0),
        ("office", [], "", "network_not_allowed", 0),
        ("{any: [office, {all: [office, one]}]}", [], "", "network_not_allowed", 0),
        # Passwords in an any.
        ("{any: [staff, one]}", [WRONG_BOB], "", "invalid_credential", 1),
        ("{any: [staff, one]}", [WRONG_BOB, ONE("one")], "", "first by one", 1),
        ("{any: [one, staff]}", [WRONG_BOB, ONE("one")], "", "first by one", 0),
        ("{any: [one, staff]}", [BOB, ONE("one")], "", "first by one", 0),
        ("{any: [one, staff]}", [WRONG_BOB, ONE("x")], "", "invalid_credential", 1),
        ("{any: [office, staff]}", [WRONG_BOB], OFFICE, " by office", 0),
        # all
        ("{all: [staff, one]}", [BOB, ONE("one")], "", "bob first by staff+one", 0),
        ("{all: [one, staff]}", [BOB, ONE("one")], "", "bob first by one+staff", 0),
        ("{all: [one, two]}", [ONE("one"), TWO("two")], "", "first by one+two", 0),
        ("{all: [staff, one]}", [BOB], "", "missing_credential", 0),
        ("{all: [staff, one]}", [ONE("one")], "", "missing_credential", 0),
        ("{all: [staff, one]}", [BOB, ONE("x")], "", "invalid_credential", 1),
        ("{all: [staff, one]}", [WRONG_BOB, ONE("x")], "", "invalid_credential", 1),
        ("{all: [one, staff]}", [WRONG_BOB, ONE("stale")], "", "expired_credential", 0),
        ("{all: [office, one]}", [ONE("one")], "", "network_not_allowed", 0),
        ("{all: [office, one]}", [ONE("one")], OFFICE, "first by office+one", 0),
        # Nested.
        ("{any: [{all: [one, two]}, left]}", [ONE("one"), bearer("left")], "", "left by left", 0),
        ("{any: [{all: [one, two]}, left]}", [ONE("one"), TWO("two")], "", "first by one+two", 0),
        ("{any: [{all: [one, two]}, left]}", [ONE("one")], "", "missing_credential", 0),
        ("{all: [{any: [one, two]}, office]}", [TWO("two")], OFFICE, "second by two+office", 0),
        ("{any: [{all: [left, staff]}, right]}", [bearer("right")], "", "right by right", 0),
        ("{any: [{all: [staff, one]}, two]}", [WRONG_BOB, TWO("two")], "", "second by two", 1),
    ],
    ids=lambda value: str(value).replace("'", "") if isinstance(value, str | list) else "",
)
def test_who_is_accepted_and_what_is_reported(
    require: str, headers: list[tuple[str, str]], address: str, said: str, counted: int
) -> None:
    decision = bench(require).ask("POST", "https://a.example/", *headers, client=address or "192.0.2.1")
    user, key, names = who(decision)
    answer = word(decision) if decision.denial else f"{f'{user} {key}'.strip()} by {names}"
    assert (answer, len(failures(decision))) == (said, counted)


KEY_ONE = 'ApiKey realm="forwardauth", header="X-One"'
KEY_TWO = 'ApiKey realm="forwardauth", header="X-Two"'
PASSWORD = 'Basic realm="forwardauth", charset="UTF-8"'
REFUSED = 'Bearer error="invalid_token"'


@pytest.mark.parametrize(
    ("require", "headers", "code", "challenge"),
    [
        pytest.param("one", [], "missing_token_header", KEY_ONE, id="a header of its own"),
        pytest.param("left", [], "missing_authorization", "Bearer", id="Bearer"),
        pytest.param("left", [bearer("x")], "invalid_token", REFUSED, id="a wrong Bearer"),
        pytest.param("left", [bearer("past")], "invalid_token", REFUSED, id="an expired Bearer"),
        pytest.param("staff", [], "missing_authorization", PASSWORD, id="a password"),
        pytest.param("staff", [WRONG_BOB], "invalid_credentials", PASSWORD, id="a wrong password"),
        pytest.param("both", [], "missing_authorization", "Bearer", id="the first of from speaks"),
        pytest.param(
            "{any: [one, left, staff]}", [], "missing_token_header", f"{KEY_ONE}, Bearer, {PASSWORD}", id="all in order"
        ),
        pytest.param(
            "{any: [one, left]}", [bearer("x")], "invalid_token", f"{KEY_ONE}, {REFUSED}", id="one was presented"
        ),
        pytest.param("{any: [office, one]}", [], "missing_token_header", KEY_ONE, id="a network challenges nobody"),
        pytest.param("{any: [one, two]}", [ONE("stale")], "invalid_token", f"{KEY_ONE}, {KEY_TWO}", id="expired"),
        pytest.param("{any: [left, right]}", [], "missing_authorization", "Bearer", id="the same challenge once"),
        pytest.param("{all: [staff, one]}", [], "missing_authorization", PASSWORD, id="all asks for the first"),
        pytest.param("{all: [staff, one]}", [BOB], "missing_token_header", KEY_ONE, id="and then for the next"),
        pytest.param(
            "{any: [{any: [one, left]}, staff]}",
            [],
            "missing_token_header",
            f"{KEY_ONE}, Bearer, {PASSWORD}",
            id="nested",
        ),
        pytest.param(
            "{any: [{all: [staff, one]}, left]}",
            [],
            "missing_authorization",
            f"{PASSWORD}, Bearer",
            id="an all in an any",
        ),
    ],
)
def test_a_401_carries_the_challenges_of_all_members_in_order(
    require: str, headers: list[tuple[str, str]], code: str, challenge: str
) -> None:
    denial = bench(require).ask("GET", "https://a.example/", *headers).denial
    assert denial is not None
    assert (denial.reason.status, denial.code, denial.challenge) == (401, code, challenge)


def test_no_password_is_looked_at_once_something_else_was_accepted() -> None:
    """Attack: send one's own key and guesses at somebody's password; the answer, or its time, would tell which fits."""
    asked = bench("{any: [one, staff]}")
    assert word(asked.ask("GET", "https://a.example/", BOB)) == "allow"
    hashes = asked.hashes
    for header in (BOB, WRONG_BOB, basic("eve", "password")):
        assert who(asked.ask("GET", "https://a.example/", ONE("one"), header)) == ("", "first", "one")
    assert asked.hashes == hashes


def test_guessing_beside_an_own_key_locks_out_all_the_same() -> None:
    """Attack: present an own key with every guess, so that each request is allowed and no failure shows."""
    asked = bench("{any: [staff, one]}")
    said = [word(asked.ask("GET", "https://a.example/", WRONG_BOB, ONE("one"))) for _ in range(6)]
    assert said[:5] == ["allow"] * 5
    assert word(asked.ask("GET", "https://a.example/", BOB)) == "locked_out"


def test_an_identity_that_was_proven_twice_keeps_both_limits_and_scopes() -> None:
    asked = Bench("""
        authenticators:
          one: {token: {from: [{header: X-One}], rate: 2/h, tokens: [{name: a, value: one}]}}
          two: {token: {from: [{header: X-Two}], tokens: [{name: b, value: two, scopes: [{path: /in}]}]}}
        routes: [{path: /*, require: {all: [one, two]}}]
    """)
    said = [
        word(asked.ask("GET", f"https://a.example{path}", ONE("one"), TWO("two")))
        for path in ("/in", "/out", "/in", "/in")
    ]
    assert said == ["allow", "insufficient_scope", "allow", "rate_limited"]


@pytest.mark.parametrize("cookie", [True, False], ids=["with a cookie", "with a header beside the cookie"])
def test_merged_credentials_are_ambient_only_if_all_are(cookie: bool) -> None:
    asked = bench("{all: [cookie, office]}" if cookie else "{all: [cookie, one]}")
    decision = asked.ask(
        "POST",
        "https://a.example/",
        ("Cookie", "key=crumb"),
        ONE("one"),
        ("Origin", "https://evil.example"),
        client=OFFICE,
    )
    assert word(decision) == ("cross_site" if cookie else "allow")
