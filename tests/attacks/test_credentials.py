"""Credentials in odd forms and odd places, and what a guesser may learn from the answer."""

import base64
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.credentials import BearerSource, CookieSource, basic_pair, without_cookies
from forwardauth.core.model import Need
from forwardauth.web.admin import admin_application
from tests.attacks.gate import CHAT, DIALECTS, PATIENT, Asking, Gate, Header, token
from tests.building import SHA_OF_PASSWORD, Bench, basic, fields, word

CONFIGURATION = """
authenticators:
  ci:
    token:
      from: [bearer, {header: X-API-Key}, {cookie: key}]
      tokens: [{name: ci, value: right-token}, {name: other, value: other-token}]
routes:
  - {name: rest, path: /*, require: ci}
lockout: {max_failed_attempts: 0}
"""
GATE = Gate(CONFIGURATION)

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def said(dialect: str, *headers: Header) -> str:
    return GATE.ask(dialect, CHAT, *headers).word


WRONG_AUTHORIZATIONS = [
    "Bearer right-token, Bearer other-token",
    "Bearer guess, Bearer right-token",
    "Bearer right-token,Basic eDp5",
    "Basic eDp5, Bearer right-token",
    "Bearer Bearer right-token",
    "Bearer bearer",
    "Bearer: right-token",
    "Bearer=right-token",
    "Bearer,right-token",
    "Bearer\tright-token",
    "Bearer\u00a0right-token",
    "Bearer right-token\u00a0",
    "Bearer right-token\u200b",
    'Bearer "right-token"',
    "Bearer 'right-token'",
    "Bearer right-token;",
    "Bearer right-token right-token",
    "Bearer right-token\tx",
    "Bearer RIGHT-TOKEN",
    "Bearer right\u2010token",
    "Bearer cmlnaHQtdG9rZW4=",
    "Bearer right-token%00",
    "Bearer right-toke",
    "Bearer right-token1",
    "right-token",
    "Token right-token",
    "Negotiate right-token",
    "Bearerright-token",
    "Bea\u0131er right-token",
    "\u212aBearer right-token",
]


@every_dialect
@pytest.mark.parametrize("value", WRONG_AUTHORIZATIONS, ids=ascii)
def test_only_one_scheme_and_one_token_are_a_bearer_token(dialect: str, value: str) -> None:
    """Attack: several schemes or tokens in one line, joined by a proxy, of which one is right (THREATS 3)."""
    assert said(dialect, ("Authorization", value)) in ("invalid_token", "missing_authorization")


@every_dialect
@pytest.mark.parametrize(
    "line",
    [
        "key=guess; key=right-token",
        "key=right-token; key=guess",
        "key=right-token; key=other-token",
        "key=right-token, key=right-token",
        "KEY=right-token",
        "xkey=right-token",
        "key.=right-token",
        "__Host-key=right-token",
        "$Version=1; $key=right-token",
        "key =right-token1",
        "key==right-token",
        "key=right-token%3B",
        "key=%72ight-token",
        'key="right-token',
        'key=""right-token""',
        "key='right-token'",
        "key=right-token\\",
        'a="b; key=guess"; c="; key=right-token"',
        "key",
        "=right-token",
        "right-token",
    ],
)
def test_a_cookie_is_one_value_under_its_exact_name(dialect: str, line: str) -> None:
    """Attack: toss a second cookie from a sibling domain, or quote it as only some backends do (THREATS 3)."""
    assert said(dialect, ("Cookie", line)) in ("invalid_token", "missing_authorization")


@every_dialect
def test_two_known_credentials_are_nobodys(dialect: str) -> None:
    """Attack: be one caller to us and another to the backend (THREATS 3)."""
    assert (
        said(dialect, ("Authorization", "Bearer right-token"), ("X-API-Key", "other-token")) == "ambiguous_credentials"
    )
    assert said(dialect, ("X-API-Key", "right-token"), ("Cookie", "key=other-token")) == "ambiguous_credentials"


