"""Somebody else speaks in the gateway's words: from outside, in another gateway's headers, or twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attacks.gate import (
    CHAT,
    CONFIGURATION,
    DIALECTS,
    PATIENT,
    TOKEN,
    Asking,
    Gate,
    Header,
    own_headers,
    subrequest,
    token,
    written,
)

HEALTH = Asking(url="https://api.example.com/health")
ADMIN = Asking(url="https://admin.example.com/x")
GATE = Gate(PATIENT)

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)

STRANGERS = [
    "8.8.8.8",
    "::ffff:8.8.8.8",
    "2001:db8::1",
    "100.64.0.1",
    "0.0.0.0",
    "::",
    "64:ff9b::a00:1",
    "2002:a00:1::1",
]
CLAIMS = [
    ("X-Forwarded-For", "10.0.0.1"),
    ("Forwarded", "for=127.0.0.1"),
    ("X-Real-IP", "127.0.0.1"),
    ("Remote-User", "admin"),
    ("X-Auth-User", "admin"),
]


@every_dialect
@pytest.mark.parametrize("peer", STRANGERS)
def test_a_stranger_is_refused_whatever_he_says(dialect: str, peer: str) -> None:
    """Attack: connect to the service past the gateway, with its headers, a public path or a good token.

    An address that only contains a private one (NAT64, 6to4) is as strange as any (THREATS 1).
    """
    for asking in (CHAT, HEALTH):
        answer = GATE.send(subrequest(dialect, asking, token(), *CLAIMS), peer)
        assert (answer.meant, answer.word) == (403, "untrusted_peer")


def test_a_stranger_may_ask_nothing_but_whether_it_lives() -> None:
    """Attack: look for a path that is answered before the neighbour is judged (THREATS 1, 10)."""
    for path in ("/", "/metrics", "/ready", "/control/lockouts", "/verify", "/verify/", "/auth/login", "*"):
        assert GATE.send(written(f"GET {path} HTTP/1.1", [("Host", "a")]), "8.8.8.8").status == 404
    assert GATE.send(written("GET /health HTTP/1.1", [("Host", "a")]), "8.8.8.8").body == b'{"status": "ok"}'


@pytest.mark.parametrize(
    ("peers", "peer", "said"),
    [
        ("[10.0.0.0/8]", "10.0.0.5", "allow"),
        ("[10.0.0.0/8]", "::ffff:10.0.0.5", "allow"),
        ("['::ffff:10.0.0.0/104']", "10.0.0.5", "allow"),
        ("['::ffff:10.0.0.5']", "::ffff:a00:5", "allow"),
        ("['fe80::/10']", "fe80::1%eth0", "allow"),
        ("[10.0.0.0/8]", "::ffff:11.0.0.5", "untrusted_peer"),
        ("[10.0.0.0/8]", "::10.0.0.5", "untrusted_peer"),
        ("['::/0']", "10.0.0.5", "untrusted_peer"),
        ("[0.0.0.0/0]", "2001:db8::1", "untrusted_peer"),
        ("[10.0.0.0/8]", "no address", "untrusted_peer"),
        ("[10.0.0.0/8]", None, "allow"),
    ],
)
def test_a_neighbour_is_the_same_in_both_families(peers: str, peer: str | None, said: str) -> None:
    """Attack: come by the IPv4-mapped form of an address, in which a network of IPv4 does not find it (THREATS 13)."""
    gate = Gate(f"server: {{trusted_peers: {peers}}}\n{CONFIGURATION}")
    assert gate.send(subrequest("traefik", HEALTH), peer).word == said


# What other gateways and frameworks take the request from: each names a public place.
ELSEWHERE = [
    ("X-Forwarded-Uri", "/health"),
    ("X-Forwarded-Method", "OPTIONS"),
    ("X-Forwarded-Host", "open.example.com"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Prefix", "/health"),
    ("X-Forwarded-Port", "443"),
    ("X-Forwarded-Server", "open.example.com"),
    ("X-Original-URL", "https://open.example.com/health"),
    ("X-Original-URI", "/health"),
    ("X-Original-Method", "OPTIONS"),
    ("X-Original-Host", "open.example.com"),
    ("X-Rewrite-URL", "/health"),
    ("X-Auth-Request-Redirect", "/health"),
    ("X-Envoy-Original-Path", "/health"),
    ("X-Envoy-Original-Host", "open.example.com"),
    ("X-Real-IP", "127.0.0.1"),
    ("X-Client-IP", "127.0.0.1"),
    ("X-Sent-From", "nginx-ingress-controller"),
    ("Forwarded", "for=127.0.0.1;host=open.example.com;proto=https"),
    ("X-Host", "open.example.com"),
    ("User-Agent", "GoogleHC/1.0"),
    ("User-Agent", "kube-probe/1.30"),
    ("X-HTTP-Method-Override", "OPTIONS"),
]


@every_dialect
@given(more=st.lists(st.sampled_from(ELSEWHERE), unique=True))
def test_another_familys_headers_change_nothing(dialect: str, more: list[Header]) -> None:
    """Attack: gateways pass on the headers of other gateways, and each of these says a public path or host.

    Health checkers' User-Agents open nothing either (THREATS 2, 10).
    """
    own = {name.lower() for name in own_headers(dialect, CHAT)}
    foreign = [header for header in more if header[0].lower() not in own]
    assert GATE.ask(dialect, CHAT, *foreign).word == "missing_token_header"
    assert GATE.ask(dialect, CHAT, token("guessed"), *foreign).word in ("invalid_token", "locked_out")


def variants(name: str, value: str) -> list[list[Header]]:
    """A header once more: the same, another value, in another case, empty, or three times."""
    return [
        [(name, value)],
        [(name, "/health")],
        [(name.lower(), "open.example.com")],
        [(name.upper(), "")],
        [(name, "x"), (name, value)],
    ]


@every_dialect
def test_a_gateway_header_that_stands_twice_is_a_400(dialect: str) -> None:
    """Attack: gateway, service and backend take different ones of two lines (THREATS 3)."""
    for name, value in own_headers(dialect, CHAT).items():
        for more in variants(name, value):
            for message in (
                subrequest(dialect, CHAT, token(), *more),
                subrequest(dialect, CHAT, *more, token(), without=name).replace(
                    b" HTTP/1.1\r\n", f" HTTP/1.1\r\n{name}: {value}\r\n".encode(), 1
                ),
            ):
                answer = GATE.send(message)
                assert answer.meant == 400, message


@every_dialect
@pytest.mark.parametrize("name", ["X-API-Token", "Authorization", "X-API-Key", "Origin", "Sec-Fetch-Site"])
def test_a_header_of_the_client_that_decides_is_a_400_when_it_stands_twice(dialect: str, name: str) -> None:
    """Attack: a good credential beside a bad one, in either order, or a page's origin twice (THREATS 3)."""
    for values in ((TOKEN, "bad"), ("bad", TOKEN), (TOKEN, TOKEN), ("", TOKEN), (TOKEN, "")):
        headers = [(name if number else name.lower(), value) for number, value in enumerate(values)]
        more = [] if name == "X-API-Token" else [token()]
        assert GATE.ask(dialect, CHAT, *headers, *more).meant == 400, values


