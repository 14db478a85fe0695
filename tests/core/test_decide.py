"""The order of checks, and what each of them says."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from forwardauth.core.decide import STATIONS, decide
from forwardauth.core.lockout import FRESH_SECONDS, KNOWN_SECONDS, Known
from forwardauth.core.model import Need, Succeeded
from forwardauth.core.reasons import REASONS
from tests.building import NEIGHBOUR, SHA_OF_PASSWORD, Bench, basic, bearer, failures, who, word

CONFIGURATION = """
authenticators:
  ci:
    token:
      from: [{header: X-API-Token}, {cookie: key}]
      tokens:
        - {name: ci, value: good, rate: 1/h, scopes: [{path: /in/*, methods: [POST]}]}
routes:
  - {name: health, path: /health, public: true}
  - {name: open, path: /open/*, require: ci, preflight: true}
  - {name: in, path: "/*", host: api.example.com, require: ci}
"""


@dataclass
class Asked:
    """A request that is right but for its rate, until the mistakes below are made in it."""

    method: str = "POST"
    host: str = "api.example.com"
    path: str = "/in/x"
    headers: list[tuple[str, str]] = field(default_factory=lambda: [("Cookie", "key=good")])
    client: str = "192.0.2.1"
    peer: str = "127.0.0.1"
    without: str = ""
    guesses: int = 0


def preflight(asked: Asked) -> None:
    asked.method, asked.path = "OPTIONS", "/open/x"
    asked.headers += [("Origin", "https://app.example"), ("Access-Control-Request-Method", "POST")]
    asked.headers = [header for header in asked.headers if header != ("Origin", "https://evil.example")]


MISTAKES: dict[str, tuple[str, Callable[[Asked], object]]] = {
    "trusted peer": ("untrusted_peer", lambda asked: setattr(asked, "peer", "203.0.113.9")),
    "gateway headers": ("malformed_subrequest", lambda asked: setattr(asked, "without", "X-Forwarded-Host")),
    "header guard": ("lookalike_header", lambda asked: asked.headers.append(("X_Auth_User", "admin"))),
    "route": ("no_route", lambda asked: setattr(asked, "host", "other.example.com")),
    "preflight": ("allow", preflight),
    "client address": ("malformed_subrequest", lambda asked: setattr(asked, "client", "unknown")),
    "public": ("allow", lambda asked: setattr(asked, "path", "/health")),
    "lockout": ("locked_out", lambda asked: setattr(asked, "guesses", 5)),
    "credentials": ("ambiguous_credentials", lambda asked: asked.headers.append(("Cookie", "key=good"))),
    "authenticators": ("invalid_credential", lambda asked: asked.headers.insert(0, ("X-API-Token", "bad"))),
    "cross-site": ("cross_site", lambda asked: asked.headers.append(("Origin", "https://evil.example"))),
    "scope": ("insufficient_scope", lambda asked: setattr(asked, "path", "/out")),
    "rates": ("rate_limited", lambda asked: None),
}
"""What is wrong at each station, in the order of the stations; two of them allow."""


@pytest.mark.parametrize("station", STATIONS)
def test_a_request_that_is_wrong_in_several_ways_is_answered_by_the_first_station(station: str) -> None:
    asked = Asked()
    for later in reversed(STATIONS[STATIONS.index(station) :]):
        MISTAKES[later][1](asked)
    if station == "route":
        asked.path = "/nowhere"
    bench = Bench(CONFIGURATION)
    assert word(bench.ask("POST", "https://api.example.com/in/x", ("X-API-Token", "good"))) == "allow"
    for _ in range(asked.guesses):
        bench.ask("POST", "https://api.example.com/in/x", ("X-API-Token", "guess"))
    view = bench.view(
        asked.method, f"https://{asked.host}{asked.path}", asked.headers, asked.client, asked.peer, asked.without
    )
    # A message that comes again has the same view.
    for decision in (bench.decide(view), bench.decide(view)):
        assert (decision.station, word(decision)) == (station, MISTAKES[station][0])


def test_the_stations_are_the_contracts() -> None:
    assert tuple(MISTAKES) == STATIONS


def test_nothing_of_an_untrusted_peer_is_read() -> None:
    """Attack: ask for a verdict from outside, with forwarded headers of one's own (THREATS 1)."""
    bench = Bench(CONFIGURATION)
    view = bench.view("GET", "https://api.example.com/health", [("X-API-Token", "good")], peer="203.0.113.9")
    decision = bench.decide(view)
    assert word(decision) == "untrusted_peer"
    assert (decision.client, decision.place, decision.events, view.fields) == (None, None, (), {})


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("::1", True),
        ("::ffff:10.1.2.3", True),
        ("fe80::1%eth0", True),
        (None, True),
        ("203.0.113.9", False),
        ("::ffff:203.0.113.9", False),
        ("2001:db8::1", False),
    ],
)
def test_loopback_private_networks_and_unix_sockets_may_ask(peer: str | None, trusted: bool) -> None:
    bench = Bench(CONFIGURATION)
    said = word(bench.decide(bench.view("GET", "https://a.example/health", peer=peer)))
    assert said == ("allow" if trusted else "untrusted_peer")


@pytest.mark.parametrize(
    "name", ["X-Forwarded-Method", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Uri", "X-Forwarded-For"]
)
def test_a_gateway_header_that_is_missing_is_never_guessed(name: str) -> None:
    """Attack: call the endpoint without what the gateway adds (THREATS 15)."""
    bench = Bench(CONFIGURATION)
    view = bench.view("GET", "https://a.example/health", [("X-Original-URL", "https://a.example/health")], without=name)
    assert word(bench.decide(view)) == "malformed_subrequest"


def test_a_decision_changes_nothing_until_its_events_are_applied() -> None:
    bench = Bench(CONFIGURATION)
    for value, said in (("good", "allow"), ("bad", "invalid_credential")):
        view = bench.view("POST", "https://api.example.com/in/x", [("X-API-Token", value)])
        for _ in range(20):
            outcome = decide(view, bench.snapshot, bench.service.tables, bench.facts, bench.clock.now())
            assert not isinstance(outcome, Need)
            assert word(outcome) == said


# Preflights.

PREFLIGHT = """
authenticators: {ci: {token: {tokens: [{name: ci, value: good}]}}}
routes:
  - {name: posts, path: /v1/*, methods: [POST, OPTIONS], require: ci, preflight: true}
  - {name: deletes, path: /v1/*, methods: [DELETE], require: ci}
  - {name: rest, path: /*, require: ci}
"""
ORIGIN = ("Origin", "https://app.example")


def wants(method: str) -> tuple[str, str]:
    return "Access-Control-Request-Method", method


@pytest.mark.parametrize(
    ("method", "path", "headers", "said"),
    [
        pytest.param("OPTIONS", "/v1/x", [ORIGIN, wants("POST")], "allow", id="a true preflight"),
        pytest.param("OPTIONS", "/v1/x", [wants("POST")], "missing_credential", id="without Origin"),
        pytest.param("OPTIONS", "/v1/x", [ORIGIN], "missing_credential", id="without the method that it asks for"),
        pytest.param("OPTIONS", "/v1/x", [("Origin", ""), wants("POST")], "missing_credential", id="an empty Origin"),
        pytest.param("OPTIONS", "/v1/x", [ORIGIN, wants("")], "missing_credential", id="an empty method"),
        pytest.param("OPTIONS", "/v1/x", [ORIGIN, wants("DELETE")], "missing_credential", id="for another route"),
        pytest.param("OPTIONS", "/x", [ORIGIN, wants("POST")], "missing_credential", id="where no route allows it"),
        pytest.param("POST", "/v1/x", [ORIGIN, wants("POST")], "missing_credential", id="another method"),
        pytest.param("options", "/v1/x", [ORIGIN, wants("POST")], "missing_credential", id="in small letters"),
        pytest.param("OPTIONS", "/v1/%2e", [ORIGIN, wants("POST")], "ambiguous_path", id="on an ambiguous path"),
        pytest.param(
            "OPTIONS",
            "/v1/x",
            [ORIGIN, wants("POST"), ("X-HTTP-Method-Override", "POST")],
            "malformed_subrequest",
            id="that a method override turns into something else",
        ),
    ],
)
def test_only_a_true_preflight_passes_without_a_credential(
    method: str, path: str, headers: list[tuple[str, str]], said: str
) -> None:
    """Attack: dress a write as a preflight (THREATS 9)."""
    assert word(Bench(PREFLIGHT).ask(method, f"https://a.example{path}", *headers)) == said


def test_a_preflight_carries_nobodys_identity() -> None:
    decision = Bench(PREFLIGHT).ask("OPTIONS", "https://a.example/v1/x", ORIGIN, wants("POST"), bearer("good"))
    assert who(decision) == ("", "", "")


# Cross-site requests.

CROSS_SITE = f"""
authenticators:
  ci: {{token: {{from: [{{header: X-API-Token}}, {{cookie: key}}], tokens: [{{name: ci, value: good}}]}}}}
  staff: {{basic: {{users: ["bob:{SHA_OF_PASSWORD}"]}}}}
  office: {{network: {{allow: [192.0.2.0/24]}}}}
routes:
  - {{path: /ci, require: ci}}
  - {{path: /staff, require: staff}}
  - {{path: /office, require: office}}
  - {{path: /both, require: {{all: [staff, ci]}}}}
  - {{path: /shared, require: ci, origins: ["https://partner.example"]}}
  - {{path: /public, public: true}}
"""
COOKIE = ("Cookie", "key=good")
TOKEN = ("X-API-Token", "good")
BOB = basic("bob", "password")
EVIL = ("Origin", "https://evil.example")


def site(value: str) -> tuple[str, str]:
    return "Sec-Fetch-Site", value


def origin(value: str) -> tuple[str, str]:
    return "Origin", value


SOCKET = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")


@pytest.mark.parametrize(
    ("method", "path", "headers", "denied"),
    [
        pytest.param("POST", "/ci", [COOKIE, EVIL], True, id="a cookie from another site"),
        pytest.param("POST", "/staff", [BOB, EVIL], True, id="a password from another site"),
        pytest.param("POST", "/office", [EVIL], True, id="a network from another site"),
        pytest.param("POST", "/ci", [TOKEN, EVIL], False, id="a token in a header, which no browser adds"),
        pytest.param("POST", "/both", [BOB, TOKEN, EVIL], False, id="a password and a token"),
        pytest.param("POST", "/both", [BOB, COOKIE, EVIL], True, id="a password and a cookie"),
        pytest.param("POST", "/public", [EVIL], False, id="a public route"),
        pytest.param("GET", "/ci", [COOKIE, EVIL], False, id="GET"),
        pytest.param("HEAD", "/ci", [COOKIE, site("cross-site")], False, id="HEAD"),
        pytest.param("DELETE", "/ci", [COOKIE, EVIL], True, id="DELETE"),
        pytest.param("OPTIONS", "/ci", [COOKIE, EVIL], True, id="OPTIONS that is no preflight"),
        pytest.param("GET", "/ci", [COOKIE, EVIL, SOCKET], True, id="a WebSocket"),
        pytest.param("GET", "/ci", [COOKIE, EVIL, ("Upgrade", "websocket")], True, id="an upgrade"),
        pytest.param("GET", "/ci", [COOKIE, origin("https://a.example"), SOCKET], False, id="a WebSocket of our own"),
        pytest.param("POST", "/ci", [COOKIE], False, id="no Origin: no browser"),
        pytest.param("POST", "/ci", [COOKIE, site("cross-site")], True, id="Sec-Fetch-Site alone"),
        pytest.param("POST", "/ci", [COOKIE, site("same-origin")], False, id="the same origin"),
        pytest.param("POST", "/ci", [COOKIE, site("none")], False, id="typed by the user"),
        pytest.param("POST", "/ci", [COOKIE, origin("https://a.example")], False, id="an Origin of our own"),
        pytest.param("POST", "/ci", [COOKIE, origin("https://A.example:443")], False, id="in another spelling"),
        pytest.param("POST", "/ci", [COOKIE, origin("null")], True, id="a sandboxed page"),
        pytest.param("POST", "/ci", [COOKIE, origin("https://a.example.evil.example")], True, id="a longer name"),
        pytest.param("POST", "/ci", [COOKIE, origin("https://evil-a.example")], True, id="a longer label"),
        pytest.param("POST", "/ci", [COOKIE, origin("https://x.a.example")], True, id="a subdomain that says no more"),
        pytest.param(
            "POST", "/ci", [COOKIE, origin("https://x.a.example"), site("same-site")], False, id="a subdomain"
        ),
        pytest.param(
            "POST", "/ci", [COOKIE, EVIL, site("same-site")], True, id="another name that claims the same site"
        ),
        pytest.param(
            "POST", "/ci", [COOKIE, EVIL, site("same-origin")], True, id="another name that claims the same origin"
        ),
        pytest.param("POST", "/shared", [COOKIE, origin("https://partner.example")], False, id="one of origins"),
        pytest.param(
            "POST",
            "/shared",
            [COOKIE, origin("https://partner.example"), site("cross-site")],
            False,
            id="one of origins, as browsers tell it",
        ),
        pytest.param("POST", "/shared", [COOKIE, origin("http://partner.example")], True, id="by another scheme"),
        pytest.param("POST", "/shared", [COOKIE, site("cross-site")], True, id="origins without an Origin"),
    ],
)
def test_a_page_of_another_site_uses_no_ambient_credential(
    method: str, path: str, headers: list[tuple[str, str]], denied: bool
) -> None:
    """Attack: a page makes the visitor's browser send what it adds by itself (THREATS 55)."""
    decision = Bench(CROSS_SITE).ask(method, f"https://a.example{path}", *headers)
    assert word(decision) == ("cross_site" if denied else "allow")


def test_the_other_port_of_a_host_is_the_same_site() -> None:
    bench = Bench(CROSS_SITE)
    for url, sent in (("https://a.example:8443", "https://a.example"), ("http://[::1]:80", "http://[::1]:3000")):
        assert word(bench.ask("POST", f"{url}/ci", COOKIE, origin(sent))) == "allow"


# Scopes.

SCOPES = """
authenticators:
  ci:
    token:
      from: [{header: X-API-Token}]
      tokens:
        - {name: all, value: all}
        - {name: reader, value: reader, scopes: [{path: /v1/*, methods: [GET]}]}
        - {name: two, value: two, scopes: [{path: /v1/*, methods: [GET]}, {path: /v2/x}]}
routes: [{path: /*, require: ci}]
"""


@pytest.mark.parametrize(
    ("token", "method", "path", "said"),
    [
        ("all", "DELETE", "/anything", "allow"),
        ("reader", "GET", "/v1/x", "allow"),
        ("reader", "POST", "/v1/x", "insufficient_scope"),
        ("reader", "get", "/v1/x", "insufficient_scope"),
        ("reader", "GET", "/v1", "insufficient_scope"),
        ("reader", "GET", "/v2/x", "insufficient_scope"),
        ("reader", "GET", "/%76%31//x", "allow"),
        ("two", "PUT", "/v2/x", "allow"),
        ("two", "PUT", "/v1/x", "insufficient_scope"),
        ("two", "GET", "/v2/xy", "insufficient_scope"),
    ],
)
def test_a_credential_does_what_one_of_its_scopes_allows(token: str, method: str, path: str, said: str) -> None:
    assert word(Bench(SCOPES).ask(method, f"https://a.example{path}", ("X-API-Token", token))) == said


@pytest.mark.parametrize(("token", "said"), [("reader", "malformed_subrequest"), ("all", "allow")])
def test_a_method_override_is_a_400_where_a_scope_names_methods(token: str, said: str) -> None:
    """Attack: GET with a reader's token, DELETE to the framework behind (THREATS 8)."""
    headers = ("X-API-Token", token), ("X-HTTP-Method-Override", "DELETE")
    assert word(Bench(SCOPES).ask("GET", "https://a.example/v1/x", *headers)) == said


def test_a_denial_behind_the_authenticators_is_no_failure() -> None:
    assert failures(Bench(SCOPES).ask("GET", "https://a.example/v2", ("X-API-Token", "reader"))) == []


# Disabled authentication and public routes.


@pytest.mark.parametrize("off", ["require_auth: false", "disable_auth: true"])
@pytest.mark.parametrize(
    ("method", "url", "headers", "said"),
    [
        pytest.param("GET", "https://a.example/in/x", [], "allow", id="no credential"),
        pytest.param("GET", "https://a.example/in/x", [("X-API-Token", "bad")], "allow", id="a wrong one"),
        pytest.param("GET", "https://a.example/out", [], "no_route", id="no route"),
        pytest.param("GET", "https://a.example/in/../x", [], "ambiguous_path", id="an ambiguous path"),
        pytest.param("GET", "https://a.example/in/x", [("X_Auth_User", "x")], "lookalike_header", id="a look-alike"),
    ],
)
def test_disabled_authentication_leaves_routes_and_guards(
    off: str, method: str, url: str, headers: list[tuple[str, str]], said: str
) -> None:
    bench = Bench(
        "authenticators: {ci: {token: {from: [{header: X-API-Token}], rate: 1/d, tokens: [{name: ci, value: good}]}}}\n"
        f"routes: [{{path: /in/*, require: ci, rate: 1/d}}]\n{off}\n"
    )
    for _ in range(7):
        decision = bench.ask(method, url, *headers)
        assert word(decision) == said
        assert who(decision) == ("", "", "")


def test_a_public_route_looks_at_no_credential() -> None:
    bench = Bench(CONFIGURATION)
    for _ in range(9):
        decision = bench.ask("GET", "https://a.example/health", ("X-API-Token", "bad"))
        assert word(decision) == "allow"
        assert who(decision) == ("", "", "")


def test_a_remembered_verdict_is_never_somebody_elses() -> None:
    """Attack: the same token on another path, by another method, from another address, after it ended (THREATS 23)."""
    bench = Bench("""
        authenticators:
          ci: {token: {tokens: [{name: ci, value: good, expires: "2027-01-31", scopes: [{path: /a, methods: [GET]}]}]}}
        routes: [{path: /a, host: x.example, require: ci}, {path: /*, require: ci, host: y.example}]
    """)
    good = bearer("good")
    for _ in range(2):
        assert word(bench.ask("GET", "https://x.example/a", good)) == "allow"
        assert word(bench.ask("POST", "https://x.example/a", good)) == "insufficient_scope"
        assert word(bench.ask("GET", "https://y.example/b", good)) == "insufficient_scope"
        assert word(bench.ask("GET", "https://z.example/a", good)) == "no_route"
        assert word(bench.ask("GET", "https://x.example/a", bearer("goood"))) == "invalid_credential"
    bench.clock.wall = 1_801_353_600.0
    assert word(bench.ask("GET", "https://x.example/a", good)) == "expired_credential"


def test_a_view_is_looked_at_anew_by_another_configuration() -> None:
    one, other = Bench(CONFIGURATION), Bench(CONFIGURATION.replace("path: /health", "path: /in/*"))
    view = one.view("GET", "https://api.example.com/in/x", client="192.0.2.9")
    for _ in range(2):
        assert (word(one.decide(view)), word(other.decide(view))) == ("missing_credential", "allow")


def test_every_reason_is_one_of_the_table() -> None:
    assert {said for said, _ in MISTAKES.values()} - {"allow"} <= {reason.word for reason in REASONS}


def test_a_client_is_known_by_what_it_used_last_even_when_the_table_is_full_of_others() -> None:
    bench = Bench(CONFIGURATION_OF_KNOWN)
    good, wrong = ("X-API-Token", "good"), ("X-API-Token", "wrong")
    assert word(bench.ask("GET", "https://a.example/", good)) == "allow"
    bench.service.tables.known = Known()
    assert [word(bench.ask("GET", "https://a.example/", wrong)) for _ in range(6)][-1] == "locked_out"
    assert word(bench.ask("GET", "https://a.example/", good)) == "allow"
    assert word(bench.ask("GET", "https://a.example/", good, client=NEIGHBOUR)) == "allow"
    bench.clock.forward(KNOWN_SECONDS + 1)
    assert [word(bench.ask("GET", "https://a.example/", wrong)) for _ in range(6)][-1] == "locked_out"
    assert word(bench.ask("GET", "https://a.example/", good)) == "locked_out"


def test_a_success_is_noted_once_an_hour() -> None:
    bench = Bench(CONFIGURATION_OF_KNOWN)

    def noted() -> int:
        decision = bench.ask("GET", "https://a.example/", ("X-API-Token", "good"))
        return sum(isinstance(event, Succeeded) for event in decision.events)

    assert [noted(), noted()] == [1, 0]
    bench.clock.forward(FRESH_SECONDS + 1)
    assert [noted(), noted()] == [1, 0]


CONFIGURATION_OF_KNOWN = """
authenticators: {ci: {token: {from: [{header: X-API-Token}], tokens: [{name: ci, value: good}]}}}
routes: [{path: /*, require: ci}]
"""
