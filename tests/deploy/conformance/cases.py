"""THE TABLE TO READ FIRST: what is sent, and what must follow, whichever gateway asks.

A line holds for every way; `but` names the ways whose clients get something else, what, and why. Nothing else may
differ. What holds for all lines (a denial reaches no backend, a credential neither) stands in case.py.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace

from tests.deploy.rig.client import HOST
from tests.deploy.rig.setups import PASSWORD, USER

from .case import IDENTITY_HEADERS, MARK, By, Caller, Case, Expect, Group, Request, Value, allowed, denied, own
from .situations import (
    ALICE,
    BOB,
    CLOSED_HOST,
    DOWN,
    ENCRYPTED,
    EXPIRED_TOKEN,
    HOURLY_TOKEN,
    JOSE,
    JOSES_PASSWORD,
    OFF,
    OPEN_HOST,
    OTHER_TOKEN,
    SCOPED_TOKEN,
    TOKEN,
)

TRAEFIK = ("traefik-file", "traefik-labels")
NGINX, CADDY, ENVOY, HAPROXY = "nginx", "caddy", "envoy", "haproxy"

# What is sent.

Header = tuple[str, str]


def get(target: str, *headers: Header, host: str | None = HOST) -> Request:
    return Request("GET", target, headers, host=host)


def post(target: str, *headers: Header, body: bytes = b"{}") -> Request:
    return Request("POST", target, headers, body)


def options(target: str, *headers: Header) -> Request:
    return Request("OPTIONS", target, headers)


def trace(target: str) -> Request:
    return Request("TRACE", target, (token(),))


def token(value: str = TOKEN) -> Header:
    return "X-API-Token", value


def bearer(value: str = ALICE, scheme: str = "Bearer") -> Header:
    return "Authorization", f"{scheme} {value}"


def api_key(value: str = ALICE) -> Header:
    return "X-API-Key", value


def cookie(value: str = ALICE) -> Header:
    return "Cookie", f"theme=dark; key={value}"


def basic(user: str = USER, password: str = PASSWORD) -> Header:
    return "Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def asks(method: str) -> Header:
    return "Access-Control-Request-Method", method


def filler(count: int) -> tuple[Header, ...]:
    return tuple((f"X-Filler-{number}", "1") for number in range(count))


MODELS = get("/v1/models", token())
UNKNOWN = get("/v1/models")
GUESS = get("/v1/models", token("guessed"))
GUESSED_PASSWORD = basic(password="guessed")
READER = token(SCOPED_TOKEN)
HOURLY = token(HOURLY_TOKEN)
THEIRS = bearer("sk-ant-oat01-of-a-subscription")
LONG_PASSWORD = ("Authorization", "Basic " + "x" * 30_000)
ORIGIN = ("Origin", "https://app.example.com")
OVERRIDE = ("X-HTTP-Method-Override", "POST")
CLAIMS = tuple((name, MARK) for name in IDENTITY_HEADERS)
EMPTY_CLAIMS = tuple((name, "") for name in IDENTITY_HEADERS)
HOP = ("Connection", "close, X-Auth-User, X-Auth-Key, X-Auth-Method, Authorization")
TO_H2C = (("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__"))
TO_RAW = (("Connection", "Upgrade"), ("Upgrade", "raw"))
VERDICT = (("X-Deny-Status", "302"), ("X-Deny-Location", "http://evil.example/"), ("X-Deny-Body", MARK))
BINARY = ("Content-Type", "application/octet-stream")
EXPECT = ("Expect", "100-continue")
BODY = hashlib.shake_128(b"body").digest(70_000)
LARGE = hashlib.shake_128(b"large").digest(3_000_000)
LONG = "x" * 32_000

# What follows.

API_KEY = 'ApiKey realm="forwardauth", header="X-API-Token"'
BASIC = 'Basic realm="forwardauth", charset="UTF-8"'
WRONG = 'Bearer error="invalid_token"'
EVERY_CHALLENGE = f"{API_KEY}, Bearer, {BASIC}"

MISSING_TOKEN = denied(401, "missing_token_header", API_KEY)
MISSING_BEARER = denied(401, "missing_authorization", "Bearer")
MISSING_PASSWORD = denied(401, "missing_authorization", BASIC)
WRONG_TOKEN = denied(401, "invalid_token", API_KEY)
WRONG_BEARER = denied(401, "invalid_token", WRONG)
WRONG_PASSWORD = denied(401, "invalid_credentials", BASIC)
AMBIGUOUS_CREDENTIALS = denied(400, "ambiguous_credentials")
AMBIGUOUS_PATH = denied(400, "ambiguous_path")
MALFORMED = denied(400, "malformed_subrequest")
LOOKALIKE = denied(400, "lookalike_header")
NO_ROUTE = denied(403, "no_route")
NO_SCOPE = denied(403, "insufficient_scope")
OUTSIDE = denied(403, "network_not_allowed")
CROSS_SITE = denied(403, "cross_site")
CLOSED = own(0, "closed")

NOBODY = Caller()
CI = Caller(key="ci", method="ci")
OTHER = Caller(key="other", method="ci")
READS = Caller(key="reader", method="ci")
KEY_OF_ALICE = Caller(key="alice", method="keys")
ADMIN = Caller(user=USER, method="staff")


CREDENTIALS = Group(
    "Credentials",
    Case("no credential", UNKNOWN, MISSING_TOKEN),
    Case("an empty header", get("/v1/models", token("")), MISSING_TOKEN),
    Case("a wrong token", GUESS, WRONG_TOKEN),
    Case("a good token", MODELS, allowed(CI)),
    Case("a good token, the header in lower case", get("/v1/models", ("x-api-token", TOKEN)), allowed(CI)),
    Case("an expired token", get("/v1/models", token(EXPIRED_TOKEN)), WRONG_TOKEN),
    Case("a good token as Bearer where a header is asked for", get("/v1/models", bearer(TOKEN)), MISSING_TOKEN),
    Case("no Bearer", get("/keys/x"), MISSING_BEARER),
    Case("Bearer without a value", get("/keys/x", ("Authorization", "Bearer")), MISSING_BEARER),
    Case("a wrong Bearer", get("/keys/x", bearer("guessed")), WRONG_BEARER),
    Case("a good Bearer", get("/keys/x", bearer()), allowed(KEY_OF_ALICE)),
    Case("a good Bearer, the scheme in lower case", get("/keys/x", bearer(scheme="bearer")), allowed(KEY_OF_ALICE)),
    Case("a wrong `X-API-Key`", get("/keys/x", api_key("guessed")), WRONG_BEARER),
    Case("a good `X-API-Key`", get("/keys/x", api_key()), allowed(KEY_OF_ALICE)),
    Case("a wrong cookie", get("/keys/x", cookie("guessed")), WRONG_BEARER),
    Case("a good cookie", get("/keys/x", cookie()), allowed(KEY_OF_ALICE)),
    Case("no password", get("/staff/x"), MISSING_PASSWORD),
    Case("a wrong password", get("/staff/x", GUESSED_PASSWORD), WRONG_PASSWORD),
    Case("an unknown user", get("/staff/x", basic("nobody")), WRONG_PASSWORD),
    Case("Basic that is no base64", get("/staff/x", ("Authorization", "Basic ???")), WRONG_PASSWORD),
    Case("a good password", get("/staff/x", basic()), allowed(ADMIN)),
    Case(
        "a user whose name is not ASCII",
        get("/staff/x", basic(JOSE, JOSES_PASSWORD)),
        allowed(Caller(user="jos%C3%A9", method="staff")),
    ),
    Case("an address that is allowed", get("/office/x"), allowed(Caller(method="office"))),
    Case("an address that is not", get("/elsewhere/x"), OUTSIDE),
)

COMBINATIONS = Group(
    "Any and all",
    Case("`any`: none", get("/any/x"), denied(401, "missing_token_header", EVERY_CHALLENGE)),
    Case("`any`: the first", get("/any/x", token()), allowed(CI)),
    Case("`any`: the second", get("/any/x", bearer()), allowed(KEY_OF_ALICE)),
    Case("`any`: the third", get("/any/x", basic()), allowed(ADMIN)),
    Case(
        "`any`: one that nobody knows",
        get("/any/x", bearer("guessed")),
        denied(401, "invalid_token", f"{API_KEY}, {WRONG}, {BASIC}"),
    ),
    Case(
        "`any`: a wrong password",
        get("/any/x", GUESSED_PASSWORD),
        denied(401, "invalid_credentials", EVERY_CHALLENGE),
    ),
    Case("`any`: two callers at once", get("/any/x", token(), bearer()), AMBIGUOUS_CREDENTIALS),
    Case("`all`: none", get("/all/x"), MISSING_PASSWORD),
    Case("`all`: a password alone", get("/all/x", basic()), MISSING_TOKEN),
    Case("`all`: a token alone", get("/all/x", token()), MISSING_PASSWORD),
    Case("`all`: a wrong password", get("/all/x", GUESSED_PASSWORD, token()), WRONG_PASSWORD),
    Case("`all`: a wrong token", get("/all/x", basic(), token("guessed")), WRONG_TOKEN),
    Case("`all`: both", get("/all/x", basic(), token()), allowed(Caller(user=USER, key="ci", method="staff+ci"))),
    Case("`any` in `all`: one is missing", get("/nested/x", token()), MISSING_PASSWORD),
    Case(
        "`any` in `all`: one of each",
        get("/nested/x", token(), basic()),
        allowed(Caller(user=USER, key="ci", method="ci+staff")),
    ),
)

JOINED = "Envoy joins lines of one name by a comma: the service sees one value, and does not know it."
UNIQUE = "nginx refuses a second `Authorization` itself."
TWO_BEARERS = get("/keys/x", bearer(), bearer(BOB))
SAME_BEARERS = get("/keys/x", bearer(), bearer())

AMBIGUITIES = Group(
    "Credentials that can be read in two ways",
    Case("two callers in two places", get("/keys/x", bearer(), api_key(BOB)), AMBIGUOUS_CREDENTIALS),
    Case("the same caller in two places", get("/keys/x", bearer(), api_key()), allowed(KEY_OF_ALICE)),
    Case("`Authorization` twice", TWO_BEARERS, AMBIGUOUS_CREDENTIALS)
    .but(UNIQUE, NGINX, expect=own(400))
    .but(JOINED, ENVOY, expect=WRONG_BEARER),
    Case("the same `Authorization` twice", SAME_BEARERS, AMBIGUOUS_CREDENTIALS)
    .but(UNIQUE, NGINX, expect=own(400))
    .but(JOINED, ENVOY, expect=WRONG_BEARER),
    Case("`X-API-Token` twice, the first good", get("/v1/x", token(), token("guessed")), AMBIGUOUS_CREDENTIALS).but(
        JOINED, ENVOY, expect=WRONG_TOKEN
    ),
    Case("`X-API-Token` twice, the last good", get("/v1/x", token("guessed"), token()), AMBIGUOUS_CREDENTIALS).but(
        JOINED, ENVOY, expect=WRONG_TOKEN
    ),
    Case("`X-API-Key` twice", get("/keys/x", api_key(), api_key(BOB)), AMBIGUOUS_CREDENTIALS).but(
        JOINED, ENVOY, expect=WRONG_BEARER
    ),
    Case("`Cookie` twice", get("/keys/x", cookie(), cookie(BOB)), AMBIGUOUS_CREDENTIALS).but(
        "Envoy joins cookies by `; `. Two values of one cookie are one that nobody knows.",
        ENVOY,
        expect=WRONG_BEARER,
    ),
    Case("one cookie with two values", get("/keys/x", ("Cookie", f"key={ALICE}; key={BOB}")), WRONG_BEARER),
)

SCOPES = Group(
    "Scopes",
    Case("within the scope", get("/v1/models", READER), allowed(READS)),
    Case("another method", post("/v1/models", READER), NO_SCOPE),
    Case("another path", get("/openai/x", READER), NO_SCOPE),
    Case("a method override", get("/v1/models", READER, OVERRIDE), MALFORMED),
)

SENTENCE = "Missing X-API-Token header. Please provide your API token."
OPENAI = f'{{"error": {{"message": "{SENTENCE}", "type": "authentication_error", "code": "missing_token_header"}}}}'
ANTHROPIC = f'{{"type": "error", "error": {{"type": "authentication_error", "message": "{SENTENCE}"}}}}'
DETAIL = '{"detail": "Invalid or missing API key. Please provide a valid X-API-Token header."}'
ACCEPTS_PAGES = ("Accept", "text/html,application/xhtml+xml")


def refused_in(kind: str, body: str | None, code: str = "") -> Expect:
    expect = denied(401, code, API_KEY, body, Content_Type=kind)
    return replace(expect, says=expect.text if code else f"401, {kind.partition(';')[0]}")


JSON, TEXT, PAGE = "application/json", "text/plain; charset=utf-8", "text/html; charset=utf-8"

FORMATS = Group(
    "Formats of denials",
    Case("`openai`", get("/openai/x"), refused_in(JSON, OPENAI, "missing_token_header")),
    Case("`anthropic`", get("/anthropic/x"), refused_in(JSON, ANTHROPIC)),
    Case("`detail`", get("/detail/x"), refused_in(JSON, DETAIL)),
    Case("`plain`", get("/plain/x"), refused_in(TEXT, SENTENCE)),
    Case("`browser`, for a program", get("/browser/x"), refused_in(TEXT, SENTENCE)),
    Case("`browser`, for a browser", get("/browser/x", ACCEPTS_PAGES), refused_in(PAGE, None)).but(
        "A denial travels to nginx in headers, and no page fits into one.", NGINX, expect=refused_in(TEXT, SENTENCE)
    ),
)

NO_PORT = "nginx names the host by `$host`, which has no port."
FINAL_DOT = "With the dot it is no host that the gateway serves."
NO_TRACE = "nginx refuses TRACE itself."
OTHER_STATUS = "The gateway says it with a status of its own."

ROUTES = Group(
    "Routes, methods and hosts",
    Case("a public path", get("/health"), allowed(NOBODY)),
    Case("a public path with a wrong token", get("/health", token("guessed")), allowed(NOBODY)),
    Case("a path that no route has", get("/nowhere", token()), NO_ROUTE),
    Case("a path without the slash of its pattern", get("/v1", token()), NO_ROUTE),
    Case("a path in capitals", get("/HEALTH"), NO_ROUTE),
    Case("a denied path that ends like a page", get("/v1/page.html"), MISSING_TOKEN),
    Case("where the service is asked", get("/verify/traefik", token()), NO_ROUTE),
    Case("where nginx asks itself", get("/_forwardauth", token()), NO_ROUTE).but(
        "In nginx the path exists, for its own questions alone.", NGINX, expect=own(404)
    ),
    Case("a method that the route has", get("/read/x", token()), allowed(CI)),
    Case("a method that it does not have", post("/read/x", token()), NO_ROUTE),
    Case("a method override where methods count", get("/read/x", token(), OVERRIDE), MALFORMED),
    Case("PUT", Request("PUT", "/v1/x", (token(),), b"new"), allowed(CI)),
    Case("DELETE", Request("DELETE", "/v1/x", (token(),)), allowed(CI)),
    Case("PROPFIND without a token", Request("PROPFIND", "/v1/models"), MISSING_TOKEN),
    Case("PROPFIND with a token", Request("PROPFIND", "/v1/models", (token(),)), allowed(CI)),
    Case("TRACE", trace("/v1/models"), NO_ROUTE).but(NO_TRACE, NGINX, expect=own(405)),
    Case("TRACE on a public path", trace("/health"), NO_ROUTE).but(NO_TRACE, NGINX, expect=own(405)),
    Case("TRACK", Request("TRACK", "/v1/models", (token(),)), NO_ROUTE).but(
        "Envoy has a list of methods, and refuses what is not on it.", ENVOY, expect=own(400)
    ),
    Case("a host's own public route", get("/anything", host=OPEN_HOST), allowed(NOBODY)),
    Case("a host's own closed route", get("/health", host=CLOSED_HOST), MISSING_TOKEN),
    Case("a host in capitals", get("/health", host=CLOSED_HOST.upper()), MISSING_TOKEN),
    Case("a host with a final dot", get("/health", host=f"{CLOSED_HOST}."), MISSING_TOKEN)
    .but(FINAL_DOT, CADDY, HAPROXY, expect=own(421))
    .but(FINAL_DOT, ENVOY, expect=own(404)),
    Case("a host with a port", get("/health", host=f"{CLOSED_HOST}:8080"), MISSING_TOKEN),
    Case("a route of one port", get("/port", host=f"{HOST}:8080"), allowed(NOBODY)).but(
        NO_PORT, NGINX, expect=NO_ROUTE
    ),
    Case("a route of another port", get("/port", host=f"{HOST}:8081"), NO_ROUTE),
    Case("a host that the gateway does not serve", get("/health", host="other.example.com"), own(421)).but(
        OTHER_STATUS, *TRAEFIK, ENVOY, expect=own(404)
    ),
    Case("no host", get("/health", host=None), own(400)).but(OTHER_STATUS, HAPROXY, expect=own(421)),
    Case("two hosts", get("/x", ("Host", OPEN_HOST), ("Host", CLOSED_HOST), host=None), own(400)).but(
        "Envoy joins them by a comma, and serves no host of that name.", ENVOY, expect=own(404)
    ),
    Case("a closed host in the target", get(f"http://{CLOSED_HOST}/x", host=OPEN_HOST), MISSING_TOKEN).but(
        "HAProxy refuses a target that names another host than `Host` does.", HAPROXY, expect=own(400)
    ),
    Case("a closed host before an @", get("/x", host=f"{CLOSED_HOST}:80@{OPEN_HOST}"), MALFORMED)
    .but(OTHER_STATUS, *TRAEFIK, CADDY, expect=own(400))
    .but("nginx serves the host before the colon, and tells the service so.", NGINX, expect=MISSING_TOKEN),
    Case("a closed host before a question mark", get("/x", host=f"{CLOSED_HOST}?"), MALFORMED)
    .but(OTHER_STATUS, *TRAEFIK, CADDY, ENVOY, expect=own(400))
    .but(OTHER_STATUS, NGINX, HAPROXY, expect=own(421)),
    Case("a closed host before a comma", get("/x", host=f"{CLOSED_HOST},{OPEN_HOST}"), MALFORMED)
    .but(OTHER_STATUS, *TRAEFIK, ENVOY, expect=own(404))
    .but(OTHER_STATUS, NGINX, CADDY, HAPROXY, expect=own(421)),
)

PREFLIGHTS = Group(
    "Preflights and foreign pages",
    Case("a true preflight", options("/cors/x", ORIGIN, asks("POST")), allowed(NOBODY)),
    Case(
        "a true preflight that claims to be somebody",
        options("/cors/x", ORIGIN, asks("POST"), *CLAIMS),
        allowed(NOBODY),
    ),
    Case("a preflight where the route allows none", options("/v1/models", ORIGIN, asks("POST")), MISSING_TOKEN),
    Case("OPTIONS without `Origin`", options("/cors/x", asks("POST")), NO_ROUTE),
    Case("OPTIONS that asks for no method", options("/cors/x", ORIGIN), NO_ROUTE),
    Case("a preflight for a method of no route", options("/cors/x", ORIGIN, asks("DELETE")), NO_ROUTE),
    Case("a preflight with a method override", options("/cors/x", ORIGIN, asks("POST"), OVERRIDE), NO_ROUTE),
    Case("GET with the headers of a preflight", get("/cors/x", ORIGIN, asks("POST")), MISSING_TOKEN),
    Case("a foreign page with a password", post("/staff/x", basic(), ORIGIN), CROSS_SITE),
    Case("a foreign page with a cookie", post("/keys/x", cookie(), ORIGIN), CROSS_SITE),
    Case("a foreign page, by its metadata", post("/staff/x", basic(), ("Sec-Fetch-Site", "cross-site")), CROSS_SITE),
    Case("a foreign page with a token", post("/v1/x", token(), ORIGIN), allowed(CI)),
    Case("a foreign page that only reads", get("/staff/x", basic(), ORIGIN), allowed(ADMIN)),
    Case("a page of the same site", post("/staff/x", basic(), ("Origin", f"http://{HOST}")), allowed(ADMIN)),
)


def path(target: str, expect: Expect, *headers: Header, where: str = "") -> Case:
    return Case(f"`{target}`{where}", get(target, *headers), expect)


REFUSED = "The gateway refuses it itself."
CLEANED = "The gateway cleans the path before it asks, and the backend gets the one that was judged."
ESCAPED = "The gateway asks with `%23` and `%C3%A9`, which can be read in one way, and here match no route."
HEALTH = allowed(NOBODY, target="/health")

PATHS = Group(
    "Paths",
    path("/health/../v1/models", AMBIGUOUS_PATH).but(CLEANED, *TRAEFIK, ENVOY, expect=MISSING_TOKEN),
    path("/v1/../health", AMBIGUOUS_PATH).but(CLEANED, *TRAEFIK, ENVOY, expect=HEALTH),
    path("/./health", AMBIGUOUS_PATH).but(CLEANED, *TRAEFIK, ENVOY, expect=HEALTH),
    path("/health/.", AMBIGUOUS_PATH)
    .but(CLEANED, *TRAEFIK, expect=HEALTH)
    .but("The gateway cleans it to `/health/`, which is another path.", ENVOY, expect=NO_ROUTE),
    path("/health/%2e%2e/v1/models", AMBIGUOUS_PATH).but(CLEANED, *TRAEFIK, ENVOY, expect=MISSING_TOKEN),
    path("/health/.%2e/v1/models", AMBIGUOUS_PATH).but(CLEANED, *TRAEFIK, ENVOY, expect=MISSING_TOKEN),
    path("/health/..%2fv1/models", AMBIGUOUS_PATH).but(REFUSED, *TRAEFIK, ENVOY, expect=own(400)),
    path("/health%2f..%2fv1/models", AMBIGUOUS_PATH).but(REFUSED, *TRAEFIK, ENVOY, expect=own(400)),
    path("/health%2Fx", AMBIGUOUS_PATH).but(REFUSED, *TRAEFIK, ENVOY, expect=own(400)),
    path("/health/..;/v1/models", AMBIGUOUS_PATH).but(CLEANED, ENVOY, expect=MISSING_TOKEN),
    path("/health;x", AMBIGUOUS_PATH),
    path("/health%3bx", AMBIGUOUS_PATH).but(REFUSED, *TRAEFIK, expect=own(400)),
    path("/health/..%5cv1", AMBIGUOUS_PATH).but(REFUSED, *TRAEFIK, ENVOY, expect=own(400)),
    path("/health\\..\\v1", AMBIGUOUS_PATH)
    .but(REFUSED, *TRAEFIK, expect=own(400))
    .but("The gateway cleans it to `/v1`, which no route has.", ENVOY, expect=NO_ROUTE),
    path("/health%00", AMBIGUOUS_PATH).but(REFUSED, *TRAEFIK, NGINX, ENVOY, expect=own(400)),
    path("/health%0a", AMBIGUOUS_PATH),
    path("/health%7f", AMBIGUOUS_PATH),
    path("/health%252e", AMBIGUOUS_PATH).but(REFUSED, *TRAEFIK, expect=own(400)),
    path("/health%252fx", AMBIGUOUS_PATH).but(REFUSED, *TRAEFIK, expect=own(400)),
    path("/health/%c0%af", AMBIGUOUS_PATH),
    path("/health/%ff", AMBIGUOUS_PATH),
    path("/health%", AMBIGUOUS_PATH).but(REFUSED, *TRAEFIK, NGINX, CADDY, expect=own(400)),
    path("/health%zz", AMBIGUOUS_PATH).but(REFUSED, *TRAEFIK, NGINX, CADDY, expect=own(400)),
    path("/health#x", AMBIGUOUS_PATH)
    .but(REFUSED, *TRAEFIK, ENVOY, HAPROXY, expect=own(400))
    .but(ESCAPED, CADDY, expect=NO_ROUTE),
    path("/health/\u00e9", AMBIGUOUS_PATH)
    .but(ESCAPED, *TRAEFIK, CADDY, expect=NO_ROUTE)
    .but(REFUSED, ENVOY, HAPROXY, expect=own(400)),
    path("/health?x=\u00e9", AMBIGUOUS_PATH).but(REFUSED, ENVOY, HAPROXY, expect=own(400)),
    path("/health?x#y", AMBIGUOUS_PATH).but(REFUSED, ENVOY, HAPROXY, expect=own(400)),
    path("*", AMBIGUOUS_PATH)
    .but(REFUSED, NGINX, ENVOY, expect=own(400))
    .but("HAProxy asks with an empty path.", HAPROXY, expect=MALFORMED),
    path("health", own(400)),
    path("//health", allowed(NOBODY)).but(CLEANED, *TRAEFIK, ENVOY, expect=HEALTH),
    path("/%68ealth", allowed(NOBODY)).but(CLEANED, *TRAEFIK, ENVOY, expect=HEALTH),
    path("//v1/%6Dodels", MISSING_TOKEN),
    path("/v1/a%20b", allowed(CI), token(), where=", with a token"),
    path("/v1/%C3%A9", allowed(CI), token(), where=", with a token"),
    path("/v1/a%3Fb", allowed(CI), token(), where=", with a token").but(REFUSED, *TRAEFIK, expect=own(400)),
    path("/v1/a%23b", allowed(CI), token(), where=", with a token").but(REFUSED, *TRAEFIK, expect=own(400)),
    path("/v1/a%2Fb", AMBIGUOUS_PATH, token(), where=", with a token").but(REFUSED, *TRAEFIK, ENVOY, expect=own(400)),
    path("/slashes/a%2Fb", allowed(CI), token(), where=", where the route allows it").but(
        "The gateway's file has to allow it as well; a comment there says how.", *TRAEFIK, ENVOY, expect=own(400)
    ),
    path("/slashes/a%2F..%2Fb", AMBIGUOUS_PATH, token(), where=", there too").but(
        REFUSED, *TRAEFIK, ENVOY, expect=own(400)
    ),
    path("/v1/x?path=/health", MISSING_TOKEN),
    path("/v1/x?q=%2e%2e%2f&empty&x=a%20b", allowed(CI), token(), where=", with a token"),
    path("/v1/x?a=1;b=2", allowed(CI), token(), where=", with a token").but(
        "Traefik writes `%3B`, which means the same.", *TRAEFIK, expect=allowed(CI, target="/v1/x?a=1%3Bb=2")
    ),
)

DROPPED = "The gateway drops the header before it asks; the backend does not get it either."


def imitation(name: str, *, drops: tuple[str, ...], refuses: tuple[str, ...]) -> Iterator[Case]:
    """A name that a WSGI or CGI backend may read as another one, beside a good token and on a public path."""
    for where, send, passes in (
        (" beside a token", get("/v1/models", token(), (name, MARK)), allowed(CI)),
        (" on a public path", get("/health", (name, MARK)), allowed(NOBODY)),
    ):
        yield (
            Case(f"`{name}`{where}", send, LOOKALIKE)
            .but(DROPPED, *drops, expect=passes)
            .but(REFUSED, *refuses, expect=own(400))
        )


LOOKALIKES = Group(
    "Look-alike headers",
    *imitation("X_Auth_User", drops=(NGINX, CADDY), refuses=(*TRAEFIK, ENVOY)),
    *imitation("X-Auth_User", drops=(NGINX, CADDY), refuses=(*TRAEFIK, ENVOY)),
    *imitation("X.Auth.User", drops=(NGINX, CADDY), refuses=TRAEFIK),
    *imitation("X~Auth~Groups", drops=(NGINX,), refuses=TRAEFIK),
    *imitation("X_API_Token", drops=(NGINX, CADDY), refuses=(*TRAEFIK, ENVOY)),
    *imitation("X.Api.Key", drops=(NGINX, CADDY), refuses=TRAEFIK),
    Case("`X~Auth~User` behind 60 headers", get("/v1/models", token(), *filler(60), ("X~Auth~User", MARK)), LOOKALIKE)
    .but(DROPPED, NGINX, expect=allowed(CI))
    .but(REFUSED, *TRAEFIK, expect=own(400)),
    *imitation("Authorization_", drops=(NGINX, CADDY), refuses=(*TRAEFIK, ENVOY)),
)


def forged(name: str, value: str) -> Case:
    """A header that some gateway sets for some service, written by a client without a credential."""
    return Case(f"`{name}: {value}`", get("/v1/models", (name, value)), MISSING_TOKEN)


TRUE_TRACES: dict[str, Value] = {
    "Host": HOST,
    "X-Forwarded-For": re.compile(r"127\.1\.\d+\.\d+"),
    "X-Forwarded-Host": HOST,
    "X-Forwarded-Proto": "http",
}
FALSE_TRACES = (("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-Host", MARK), ("X-Forwarded-Proto", "https"))

FORGERIES = Group(
    "Forged headers",
    Case("identity headers beside a token", get("/v1/models", token(), *CLAIMS), allowed(CI)),
    Case("identity headers on a public path", get("/health", *CLAIMS), allowed(NOBODY)),
    Case("identity headers twice", get("/v1/models", token(), *CLAIMS, *CLAIMS), allowed(CI)),
    Case("identity headers in lower case", get("/v1/models", token(), ("x-auth-user", MARK)), allowed(CI)),
    Case("empty identity headers", get("/v1/models", token(), *EMPTY_CLAIMS), allowed(CI)),
    forged("X-Forwarded-Uri", "/health"),
    forged("X-Forwarded-Method", "OPTIONS"),
    forged("X-Forwarded-Host", OPEN_HOST),
    forged("X-Forwarded-Proto", "https"),
    forged("X-Forwarded-Prefix", "/health"),
    forged("X-Original-URL", f"http://{HOST}/health"),
    forged("X-Original-URI", "/health"),
    forged("X-Original-Method", "OPTIONS"),
    forged("X-Envoy-Original-Path", "/health"),
    forged("X-Rewrite-URL", "/health"),
    forged("Forwarded", f"host={OPEN_HOST}"),
    forged("X-Deny-Status", "200"),
    forged("User-Agent", "kube-probe/1.30"),
    Case("a verdict of the client's own", get("/v1/models", *VERDICT), MISSING_TOKEN),
    Case(
        "a verdict of the backend's own",
        get("/v1/refuses", token()),
        allowed(
            CI,
            status=403,
            body=b"the backend says no",
            headers={"WWW-Authenticate": "Own", **dict.fromkeys(("X-Deny-Body", "X-Auth-User"), "planted")}
            | {"X-Deny-Status": "503"},
            says="403 of the backend",
        ),
    ),
    Case("an allowed address in `X-Forwarded-For`", get("/elsewhere/x", ("X-Forwarded-For", "10.0.0.1")), OUTSIDE),
    Case("an allowed address in `X-Real-IP`", get("/elsewhere/x", ("X-Real-IP", "10.0.0.1")), OUTSIDE),
    Case("an allowed address in `Forwarded`", get("/elsewhere/x", ("Forwarded", "for=10.0.0.1")), OUTSIDE),
    Case("an allowed address, with `Forwarded`", get("/office/x", ("Forwarded", "for=10.0.0.1")), OUTSIDE),
    Case("an allowed address, behind a CDN", get("/office/x", ("CF-Connecting-IP", "10.0.0.1")), OUTSIDE),
    Case("the backend reads the true address, host and scheme", MODELS, allowed(CI, backend=TRUE_TRACES)),
    Case("and no others", get("/v1/models", token(), *FALSE_TRACES), allowed(CI, backend=TRUE_TRACES)),
)

EMPTY = {name: [""] for name in ("X-Auth-User", "X-Auth-Email", "X-Auth-Groups", "X-Auth-Tenant")}
ABSENT = "The gateway sends no empty header."
LISTED = "What a client lists in `Connection` ends at the gateway (RFC 9110 7.6.1), here before it asks."

BACKEND = Group(
    "What the backend gets",
    Case("identity headers that are empty", MODELS, allowed(CI, backend=EMPTY, says="empty")).but(
        ABSENT, NGINX, CADDY, HAPROXY, expect=allowed(CI, backend={name: [] for name in EMPTY}, says="absent")
    ),
    Case(
        "identity headers that are empty, on a public path",
        get("/health"),
        allowed(NOBODY, backend=EMPTY, says="empty"),
    ).but(ABSENT, NGINX, CADDY, HAPROXY, expect=allowed(NOBODY, backend={name: [] for name in EMPTY}, says="absent")),
    Case("a credential ends at the gateway", get("/keys/x", bearer()), allowed(KEY_OF_ALICE)),
    Case("on a public path, too", get("/health", token(), basic(), api_key()), allowed(NOBODY)),
    Case("somebody else's credential, too", get("/v1/models", token(), THEIRS), allowed(CI)),
    Case(
        "other cookies pass",
        get("/v1/models", token(), ("Cookie", "theme=dark")),
        allowed(CI, backend={"Cookie": "theme=dark"}),
    ),
    Case(
        "a credential in a cookie passes as well",
        get("/keys/x", cookie()),
        allowed(KEY_OF_ALICE, backend={"Cookie": cookie()[1]}),
    ),
    Case(
        "`pass_credentials: foreign`, a provider's key",
        get("/foreign/x", token(), THEIRS),
        allowed(CI, backend={"Authorization": THEIRS[1]}),
    ),
    Case("`pass_credentials: foreign`, one of ours", get("/foreign/x", bearer()), allowed(KEY_OF_ALICE)),
    Case(
        "`pass_credentials: true`, a token",
        get("/passed/x", token()),
        allowed(CI, backend={"X-API-Token": TOKEN}),
    ),
    Case(
        "`pass_credentials: true`, Bearer",
        get("/passed/x", bearer()),
        allowed(KEY_OF_ALICE, backend={"Authorization": bearer()[1]}),
    ),
    Case(
        "`pass_credentials: true`, `X-API-Key`",
        get("/passed/x", api_key()),
        allowed(KEY_OF_ALICE, backend={"X-API-Key": ALICE}),
    ),
    Case(
        "`pass_credentials: true`, 30 kB",
        get("/passed/x", token(), LONG_PASSWORD),
        allowed(CI, backend={"X-API-Token": TOKEN, "Authorization": LONG_PASSWORD[1]}),
    ),
    Case("identity headers that `Connection` lists", get("/v1/models", token(), HOP), allowed(CI)),
    Case("a credential that `Connection` lists", get("/keys/x", bearer(), HOP), allowed(KEY_OF_ALICE)).but(
        LISTED, *TRAEFIK, ENVOY, expect=MISSING_BEARER
    ),
)

TOO_MANY = "Too many failed attempts from this address. Wait before you try again."
LOCKED_OUT = denied(
    429,
    "locked_out",
    body=json.dumps({"error": {"message": TOO_MANY, "type": "rate_limit_error", "code": "locked_out"}}),
    Retry_After=re.compile("30|2[0-9]"),
    retry_after_ms=re.compile(r"30000|2\d{4}"),
    x_should_retry="false",
)


def limited(scope: str) -> Expect:
    """Beyond a rate of one an hour, moments after it was used up."""
    return denied(
        429,
        "rate_limit_exceeded",
        Retry_After=re.compile(r"3600|35\d\d"),
        retry_after_ms=re.compile(r"3600000|35\d{5}"),
        RateLimit=re.compile(rf'"{scope}";r=0;t=(3600|35\d\d)'),
        RateLimit_Policy=f'"{scope}";q=1;w=3600',
    )


LIMITS = Group(
    "Lockout and rates",
    Case("the fifth guess", GUESS, WRONG_TOKEN, before=(GUESS,) * 4),
    Case("the sixth guess", GUESS, LOCKED_OUT, before=(GUESS,) * 5),
    Case("a good token that never came from here", MODELS, LOCKED_OUT, before=(GUESS,) * 5),
    Case("a good token that did", MODELS, allowed(CI), before=(MODELS, *(GUESS,) * 5)),
    Case("POST when locked out", post("/v1/x", token()), LOCKED_OUT, before=(GUESS,) * 5),
    Case("a public path when locked out", get("/health"), allowed(NOBODY), before=(GUESS,) * 5),
    Case("five requests without a credential", MODELS, allowed(CI), before=(UNKNOWN,) * 5),
    Case("a route's rate", get("/hourly/x", token()), limited("route"), before=(get("/hourly/x", token()),)),
    Case("another caller on that route", get("/hourly/x", token(OTHER_TOKEN)), allowed(OTHER)),
    Case("a credential's rate", get("/v1/x", HOURLY), limited("credential"), before=(get("/v1/x", HOURLY),)),
    Case("a client's rate on a public route", get("/once/x"), limited("client"), before=(get("/once/x"),)),
    Case("another client on that route", get("/once/x"), allowed(NOBODY)),
)


def down(name: str, send: Request) -> Case:
    """The service does not listen."""
    return (
        Case(f"the service is down: {name}", send, own(503), situation=DOWN)
        .but(OTHER_STATUS, *TRAEFIK, NGINX, expect=own(500))
        .but(OTHER_STATUS, CADDY, expect=own(502))
    )


OUTAGES = Group(
    "Outages",
    Case("more passwords than can wait", get("/slow/x"), denied(503, "busy", Retry_After="1"), by=By.CROWD).but(
        "Envoy takes a 5xx of the service for no answer, and writes its own.", ENVOY, expect=own(503)
    ),
    down("no credential", UNKNOWN),
    down("a good token", MODELS),
    down("POST", post("/v1/x", token())),
    down("a public path", get("/health")),
)


def disabled(name: str, send: Request, expect: Expect) -> Case:
    """`require_auth: false`."""
    return Case(f"disabled: {name}", send, expect, situation=OFF)


DISABLED = Group(
    "Disabled authentication",
    disabled("no credential", UNKNOWN, allowed(NOBODY)),
    disabled("a token ends at the gateway", GUESS, allowed(NOBODY)),
    disabled("identity headers", get("/v1/models", *CLAIMS), allowed(NOBODY)),
    disabled("a path that no route has", get("/nowhere"), NO_ROUTE),
    disabled("a path in two ways", get("/health;x"), AMBIGUOUS_PATH),
    disabled("TRACE", trace("/v1/models"), NO_ROUTE).but(NO_TRACE, NGINX, expect=own(405)),
)

PASSES_ON = "Traefik hands every upgrade on but `h2c`. It comes to something only with a backend that agrees."
NO_H2C = "The shipped file speaks HTTP/1.1 alone."
NO_TLS = "The shipped file has no TLS."
WITHOUT_TLS = ("traefik-labels", NGINX, ENVOY)

TRAFFIC = Group(
    "Bodies, streams and upgrades",
    Case("HEAD, allowed", Request("HEAD", "/v1/models", (token(),)), allowed(CI, body=b"")),
    Case("HEAD, denied", Request("HEAD", "/v1/models"), denied(401, "", API_KEY, "")),
    Case("a body", post("/v1/x", token(), BINARY, body=BODY), allowed(CI, body=BODY)),
    Case("a body in chunks", Request("POST", "/v1/x", (token(), BINARY), BODY, chunked=True), allowed(CI, body=BODY)),
    Case("an upload of 3 MB", post("/v1/x", token(), BINARY, body=LARGE), allowed(CI, body=LARGE)),
    Case("an upload of 300 kB, denied", post("/v1/x", BINARY, body=LARGE[:300_000]), MISSING_TOKEN),
    Case(
        "`Expect: 100-continue`, allowed",
        post("/v1/x", token(), BINARY, EXPECT, body=BODY),
        allowed(CI, body=BODY, early="100"),
        by=By.EXPECT,
    ),
    Case("`Expect: 100-continue`, denied", post("/v1/x", BINARY, EXPECT, body=BODY), MISSING_TOKEN, by=By.EXPECT)
    .but(
        "The gateway asks for the body all the same.",
        NGINX,
        ENVOY,
        expect=replace(MISSING_TOKEN, early="100", says=f"100, then {MISSING_TOKEN.text}"),
    )
    .but(
        "The gateway waits for the body without asking for it.",
        CADDY,
        expect=replace(MISSING_TOKEN, early="silence", says=f"silence, then {MISSING_TOKEN.text}"),
    ),
    Case(
        "an event arrives when it is sent",
        get("/v1/stream", token(), ("Accept-Encoding", "gzip")),
        allowed(CI, body=b"data: first\n\ndata: second\n\n", early="first"),
        by=By.STREAM,
    ),
    Case(
        "a WebSocket",
        get("/v1/ws", token()),
        allowed(CI, status=101, body=b"echo hello", backend={"Upgrade": "websocket"}),
        by=By.WEBSOCKET,
    ),
    Case("a WebSocket without a token", get("/v1/ws"), MISSING_TOKEN, by=By.WEBSOCKET),
    Case("a foreign page's WebSocket with a cookie", get("/keys/ws", cookie(), ORIGIN), CROSS_SITE, by=By.WEBSOCKET),
    Case("an upgrade to `h2c`", get("/health", *TO_H2C), allowed(NOBODY, backend={"Upgrade": ""})),
    Case("an upgrade to something else", get("/health", *TO_RAW), allowed(NOBODY, backend={"Upgrade": ""}))
    .but(PASSES_ON, *TRAEFIK, expect=allowed(NOBODY, backend={"Upgrade": "raw"}, says="handed on"))
    .but("Envoy refuses an upgrade that its file does not list.", ENVOY, expect=own(403)),
    Case("allowed after a denial on one connection", MODELS, allowed(CI), before=(UNKNOWN,)),
    Case("denied after an allowed one on one connection", UNKNOWN, MISSING_TOKEN, before=(MODELS,)),
    Case("denied after a body on one connection", UNKNOWN, MISSING_TOKEN, before=(post("/v1/x", token(), body=BODY),)),
    Case(
        "a cookie of 32 kB",
        get("/v1/models", token(), ("Cookie", f"x={LONG}")),
        allowed(CI, backend={"Cookie": f"x={LONG}"}),
    ),
    Case("a good token behind 60 headers", get("/v1/models", *filler(60), token()), allowed(CI)),
    Case("a wrong token behind 150 headers", get("/v1/models", *filler(150), token("guessed")), WRONG_TOKEN)
    .but("The gateway takes a hundred headers.", ENVOY, expect=own(431))
    .but("The gateway takes a hundred headers.", HAPROXY, expect=own(400)),
    Case("a wrong token of 32 kB", get("/v1/models", token(LONG)), WRONG_TOKEN),
    Case("a query of 32 kB", get(f"/v1/models?q={LONG}", token()), allowed(CI)),
)

CRUMBS = get("/keys/x", ("Cookie", "theme=dark"), ("Cookie", f"key={ALICE}"))


def over_http2(name: str, send: Request, expect: Expect) -> Case:
    """Without TLS, by prior knowledge (RFC 9113 3.3)."""
    return Case(f"HTTP/2: {name}", send, expect, by=By.H2C).but(NO_H2C, NGINX, expect=CLOSED)


def over_tls(name: str, send: Request, expect: Expect) -> Case:
    """HTTP/2 again, as ALPN (RFC 7301) chooses it."""
    return Case(f"HTTP/2 over TLS: {name}", send, expect, by=By.H2, situation=ENCRYPTED).but(
        NO_TLS, *WITHOUT_TLS, expect=CLOSED
    )


HTTP2 = Group(
    "HTTP/2",
    over_http2("denied", UNKNOWN, MISSING_TOKEN),
    over_http2("allowed", MODELS, allowed(CI)),
    over_http2("identity headers", get("/v1/models", token(), *CLAIMS), allowed(CI)),
    over_http2("a body", post("/v1/x", token(), BINARY, body=BODY), allowed(CI, body=BODY)),
    over_http2("a cookie in crumbs", CRUMBS, allowed(KEY_OF_ALICE, backend={"Cookie": cookie()[1]})),
    over_tls("denied", UNKNOWN, MISSING_TOKEN),
    over_tls("allowed", MODELS, allowed(CI, backend={"X-Forwarded-Proto": "https"})),
    over_tls("an encoded slash", get("/health%2fx"), AMBIGUOUS_PATH).but(REFUSED, "traefik-file", expect=own(400)),
    over_tls("a body", post("/v1/x", token(), BINARY, body=BODY), allowed(CI, body=BODY)),
    over_tls("a cookie in crumbs", CRUMBS, allowed(KEY_OF_ALICE, backend={"Cookie": cookie()[1]})),
)

UNFOLDS = "The gateway makes one line of the two (RFC 9112 5.2) before it asks."
CHUNKS_WIN = "The chunks count, and the gateway drops the length (RFC 9112 6.3)."
TWO_LENGTHS = (("Content-Length", "0"), ("Content-Length", "4"))
LENGTH = ("Content-Length", "4")

FRAMING = Group(
    "What is no HTTP",
    Case("a space before a colon", get("/v1/models", ("X-API-Token ", TOKEN)), own(400)),
    Case("a header in two lines", get("/v1/models", ("X-API-Token", f"\r\n {TOKEN}")), own(400)).but(
        UNFOLDS, *TRAEFIK, CADDY, ENVOY, HAPROXY, expect=allowed(CI)
    ),
    Case("NUL in a header", get("/v1/models", token(f"{TOKEN}\0")), own(400)),
    Case("two lengths", Request("POST", "/v1/x", (token(), *TWO_LENGTHS), b"body"), own(400)),
    Case("a length and chunks", Request("POST", "/v1/x", (token(), LENGTH), b"body", chunked=True), own(400)).but(
        CHUNKS_WIN, *TRAEFIK, CADDY, HAPROXY, expect=allowed(CI, body=b"body")
    ),
    Case(
        "an unknown transfer coding",
        Request("POST", "/v1/x", (token(), ("Transfer-Encoding", "xchunked")), b"0\r\n\r\n"),
        own(501),
    ).but(OTHER_STATUS, HAPROXY, expect=own(400)),
    Case("a method with a tab", Request("G\tT", "/v1/models", (token(),)), own(400)),
)

GROUPS = (
    CREDENTIALS,
    COMBINATIONS,
    AMBIGUITIES,
    SCOPES,
    FORMATS,
    ROUTES,
    PREFLIGHTS,
    PATHS,
    LOOKALIKES,
    FORGERIES,
    BACKEND,
    LIMITS,
    OUTAGES,
    DISABLED,
    TRAFFIC,
    HTTP2,
    FRAMING,
)
"""The table, in the order of the page."""

CASES = tuple(case for group in GROUPS for case in group.cases)

MADE_UNAMBIGUOUS = frozenset({CLEANED, DROPPED, UNFOLDS, CHUNKS_WIN})
"""The only reasons for which a request may pass that other ways refuse."""
