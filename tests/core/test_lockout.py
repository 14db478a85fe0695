"""Brute force: what counts, what blocks and for how long, in a table that a stranger cannot overflow."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.authn.basic import PASSWORD
from forwardauth.core.client_ip import lockout_keys
from forwardauth.core.decide import SETTLED, decide
from forwardauth.core.lockout import Keys, Known, Lockout, LockoutSettings
from forwardauth.core.model import Need
from tests.building import NEIGHBOUR, Bench, basic, bearer, client, failures, word

ME: Keys = ((b"me", 1),)
OTHER: Keys = ((b"other", 1),)


def fail(table: Lockout, times: int, now: float, keys: Keys = ME) -> None:
    for _ in range(times):
        table.fail(keys, now)


def blocked(table: Lockout, now: float, keys: Keys = ME) -> float:
    """The seconds that a block still lasts, without the dust of floating point."""
    return round(table.blocked_for(keys, now), 6)


# The table.


def test_the_fifth_failure_blocks_for_thirty_seconds() -> None:
    table = Lockout(LockoutSettings())
    fail(table, 4, 0.0)
    assert blocked(table, 0.0) == 0
    fail(table, 1, 10.0)
    assert blocked(table, 10.0) == 30
    assert blocked(table, 39.0) == 1
    assert blocked(table, 40.0) == 0
    assert blocked(table, 10.0, OTHER) == 0


def blocks(table: Lockout, count: int) -> list[float]:
    """Fill the limit, then fail once whenever a block has ended: how long each block is."""
    fail(table, 4, 0.0)
    now, found = 0.0, []
    for _ in range(count):
        fail(table, 1, now)
        found.append(table.blocked_for(ME, now))
        now += found[-1]
    return found


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param(LockoutSettings(), [30, 60, 120, 240, 480, 960], id="doubling"),
        pytest.param(
            LockoutSettings(ttl_seconds=9999), [30, 60, 120, 240, 480, 960, 1920, 3600, 3600], id="to an hour"
        ),
        pytest.param(LockoutSettings(block_multiplier=1), [30, 30, 30], id="no growth"),
        pytest.param(LockoutSettings(block_multiplier=10, max_block_seconds=400), [30, 300, 400, 400], id="a ceiling"),
        pytest.param(LockoutSettings(initial_block_seconds=5, block_multiplier=1.5), [5, 7.5, 11.25], id="fractions"),
    ],
)
def test_each_further_failure_after_a_block_multiplies_it(settings: LockoutSettings, expected: list[float]) -> None:
    assert blocks(Lockout(settings), len(expected)) == pytest.approx(expected)


def test_a_thousand_failures_overflow_nothing() -> None:
    table = Lockout(LockoutSettings(ttl_seconds=31_536_000, block_multiplier=100))
    now = 0.0
    for _ in range(1100):
        fail(table, 1, now)
        now += table.blocked_for(ME, now)
    fail(table, 1, now)
    assert blocked(table, now) == 3600


def test_a_failure_during_a_block_does_not_lengthen_it() -> None:
    """Attack: keep somebody out for good by guessing on, with checks that were in flight when the block began."""
    table = Lockout(LockoutSettings())
    fail(table, 5, 0.0)
    fail(table, 50, 20.0)
    assert blocked(table, 20.0) == 10
    fail(table, 1, 30.0)
    assert blocked(table, 30.0) == 60


def test_each_failure_renews_the_record() -> None:
    table = Lockout(LockoutSettings())
    for attempt in range(4):
        fail(table, 1, attempt * 800.0)
    fail(table, 1, 4 * 800.0)
    assert blocked(table, 4 * 800.0) == 30


def test_a_record_ends_its_time_after_the_last_failure() -> None:
    table = Lockout(LockoutSettings())
    fail(table, 4, 0.0)
    fail(table, 4, 900.0)
    assert blocked(table, 900.0) == 0
    fail(table, 1, 901.0)
    assert blocked(table, 901.0) == 30


def test_a_record_outlives_its_time_while_its_block_lasts() -> None:
    table = Lockout(LockoutSettings(ttl_seconds=60, initial_block_seconds=600))
    fail(table, 5, 0.0)
    assert blocked(table, 599.0) == 1
    fail(table, 1, 600.0)
    assert blocked(table, 600.0) == 0


def test_the_wide_key_has_its_multiple_of_the_limit() -> None:
    table = Lockout(LockoutSettings())
    for attempt in range(100):
        assert blocked(table, 0.0, ((b"site", 20),)) == 0
        table.fail(((b"%d" % attempt, 1), (b"site", 20)), 0.0)
    assert blocked(table, 0.0, ((b"never seen", 1), (b"site", 20))) == 30


def test_the_longest_block_of_all_keys_is_told() -> None:
    table = Lockout(LockoutSettings())
    fail(table, 5, 0.0)
    fail(table, 5, 10.0, OTHER)
    assert blocked(table, 10.0, ME + OTHER) == 30


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(LockoutSettings(enabled=False), id="enabled is false"),
        pytest.param(LockoutSettings(max_failed_attempts=0), id="no failure is too many"),
    ],
)
def test_off_means_that_nothing_counts_and_nobody_waits(settings: LockoutSettings) -> None:
    table = Lockout(settings)
    fail(table, 1000, 0.0)
    assert (len(table), blocked(table, 0.0)) == (0, 0)
    for _ in range(10):
        table.reserve(ME)
    assert not table.must_wait(ME, 0.0)


def test_settings_may_change_while_counts_and_blocks_stay() -> None:
    table = Lockout(LockoutSettings())
    fail(table, 2, 0.0)
    fail(table, 5, 0.0, OTHER)
    table.settings = LockoutSettings(max_failed_attempts=3)
    assert blocked(table, 0.0, OTHER) == 30
    fail(table, 1, 0.0)
    assert blocked(table, 0.0) == 30


# Attempts in flight.


def test_parallel_guesses_do_not_slip_through() -> None:
    """Attack: send a hundred guesses at once, before the first has failed (THREATS 19)."""
    table = Lockout(LockoutSettings())
    fail(table, 2, 0.0)
    table.reserve(ME)
    table.reserve(ME)
    assert not table.must_wait(ME, 0.0)
    table.reserve(ME)
    assert table.must_wait(ME, 0.0)
    assert not table.must_wait(OTHER, 0.0)


def test_a_reservation_is_no_failure_and_ends_when_it_is_settled() -> None:
    table = Lockout(LockoutSettings())
    for _ in range(9):
        table.reserve(ME)
    assert table.must_wait(ME, 0.0)
    assert blocked(table, 0.0) == 0
    for _ in range(9):
        table.settle(ME)
    assert not table.must_wait(ME, 0.0)
    fail(table, 4, 0.0)
    assert blocked(table, 0.0) == 0


def test_reservations_count_by_the_wide_key_too() -> None:
    table = Lockout(LockoutSettings())
    for network in range(100):
        table.reserve(((b"%d" % network, 1), (b"site", 20)))
    assert table.must_wait(((b"another", 1), (b"site", 20)), 0.0)


def test_failures_that_have_ended_hold_nobody_back() -> None:
    table = Lockout(LockoutSettings())
    fail(table, 4, 0.0)
    table.reserve(ME)
    assert table.must_wait(ME, 899.0)
    assert not table.must_wait(ME, 900.0)


# Bounds.


def test_the_oldest_unblocked_record_goes_first() -> None:
    table = Lockout(LockoutSettings(max_failed_attempts=2), size=3)
    for name in (b"a", b"b", b"c"):
        table.fail(((name, 1),), 0.0)
    table.fail(((b"d", 1),), 1.0)
    for name, seconds in ((b"a", 0), (b"c", 30), (b"d", 30)):
        table.fail(((name, 1),), 2.0)
        assert blocked(table, 2.0, ((name, 1),)) == seconds


def test_of_a_large_table_the_oldest_thousandth_goes_at_once() -> None:
    table = Lockout(LockoutSettings(), size=3000)
    for name in range(3001):
        table.fail(((b"%d" % name, 1),), 0.0)
    assert len(table) == 2998
    assert [table.forget(((b"%d" % name, 1),)) for name in (0, 1, 2, 3, 3000)] == [0, 0, 0, 1, 1]


def test_a_live_block_never_goes_and_what_finds_no_place_is_only_counted() -> None:
    """Attack: push one's own block, or a victim's failures, out of the table from a /44 of addresses (THREATS 50)."""
    table = Lockout(LockoutSettings(), size=10)
    victims: list[Keys] = [((b"victim %d" % number, 1),) for number in range(10)]
    for keys in victims:
        fail(table, 5, 0.0, keys)
    for stranger in range(50):
        table.fail(((b"stranger %d" % stranger, 1),), 1.0)
    assert [round(table.blocked_for(keys, 1.0)) for keys in victims] == [29] * 10
    assert table.overflowed == 50
    fail(table, 1, 31.0)
    assert table.overflowed == 50
    assert len(table) == 10


@given(
    st.integers(1, 12),
    st.lists(st.tuples(st.integers(0, 30), st.floats(0, 50)), max_size=300),
)
def test_it_is_bounded_and_forgets_no_live_block(size: int, attempts: list[tuple[int, float]]) -> None:
    """Attack: fill the table, so that live blocks or the memory give way (THREATS 20, 50)."""
    table = Lockout(LockoutSettings(max_failed_attempts=2), size)
    now = 0.0
    live: dict[int, float] = {}
    for key, step in attempts:
        now += step
        table.fail(((b"%d" % key, 1),), now)
        assert len(table) <= size
        live = {known: until for known, until in live.items() if until > now}
        for known, until in live.items():
            assert table.blocked_for(((b"%d" % known, 1),), now) == pytest.approx(until - now)
        left = table.blocked_for(((b"%d" % key, 1),), now)
        if left > 0:
            live[key] = now + left
    assert len(table.active(now)) == len({key for key, until in live.items() if until > now})


def test_live_blocks_are_listed_and_cleared() -> None:
    table = Lockout(LockoutSettings())
    fail(table, 5, 0.0)
    fail(table, 1, 0.0, OTHER)
    assert table.active(10.0) == {b"me": pytest.approx(20.0)}
    assert table.active(30.0) == {}
    fail(table, 1, 31.0)
    assert table.clear() == 2
    assert (len(table), blocked(table, 31.0)) == (0, 0)


def test_a_block_that_was_forgotten_ends_no_later_one() -> None:
    table = Lockout(LockoutSettings())
    fail(table, 5, 0.0)
    table.forget(ME)
    fail(table, 5, 10.0)
    fail(table, 1, 31.0, OTHER)
    assert blocked(table, 31.0) == 9


def test_what_is_forgotten_begins_anew() -> None:
    table = Lockout(LockoutSettings())
    fail(table, 5, 0.0)
    table.forget(ME)
    assert blocked(table, 0.0) == 0
    fail(table, 4, 0.0)
    assert blocked(table, 0.0) == 0
    fail(table, 1, 0.0)
    assert blocked(table, 0.0) == 30


# Known credentials.


def test_a_credential_is_known_from_its_client_for_a_day() -> None:
    known = Known()
    known.note(b"office", b"key", 0.0)
    assert known.knows(b"office", b"key", 24 * 3600 - 1)
    assert not known.knows(b"office", b"key", 24 * 3600)
    assert not known.knows(b"elsewhere", b"key", 0.0)
    assert not known.knows(b"office", b"another", 0.0)
    assert not known.knows(b"of", b"ficekey", 0.0)


# In a decision.

CONFIGURATION = """
authenticators:
  ci: {token: {from: [{header: X-API-Token}], tokens: [{name: ci, value: good}, {name: new, value: unseen}]}}
  staff: {basic: {users: ["bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "eve:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="]}}
  office: {network: {allow: [192.0.2.0/24]}}
routes:
  - {name: health, path: /health, public: true}
  - {name: chat, path: /chat, require: ci}
  - {name: staff, path: /staff, require: staff}
  - {name: inside, path: /inside, require: {any: [ci, office]}}
  - {name: both, path: /both, require: {all: [office, ci]}}
"""
EXEMPT = CONFIGURATION + "lockout: {exempt: [198.51.100.0/24]}\n"
GOOD, WRONG, UNSEEN = (("X-API-Token", value) for value in ("good", "bad", "unseen"))
CHAT, STAFF = "https://a.example/chat", "https://a.example/staff"
EDGE = "198.51.100.7"


def guess(bench: Bench, times: int, **where: str) -> list[str]:
    return [word(bench.ask("GET", CHAT, WRONG, **where)) for _ in range(times)]


def test_the_fifth_wrong_one_is_still_a_401_and_then_everything_is_a_429() -> None:
    bench = Bench(CONFIGURATION)
    assert guess(bench, 7) == ["invalid_credential"] * 5 + ["locked_out"] * 2
    decision = bench.ask("GET", CHAT)
    assert word(decision) == "locked_out"
    assert decision.retry_after == 30
    assert word(bench.ask("GET", STAFF, basic("bob", "password"))) == "locked_out"
    assert word(bench.ask("GET", "https://a.example/health")) == "allow"
    assert guess(bench, 1, client=NEIGHBOUR) == ["invalid_credential"]


def test_blocked_requests_do_not_lengthen_the_block() -> None:
    """Attack: keep the office out by asking on (THREATS 50)."""
    bench = Bench(CONFIGURATION)
    guess(bench, 5)
    for _ in range(29):
        bench.clock.forward(1)
        guess(bench, 3)
    bench.clock.forward(1)
    assert guess(bench, 2) == ["invalid_credential", "locked_out"]
    assert bench.ask("GET", CHAT).retry_after == 60


def test_guesses_through_every_door_have_one_counter() -> None:
    """Attack: change between token and password, or the user's spelling, before either is full (THREATS 18, 19)."""
    bench = Bench(CONFIGURATION)
    doors = [(CHAT, WRONG), (STAFF, basic("bob", "x")), (STAFF, basic("BOB", "x")), (STAFF, basic("nobody", "x"))]
    said = [word(bench.ask("GET", url, header)) for url, header in [*doors, doors[0], doors[1]]]
    assert said == ["invalid_credential"] * 5 + ["locked_out"]


def test_a_missing_credential_is_no_failure() -> None:
    bench = Bench(CONFIGURATION)
    assert {word(bench.ask("GET", CHAT, ("X-API-Token", ""))) for _ in range(20)} == {"missing_credential"}


def test_a_credential_known_from_this_client_passes_a_block_and_an_unknown_one_does_not() -> None:
    """Attack: guess five times from behind the office's address, and nobody there can work (THREATS 50)."""
    bench = Bench(CONFIGURATION)
    bench.ask("GET", CHAT, GOOD)
    bench.ask("GET", STAFF, basic("bob", "password"))
    guess(bench, 5)
    assert word(bench.ask("GET", CHAT, GOOD)) == "allow"
    assert word(bench.ask("GET", STAFF, basic("bob", "password"))) == "allow"
    assert word(bench.ask("GET", CHAT, UNSEEN)) == "locked_out"
    assert word(bench.ask("GET", STAFF, basic("eve", "password"))) == "locked_out"
    assert word(bench.ask("GET", CHAT)) == "locked_out"


def test_a_known_credential_is_known_at_its_own_client_only_and_for_a_day() -> None:
    bench = Bench(CONFIGURATION)
    bench.ask("GET", CHAT, GOOD)
    guess(bench, 5, client=NEIGHBOUR)
    assert word(bench.ask("GET", CHAT, GOOD, client=NEIGHBOUR)) == "locked_out"
    bench.clock.forward(24 * 3600)
    guess(bench, 5)
    assert word(bench.ask("GET", CHAT, GOOD)) == "locked_out"


def test_using_a_credential_keeps_it_known() -> None:
    bench = Bench(CONFIGURATION)
    for _ in range(30):
        bench.ask("GET", CHAT, GOOD)
        bench.clock.forward(3600)
    guess(bench, 5)
    assert word(bench.ask("GET", CHAT, GOOD)) == "allow"


def test_no_password_is_hashed_for_a_blocked_stranger() -> None:
    """Attack: spend our processors from a blocked address, or find the right password there (THREATS 20, 22)."""
    bench = Bench(CONFIGURATION)
    guess(bench, 5)
    before = bench.hashes
    assert word(bench.ask("GET", STAFF, basic("bob", "password"))) == "locked_out"
    assert bench.hashes == before


def test_a_sixth_password_waits_for_the_five_in_flight() -> None:
    """Attack: a hundred passwords at once, each of them asked about before the first is found wrong."""
    bench = Bench(CONFIGURATION)
    service = bench.service

    def asked(password: str) -> Need:
        view = bench.view("GET", STAFF, [basic("bob", password)])
        outcome = decide(view, bench.snapshot, service.tables, bench.facts, bench.clock.now())
        assert isinstance(outcome, Need)
        return outcome

    for number in range(5):
        need = asked(str(number))
        assert need.fetcher == PASSWORD
        service.apply(need.events, bench.clock.monotonic)
    assert asked("sixth").fetcher == SETTLED
    service.lockout.settle(lockout_keys(client(), None))
    assert asked("sixth").fetcher == PASSWORD


def test_a_branch_that_the_network_alone_satisfies_passes_a_block() -> None:
    bench = Bench(CONFIGURATION)
    guess(bench, 5)
    assert word(bench.ask("GET", "https://a.example/inside")) == "allow"
    assert word(bench.ask("GET", "https://a.example/both", GOOD)) == "locked_out"


@pytest.mark.parametrize(
    "require",
    [
        "{any: [ci, office]}",
        "{any: [office, ci]}",
        "{any: [staff, office]}",
        "{any: [office, staff]}",
        "{any: [{all: [ci, staff]}, {all: [office, office]}]}",
    ],
)
def test_where_the_network_alone_is_enough_a_block_tells_nobody_which_credential_is_right(require: str) -> None:
    """Attack: be blocked on purpose, and guess on where everybody of the office passes (THREATS 20, 22)."""
    bench = Bench(CONFIGURATION.replace("{any: [ci, office]}", require))
    guess(bench, 5)
    hashes = bench.hashes
    for headers in ([], [WRONG], [UNSEEN], [basic("eve", "wrong")], [basic("eve", "password"), UNSEEN]):
        decision = bench.ask("GET", "https://a.example/inside", *headers)
        assert (word(decision), set(decision.identity.authenticators), decision.events) == ("allow", {"office"}, ())
    assert bench.hashes == hashes


def test_what_is_forgotten_leaves_nothing_behind() -> None:
    """Attack: be blocked, succeed with a key of one's own, and again, where a success forgets (THREATS 20)."""
    table = Lockout(
        LockoutSettings(reset_on_success=True, max_block_seconds=31_536_000.0, initial_block_seconds=86_400)
    )
    fail(table, 5, 0.0, OTHER)
    for _ in range(5000):
        fail(table, 5, 0.0)
        table.forget(ME)
    assert len(table) == 1
    assert len(table._releases) < 2000
    assert blocked(table, 86_399.0, OTHER) == 1
    assert blocked(table, 86_401.0, OTHER) <= 0


def test_success_does_not_clear() -> None:
    """Attack: four guesses, one own key, four guesses, for ever."""
    bench = Bench(CONFIGURATION)
    guess(bench, 4)
    assert word(bench.ask("GET", CHAT, GOOD)) == "allow"
    assert guess(bench, 2) == ["invalid_credential", "locked_out"]


def test_success_clears_every_time_where_the_configuration_asks_for_it() -> None:
    bench = Bench(CONFIGURATION + "lockout: {reset_on_success: true}\n")
    for _ in range(3):
        assert guess(bench, 4) == ["invalid_credential"] * 4
        assert word(bench.ask("GET", CHAT, GOOD)) == "allow"
    assert guess(bench, 6)[-1] == "locked_out"


def test_at_an_exempt_address_failures_count_per_user_name_in_any_spelling() -> None:
    """Attack: lock a CDN's edge with everybody behind it, or split one user's counter by spelling (THREATS 18, 44)."""
    bench = Bench(EXEMPT)
    assert guess(bench, 20, client=EDGE) == ["invalid_credential"] * 20
    said = [
        word(bench.ask("GET", STAFF, basic(name, "x"), client=EDGE))
        for name in ("bob", "BOB", " bob", "bob ", "Bob", "bob")
    ]
    assert said == ["invalid_credential"] * 5 + ["locked_out"]
    assert word(bench.ask("GET", STAFF, basic("eve", "password"), client=EDGE)) == "allow"
    assert word(bench.ask("GET", CHAT, GOOD, client=EDGE)) == "allow"
    assert word(bench.ask("GET", STAFF, basic("bob", "x"), client="198.51.100.8")) == "invalid_credential"


@pytest.mark.parametrize(("wide", "limit"), [(False, 5), (True, 100)], ids=["from one /64", "across a /48"])
def test_ipv6_guesses_are_counted_by_their_networks(wide: bool, limit: int) -> None:
    """Attack: a fresh address, or a fresh /64, for every guess (THREATS 20)."""
    bench = Bench(CONFIGURATION)

    def address(number: int) -> str:
        return f"2001:db8:1:{number:x}::1" if wide else f"2001:db8:1:1::{number + 1:x}"

    said = [guess(bench, 1, client=address(number))[0] for number in range(limit + 1)]
    assert said == ["invalid_credential"] * limit + ["locked_out"]
    assert guess(bench, 1, client="2001:db8:2::1") == ["invalid_credential"]


@pytest.mark.parametrize("jump", [-3600.0, 3600.0, 10 * 365 * 86400.0], ids=["an hour back", "an hour on", "ten years"])
def test_a_jump_of_the_wall_clock_blocks_and_frees_nobody(jump: float) -> None:
    """Attack: NTP is moved, or corrects itself (THREATS 51)."""
    bench = Bench(CONFIGURATION)
    guess(bench, 5)
    guess(bench, 4, client=NEIGHBOUR)
    bench.clock.wall += jump
    assert bench.ask("GET", CHAT).retry_after == 30
    assert guess(bench, 2, client=NEIGHBOUR) == ["invalid_credential", "locked_out"]


@given(st.lists(st.sampled_from(["good", "bad", "missing", "wait"]), max_size=60))
def test_whatever_happens_in_between_five_wrong_ones_in_a_row_block(steps: list[str]) -> None:
    bench = Bench(CONFIGURATION)
    for step in steps:
        if step == "wait":
            bench.clock.forward(7)
        elif step == "missing":
            bench.ask("GET", CHAT)
        else:
            bench.ask("GET", CHAT, ("X-API-Token", step))
    guess(bench, 5)
    assert word(bench.ask("GET", CHAT, UNSEEN)) == "locked_out"


def test_a_failure_counts_against_all_keys_of_its_client() -> None:
    bench = Bench(CONFIGURATION)
    for address, header in product(("192.0.2.1", "2001:db8::1"), (WRONG, bearer("x"))):
        decision = bench.ask("GET", CHAT, header, client=address)
        expected = [] if header[0] == "Authorization" else [lockout_keys(client(address), None)]
        assert failures(decision) == expected


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (LockoutSettings(max_failed_attempts=-1), "max_failed_attempts"),
        (LockoutSettings(ttl_seconds=0), "ttl_seconds"),
        (LockoutSettings(initial_block_seconds=float("nan")), "initial_block_seconds"),
        (LockoutSettings(max_block_seconds=float("inf")), "max_block_seconds"),
        (LockoutSettings(block_multiplier=0.5), "block_multiplier"),
        (LockoutSettings(initial_block_seconds=60, max_block_seconds=30), "max_block_seconds"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_numbers_that_mean_nothing_are_mistakes(settings: LockoutSettings, key: str) -> None:
    assert key in dict(settings.mistakes())


def test_switching_it_off_ends_live_blocks() -> None:
    """Who turns the lockout off in a reload wants everybody back at once."""
    table, keys = Lockout(LockoutSettings(max_failed_attempts=1)), ((b"abcd", 1),)
    table.fail(keys, 0.0)
    assert table.blocked_for(keys, 1.0) > 0
    table.settings = LockoutSettings(enabled=False)
    assert table.blocked_for(keys, 1.0) == 0
