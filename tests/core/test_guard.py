"""Header names: what is wanted, what is ignored, and what imitates one that decides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.guard import IGNORED, LOOKALIKE, folded
from forwardauth.core.model import RequestView
from tests.building import Bench, shaped, word

CONFIGURATION = """
authenticators:
  ci: {token: {from: [{header: X-API-Token}, {header: X-Odd-Key}, {cookie: key}], tokens: [{name: ci, value: good}]}}
routes:
  - {name: health, path: /health, public: true}
  - {name: posts, path: /posts, methods: [POST], require: ci}
  - {name: all, path: /*, require: ci}
identity_headers: {user: [Remote-User]}
"""
BENCH = Bench(CONFIGURATION)
KIND = BENCH.snapshot.header_names["traefik"].kind
GOOD = ("X-API-Token", "good")

PROTECTED = {
    "an identity header": b"X-Auth-User",
    "a remapped identity header": b"Remote-User",
    "a gateway header": b"X-Forwarded-For",
    "another dialect's gateway header": b"X-Original-URL",
    "a credential header": b"X-Odd-Key",
    "a credential header that is always stripped": b"X-API-Key",
    "Authorization": b"Authorization",
    "Cookie": b"Cookie",
}


@pytest.mark.parametrize("separator", [b"_", b".", b"~", b"--", b"", b"!", b"'", b"-_"])
@pytest.mark.parametrize("name", PROTECTED.values(), ids=PROTECTED.keys())
def test_a_look_alike_is_a_400(name: bytes, separator: bytes) -> None:
    """Attack: gateways pass `X_Auth_User` and `X.Auth.User`, and CGI and WSGI read them as `X-Auth-User` (64484).

    (THREATS 4, 45)
    """
    for alike in {name.replace(b"-", separator), name.lower().replace(b"-", separator), name + b"_", b"." + name}:
        if alike.lower() != name.lower():
            assert KIND(alike) is LOOKALIKE, alike
            decision = BENCH.ask("GET", "https://a.example/", GOOD, (alike.decode(), "x"))
            assert word(decision) == "lookalike_header"


def test_a_look_alike_is_refused_on_public_routes_too() -> None:
    assert word(BENCH.ask("GET", "https://a.example/health", ("x_auth_user", "admin"))) == "lookalike_header"


@pytest.mark.parametrize("name", ["X-Auth-User", "x-auth-email", "X-AUTH-KEY", "X-Original-URL", "X-Original-Method"])
def test_a_protected_name_itself_is_ignored(name: str) -> None:
    """The gateway's file strips it, so a client's is nothing to us, and no reason to refuse (THREATS 2, 16)."""
    assert KIND(name.encode()) is IGNORED
    assert word(BENCH.ask("GET", "https://a.example/", GOOD, (name, "admin"))) == "allow"


@pytest.mark.parametrize("name", ["Remote-User", "remote-user", "REMOTE-USER"])
def test_a_remapped_identity_name_is_refused_under_its_own_name(name: str) -> None:
    """Attack: a name that the operator added to ours, and not to the gateway's list of what to strip (THREATS 45)."""
    assert word(BENCH.ask("GET", "https://a.example/", GOOD, (name, "admin"))) == "lookalike_header"


def test_a_name_that_is_not_remapped_is_nobodys() -> None:
    bench = Bench("routes: [{path: /*, public: true}]")
    assert word(bench.ask("GET", "https://a.example/", ("Remote-User", "admin"), ("X-Odd_Key", "x"))) == "allow"


@pytest.mark.parametrize("name", ["X-Forwarded-For2", "X-Auth-Users", "Author", "X-Request-Start", "User-Agent"])
def test_another_name_is_ignored(name: str) -> None:
    assert KIND(name.encode()) is IGNORED


@given(st.binary(min_size=1, max_size=30))
def test_a_name_is_judged_by_its_letters_and_digits(name: bytes) -> None:
    protected = {folded(known) for known in PROTECTED.values()}
    kind = KIND(name)
    if folded(name) in protected:
        assert kind is LOOKALIKE or name.lower() in {known.lower() for known in PROTECTED.values()}
    else:
        assert kind is not LOOKALIKE or folded(name).startswith((b"xauth", b"xforwarded", b"xoriginal", b"xapi"))
    assert KIND(name) == kind


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("X-Forwarded-Uri", "malformed_subrequest", id="the path"),
        pytest.param("X-Forwarded-Host", "malformed_subrequest", id="the host"),
        pytest.param("X-Forwarded-For", "malformed_subrequest", id="the client"),
        pytest.param("x-forwarded-method", "malformed_subrequest", id="the method, in another case"),
        pytest.param("Host", "malformed_subrequest", id="Host"),
        pytest.param("Origin", "malformed_subrequest", id="Origin"),
        pytest.param("Sec-Fetch-Site", "malformed_subrequest", id="Sec-Fetch-Site"),
        pytest.param("X-API-Token", "ambiguous_credentials", id="a credential"),
        pytest.param("Authorization", "ambiguous_credentials", id="Authorization"),
        pytest.param("Cookie", "ambiguous_credentials", id="a cookie line that may hold a credential"),
        pytest.param("Accept", "allow", id="what decides nothing"),
        pytest.param("X-Whatever", "allow", id="what nobody reads"),
    ],
)
def test_the_same_header_twice_is_refused_where_it_decides(name: str, said: str) -> None:
    """Attack: two lines, of which the gateway, the service and the backend take different ones (THREATS 3)."""
    known = {"x-forwarded-uri": "/", "x-forwarded-host": "api.example.com", "x-forwarded-for": "192.0.2.1"}
    value = known.get(name.lower(), "good")
    sent = () if name.lower() in (*known, "host", "x-forwarded-method", "x-api-token") else ((name, value),)
    assert word(BENCH.ask("GET", "https://api.example.com/", GOOD, *sent, (name, value))) == said


def test_a_missing_host_is_a_400() -> None:
    assert word(BENCH.decide(BENCH.view("GET", "https://a.example/health", without="Host"))) == "malformed_subrequest"


@pytest.mark.parametrize(
    "name", ["X-HTTP-Method-Override", "x-http-method", "X-Method-Override", "X_HTTP_Method_Override"]
)
@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("POST", "/posts", "malformed_subrequest"),
        ("POST", "/any", "allow"),
    ],
    ids=["where the route names methods", "not where it names none"],
)
def test_a_method_override_is_a_400_where_methods_decide(name: str, method: str, path: str, said: str) -> None:
    """Attack: POST to us, DELETE to the framework behind (THREATS 8)."""
    assert word(BENCH.ask(method, f"https://a.example{path}", GOOD, (name, "DELETE"))) == said


@given(st.lists(st.binary(max_size=90), max_size=300))
def test_remembering_names_changes_none(names: list[bytes]) -> None:
    fresh = Bench(CONFIGURATION).snapshot.header_names["traefik"].kind
    assert [KIND(name) for name in names] == [fresh(name) for name in names]


NAMES = [b"Host", b"X-API-Token", b"x-api-token", b"Accept", b"accept", b"X-Odd", b"Cookie", b"X_Auth_User", b"Origin"]


@given(
    st.lists(st.sampled_from(NAMES) | st.binary(min_size=1, max_size=20), max_size=12), st.lists(st.binary(max_size=5))
)
def test_names_that_came_before_in_this_order_are_sorted_as_they_were(names: list[bytes], more: list[bytes]) -> None:
    headers = BENCH.snapshot.header_names["traefik"]
    for values in (names, more):
        filled = tuple((values * (len(names) + 1))[: len(names)]) if values else (b"",) * len(names)
        views = RequestView(), RequestView(), RequestView()
        headers.read(list(zip(names, filled, strict=True)), views[0])
        headers.read(shaped(names, filled), views[1])
        headers.read(shaped(names, filled), views[2])
        for view in views[1:]:
            assert (view.fields, view.repeated, view.lookalike, view.unreadable) == (
                views[0].fields,
                views[0].repeated,
                views[0].lookalike,
                views[0].unreadable,
            )
