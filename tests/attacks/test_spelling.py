"""One path in many spellings: the rule sees a public place, and the backend serves a closed one, or the other way."""

import re
from collections.abc import Iterator
from itertools import product
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forwardauth.core.model import RequestView
from forwardauth.core.routes import Place
from tests.attacks.gate import DIALECTS, PATIENT, Asking, Gate, subrequest, token
from tests.building import mistakes, snapshot

GATE = Gate(PATIENT)

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)

DOTS = [
    "..",
    ".",
    "%2e%2e",
    "%2E%2e",
    ".%2e",
    "%2e.",
    "%2e",
    "%252e%252e",
    "%252e.",
    "%25%32%65%25%32%65",
    "%25252e%25252e",
    "%u002e%u002e",
    "%c0%ae%c0%ae",
    "%e0%80%ae%e0%80%ae",
    "%f0%80%80%ae.",
    "..;",
    "..;x=y",
    "..%3b",
    "..%3B;",
    ";/..",
    "..%00",
    "%00..",
    "..%20",
    "%20..",
    "..%09",
    "..%0d%0a",
    "..%0a",
    "..%7f",
    "..%ff",
    "..\\",
    "..%5c",
    "..%5C.",
    "..%255c",
    "..#",
]
SLASHES = ["/", "//", "%2f", "%2F", "%252f", "%25%32%66", "%c0%af", "%e0%80%af", "%u2215", "\\", "\\/", "%5c", "/%5C"]
WAYS = [("/health", "admin"), ("/admin", "health"), ("/public", "v1/admin"), ("", "health")]


def dotted(dots: str) -> Iterator[str]:
    """Targets with these dots between slashes, one of the two slashes plain."""
    odd = SLASHES[1:]
    for before, after in [("/", "/"), *((slash, "/") for slash in odd), *(("/", slash) for slash in odd)]:
        for begin, end in WAYS:
            yield f"{begin}{before}{dots}{after}{end}"


@every_dialect
@pytest.mark.parametrize("dots", DOTS)
def test_dot_segments_in_no_spelling_reach_a_route(dialect: str, dots: str) -> None:
    """Attack: `/public/../admin`, in every encoding of the dots and of the slashes around them.

    A good token opens none of them: they are refused on the way into a public path, and out of one (33494, 65600,
    #1055, `/admin%2f..%2fhealth` seen; THREATS 6, 43).
    """
    for target in dotted(dots):
        asking = Asking(url=f"https://api.example.com{target}")
        assert GATE.send(subrequest(dialect, asking, token())).meant == 400, target


ODD = [
    "/health%2fx",
    "/health%2f",
    "/%2fhealth",
    "/health\\",
    "/health\\x",
    "/health%5c",
    "/\\health",
    "/health;x",
    "/health;",
    "/health%3b",
    "/health%3bx=y",
    "/;/health",
    "/health%00",
    "/health%00.png",
    "/health%0a",
    "/health%0d%0aX-Auth-User:%20admin",
    "/health%09",
    "/health%1f",
    "/health%7f",
    "/health%",
    "/health%2",
    "/health%zz",
    "/health%%36",
    "/health%u0068",
    "/health%ff",
    "/health%c0%af",
    "/health%ed%a0%80",
    "/health#",
    "/health#/admin",
    "/%2568%2565alth%252fx",
    "/health%252fx",
    "/health%255cx",
    "/health%2525",
    "//open.example.com\\@/health",
]


@every_dialect
@pytest.mark.parametrize("target", ODD)
def test_separators_and_broken_escapes_in_no_spelling_reach_a_route(dialect: str, target: str) -> None:
    """Attack: slashes, backslashes, semicolons, control bytes and broken escapes, raw or escaped (THREATS 7, 43)."""
    asking = Asking(url=f"https://api.example.com{target}")
    assert GATE.send(subrequest(dialect, asking, token())).meant == 400


@every_dialect
@pytest.mark.parametrize(
    "target",
    [
        "//admin",
        "///admin",
        "/admin//",
        "/%61dmin",
        "/ADMIN",
        "/HEALTH",
        "/healthz",
        "/health.",
        "/health/",
        "/health%20",
        "/health%3f",
        "/health%23",
        "/health*",
        "/health:x",
        "/health,x",
        "/.health",
        "/health..",
        "/...",
        "/health@",
        "/",
    ],
)
def test_what_only_resembles_the_public_path_needs_a_credential(dialect: str, target: str) -> None:
    """Attack: a path that is equal to the public one but for case, a final dot, slash or space (THREATS 7)."""
    asking = Asking(url=f"https://api.example.com{target}")
    assert GATE.ask(dialect, asking).word == "missing_token_header"
    assert GATE.ask(dialect, asking, token()).word == "allow"