JOINED = {
    "X-Forwarded-Uri": [
        "/v1, /health",
        "/health, /v1",
        "/health /v1",
        "https://open.example.com/health",
        "health",
        "*",
    ],
    "X-Forwarded-Host": ["open.example.com, api.example.com", "open.example.com;api.example.com", "open.example.com,"],
    "X-Forwarded-Proto": ["https,http", "https, https", "HTTPS", "gopher", "https:", "//"],
    "X-Forwarded-Method": ["GET, OPTIONS", "GET,GET", "GET;"],
    "X-Forwarded-For": [
        "unknown",
        "_hidden",
        '"192.0.2.1"',
        "for=192.0.2.1",
        "192.0.2.1:80",
        "[2001:db8::1]",
        "[2001:db8::1]:80",
        "fe80::1%eth0",
        "10.0.0.1,",
        "10.0.0.1;192.0.2.1",
        "192.0.2.1/32",
        "192.0.2.256",
        "192.0.2.01",
        "0x7f.1",
        "127.1",
        "2130706433",
        "\uff11\uff12\uff17.0.0.1",
        "192.0.2.1\u200b",
    ],
    "X-Original-URL": [
        "https://api.example.com/v1, https://open.example.com/health",
        "https://open.example.com, https://api.example.com/v1",
        "//open.example.com/health",
        "/health",
        "https:///health",
        "https:/open.example.com/health",
        "https:open.example.com/health",
        "https://open.example.com",
        "https://open.example.com?/health",
        "HTTPS://open.example.com/health",
        "://open.example.com/health",
    ],
    "X-Original-Method": ["GET,OPTIONS", "GET, GET"],
}


