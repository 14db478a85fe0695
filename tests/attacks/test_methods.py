"""The method that the rule sees, and another one that the backend obeys."""

import pytest

from forwardauth.gateways import GATEWAYS
from tests.attacks.gate import DIALECTS, Asking, Gate, Header, every_identity, subrequest, token

CONFIGURATION = """
authenticators:
  ci:
    token:
      from: [{header: X-API-Token}]
      tokens:
        - {name: all, value: right-token}
        - {name: reader, value: reading-token, scopes: [{path: /*, methods: [GET]}]}
routes:
  - {name: reads, path: /reads/*, methods: [GET], public: true}
  - {name: posts, path: /posts/*, methods: [POST], require: ci}
  - {name: pages, path: /pages/*, methods: [GET, POST], require: ci, preflight: true}
  - {name: open, path: /open/*, public: true}
  - {name: rest, path: /v1/*, require: ci}
lockout: {max_failed_attempts: 0}
identity_headers: {user: [Remote-User]}
"""
GATE = Gate(CONFIGURATION)

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def asked(dialect: str, method: str, path: str, *headers: Header) -> int:
    """The status that the client gets."""
    return GATE.ask(dialect, Asking(method, f"https://api.example.com{path}"), *headers).meant


NO_METHODS = [
    "",
    " ",
    "GET POST",
    "GET\tX",
    "GET,POST",
    "GET;",
    "GET/",
    'GET"',
    "GET(",
    "GET@",
    "G\u00c9T",
    "\uff27\uff25\uff34",
    "GET\u200b",
    "GET:",
    "{GET}",
    "A" * 65,
]


@every_dialect
@pytest.mark.parametrize("method", NO_METHODS, ids=ascii)
def test_what_is_no_token_is_no_method(dialect: str, method: str) -> None:
    """Attack: a method that one program trims, splits or maps to another script's letters (THREATS 8)."""
    for path in ("/reads/x", "/open/x", "/posts/x", "/v1/x"):
        assert asked(dialect, method, path, token()) == 400


@every_dialect
@pytest.mark.parametrize("method", ["get", "Get", "HEAD", "POST", "post", "PUT", "OPTIONS", "GETX", "XGET", "G"])
def test_a_method_is_compared_exactly(dialect: str, method: str) -> None:
    """Attack: `get`, which a backend takes for GET and a rule does not, or the other way round (THREATS 8)."""
    # Envoy's subrequest has the method in its first line, where the parser knows those of a list.
    refused = 400 if dialect == "envoy" and method not in ("HEAD", "POST", "PUT", "OPTIONS") else 403
    assert asked(dialect, method, "/reads/x") == refused
    assert asked(dialect, method, "/posts/x", token()) == (200 if method == "POST" else refused)


@every_dialect
@pytest.mark.parametrize("method", ["HEAD", "PATCH", "POST", "OPTIONS"])
def test_a_scope_for_one_method_is_for_no_other(dialect: str, method: str) -> None:
    """Attack: write with a key that may only read (THREATS 8)."""
    assert asked(dialect, "GET", "/v1/x", token("reading-token")) == 200
    assert asked(dialect, method, "/v1/x", token("reading-token")) == 403
    assert asked(dialect, method, "/v1/x", token()) == 200


OVERRIDES = [
    "X-HTTP-Method-Override",
    "x-http-method-override",
    "X-HTTP-Method",
    "X-Method-Override",
    "X_HTTP_Method_Override",
    "X.HTTP.Method.Override",
    "X-Http_Method-Override",
]


@every_dialect
@pytest.mark.parametrize("name", OVERRIDES)
@pytest.mark.parametrize("value", ["GET", "POST", "DELETE", "", "nonsense"])
def test_an_override_is_refused_where_methods_decide(dialect: str, name: str, value: str) -> None:
    """Attack: GET for the rule, and DELETE for the framework that obeys the header (THREATS 8).

    It never changes the method by which we decide, and is refused wherever a route or a scope names methods.
    """
    override = (name, value)
    assert asked(dialect, "GET", "/reads/x", override) == 400
    assert asked(dialect, "GET", "/v1/x", token("reading-token"), override) == 400
    assert asked(dialect, "POST", "/posts/x", token(), override, override) == 400
    assert asked(dialect, "POST", "/reads/x", token(), override) == 403
    assert asked(dialect, "GET", "/v1/x", override) == 401