@every_dialect
@pytest.mark.parametrize(
    "target", ["/health", "//health", "///health", "/%68ealth", "/h%65%61lth", "/health?", "/health?x"]
)
def test_what_means_the_public_path_is_public(dialect: str, target: str) -> None:
    assert GATE.ask(dialect, Asking(url=f"https://api.example.com{target}")).word == "allow"


@every_dialect
@pytest.mark.parametrize(
    "target",
    [
        "/v1?x=/health",
        "/v1?/health",
        "/v1?/../health",
        "/v1?%2e%2e/health",
        "/v1??/health",
        "/v1?x=y&path=/health",
        "/v1?;/health",
        "/v1?x=\\health",
        "/v1?%00/health",
        "/v1?x=https://open.example.com/health",
    ],
)
def test_a_public_path_in_the_query_opens_nothing(dialect: str, target: str) -> None:
    """Attack: a rule that searches the whole address finds the public path behind the `?` (54576, THREATS 5)."""
    assert GATE.ask(dialect, Asking(url=f"https://api.example.com{target}")).word == "missing_token_header"


NARROW = """
authenticators: {ci: {token: {tokens: [{name: ci, value: right-token}]}}}
routes:
  - {name: reads, host: api.example.com, path: /v1/*, methods: [GET], require: ci}
"""


@every_dialect
@pytest.mark.parametrize(
    "asking",
    [
        Asking(url="https://api.example.com/v2"),
        Asking(url="https://api.example.com/v1"),
        Asking(url="https://api.example.com/"),
        Asking(url="https://other.example.com/v1/x"),
        Asking(url="https://127.0.0.1/v1/x"),
        Asking("POST", "https://api.example.com/v1/x"),
        Asking("HEAD", "https://api.example.com/v1/x"),
        Asking("OPTIONS", "https://api.example.com/v1/x"),
    ],
    ids=lambda asking: f"{asking.method} {asking.url}",
)
def test_what_no_route_has_is_denied_whoever_asks(dialect: str, asking: Asking) -> None:
    """Attack: look for the path, host or method that nobody thought of (328g, THREATS 35)."""
    gate = Gate(NARROW)
    for credential in ([], [("Authorization", "Bearer right-token")]):
        answer = gate.send(subrequest(dialect, asking, *credential))
        assert answer.meant == 403
        assert b"HEAD" in subrequest(dialect, asking)[:5] or answer.word == "no_route"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("routes: []", "routes"),
        ("routes: [{path: [], public: true}]", "routes[0].path"),
        ("routes: [{path: '/[a-z', public: true}, {path: '/a*b', public: true}]", "routes[1].path"),
        ("routes: [{path: /*, methods: [], public: true}]", "routes[0].methods"),
        ("routes: [{path: /*, host: '', public: true}]", "routes[0].host"),
        ("routes: [{path: /*}]", "routes[0]"),
        ("routes: [{path: /*, require: {any: []}}]", "routes[0].require.any"),
        ("routes: [{path: /*, require: {all: []}}]", "routes[0].require.all"),
        ("routes: [{path: /*, require: nobody}]", "routes[0].require"),
        (
            "authenticators: {o: {network: {allow: []}}}\nroutes: [{path: /*, require: o}]",
            "authenticators.o.network.allow",
        ),
        (
            "authenticators: {t: {token: {tokens: []}}}\nroutes: [{path: /*, require: t}]",
            "authenticators.t.token.tokens",
        ),
        ("authenticators: {b: {basic: {users: []}}}\nroutes: [{path: /*, require: b}]", "authenticators.b.basic"),
    ],
)
def test_a_rule_that_names_nobody_or_nothing_is_refused(text: str, path: str) -> None:
    """Attack on the operator: an empty list that means "all", or a rule that never matches (328g, THREATS 35)."""
    assert path in mistakes(text)


# Every reading of an accepted path is the same route: what backends are known to do, in every order that matters.

ROUTES = """
authenticators: {ci: {token: {tokens: [{name: ci, value: right-token}]}}}
routes:
  - {name: admin, path: [/admin, /admin/*], require: ci}
  - {name: health, path: /health, public: true}
  - {name: public, path: /public/*, public: true}
  - {name: rest, path: /*, require: ci}
"""
TABLE = snapshot(ROUTES).routes