@pytest.mark.parametrize(
    "pair",
    [
        b":",
        b"bob",
        b"bob:",
        b":password",
        b"bob\0:password",
        b"bob:password\0",
        b"bob:pass\nword",
        b"\xff:password",
        b"bob:password:",
        b"BOB:password",
        b" bob:password",
        b"bob :password",
        b"bob: password",
        b"bob:password ",
        b"bob%00:password",
        b"bob\xc2\xa0:password",
        b"\xef\xbb\xbfbob:password",
        "b\u043eb:password".encode(),
        b"bob:" + b"p" * 1025,
        b"b" * 257 + b":password",
        b"root:",
        b"bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
    ],
    ids=ascii,
)
def test_only_the_pair_itself_is_a_password(pair: bytes) -> None:
    """Attack: NUL, no colon, an empty name or password, another script, the hash itself (THREATS 18, 25)."""
    bench = Bench(f"""
authenticators: {{staff: {{basic: {{users: ["bob:{SHA_OF_PASSWORD}"]}}}}}}
routes: [{{path: /*, require: staff}}]
""")
    header = ("Authorization", "Basic " + base64.b64encode(pair).decode())
    assert word(bench.ask("GET", "https://a.example/", header)) == "invalid_credential"
    assert word(bench.ask("GET", "https://a.example/", basic("bob", "password"))) == "allow"


INJECTIONS = [
    "' OR 1=1--",
    "' OR '1'='1",
    '" OR ""="',
    "'; DROP TABLE keys;--",
    "*",
    "%",
    "_",
    "right-*",
    "right-t?ken",
    "right-[t]oken",
    "right-token' --",
    "^right-token$",
    "../../etc/passwd",
    "..%2f..%2fkeys",
    "/dev/null",
    "right-token%00",
    "%0d%0aSET%20x%201",
    "\\r\\nAUTH x",
    "$ne",
    '{"$ne": null}',
    "${jndi:ldap://x/y}",
    "{{7*7}}",
    "%(name)s",
    "{0.__class__}",
    "$(id)",
    "`id`",
    "\u202eright-token",
    '","decision":"allow',
    "\\u0022",
    "<script>alert(1)</script>",
    "ci",
    "sha256:",
    "null",
    "true",
    "[]",
    "x" * 30_000,
]


@pytest.mark.parametrize("value", INJECTIONS, ids=lambda value: ascii(value[:30]))
def test_a_key_that_means_something_elsewhere_is_a_wrong_key(value: str, tmp_path: Path) -> None:
    """Attack: SQL, globs, paths, templates, commands of Redis and of shells as a key (42208, THREATS 25).

    It is a 401 like any wrong key, one line of the audit, and in no line of metrics.
    """
    audit = tmp_path / "audit.log"
    gate = Gate(CONFIGURATION, str(audit))
    for dialect in DIALECTS:
        for header in (("X-API-Key", value), ("Authorization", f"Bearer {value}"), ("Cookie", f"key={value}")):
            answer = gate.ask(dialect, CHAT, header)
            assert (answer.meant, answer.word) == (401, "invalid_token")
    gate.audit.close()
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [(line["decision"], line["reason"]) for line in lines] == [("deny", "invalid_credential")] * len(lines)
    assert len(lines) == 3 * len(DIALECTS)
    if len(value) > 7:
        assert value[:100] not in gate.metrics.render().decode() + audit.read_text()


PLACES: dict[str, tuple[str, list[Header]]] = {
    "query api_key": ("?api_key=right-token", []),
    "query access_token": ("?access_token=right-token", []),
    "query by the header's name": ("?X-API-Token=right-token&x-api-token=right-token", []),
    "query token": ("?token=right-token&key=right-token", []),
    "path": ("/right-token", []),
    "Referer": ("", [("Referer", "https://api.example.com/?X-API-Token=right-token")]),
    "Referer, as userinfo": ("", [("Referer", "https://right-token@api.example.com/")]),
    "User-Agent": ("", [("User-Agent", "right-token")]),
    "From": ("", [("From", "right-token")]),
    "Proxy-Authorization": ("", [("Proxy-Authorization", "Bearer right-token")]),
    "X-Amz-Security-Token": ("", [("X-Amz-Security-Token", "right-token")]),
    "WebSocket protocol": ("", [("Sec-WebSocket-Protocol", "openai-insecure-api-key.right-token")]),
    "Authorization, where a header is configured": ("", [("Authorization", "Bearer right-token")]),
    "another header, where one is configured": ("", [("X-API-Key", "right-token")]),
    "a cookie, where none is configured": ("", [("Cookie", "X-API-Token=right-token; token=right-token")]),
}