@pytest.mark.parametrize(
    ("dialect", "name", "value"),
    [
        pytest.param(dialect, name, value, id=f"{dialect}: {name}: {value!a}")
        for dialect in DIALECTS
        for name in own_headers(dialect, CHAT)
        for value in JOINED.get(name, ())
    ],
)
def test_what_is_no_single_value_is_never_guessed_at(dialect: str, name: str, value: str) -> None:
    """Attack: a proxy between makes one line of two, or writes an address or a URL in a form of its own.

    Ports, brackets, zones, names and short forms in X-Forwarded-For are no plain address (THREATS 3, 12, 15, 40).
    """
    assert GATE.send(subrequest(dialect, CHAT, (name, value), token(), without=name)).meant == 400


@every_dialect
def test_a_gateway_that_leaves_something_out_is_no_gateway(dialect: str) -> None:
    """Attack: reach the endpoint without what the gateway adds: no "own URL", and no client by the TCP address.

    Empty is as bad as missing (THREATS 15, 21).
    """
    for name in own_headers(dialect, CHAT):
        if name == "Content-Length":
            continue
        # But for Envoy's, Host names the service itself, and decides nothing.
        empty = [] if name == "Host" and dialect != "envoy" else [[(name, value)] for value in ("", " ", "\t")]
        for asking in (CHAT, HEALTH):
            for instead in ([], *empty):
                message = subrequest(dialect, asking, *instead, token(), without=name)
                assert GATE.send(message).meant == 400, message


@every_dialect
@pytest.mark.parametrize(
    "query",
    [
        "?allow=1&scope=admin&next=/health",
        f"?X-API-Token={TOKEN}&api_key={TOKEN}&access_token={TOKEN}",
        "?X-Forwarded-Uri=/health&uri=/health&rd=/health",
        "?",
        "??/health",
        "?#/health",
        "?method=OPTIONS&_method=OPTIONS&user=admin&disable_auth=true",
    ],
)
def test_the_endpoints_own_query_says_nothing(dialect: str, query: str) -> None:
    """Attack: Caddy and Envoy append the client's query to the address of the service (54576, THREATS 5, 11)."""
    if dialect == "envoy":
        answer = GATE.ask(dialect, Asking(url=f"https://api.example.com/v1/chat{query}"))
        assert answer.meant in (400, 401)
    else:
        plain = GATE.send(subrequest(dialect, CHAT))
        assert GATE.send(subrequest(dialect, CHAT, query=query)) == plain
    assert GATE.send(subrequest(dialect, CHAT, token())).status == 200


@pytest.mark.parametrize("here", DIALECTS)
def test_a_dialect_that_is_not_enabled_does_not_exist(here: str) -> None:
    """Attack: ask by another gateway's endpoint, whose headers this gateway lets its clients write (THREATS 39)."""
    gate = Gate(f"server: {{gateways: [{here}]}}\n{CONFIGURATION}")
    for dialect in DIALECTS:
        for asking in (CHAT, HEALTH):
            answer = gate.send(subrequest(dialect, asking, token()))
            assert answer.status == (200 if dialect == here else 404), dialect


