"""Somebody guesses: from many addresses, by many names, through every endpoint, or to lock others out."""

import time
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.client_ip import ClientReader
from tests.attacks.gate import CHAT, CONFIGURATION, DIALECTS, URL, Asking, Gate, Header, subrequest, token
from tests.building import SHA_OF_PASSWORD, Bench, basic, word

GUESS = token("guess")
OPEN = Asking(url="https://open.example.com/x")

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def seen_from(address: str) -> Asking:
    return Asking(client=address)


def block(gate: Gate, asking: Asking = CHAT, dialect: str = "traefik") -> None:
    """Guess until this client is locked out."""
    assert [gate.ask(dialect, asking, GUESS).meant for _ in range(6)] == [401] * 5 + [429]


@every_dialect
def test_an_invented_address_before_the_true_one_buys_no_guess(dialect: str) -> None:
    """Attack: send another X-Forwarded-For with every guess; the gateway appends the true address (PR#3478).

    In any spelling of it (THREATS 12, 13).
    """
    gate = Gate()
    forged = ["10.0.0.1, 192.0.2.1", "192.0.2.1", "::1,192.0.2.1", "unknown, x,, \t192.0.2.1", "::ffff:192.0.2.1"]
    assert [gate.ask(dialect, seen_from(value), GUESS).meant for value in forged] == [401] * 5
    for value in (*forged, "::ffff:c000:201", "127.0.0.1 , ::ffff:192.0.2.1"):
        assert gate.ask(dialect, seen_from(value), token()).meant == 429, value
    assert gate.ask(dialect, seen_from("192.0.2.1, 192.0.2.2"), token()).meant == 200


@st.composite
def spellings(draw: st.DrawFn) -> tuple[str, str]:
    """One address in two of its spellings."""
    address = draw(st.ip_addresses())
    plain = [str(address)]
    if isinstance(address, IPv6Address):
        plain += [address.exploded, address.compressed.upper(), address.exploded.upper()]
        plain += [str(address.ipv4_mapped)] if address.ipv4_mapped else []
    else:
        high, low = divmod(int(address), 1 << 16)
        plain += [f"::ffff:{address}", f"::FFFF:{high:x}:{low:x}", f"0:0:0:0:0:ffff:{high:04x}:{low:04X}"]
    around = st.sampled_from(["{}", " {}", "{}\t", "10.0.0.1,{}", "x, \t{} "])
    return draw(around).format(draw(st.sampled_from(plain))), draw(around).format(draw(st.sampled_from(plain)))


@given(spellings())
def test_every_spelling_of_an_address_is_one_client(pair: tuple[str, str]) -> None:
    """Attack: be somebody else for every guess, by writing one address in another way (THREATS 12, 13, 20)."""
    one, other = (ClientReader(1).read(value.encode()) for value in pair)
    assert one is not None
    assert other is not None
    assert (one.address, one.key, one.keys) == (other.address, other.key, other.keys)


def test_every_endpoint_counts_in_one_place() -> None:
    """Attack: change the endpoint, the route, the place of the key before either is full (#555, THREATS 19)."""
    gate = Gate(f"{CONFIGURATION}server: {{gateways: [{', '.join(DIALECTS)}]}}\n")
    said = [
        gate.ask(DIALECTS[number % len(DIALECTS)], Asking(url=f"{URL}/{number}"), GUESS).meant for number in range(7)
    ]
    assert said == [401] * 5 + [429, 429]


@every_dialect
def test_a_block_tells_nobody_which_key_is_right(dialect: str) -> None:
    """Attack: guess on during a block, and tell the right key by its answer (THREATS 22)."""
    gate = Gate()
    block(gate, dialect=dialect)
    answers = [gate.ask(dialect, CHAT, *headers) for headers in ([GUESS], [token()], [], [token("")])]
    assert {answer.meant for answer in answers} == {429}
    # How long the block still lasts is the clock's word alone.
    told = {tuple(header for header in answer.headers if "retry-after" not in header[0]) for answer in answers}
    assert len(told) == len({answer.body for answer in answers}) == 1
    assert gate.ask(dialect, OPEN).meant == 200, "a public path needs no credential"


@every_dialect
def test_a_key_that_was_right_before_passes_the_block_of_its_address(dialect: str) -> None:
    """Attack: lock an office out from behind its own address, one typo at a time (THREATS 22, 50)."""
    gate = Gate()
    assert gate.ask(dialect, CHAT, token()).meant == 200
    block(gate, dialect=dialect)
    assert gate.ask(dialect, CHAT, token()).meant == 200
    assert gate.ask(dialect, seen_from("192.0.2.77"), token()).meant == 200, "nor is anybody else out"


@every_dialect
def test_who_leaves_the_address_out_counts_against_nobody(dialect: str) -> None:
    """Attack: let all failures fall on the gateway's own address, which everybody shares (THREATS 21)."""
    gate = Gate()
    for _ in range(20):
        assert gate.send(subrequest(dialect, CHAT, GUESS, without="X-Forwarded-For")).meant == 400
        assert gate.ask(dialect, seen_from("127.0.0.1:4711"), GUESS).meant == 400
    assert gate.service.lockout.active(0) == {}
    assert gate.ask(dialect, seen_from("127.0.0.1"), token()).meant == 200