@every_dialect
@pytest.mark.parametrize(("more", "headers"), PLACES.values(), ids=PLACES)
def test_a_key_counts_where_it_is_configured_and_nowhere_else(dialect: str, more: str, headers: list[Header]) -> None:
    """Attack: leave a key in an address, where histories, logs and Referer carry it on (THREATS 38)."""
    gate = Gate(PATIENT)
    answer = gate.ask(dialect, Asking(url=f"https://api.example.com/v1{more}"), *headers)
    assert answer.word == "missing_token_header"
    fragment = gate.ask(dialect, Asking(url="https://api.example.com/v1?x#access_token=right-token"))
    assert fragment.meant == 400


# What an answer tells by its time: the same steps for every wrong key.


def steps(run: Callable[[], Any]) -> int:
    """How many of our lines a call runs: what its time depends on, without its noise."""
    count = 0

    def tracing(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line" and "/forwardauth/" in frame.f_code.co_filename
        return tracing

    before = sys.gettrace()
    sys.settrace(tracing)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    "values",
    [("XXXXXXXXXXX", "rXXXXXXXXXX", "right-tokeX", "right-tokEn"), ("r", "right-token-and-more")],
    ids=["the same length", "other lengths"],
)
def test_a_key_with_a_right_beginning_takes_no_step_more(values: tuple[str, ...]) -> None:
    """Attack: find a key letter by letter, by the time of the answer (59425, 32595, 52307; THREATS 24).

    A key is looked up by its digest: nothing of it is compared before the whole of it is digested.
    """
    ci = GATE.service.snapshot.authenticators["ci"]
    bench = Bench(CONFIGURATION)
    counts = set()
    for value in values:
        view = bench.view("GET", "https://a.example/v1", [("X-API-Key", value)])
        client = bench.snapshot.clients.read(view.forwarded_for)
        assert client is not None
        counts.add(steps(lambda view=view, client=client: ci.judge(view, client, bench.facts, bench.clock.now())))
    assert len(counts) == 1


def test_an_unknown_user_takes_the_steps_of_a_known_one() -> None:
    """Attack: tell which names exist by the time of the answer (THREATS 24)."""
    users = '["bob:$2b$04$abcdefghijklmnopqrstuuOd6mMWSfbMVdKqHdEI0Xgbw3sUjaBYi"]'
    bench = Bench(f"authenticators: {{staff: {{basic: {{users: {users}}}}}}}\nroutes: [{{path: /*, require: staff}}]")
    staff = bench.snapshot.authenticators["staff"]
    counts, stored = set(), set()
    for user in ("bob", "eve", "BOB", "boa", "xyz"):
        view = bench.view("GET", "https://a.example/", [basic(user, "guess")])
        client = bench.snapshot.clients.read(view.forwarded_for)
        assert client is not None
        need = staff.judge(view, client, bench.facts, bench.clock.now())
        assert isinstance(need, Need)
        stored.add(need.args[0])
        counts.add(steps(lambda view=view, client=client: staff.judge(view, client, bench.facts, bench.clock.now())))
    assert len(counts) == 1
    assert len(stored) == 1, "the same hash is computed"