@pytest.mark.parametrize(
    "target",
    [
        "/verify/../health",
        "/verify/..%2fhealth",
        "/verify/%2e%2e/health",
        "/verify/traefik/../../health",
        "//health",
        "/health/",
        "/health/x",
        "/health;x",
        "/healthz",
        "/Health",
        "/%68ealth",
        "/health%00",
        "/health%20",
        "/verify/traefik/",
        "/verify/traefik;x",
        "/verify/traefik%20",
        "/verify//traefik",
        "/VERIFY/traefik",
        "/verify/%74raefik",
        "/verify/envoy",
        "http://forwardauth:9000/verify/traefik",
        "http://forwardauth:9000/health",
        "/verify/traefik#/health",
        "/metrics",
        "/ready",
        "/control/reload",
        "/auth/login",
        "*",
    ],
)
def test_only_the_exact_raw_paths_exist_on_the_decision_listener(target: str) -> None:
    """Attack: spell the health path, another endpoint or another listener's page through a prefix (THREATS 10, 39)."""
    own = [*own_headers("traefik", HEALTH).items(), token()]
    assert GATE.send(written(f"GET {target} HTTP/1.1", own)).status in (400, 404)


OPEN = "open.example.com"
NO_OPEN_HOSTS = [
    f"api.example.com:80@{OPEN}",
    f"{OPEN}:443@api.example.com",
    f"user@{OPEN}",
    f"{OPEN}@api.example.com",
    f"{OPEN}:80?",
    f"{OPEN}?",
    f"{OPEN}#",
    f"{OPEN}#api.example.com",
    f"{OPEN},api.example.com",
    f"api.example.com,{OPEN}",
    f"{OPEN} api.example.com",
    f"{OPEN};api.example.com",
    f"{OPEN}\\api.example.com",
    f"{OPEN}%00",
    f"{OPEN}%2e",
    f"{OPEN}%252e",
    f"{OPEN}..",
    f".{OPEN}",
    f"{OPEN}:",
    f"{OPEN}:0",
    f"{OPEN}:65536",
    f"{OPEN}:443:443",
    f"{OPEN}:-443",
    f"{OPEN}:+443",
    f"{OPEN}:4 43",
    f"[{OPEN}]",
    "[::1%25eth0]",
    "[::1%eth0]",
    "[::ffff:127.0.0.1",
    "open\u3002example\u3002com",
    "open\uff0eexample\uff0ecom",
    "\uff4fpen.example.com",
    "op\u0435n.example.com",
    "open.example.com\u200b",
    "127.1",
    "0x7f.0.0.1",
    "2130706433",
    "0177.0.0.1",
]


@every_dialect
@pytest.mark.parametrize("host", NO_OPEN_HOSTS, ids=ascii)
def test_a_host_that_two_programs_read_differently_is_a_400(dialect: str, host: str) -> None:
    """Attack: userinfo, ports, commas, escapes, dots of other scripts and short addresses in the host (THREATS 40)."""
    for path in ("/x", "/health"):
        message = subrequest(dialect, Asking(url=f"https://{host}{path}"), token())
        assert GATE.send(message).meant == 400, message


@every_dialect
@pytest.mark.parametrize(
    "host", [f"{OPEN}.evil.example", f"evil{OPEN}", f"x.{OPEN}", "xn--pen-5cd.example.com", "open"]
)
def test_a_host_that_only_contains_the_open_one_is_not_open(dialect: str, host: str) -> None:
    """Attack: a name that begins or ends like the public host, or looks like it in another script (THREATS 40)."""
    assert GATE.ask(dialect, Asking(url=f"https://{host}/x")).word == "missing_token_header"


@every_dialect
@pytest.mark.parametrize("host", [OPEN, OPEN.upper(), f"{OPEN}.", f"{OPEN}:443", f"{OPEN}:8443", f"{OPEN}.:443"])
def test_the_open_host_is_open_in_every_spelling_that_is_one(dialect: str, host: str) -> None:
    assert GATE.ask(dialect, Asking(url=f"https://{host}/x")).word == "allow"
