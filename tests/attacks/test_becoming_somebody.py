"""Whom the backend believes: names that a client writes itself, names that look like ours, names that go missing."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.guard import folded
from forwardauth.core.model import Identity
from forwardauth.core.reply import identity_headers
from tests.attacks.gate import CHAT, DIALECTS, IDENTITY, Asking, Gate, Header, every_identity, own_headers, token

CONFIGURATION = """
authenticators:
  ci:
    token:
      from: [{header: X-API-Token}, {header: X-Odd-Key}, {cookie: key}]
      tokens: [{name: ci, value: right-token}]
  office: {network: {allow: [192.0.2.0/24]}}
routes:
  - {name: public, path: /public/*, public: true}
  - {name: cors, path: /cors/*, require: ci, preflight: true}
  - {name: office, path: /office/*, require: office}
  - {name: either, path: /either/*, require: {any: [office, ci]}}
  - {name: rest, path: /*, require: ci}
identity_headers: {user: [Remote-User], groups: [X-WEBAUTH-GROUPS]}
server: {trusted_peers: [loopback]}
"""
FURTHER = ("Remote-User", "X-WEBAUTH-GROUPS")
GATE = Gate(CONFIGURATION)
OPEN = Gate(f"require_auth: false\n{CONFIGURATION}")

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)

ORIGIN = [("Origin", "https://app.example.com"), ("Access-Control-Request-Method", "POST")]
CLAIMS = [(name.lower() if number % 2 else name, "admin") for number, name in enumerate(IDENTITY)]

ALLOWED: dict[str, tuple[Gate, Asking, list[Header], str]] = {
    "public": (GATE, Asking(url="https://api.example.com/public/x"), [], ""),
    "preflight": (GATE, Asking("OPTIONS", "https://api.example.com/cors/x"), ORIGIN, ""),
    "network": (GATE, Asking(url="https://api.example.com/office/x"), [], "office"),
    "any, by network": (GATE, Asking(url="https://api.example.com/either/x"), [], "office"),
    "token": (GATE, CHAT, [token()], "ci"),
    "cookie": (GATE, CHAT, [("Cookie", "key=right-token")], "ci"),
    "disabled authentication": (OPEN, CHAT, [], ""),
    "disabled authentication, with a token": (OPEN, CHAT, [token()], ""),
}


@every_dialect
@pytest.mark.parametrize(("gate", "asking", "headers", "method"), ALLOWED.values(), ids=ALLOWED)
def test_every_200_names_everything_once(
    dialect: str, gate: Gate, asking: Asking, headers: list[Header], method: str
) -> None:
    """Attack: send X-Auth-User oneself where the verdict names nobody, and nothing replaces it.

    Public routes, preflights, networks and disabled authentication say so out loud: empty (30851, 31908; THREATS 16).
    """
    plain = gate.ask(dialect, asking, *headers)
    assert plain.status == 200
    identity = every_identity(plain)
    assert (identity["X-Auth-User"], identity["X-Auth-Method"]) == ("", method)
    assert [len(plain.all(name)) for name in FURTHER] == [1, 1]
    claiming = gate.ask(dialect, asking, *headers, *CLAIMS, *CLAIMS)
    assert claiming == plain, "what a client calls itself changes nothing"


@every_dialect
@pytest.mark.parametrize(
    "hop", ["close", "X-Auth-User", "close, X-Auth-User, X-Auth-Method, Authorization, X-API-Token"]
)
def test_hop_by_hop_names_take_no_identity_away(dialect: str, hop: str) -> None:
    """Attack: name our headers in Connection, so that whoever reads it drops them (THREATS 46)."""
    answer = GATE.ask(dialect, CHAT, token(), ("Connection", hop))
    assert answer.status == 200
    assert every_identity(answer)["X-Auth-Key"] == "ci"


# Every name that decides something here: ours, the gateways', the credentials'.
PROTECTED = sorted(
    {*IDENTITY, *FURTHER, "X-API-Token", "X-API-Key", "X-Odd-Key", "Authorization", "Cookie"}
    | {name for dialect in DIALECTS for name in own_headers(dialect, CHAT)} - {"Host", "Content-Length"}
)
MARKS = "!#$%&'*+-.^_`|~"


@every_dialect
@pytest.mark.parametrize("name", PROTECTED)
def test_a_name_that_a_backend_would_fold_into_ours_is_a_400(dialect: str, name: str) -> None:
    """Attack: WSGI, CGI and PHP make one name of X_Auth_User, X.Auth.User and X-Auth-User (64484, 39858, 54763).

    Every mark that a header name may have (RFC 9110 5.6.2), for each hyphen alone and for all, before and behind, in
    any case, for every name that decides: identity, further names, credentials, what a gateway sets (THREATS 4, 45).
    """
    alike = {name.replace("-", mark) for mark in MARKS if mark != "-" and "-" in name}
    alike |= {name.replace("-", mark, 1) for mark in MARKS if mark != "-" and "-" in name}
    alike |= {f"{name}{mark}" for mark in MARKS} | {f"{mark}{name}" for mark in MARKS}
    alike |= {name.replace("-", "--"), name.replace("-", "")} - {name}
    for other in sorted(alike):
        for written in (other, other.lower(), other.upper()):
            answer = GATE.ask(dialect, CHAT, token(), (written, "x"))
            assert (answer.meant, answer.word) == (400, "lookalike_header"), written
            assert GATE.ask(dialect, ALLOWED["public"][1], (written, "")).meant == 400, written


@st.composite
def lookalikes(draw: st.DrawFn) -> str:
    """A protected name with other marks between and around its letters, in any case."""
    letters = [letter for letter in draw(st.sampled_from(PROTECTED)) if letter != "-"]
    marks = st.text(MARKS, max_size=2)
    return "".join(
        draw(marks) + (letter.upper() if draw(st.booleans()) else letter.lower()) for letter in letters
    ) + draw(marks)


@given(lookalikes(), st.sampled_from(DIALECTS))
def test_no_spelling_of_a_protected_name_is_overlooked(name: str, dialect: str) -> None:
    """Attack: as above, with marks between any two letters (THREATS 4, 45)."""
    if name.lower() in {known.lower() for known in PROTECTED}:
        return
    assert GATE.ask(dialect, CHAT, token(), (name, "x")).word == "lookalike_header"


@every_dialect
@pytest.mark.parametrize("name", FURTHER)
def test_a_further_name_is_nobodys_to_send(dialect: str, name: str) -> None:
    """Attack: the operator adds Remote-User for the backend, and forgets it in the gateway's file (THREATS 45)."""
    for written in (name, name.lower(), name.upper()):
        assert GATE.ask(dialect, CHAT, token(), (written, "admin")).word == "lookalike_header"
        assert GATE.ask(dialect, ALLOWED["public"][1], (written, "")).word == "lookalike_header"


@given(st.text(max_size=60))
def test_no_name_of_a_user_ends_its_header_or_becomes_two(user: str) -> None:
    """Attack: register as `x\\r\\nX-Auth-Groups: admin`, or as `bob,admin` (THREATS 16)."""
    headers = identity_headers(Identity(user=user, groups=(user, "b")), {})
    values = dict(headers)
    assert len(headers) == len(IDENTITY)
    assert re.fullmatch(r"[!-+\--~]*", values["X-Auth-User"])
    assert values["X-Auth-Groups"].count(",") == 1


PASSING = Gate(CONFIGURATION.replace("path: /*, require: ci}", "path: /*, require: ci, pass_credentials: true}"))


@given(st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=60), st.sampled_from(DIALECTS))
def test_a_credential_that_is_handed_on_is_one_header(value: str, dialect: str) -> None:
    """Attack: a key that ends the header in which it goes on to the backend, or begins another (THREATS 25, 45)."""
    sent = value.encode("latin-1").decode("utf-8", "surrogateescape")
    answer = PASSING.ask(dialect, CHAT, token(), ("Authorization", sent))
    assert answer.status == 200
    assert answer.one("Authorization") == value.strip(" ")
    assert every_identity(answer)["X-Auth-Key"] == "ci"


def test_the_list_of_protected_names_is_the_one_that_is_enforced() -> None:
    enforced = GATE.service.snapshot.header_names["traefik"]._protected
    assert {folded(name.encode()) for name in PROTECTED} == set(enforced)
