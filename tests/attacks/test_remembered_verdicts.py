"""What is remembered for speed is never a verdict: not for another request, and not after it was taken back."""

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.model import Subrequest
from forwardauth.core.reply import Reply
from forwardauth.service import Service
from forwardauth.stores.passwords import PasswordChecks
from forwardauth.telemetry.audit import AuditLog
from forwardauth.telemetry.metrics import Metrics
from tests.attacks.answers import Answer
from tests.attacks.gate import CHAT, DIALECTS, Asking, Gate, Header, Wire, own_headers, subrequest, token
from tests.building import basic, snapshot

CONFIGURATION = """
authenticators:
  ci:
    token:
      from: [{header: X-API-Token}, {cookie: key}]
      tokens:
        - {name: all, value: right-token}
        - {name: reader, value: reading-token, scopes: [{path: /v1/*, methods: [GET]}]}
        - {name: ending, value: ending-token, expires: 2027-01-31}
routes:
  - {name: health, path: /health, public: true}
  - {name: open, host: open.example.com, path: /v1/*, public: true}
  - {name: partner, path: /v1/shared, require: ci, origins: ["https://partner.example"]}
  - {name: rest, path: /v1/*, require: ci}
lockout: {max_failed_attempts: 0}
"""
WITHOUT = CONFIGURATION.replace("        - {name: all, value: right-token}\n", "")

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def statuses(wire: Wire, message: bytes, times: int = 3) -> set[int]:
    """The same message so often that every memory there is has it."""
    before = len(wire.answers)
    for _ in range(times):
        wire.send(message)
    return {answer.meant for answer in wire.answers[before:]}


@every_dialect
def test_a_key_that_was_taken_away_opens_nothing_more_on_an_open_connection(dialect: str) -> None:
    """Attack: go on with a removed key, on the connection and in the very bytes that were allowed (THREATS 23, 31)."""
    gate = Gate(CONFIGURATION)
    wire, message = gate.connect(), subrequest(dialect, CHAT, token())
    assert statuses(wire, message) == {200}
    gate.service.swap(snapshot(WITHOUT))
    assert statuses(wire, message) == {401}
    gate.service.swap(snapshot(CONFIGURATION))
    assert statuses(wire, message) == {200}


@every_dialect
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("value: right-token", "value: rotated-token"), 401),
        (("{name: all, value: right-token}", "{name: all, value: right-token, expires: 2020-01-01}"), 401),
        (("{name: all, value: right-token}", "{name: all, value: right-token, scopes: [{path: /v2}]}"), 403),
        (("{name: rest, path: /v1/*, require: ci}", "{name: rest, path: /v2/*, require: ci}"), 403),
        (("lockout:", "server: {trusted_peers: [10.0.0.0/8]}\nlockout:"), 403),
        (("lockout:", "server: {gateways: [GATEWAY]}\nlockout:"), 404),
    ],
    ids=[
        "rotated",
        "expired",
        "scope taken away",
        "route taken away",
        "gateway trusted no more",
        "dialect switched off",
    ],
)
def test_every_change_of_the_configuration_is_in_force_for_the_next_request(
    dialect: str, change: tuple[str, str], expected: int
) -> None:
    """Attack: as above, for everything else that a reload can take away (THREATS 23, 31)."""
    gate = Gate(CONFIGURATION)
    wire, message = gate.connect(), subrequest(dialect, CHAT, token())
    assert statuses(wire, message) == {200}
    old, new = change
    other = next(name for name in DIALECTS if name != dialect)
    assert old in CONFIGURATION
    gate.service.swap(snapshot(CONFIGURATION.replace(old, new.replace("GATEWAY", other))))
    assert statuses(wire, message) == {expected}