ORIGIN = ("Origin", "https://app.example.com")


def wants(method: str) -> Header:
    return "Access-Control-Request-Method", method


@every_dialect
@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("OPTIONS", "/pages/x", []),
        ("OPTIONS", "/pages/x", [ORIGIN]),
        ("OPTIONS", "/pages/x", [wants("POST")]),
        ("OPTIONS", "/pages/x", [("Origin", ""), wants("POST")]),
        ("OPTIONS", "/pages/x", [ORIGIN, wants("")]),
        ("OPTIONS", "/pages/x", [ORIGIN, wants("DELETE")]),
        ("OPTIONS", "/pages/x", [ORIGIN, wants("post")]),
        ("OPTIONS", "/pages/x", [ORIGIN, wants("GET, POST")]),
        ("OPTIONS", "/pages/x", [ORIGIN, wants("POST"), ("X-HTTP-Method-Override", "POST")]),
        ("OPTIONS", "/pages/x", [ORIGIN, wants("POST"), wants("POST")]),
        ("OPTIONS", "/pages/../v1", [ORIGIN, wants("POST")]),
        ("OPTIONS", "/v1/x", [ORIGIN, wants("POST")]),
        ("OPTIONS", "/posts/x", [ORIGIN, wants("POST")]),
        ("options", "/pages/x", [ORIGIN, wants("POST")]),
        ("GET", "/pages/x", [ORIGIN, wants("POST")]),
        ("POST", "/pages/x", [ORIGIN, wants("POST")]),
        ("HEAD", "/pages/x", [ORIGIN, wants("GET")]),
    ],
)
def test_what_only_resembles_a_preflight_passes_nowhere(
    dialect: str, method: str, path: str, headers: list[Header]
) -> None:
    """Attack: dress a request as the one that browsers send without credentials (THREATS 9)."""
    assert asked(dialect, method, path, *headers) in (400, 401, 403)


@every_dialect
def test_a_true_preflight_passes_as_nobody(dialect: str) -> None:
    """Attack: claim somebody's name, or show a stolen token, where no credential is asked for (THREATS 9, 16)."""
    asking = Asking("OPTIONS", "https://api.example.com/pages/x")
    answer = GATE.ask(dialect, asking, ORIGIN, wants("POST"), token(), ("X-Auth-User", "admin"))
    assert answer.status == 200
    assert set(every_identity(answer).values()) == {""}
    assert answer.all("Remote-User") == [""]


@every_dialect
@pytest.mark.parametrize("method", ["TRACE", "TRACK", "CONNECT"])
@pytest.mark.parametrize("path", ["/open/x", "/v1/x", "/pages/x", "/nowhere", "/"])
def test_methods_that_reflect_or_tunnel_pass_nowhere(dialect: str, method: str, path: str) -> None:
    """Attack: TRACE gives back what the gateway added; CONNECT and TRACK likewise (THREATS 47)."""
    # Envoy's subrequest has it in its first line, where the parser knows no TRACK.
    refused = 400 if dialect == "envoy" and method == "TRACK" else 403
    assert asked(dialect, method, path, token()) == refused
    assert asked(dialect, method, path) == refused
    if path != "/open/x":
        assert asked(dialect, "OPTIONS", path, ORIGIN, wants(method)) in (401, 403)


@every_dialect
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_the_endpoints_own_method_decides_nothing(dialect: str, method: str) -> None:
    """Attack: the gateway passes on the client's method, and OPTIONS or HEAD gets an answer of its own (THREATS 9)."""
    if dialect == "envoy":
        assert asked(dialect, method, "/v1/x") == 401
        return
    own = subrequest(dialect, Asking(url="https://api.example.com/v1/x"))
    assert GATE.send(own.replace(b"GET ", f"{method} ".encode(), 1)).meant == 401
    assert GATEWAYS[dialect].path.encode() in own
