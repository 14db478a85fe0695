"""A visitor's browser is made to send what it adds by itself, and a neighbour's address to stand for a stranger's."""

import pytest

from tests.attacks.gate import DIALECTS, Asking, Gate, Header

CONFIGURATION = """
authenticators:
  key: {token: {from: [{cookie: key}, {header: X-API-Token}], tokens: [{name: key, value: right-token}]}}
  office: {network: {allow: [192.0.2.0/24]}}
routes:
  - {name: office, path: /office/*, require: office}
  - {name: either, path: /either/*, require: {any: [key, office]}}
  - {name: partner, path: /partner/*, require: key, origins: ["https://partner.example"]}
  - {name: rest, path: /*, require: key}
server: {trusted_peers: [loopback]}
"""
COOKIE = ("Cookie", "key=right-token")
SOCKET = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
GATE = Gate(CONFIGURATION)

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)

FOREIGN: list[list[Header]] = [
    [("Origin", "https://evil.example")],
    [("Origin", "null")],
    [("Origin", "")],
    [("Origin", "https://api.example.com.evil.example")],
    [("Origin", "https://evil-api.example.com")],
    [("Origin", "https://api.example.com@evil.example")],
    [("Origin", "https://evil.example/api.example.com")],
    [("Origin", "https://evil.example#api.example.com")],
    [("Origin", "https://evil.example:443")],
    [("Origin", "api.example.com")],
    [("Origin", "https://api.example.com, https://evil.example")],
    [("Origin", "https://api.example.com https://evil.example")],
    [("Origin", "https://evil.example https://api.example.com")],
    [("Origin", "https://[::1]")],
    [("Origin", "file://")],
    [("Origin", "https://api.example.com."), ("Sec-Fetch-Site", "cross-site")],
    [("Origin", "https://api.example.com"), ("Sec-Fetch-Site", "cross-site")],
    [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "same-origin")],
    [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "same-site")],
    [("Sec-Fetch-Site", "cross-site")],
]


@every_dialect
@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize(
    ("path", "credential"), [("/v1", [COOKIE]), ("/office/x", []), ("/either/x", []), ("/partner/x", [COOKIE])]
)
@pytest.mark.parametrize(
    ("method", "more"), [("POST", []), ("DELETE", []), ("GET", [SOCKET])], ids=["POST", "DELETE", "WebSocket"]
)
def test_a_foreign_page_uses_nobodys_cookie_or_address(
    dialect: str, headers: list[Header], path: str, credential: list[Header], method: str, more: list[Header]
) -> None:
    """Attack: a form, a script or a WebSocket of another site, with Origins that resemble ours (THREATS 55)."""
    asking = Asking(method, f"https://api.example.com{path}")
    answer = GATE.ask(dialect, asking, *credential, *headers, *more)
    assert (answer.meant, answer.word) == (403, "cross_site")
    with_key = GATE.ask(dialect, Asking(method, "https://api.example.com/v1"), ("X-API-Token", "right-token"), *headers)
    assert with_key.status == 200, "no browser adds a header of one's own"


TRACES: list[list[Header]] = [
    [("CF-Connecting-IP", "203.0.113.9")],
    [("cf-connecting-ip", "192.0.2.1")],
    [("True-Client-IP", "203.0.113.9")],
    [("Forwarded", "for=203.0.113.9")],
    [("Forwarded", "for=192.0.2.1;proto=https")],
    [("Forwarded", "")],
    [("FORWARDED", "x"), ("Forwarded", "y")],
]


@every_dialect
@pytest.mark.parametrize("headers", TRACES, ids=str)
def test_a_request_that_came_from_further_away_is_no_neighbours(dialect: str, headers: list[Header]) -> None:
    """Attack: a tunnel or a CDN on the same host ends at an address that may pass (THREATS 56)."""
    office = Asking(url="https://api.example.com/office/x")
    assert GATE.ask(dialect, office).word == "allow"
    assert GATE.ask(dialect, office, *headers).word == "network_not_allowed"
    further = Asking(url=office.url, client="203.0.113.9, 192.0.2.1")
    assert GATE.ask(dialect, further).word == "network_not_allowed"


@every_dialect
@pytest.mark.parametrize(
    "client", ["::192.0.2.1", "64:ff9b::c000:201", "2002:c000:201::1", "::ffff:0:192.0.2.1", "10.0.0.1", "127.0.0.1"]
)
def test_an_address_that_only_holds_an_allowed_one_is_not_allowed(dialect: str, client: str) -> None:
    """Attack: NAT64, 6to4 and compatible forms of an allowed address; only mapped it is that one (THREATS 13, 56)."""
    office = "https://api.example.com/office/x"
    assert GATE.ask(dialect, Asking(url=office, client=client)).word == "network_not_allowed"
    assert GATE.ask(dialect, Asking(url=office, client="::ffff:192.0.2.1")).word == "allow"