@every_dialect
def test_a_key_ends_at_its_moment_on_an_open_connection(dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack: keep a key alive by using it without a pause (THREATS 31)."""
    gate = Gate(CONFIGURATION)
    wire, message = gate.connect(), subrequest(dialect, CHAT, token("ending-token"))
    moment = 1_801_353_600.0
    for now, expected in ((moment - 0.001, 200), (moment, 401), (moment - 0.001, 200)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert statuses(wire, message) == {expected}


async def test_a_password_that_was_changed_opens_nothing_more() -> None:
    """Attack: the memory of right passwords holds for fifteen minutes (32701, 33496; THREATS 23, 31)."""
    text = """
authenticators: {{staff: {{basic: {{users: ["bob:{}"]}}}}}}
routes: [{{path: /*, require: staff}}]
"""
    # `password` and `changed`.
    old, new = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "{SHA}9Jwx9LdcG5SINiiStWYPAP+RE0M="
    passwords = PasswordChecks()
    service = Service(snapshot(text.format(old)), {"password": passwords.fetch}, AuditLog("off"), Metrics("test"))

    async def ask() -> int:
        own = [(name.encode(), value.encode()) for name, value in own_headers("traefik", CHAT).items()]
        name, value = basic("bob", "password")
        asked = Subrequest(b"GET", b"/verify/traefik", [*own, (name.encode(), value.encode())], "127.0.0.1")
        reply = service.answer(asked)
        return reply.status if isinstance(reply, Reply) else (await reply).status

    assert [await ask() for _ in range(2)] == [200, 200]
    service.swap(snapshot(text.format(new)))
    assert await ask() == 401
    service.swap(snapshot(text.format(old).replace("bob", "eve")))
    assert await ask() == 401
    passwords.close()


def test_the_bytes_of_a_trusted_neighbour_are_another_ones_words() -> None:
    """Attack: repeat from outside, byte by byte, what a gateway asked a hundred times (THREATS 1, 23)."""
    gate = Gate(CONFIGURATION)
    message = subrequest("traefik", CHAT, token())
    wires = {peer: gate.connect(peer) for peer in ("127.0.0.1", "8.8.8.8", None, "10.0.0.1", "2001:db8::1")}
    for _ in range(4):
        said = {peer: statuses(wire, message, 1) for peer, wire in wires.items()}
    assert said == {"127.0.0.1": {200}, "8.8.8.8": {403}, None: {200}, "10.0.0.1": {200}, "2001:db8::1": {403}}


# Every question that differs in one thing from another, asked in any order of a service that remembers.

HEADERS: list[list[Header]] = [
    [],
    [token()],
    [token("right-tokem")],
    [token("reading-token")],
    [("Cookie", "key=right-token")],
    [("Cookie", "key=right-token"), ("Origin", "https://evil.example")],
    [("Cookie", "key=right-token"), ("Origin", "https://partner.example")],
    [token(), ("X_Auth_User", "admin")],
    [token(), ("X-HTTP-Method-Override", "DELETE")],
    [token("reading-token"), ("X-HTTP-Method-Override", "DELETE")],
]
ASKING = [
    Asking(method, url, client)
    for method, url, client in itertools.product(
        ["GET", "POST"],
        [
            "https://api.example.com/v1/a",
            "https://api.example.com/v1/shared",
            "https://api.example.com/v2/a",
            "https://open.example.com/v1/a",
            "http://open.example.com:8080/v1/a",
            "https://api.example.com/health",
            "https://api.example.com/v1/../health",
        ],
        ["192.0.2.1", "192.0.2.1:80"],
    )
]
QUESTIONS = [subrequest(dialect, asking, *headers) for dialect in DIALECTS for asking in ASKING for headers in HEADERS]


class Fresh:
    """Answers each question by a service that has never seen another one."""

    def __init__(self) -> None:
        self._known: dict[int, Answer] = {}

    def answer(self, number: int) -> Answer:
        if number not in self._known:
            self._known[number] = Gate(CONFIGURATION).send(QUESTIONS[number])
        return self._known[number]


FRESH = Fresh()
USED = Gate(CONFIGURATION)


@given(st.lists(st.integers(0, len(QUESTIONS) - 1), min_size=2, max_size=25), st.booleans())
def test_no_answer_depends_on_what_was_asked_before(order: list[int], again: bool) -> None:
    """Attack: have a verdict remembered for another host, path, method, scope, client, origin or endpoint.

    (32701, 33496, 71326; THREATS 23)
    """
    wire = USED.connect()
    for number in [*order, *(order if again else [])]:
        wire.send(QUESTIONS[number])
        assert wire.answers[-1] == FRESH.answer(number), QUESTIONS[number]
    wire.connection.connection_lost(None)