class Operations:
    """An admin listener's other side, which nobody here may reach."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was called")


@pytest.mark.parametrize("presented", ["", "x", "admin-secre", "admin-secret1", "Admin-secret", "\u00e9", "x" * 5000])
async def test_the_admin_token_is_compared_by_digest_in_constant_time(
    aiohttp_client: Any, monkeypatch: pytest.MonkeyPatch, presented: str
) -> None:
    """Attack: the admin token letter by letter (THREATS 24)."""
    compared: list[tuple[bytes, bytes]] = []
    monkeypatch.setattr("hmac.compare_digest", lambda one, other: compared.append((one, other)) or one == other)
    app: web.Application = admin_application(Operations(), "admin-secret", "127.0.0.1")  # type: ignore[arg-type]
    client = await aiohttp_client(app)
    answer = await client.get("/control/lockouts", headers={"Authorization": f"Bearer {presented}"})
    assert answer.status == 401
    assert {len(part) for pair in compared for part in pair} <= {32}
    assert compared


@given(st.binary(max_size=60), st.sampled_from(["X-API-Key", "Authorization", "Cookie"]))
def test_no_bytes_but_the_key_are_a_credential(value: bytes, name: str) -> None:
    """Attack: fuzz the place of the key; the answer is a refusal, and never a fault (THREATS 25)."""
    prefix = {"X-API-Key": "", "Authorization": "Bearer ", "Cookie": "key="}[name]
    answer = GATE.ask("traefik", CHAT, (name, prefix + value.decode("utf-8", "surrogateescape")))
    assert answer.status in (400, 401)


WORDS = [
    "Bearer",
    "bearer",
    "Basic",
    "right-token",
    "guess",
    " ",
    "  ",
    "\t",
    ",",
    ", ",
    ";",
    "=",
    ":",
    '"',
    "\u00a0",
    "",
]


@given(st.lists(st.sampled_from(WORDS), max_size=7).map("".join))
def test_a_bearer_token_is_read_from_one_form_alone(value: str) -> None:
    """Attack: any mixture of schemes, tokens and separators (THREATS 3)."""
    found = BearerSource().find(fields(("Authorization", value)))
    form = re.fullmatch(r"[ \t]*bearer +[ \t]*right-token[ \t]*", value, re.IGNORECASE)
    assert (found == b"right-token") is (form is not None)


COOKIES = ["key=good", "key=bad", "Key=good", "a=b", 'key="good"', "key", "key=", "=", " ", '"', "k", "x=key=good"]


@given(st.lists(st.sampled_from(COOKIES)).map(";".join))
def test_a_cookie_that_counts_is_the_one_that_everybody_reads(line: str) -> None:
    """Attack: two cookies, of which the first counts here and the last at the backend (THREATS 3)."""
    pairs = [part.partition("=") for part in line.split(";")]
    values = {value.strip(' "') for name, _, value in pairs if name.strip() == "key"} - {""}
    found = CookieSource(b"key").find(fields(("Cookie", line)))
    assert (found == b"good") is (values == {"good"})
    kept = [part.strip() for part in line.split(";") if part.strip() and part.partition("=")[0].strip() != "key"]
    assert without_cookies(line.encode(), frozenset({b"key"})).decode() == "; ".join(kept)


@given(st.binary(max_size=40), st.booleans())
def test_a_pair_is_read_as_it_was_written_or_not_at_all(raw: bytes, named: bool) -> None:
    """Attack: bytes that are no text, of which the hash sees others than the look-up of the user (THREATS 18, 25)."""
    written = b"bob:" + raw if named else raw
    pair = basic_pair(base64.b64encode(written))
    if pair is None:
        assert b":" not in written or re.search(rb"[\x00-\x1f\x7f\x80-\xff]", written)
    else:
        assert ":".join(pair).encode() == written
        assert ":" not in pair[0]


@every_dialect
@pytest.mark.parametrize("header", [token("right-token"), ("X-Whatever", "right-token")])
def test_a_denial_repeats_nothing_of_what_was_sent(dialect: str, header: Header) -> None:
    """Attack: have a key or a script reflected in the body or in a header of the answer (THREATS 25, 47)."""
    marked = [header, ("X-API-Key", "<b>mark</b>"), ("Cookie", "key=mark"), ("Origin", "https://mark.example")]
    answer = GATE.ask(dialect, Asking(url="https://mark.example.com/mark?mark"), *marked)
    assert answer.status in (401, 403)
    assert "mark" not in str(answer)
    assert "right-token" not in str(answer)