def readings(target: bytes) -> Iterator[bytes]:
    """The paths that a backend may see in a target: decoded once or twice, slashes turned and merged.

    What stands behind `;` and NUL is cut, and dot segments are removed.
    """
    path = target.partition(b"?")[0]
    for times, cut, turn, merge in product((1, 2), (False, True), (False, True), (False, True)):
        read = path
        for _ in range(times):
            read = unquote_to_bytes(read)
        if turn:
            read = read.replace(b"\\", b"/")
        if cut:
            read = b"/".join(segment.partition(b";")[0] for segment in read.split(b"/")).partition(b"\0")[0]
        if merge:
            read = re.sub(rb"//+", b"/", read)
        yield without_dots(read)


def without_dots(path: bytes) -> bytes:
    """RFC 3986 5.2.4."""
    kept: list[bytes] = []
    segments = path.split(b"/")[1:]
    for number, segment in enumerate(segments, 1):
        if segment == b".." and kept:
            kept.pop()
        if segment not in (b".", b".."):
            kept.append(segment)
        elif number == len(segments):
            kept.append(b"")
    return b"/" + b"/".join(kept)


def route_of(path: bytes) -> str:
    """The route of a path that is decoded already, in words of its own."""
    merged = re.sub(rb"//+", b"/", path)
    if merged == b"/admin" or merged.startswith(b"/admin/"):
        return "admin"
    if merged == b"/health":
        return "health"
    return "public" if merged.startswith(b"/public/") else "rest"


def place_of(target: bytes) -> str | None:
    """The route by which the service decides, None where it refuses the path."""
    view = RequestView(scheme=b"https", host=b"api.example.com", target=target)
    place = TABLE.locate(view, b"GET")
    return place.route.name if isinstance(place, Place) else None


def escaped(character: str, times: int) -> str:
    """A character behind no, one or two layers of percent-encoding."""
    text = character if not times else "".join(f"%{byte:02x}" for byte in character.encode())
    return text.replace("%", "%25") if times == 2 else text


WORDS = ["/", "/", "/", "..", ".", "admin", "health", "public", "a", "%", ";", ";x", "\\", "\0", " ", "\u00e9"]


@st.composite
def targets(draw: st.DrawFn, twice: str) -> bytes:
    """Paths of the words above, each character of them plain, escaped once, or (those of `twice`) escaped twice."""
    text = draw(st.lists(st.sampled_from(WORDS), max_size=9).map("".join))
    layers = [draw(st.integers(0, 2 if character in twice else 1)) for character in text]
    return ("/" + "".join(map(escaped, text, layers))).encode("utf-8")


@settings(max_examples=1500)
@given(targets(twice="./\\%"))
@example(b"/public/%25%32%65%25%32%65/admin")
@example(b"//admin")
@example(b"/public//admin")
@example(b"/public/a%2f..%2f..%2fadmin")
def test_no_reading_of_an_accepted_path_is_another_route(target: bytes) -> None:
    """Attack: the backend decodes again, cuts `;x`, turns `\\`, merges slashes or removes dots (THREATS 6, 7, 43)."""
    place = place_of(target)
    if place is not None:
        assert {route_of(read) for read in readings(target)} <= {place}, sorted(set(readings(target)))


def test_the_model_of_backends_finds_what_is_not_refused() -> None:
    """The property above has teeth: each of these is read as another route by somebody."""
    for target in (b"/public/../admin", b"/public/..;/admin", b"/public/%252e%252e/admin", b"/public/..%5c..\\admin"):
        assert {route_of(read) for read in readings(target)} != {route_of(target)}, target
        assert place_of(target) is None


@pytest.mark.parametrize(
    "target",
    [
        b"/%2561dmin",
        b"/admi%256e/x",
        b"/public/..%253b/admin",
        b"/public/..%253Bx=y/admin",
        b"/public/..%2500/admin",
        b"/public/..%2520/admin",
    ],
)
def test_what_only_a_second_decoding_makes_another_route_is_refused(target: bytes) -> None:
    """Attack: escape twice; a proxy before the backend decodes, and the backend again (THREATS 7)."""
    assert place_of(target) is None


EVERY = "".join(map(chr, range(128))) + "\u00e9"


@settings(max_examples=1500)
@given(targets(twice=EVERY))
@example(b"/%2561dmin")
def test_no_reading_of_an_accepted_path_is_another_route_even_if_all_of_it_is_escaped_twice(target: bytes) -> None:
    """Attack: any letter escaped twice, as a backend that decodes twice reads it (THREATS 7)."""
    place = place_of(target)
    if place is not None:
        assert {route_of(read) for read in readings(target)} <= {place}