@every_dialect
def test_an_edge_that_many_share_is_never_blocked(dialect: str) -> None:
    """Attack: five bad keys through one edge of a CDN, and everybody behind it is out (THREATS 44, 50)."""
    gate = Gate(f"{CONFIGURATION}lockout: {{exempt: [198.51.100.0/24, '2001:db8::/32']}}\n")
    for edge in ("198.51.100.7", "::ffff:198.51.100.7", "2001:db8::7"):
        for _ in range(20):
            assert gate.ask(dialect, seen_from(edge), GUESS).meant == 401
        assert gate.ask(dialect, seen_from(edge), token()).meant == 200
    block(gate, seen_from("198.51.101.7"), dialect)


PASSWORDS = f"""
authenticators: {{staff: {{basic: {{users: ["bob:{SHA_OF_PASSWORD}"]}}}}}}
routes: [{{path: /*, require: staff}}]
lockout: {{exempt: [198.51.100.0/24]}}
"""
EDGE = "198.51.100.7"
CHAT_URL = "https://a.example/"


def guesses_at(bench: Bench, *users: str, client: str) -> list[str]:
    return [word(bench.ask("GET", CHAT_URL, basic(user, "guess"), client=client)) for user in users]


@pytest.mark.parametrize("other", ["BOB", " bob", "bob ", "Bob", "\tbob", "bob\n", "bOB "])
def test_a_name_has_one_counter_in_every_spelling(other: str) -> None:
    """Attack: split the counter of one user over spellings, at an address where names are counted (24806, 47203).

    A control character makes the pair unreadable: it can never be right, and counts for nobody (THREATS 18).
    """
    bench = Bench(PASSWORDS)
    said = guesses_at(bench, *["bob", other] * 5, client=EDGE)
    assert said[0] == "invalid_credential"
    if any(ord(character) < 0x20 for character in other):
        assert said[1::2] == ["invalid_credential"] * 5
        assert guesses_at(bench, "bob", client=EDGE) == ["locked_out"]
    else:
        assert said == ["invalid_credential"] * 5 + ["locked_out"] * 5


def test_a_name_that_only_looks_like_it_is_somebody_else_who_does_not_exist() -> None:
    """Attack: lock bob out by failing as somebody whom a backend takes for him (THREATS 18, 50)."""
    bench = Bench(PASSWORDS)
    others = ["bob@x", "bob%00", "b\u043eb", "\uff42ob", "bob\u200b", "bob."] * 3
    assert guesses_at(bench, *others, client=EDGE) == ["invalid_credential"] * len(others)
    assert word(bench.ask("GET", CHAT_URL, basic("bob", "password"), client=EDGE)) == "allow"


def test_ten_thousand_names_from_one_address_are_one_record() -> None:
    """Attack: fill the memory with names that nobody has (77561, 415; THREATS 20)."""
    bench = Bench(PASSWORDS.replace("198.51.100.0/24", "198.51.101.0/24"))
    for number in range(10_000):
        bench.ask("GET", CHAT_URL, basic(f"user{number}", "guess"))
    assert len(bench.service.lockout) == 1
    assert bench.hashes == 5, "none is hashed once the address is locked out"


def test_ten_thousand_addresses_lock_nobody_else_out() -> None:
    """Attack: fail as bob from everywhere, so that bob is out (77561, 415; THREATS 20, 50)."""
    bench = Bench(PASSWORDS)
    bench.ask("GET", CHAT_URL, basic("bob", "password"), client="203.0.113.9")
    for number in range(10_000):
        address = f"10.{number // 250 % 250}.{number % 250}.1"
        guesses_at(bench, "bob", client=address)
    assert len(bench.service.lockout) <= 10_000
    assert word(bench.ask("GET", CHAT_URL, basic("bob", "password"), client="203.0.113.9")) == "allow"
    assert word(bench.ask("GET", CHAT_URL, basic("bob", "password"), client="203.0.113.10")) == "allow"


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
@pytest.mark.parametrize("dialect", ["traefik", "nginx"])
def test_a_clock_that_jumps_neither_frees_nor_blocks(
    dialect: str, jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: move the clock of the machine by NTP (THREATS 51)."""
    gate = Gate()
    block(gate, dialect=dialect)
    assert [gate.ask(dialect, seen_from("192.0.2.9"), GUESS).meant for _ in range(4)] == [401] * 4
    now = time.time
    monkeypatch.setattr("time.time", lambda: now() + jump)
    assert gate.ask(dialect, CHAT, token()).meant == 429
    assert [gate.ask(dialect, seen_from("192.0.2.9"), GUESS).meant for _ in range(2)] == [401, 429]


@every_dialect
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [token("")],
        [("Authorization", "Basic")],
        [("Authorization", "Bearer ")],
        [("X-Auth-User", "admin")],
        [("X_Api_Token", "guess")],
        [token("guess"), token("guess")],
    ],
    ids=str,
)
def test_what_is_no_guess_locks_nobody_out(dialect: str, headers: list[Header]) -> None:
    """Attack: make a victim's browser send requests that fail, so that the victim is locked out (THREATS 50)."""
    gate = Gate()
    for _ in range(10):
        assert gate.ask(dialect, CHAT, *headers).meant in (400, 401)
        assert gate.ask(dialect, Asking(url="https://api.example.com/../x"), GUESS).meant == 400
    assert gate.ask(dialect, CHAT, token()).meant == 200
