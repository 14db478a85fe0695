"""Paths in one normal form or refused, hosts, methods, and the first route that matches."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forwardauth.core.reasons import Denial
from forwardauth.core.routes import AmbiguousPath, Place, RouteTable, normalise_path, parse_host
from tests.building import Bench, mistakes, word

UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

OPEN = """
routes:
  - {name: slashes, path: /files/*, require: ci, encoded_slashes: true}
  - {name: health, path: /health, public: true}
  - {name: assets, path: /public/*, public: true}
  - {name: rest, path: /*, require: ci}
authenticators:
  ci: {token: {tokens: [{name: ci, value: secret}]}}
"""


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        pytest.param("/", "/", id="the root"),
        pytest.param("/v1/chat", "/v1/chat", id="what is normal stays"),
        pytest.param("/%76%31/ch%61t", "/v1/chat", id="escapes of unreserved characters are decoded"),
        pytest.param("/%7euser%2D%5f", "/~user-_", id="tilde, hyphen and underscore are unreserved"),
        pytest.param("/a%3ab%2a", "/a%3Ab%2A", id="escapes of reserved characters stay, in upper case"),
        pytest.param("/caf%c3%a9", "/caf%C3%A9", id="UTF-8 stays escaped"),
        pytest.param("/my%20file", "/my%20file", id="an escaped space stays"),
        pytest.param("//v1///chat//", "/v1/chat/", id="empty segments collapse"),
        pytest.param("/a.b/..c/d../...", "/a.b/..c/d../...", id="dots inside a segment are letters"),
        pytest.param("/100%25", "/100%25", id="an escaped percent sign at the end"),
        pytest.param("/100%25/x", "/100%25/x", id="an escaped percent sign before a slash"),
        pytest.param("/%25zz", "/%25zz", id="an escaped percent sign before what is no hex"),
        pytest.param("/@:!$&'()*+,=|^`{}[]<>", None, id="square brackets and the like"),
        pytest.param("/%e2%82%ac%F0%9F%98%80", "/%E2%82%AC%F0%9F%98%80", id="three and four bytes of UTF-8"),
        pytest.param("/a%2fb", "/a%2Fb", id="an escaped slash is no separator"),
    ],
)
def test_a_path_has_one_normal_form(raw: str, normal: str | None) -> None:
    assert normalise_path(raw.encode()) == (raw if normal is None else normal)


REFUSED = {
    # Dot segments in every spelling, THREATS 6.
    "a dot segment": "/public/../admin",
    "a single dot": "/public/./admin",
    "a dot segment at the end": "/public/..",
    "a single dot at the end": "/public/.",
    "escaped dots": "/public/%2e%2e/admin",
    "escaped dots in capitals": "/public/%2E%2E/admin",
    "half-escaped dots": "/public/.%2e/admin",
    "half-escaped dots, the other way": "/public/%2E./admin",
    "an escaped single dot": "/public/%2e/admin",
    "dots before an escaped slash": "/public/..%2fadmin",
    "dots between escaped slashes": "/public%2f..%2fadmin",
    "everything escaped": "/public%2F%2e%2e%2Fadmin",
    "dots with a parameter": "/public/..;/admin",
    "dots with an escaped parameter": "/public/..%3b/admin",
    "dots behind a space": "/public/%20../admin",
    "dots before a space": "/public/..%20/admin",
    "only dots": "/..",
    # Separators, THREATS 7.
    "a backslash": "/public\\admin",
    "a backslash with dots": "/public/..\\admin",
    "an escaped backslash": "/public%5cadmin",
    "an escaped backslash in capitals": "/public%5Cadmin",
    "a semicolon": "/public;a=b",
    "an escaped semicolon": "/public%3Badmin",
    "an escaped semicolon in small letters": "/public%3badmin",
    "a space": "/public admin",
    "a tab": "/public\tadmin",
    "a line feed": "/public\nadmin",
    "an escaped tab": "/public%09admin",
    "an escaped line feed": "/public%0aadmin",
    "an escaped carriage return": "/public%0Dadmin",
    "an escaped NUL": "/public%00",
    "NUL": "/public\0",
    "the last control byte, escaped": "/public%1f",
    "DEL": "/public\x7f",
    "an escaped DEL": "/public%7f",
    "a number sign": "/public#admin",
    # What would decode again, THREATS 7.
    "a doubly escaped dot": "/public/%252e%252e/admin",
    "a doubly escaped dot in capitals": "/public/%252E/admin",
    "a doubly escaped slash": "/public%252fadmin",
    "a doubly escaped backslash": "/public%255cadmin",
    "a percent sign escaped thrice": "/public/%25252e/admin",
    "a doubly escaped dot whose digits are escaped": "/public/%25%32%65/admin",
    "a doubly escaped slash whose first digit is escaped": "/public%25%32Fadmin",
    "a doubly escaped slash whose last digit is escaped": "/public%252%46admin",
    "a percent sign escaped thrice, digits escaped": "/public/%25%32%35%32%65/admin",
    "dots that appear at the third decoding": "/public/%25%2532e%25%2532e/admin",
    "dots that appear at the third decoding, otherwise": "/public/%252%2565%252%2565/admin",
    # Broken and foreign.
    "an escape that is cut off": "/public%",
    "an escape with one digit": "/public%2",
    "an escape that is no hex": "/public%zz",
    "an escape of a wide character": "/public%u002e",
    "an escape before an escape": "/public%%32e",
    "a lone continuation byte": "/public%80",
    "an overlong slash": "/public%c0%af",
    "an overlong dot": "/public/%c0%ae%c0%ae/admin",
    "a UTF-8 sequence that is cut off": "/public%e2%82",
    "an escaped surrogate": "/public%ed%a0%80",
    "Latin-1": "/caf%e9",
    "a byte above 0x7E": "/caf\xe9",
    "raw UTF-8": "/café".encode().decode("latin-1"),
    "an absolute URI": "http://evil.example/health",
    "an absolute URI without a scheme's slashes": "https:/health",
    "no slash": "health",
    "nothing": "",
    "an asterisk alone": "*",
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_an_ambiguous_path_is_refused_on_every_route(raw: str) -> None:
    """Attack: spell a protected path so that the rule sees a public one and the backend the protected one.

    (THREATS 6, 7)
    """
    with pytest.raises(AmbiguousPath):
        normalise_path(raw.encode("latin-1"))


@pytest.mark.parametrize("prefix", ["/public", "/files", "/nowhere", "/v1"])
@pytest.mark.parametrize(
    "rest", ["/../health", "/%2e%2e/health", "/..%2fhealth", "/%252e", "/a\\b", "/a;b", "/a%00", "/%ff", "/%"]
)
def test_no_route_takes_an_ambiguous_path(prefix: str, rest: str) -> None:
    """Attack: `/admin%2f..%2fhealth` reached a public route (seen); it is a 400 there and everywhere.

    (THREATS 6, 7, 43)
    """
    assert word(Bench(OPEN).ask("GET", f"https://a.example{prefix}{rest}")) == "ambiguous_path"


@pytest.mark.parametrize("path", ["/", "/a%2f..%2fhealth", "//health/%2e", "/health%2f", "/%68ealth;"])
def test_an_odd_spelling_never_ends_on_the_public_route(path: str) -> None:
    """Attack: reach `health` without a credential from anywhere else (THREATS 10, 43)."""
    decision = Bench(OPEN).ask("GET", f"https://a.example{path}")
    assert word(decision) in ("ambiguous_path", "missing_credential")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        pytest.param("/files/a%2Fb", "missing_credential", id="a route that says so accepts it"),
        pytest.param("/files/a%2fb", "missing_credential", id="in either case"),
        pytest.param("/v1/a%2Fb", "ambiguous_path", id="any other route refuses it"),
        pytest.param("/public/a%2Fb", "ambiguous_path", id="a public route refuses it"),
        pytest.param("/files%2Fa", "ambiguous_path", id="it is no separator for matching"),
        pytest.param("/files/..%2Fa", "ambiguous_path", id="dots beside it are refused all the same"),
        pytest.param("/files/a%2F%2E%2E", "ambiguous_path", id="escaped dots too"),
    ],
)
def test_an_escaped_slash_passes_only_where_the_route_says_so(target: str, said: str) -> None:
    assert word(Bench(OPEN).ask("GET", f"https://a.example{target}")) == said


@pytest.mark.parametrize(
    ("query", "said"),
    [
        pytest.param("", "allow", id="empty"),
        pytest.param("a=b&c=/../%2e%2e;\\ %zz%00", "allow", id="dots, backslash, semicolon, space, any escape"),
        pytest.param("a=b?c", "allow", id="a second question mark"),
        pytest.param('"<>[]{}|^`', "allow", id="every other printable byte"),
        pytest.param("a#b", "ambiguous_path", id="a raw number sign"),
        pytest.param("a\tb", "ambiguous_path", id="a raw tab"),
        pytest.param("a\0b", "ambiguous_path", id="a raw NUL"),
        pytest.param("a\x7fb", "ambiguous_path", id="a raw DEL"),
        pytest.param("caf\xe9", "ambiguous_path", id="a raw byte above 0x7E"),
    ],
)
def test_a_query_is_refused_only_for_raw_bytes_that_no_query_has(query: str, said: str) -> None:
    assert word(Bench(OPEN).ask("GET", f"https://a.example/health?{query}")) == said


@pytest.mark.parametrize("target", ["/v1?x=/health", "/v1?/../health", "/v1?x=/public/a", "/v1?"])
def test_a_query_decides_no_route(target: str) -> None:
    """Attack: carry a public path in the query (CVE 54576, THREATS 5)."""
    decision = Bench(OPEN).ask("GET", f"https://a.example{target}")
    assert decision.place is not None
    assert (decision.place.route.name, decision.place.path) == ("rest", "/v1")


PIECES = st.sampled_from(
    [
        "/",
        "//",
        ".",
        "..",
        "a",
        "e",
        "2",
        "5",
        "F",
        "~",
        "%",
        "%2",
        "%25",
        "%2e",
        "%2E",
        "%2f",
        "%5c",
        "%32",
        "%35",
        "%65",
        "%46",
        "%20",
        "%00",
        "%3b",
        "%C3%A9",
        "%e9",
        "\\",
        ";",
        "é",
        "%252e",
        "%25%32",
    ]
)
RAW_PATHS = st.lists(PIECES, max_size=12).map(lambda pieces: ("/" + "".join(pieces)).encode())


def accepted(raw: bytes) -> str | None:
    try:
        return normalise_path(raw)
    except AmbiguousPath:
        return None


@given(RAW_PATHS | st.binary(max_size=40).map(b"/".__add__))
def test_the_normal_form_is_normal(raw: bytes) -> None:
    normal = accepted(raw)
    if normal is not None:
        assert normalise_path(normal.encode()) == normal
        assert normal.startswith("/")
        assert "//" not in normal
        assert re.fullmatch(r"[!-~]+", normal)


@given(RAW_PATHS)
@example(b"/public/%25%2532e%25%2532e/admin")
@example(b"/public/%252%2565%252%2565/admin")
def test_no_accepted_path_holds_a_dot_segment_after_any_number_of_decodings(raw: bytes) -> None:
    """Attack: a gateway, a framework and an application decode one after the other; the last one sees `..`.

    (THREATS 6, 7)
    """
    normal = accepted(raw)
    for decoded in () if normal is None else (raw, normal.encode()):
        before = b""
        while decoded != before:
            assert not {b".", b".."} & set(re.split(rb"[/\\]", decoded)), decoded
            decoded, before = unquote_to_bytes(decoded), decoded


@given(st.text(UNRESERVED + "/:@", max_size=20), st.data())
def test_matching_never_depends_on_escapes_of_unreserved_characters(text: str, data: st.DataObject) -> None:
    raw = "/" + text
    escaped = "".join(
        f"%{ord(character):02x}" if character in UNRESERVED and data.draw(st.booleans()) else character
        for character in raw
    )
    assert accepted(escaped.encode()) == accepted(raw.encode())


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        pytest.param("/v1/*", "/v1/chat", True, id="any rest"),
        pytest.param("/v1/*", "/v1/", True, id="an empty rest"),
        pytest.param("/v1/*", "/v1/a/b/c", True, id="slashes in the rest"),
        pytest.param("/v1/*", "/v1", False, id="not without its slash"),
        pytest.param("/v1/messages*", "/v1/messages", True, id="nothing at all"),
        pytest.param("/v1/messages*", "/v1/messages/count", True, id="a slash and more"),
        pytest.param("/v1/messages*", "/v1/messagesque", True, id="more letters"),
        pytest.param("/health", "/health", True, id="the path itself"),
        pytest.param("/health", "/healthz", False, id="nothing longer"),
        pytest.param("/health", "/health/", False, id="no further slash"),
        pytest.param("/health", "/Health", False, id="case matters"),
        pytest.param("/*", "/", True, id="everything"),
    ],
)
def test_a_star_at_the_end_stands_for_any_rest(pattern: str, path: str, matches: bool) -> None:
    decision = Bench(f"routes: [{{path: '{pattern}', public: true}}]").ask("GET", f"https://a.example{path}")
    assert (word(decision) == "allow") is matches


@pytest.mark.parametrize(
    ("route", "scheme", "host", "matches"),
    [
        pytest.param("api.example.com", "https", "api.example.com", True, id="the name itself"),
        pytest.param("api.example.com", "https", "API.Example.COM", True, id="in any case"),
        pytest.param("API.example.com", "https", "api.example.com", True, id="configured in any case"),
        pytest.param("api.example.com", "https", "api.example.com.", True, id="with a final dot"),
        pytest.param("api.example.com", "https", "api.example.com:443", True, id="with the default port"),
        pytest.param("api.example.com", "http", "api.example.com:80", True, id="with the default port of http"),
        pytest.param("api.example.com", "https", "api.example.com:8443", True, id="without a port, every port"),
        pytest.param("api.example.com:443", "https", "api.example.com", True, id="the default port is that port"),
        pytest.param("api.example.com:443", "wss", "api.example.com", True, id="for WebSockets too"),
        pytest.param("api.example.com:443", "http", "api.example.com", False, id="the other scheme's is not"),
        pytest.param("api.example.com:8443", "https", "api.example.com:8443", True, id="with a port, that one"),
        pytest.param("api.example.com:8443", "https", "api.example.com", False, id="with a port, no other"),
        pytest.param("api.example.com", "https", "api.example.org", False, id="another name"),
        pytest.param("api.example.com", "https", "xapi.example.com", False, id="a longer name"),
        pytest.param("*.example.com", "https", "api.example.com", True, id="one label"),
        pytest.param("*.example.com", "https", "api.example.com.:443", True, id="one label, dot and port"),
        pytest.param("*.example.com", "https", "a.b.example.com", False, id="not two labels"),
        pytest.param("*.example.com", "https", "example.com", False, id="not none"),
        pytest.param("*.example.com", "https", "evilexample.com", False, id="not a part of a label"),
        pytest.param("*.example.com:8443", "https", "api.example.com:8443", True, id="one label at a port"),
        pytest.param("*.example.com:8443", "https", "api.example.com", False, id="one label at no other port"),
        pytest.param("[::1]", "http", "[0:0:0:0:0:0:0:1]:80", True, id="an IPv6 address in any spelling"),
        pytest.param("192.0.2.7", "http", "192.0.2.7:8080", True, id="an IPv4 address"),
    ],
)
def test_a_host_is_matched_without_case_default_port_and_final_dot(
    route: str, scheme: str, host: str, matches: bool
) -> None:
    bench = Bench(f"routes: [{{path: '/*', public: true, host: '{route}'}}]")
    assert word(bench.ask("GET", f"{scheme}://{host}/")) == ("allow" if matches else "no_route")


NO_HOSTS = {
    "two names": "a,b a@b a:80@b a:80? a# a? a\\b a%2eb",
    "no port": "a: a:0 a:65536 a:http a:-1 a:+80 a:80:80 :80 a:\uff18\uff10",
    "no name": ". a..b .a a.. -a.b a-.b *.a café " + "a" * 64 + " " + ".".join(["a" * 60] * 5),
    "half an address": "[::1 [::1]x [::1]x80 ::1 [::1%25eth0] [1.2.3.4] [] 1 1.2.3 1.2.3.256 0x7f.1 a.0x1 01.2.3.4",
}


@pytest.mark.parametrize(
    "host",
    [pytest.param(host, id=f"{kind}: {host[:20]}") for kind, hosts in NO_HOSTS.items() for host in hosts.split()]
    + [pytest.param(host, id=f"white space: {host!r}") for host in ("a b", "a\tb", "a: 80", " a", "a ")],
)
def test_what_is_no_host_is_a_400(host: str) -> None:
    """Attack: two programs read one host value in two ways (seen: `a:80@b`); a name that could be two is none.

    (THREATS 40)
    """
    bench = Bench("routes: [{path: /*, public: true}]")
    view = bench.view()
    view.host = host.encode()
    assert word(bench.decide(view)) == "malformed_subrequest"


@given(st.from_regex(r"[a-z0-9]{1,8}(\.[a-z][a-z0-9-]{0,6}[a-z0-9]){1,3}", fullmatch=True), st.integers(1, 65535))
def test_a_host_means_the_same_in_any_case_and_with_a_final_dot(name: str, port: int) -> None:
    plain = parse_host(f"{name}:{port}".encode())
    assert (plain.name, plain.port) == (name, port)
    assert parse_host(f"{name.upper()}.:{port}".encode()) == plain


METHODS = """
authenticators: {ci: {token: {tokens: [{name: ci, value: secret}]}}}
routes:
  - {name: named, path: /named, methods: [GET, POST], public: true}
  - {name: all, path: /all, public: true}
"""


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        pytest.param("POST", "/named", "allow", id="a method that is named"),
        pytest.param("PUT", "/named", "no_route", id="one that is not"),
        pytest.param("HEAD", "/named", "no_route", id="HEAD is not GET"),
        pytest.param("post", "/named", "no_route", id="exactly, not in small letters"),
        pytest.param("PROPFIND", "/all", "allow", id="any token where none is named"),
        pytest.param("TRACE", "/all", "no_route", id="TRACE nowhere"),
        pytest.param("TRACK", "/all", "no_route", id="TRACK nowhere"),
        pytest.param("CONNECT", "/all", "no_route", id="CONNECT nowhere"),
        pytest.param("GET POST", "/all", "malformed_subrequest", id="two words"),
        pytest.param("GET\tX", "/all", "malformed_subrequest", id="a tab"),
        pytest.param("G\xc9T", "/all", "malformed_subrequest", id="no ASCII"),
        pytest.param("GET,POST", "/all", "malformed_subrequest", id="a list"),
        pytest.param("A" * 65, "/all", "malformed_subrequest", id="an endless one"),
    ],
)
def test_a_method_is_an_exact_token(method: str, path: str, said: str) -> None:
    """Attack: a method that the rule and the backend read differently, or one that reflects secrets (THREATS 8, 47)."""
    assert word(Bench(METHODS).ask(method, f"https://a.example{path}")) == said


def test_the_first_route_that_matches_wins_and_no_match_is_a_denial() -> None:
    bench = Bench("""
        authenticators: {ci: {token: {tokens: [{name: ci, value: secret}]}}}
        routes:
          - {name: exact, path: /a/b, public: true}
          - {name: posts, path: /a/*, methods: [POST], public: true}
          - {name: host, path: /a/*, host: x.example, public: true}
          - {name: rest, path: [/a/*, /c], require: ci}
    """)

    def route(method: str, url: str) -> str | None:
        place = bench.ask(method, url).place
        return None if place is None else place.route.name

    assert route("POST", "https://x.example/a/b") == "exact"
    assert route("POST", "https://x.example/a/c") == "posts"
    assert route("GET", "https://x.example/a/c") == "host"
    assert route("GET", "https://y.example/a/c") == "rest"
    assert route("GET", "https://y.example/c") == "rest"
    assert route("GET", "https://y.example/d") is None
    assert word(bench.ask("GET", "https://y.example/d")) == "no_route"


def test_a_route_pattern_that_could_never_match_is_a_mistake() -> None:
    for pattern in ("/a/../b", "/a//b", "/%61", "/a;b", "/a\\b"):
        assert "never matches" in mistakes(f"routes: [{{path: '{pattern}', public: true}}]")["routes[0].path"]


@given(st.lists(st.text("ab/", max_size=6), min_size=1, max_size=30))
def test_remembering_answers_changes_none(paths: list[str]) -> None:
    """Attack: have the place of one path remembered for another (THREATS 23)."""
    bench = Bench("routes: [{path: /a*, public: true}, {path: /*, public: true, methods: [POST]}]")
    routes = bench.snapshot.routes
    for path in [*paths, *paths]:
        view = bench.view("GET", f"https://a.example/{path}")
        remembered, anew = routes.locate(view, b"GET"), RouteTable(routes.routes).locate(view, b"GET")
        if isinstance(anew, Denial):
            assert remembered is anew
        else:
            assert isinstance(remembered, Place)
            assert (remembered.route, remembered.path) == (anew.route, anew.path)
