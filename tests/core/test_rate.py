"""Rate limits: the words, the bucket, and a table that a stranger cannot overflow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.decide import Decision
from forwardauth.core.rate import Limit, RateTable, parse_limit
from tests.building import NEIGHBOUR, Bench, word


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("100/h", Limit(100, 3600.0, 100)),
        ("20/s burst 40", Limit(20, 1.0, 40)),
        (" 5 / m  burst  1 ", Limit(5, 60.0, 1)),
        ("1000/d", Limit(1000, 86400.0, 1000)),
        ("100/3600s", Limit(100, 3600.0, 100)),
        ("5/ 2m burst 9", Limit(5, 120.0, 9)),
    ],
)
def test_a_rate_is_a_count_a_period_and_a_burst(text: str, limit: Limit) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize(
    "text", ["", "100", "100/w", "0/h", "-1/h", "1.5/s", "100/h burst 0", "100/hour", "1/s burst", "1/0s", "1/s3"]
)
def test_anything_else_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="expected a rate such as 100/h"):
        parse_limit(text)


def take(table: RateTable, limit: Limit, now: float, key: str = "key") -> float:
    """One request: charged if it is allowed; the seconds to wait otherwise."""
    charges, wait, tightest = table.price(((key, limit, "credential"),), now)
    assert (tightest is None) is (wait == 0)
    if not wait:
        table.charge(charges, now)
    return wait


@pytest.mark.parametrize(("text", "burst", "next_after"), [("100/h", 100, 36.0), ("20/s burst 40", 40, 0.05)])
def test_a_burst_is_allowed_at_once_and_then_one_for_each_interval(text: str, burst: int, next_after: float) -> None:
    table, limit = RateTable(), parse_limit(text)
    assert [take(table, limit, 0.0) for _ in range(burst)] == [0.0] * burst
    assert take(table, limit, 0.0) == pytest.approx(next_after)
    assert take(table, limit, next_after * 0.9) == pytest.approx(next_after * 0.1)
    assert take(table, limit, next_after) == 0.0
    assert take(table, limit, next_after) > 0
    assert take(table, limit, 0.0, "another") == 0.0


def test_asking_for_the_price_charges_nothing() -> None:
    table, limit = RateTable(), parse_limit("1/h")
    assert [table.price((("key", limit, "route"),), 0.0)[1] for _ in range(10)] == [0.0] * 10
    assert len(table) == 0


@given(
    st.builds(Limit, st.integers(1, 50), st.sampled_from([1.0, 60.0, 3600.0]), st.integers(1, 50)),
    st.lists(st.floats(0, 200), min_size=1, max_size=150),
)
def test_no_window_holds_more_than_the_burst_and_what_came_free(limit: Limit, steps: list[float]) -> None:
    table = RateTable()
    now, allowed = 0.0, []
    for step in steps:
        now += step * limit.interval / 50
        if not take(table, limit, now):
            allowed.append(now)
    for first, begin in enumerate(allowed):
        for last in range(first, len(allowed)):
            assert last - first + 1 <= limit.burst + (allowed[last] - begin) / limit.interval + 1e-3


@given(st.integers(1, 100), st.integers(1, 50))
def test_who_keeps_to_the_rate_never_waits(count: int, requests: int) -> None:
    table, limit = RateTable(), Limit(count, 60.0, 1)
    assert all(take(table, limit, number * limit.interval) == 0.0 for number in range(requests))


@given(st.integers(2, 30), st.lists(st.tuples(st.integers(0, 80), st.floats(0, 100)), max_size=300))
def test_the_table_is_bounded(size: int, requests: list[tuple[int, float]]) -> None:
    """Attack: a new address for every request of a public route."""
    table, limit, now = RateTable(size), Limit(1, 60.0, 5), 0.0
    for key, step in requests:
        now += step
        take(table, limit, now, str(key))
        assert len(table) <= size


def test_keys_that_are_free_again_go_before_those_that_are_not() -> None:
    table, limit = RateTable(10), parse_limit("1/h")
    take(table, limit, 0.0, "busy")
    for number in range(9):
        take(table, parse_limit("1/s"), 0.0, f"idle {number}")
    take(table, limit, 10.0, "new")
    assert take(table, limit, 10.0, "busy") > 0


# In a decision.

CONFIGURATION = """
authenticators:
  ci:
    token:
      from: [{header: X-API-Token}, bearer]
      rate: 3/h
      tokens: [{name: a, value: aaa}, {name: b, value: bbb}, {name: fast, value: fff, rate: 6/h}]
  second: {token: {from: [{header: X-Second}], rate: 1/h, tokens: [{name: a, value: other}]}}
routes:
  - {name: chat, path: /chat/*, require: ci}
  - {name: tight, path: /tight, require: ci, rate: 2/h}
  - {name: both, path: /both, require: {all: [ci, second]}}
  - {name: public, path: /public, public: true, rate: 2/h}
"""
SECOND = ("X-Second", "other")


def ask(bench: Bench, path: str, token: str, *more: tuple[str, str]) -> Decision:
    return bench.ask("GET", f"https://a.example{path}", ("X-API-Token", token), *more)


def allowed(bench: Bench, path: str, token: str, times: int = 12) -> int:
    return sum(word(ask(bench, path, token)) == "allow" for _ in range(times))


def test_an_authenticators_rate_holds_for_each_credential_and_a_tokens_own_replaces_it() -> None:
    bench = Bench(CONFIGURATION)
    assert (allowed(bench, "/chat/", "aaa"), allowed(bench, "/chat/", "bbb"), allowed(bench, "/chat/", "fff")) == (
        3,
        3,
        6,
    )


def test_a_credential_has_one_bucket_however_and_wherever_it_is_written() -> None:
    """Attack: the same key as Bearer, in another header, on another path, from another address."""
    bench = Bench(CONFIGURATION)
    assert allowed(bench, "/chat/x", "aaa") == 3
    for headers in ([("X-API-Token", "aaa")], [("authorization", "bearer  aaa")], [("AUTHORIZATION", "Bearer aaa")]):
        assert word(bench.ask("GET", "https://b.example/chat/y", *headers, client=NEIGHBOUR)) == "rate_limited"


def test_all_limits_are_checked_and_then_all_are_charged_or_none() -> None:
    bench = Bench(CONFIGURATION)
    assert allowed(bench, "/tight", "aaa") == 2
    assert allowed(bench, "/chat/", "aaa") == 1
    assert word(ask(bench, "/both", "bbb", SECOND)) == "allow"
    assert [word(ask(bench, "/both", "bbb", SECOND)) for _ in range(9)] == ["rate_limited"] * 9
    assert allowed(bench, "/chat/", "bbb") == 2


def test_the_tightest_limit_is_told() -> None:
    bench = Bench(CONFIGURATION)
    for _ in range(2):
        ask(bench, "/tight", "aaa")
    decision = ask(bench, "/tight", "aaa")
    assert decision.limit == parse_limit("2/h")
    assert decision.limit_scope == "route"
    assert decision.retry_after == pytest.approx(1800)


def test_a_public_route_is_limited_by_client() -> None:
    bench = Bench(CONFIGURATION)
    said = [word(bench.ask("GET", "https://a.example/public")) for _ in range(3)]
    assert said == ["allow", "allow", "rate_limited"]
    assert word(bench.ask("GET", "https://a.example/public", client=NEIGHBOUR)) == "allow"


def test_what_is_denied_for_another_reason_costs_nothing() -> None:
    """Attack: use up somebody's limit by naming his key wrongly; and a wrong guess is no request of anybody."""
    bench = Bench(CONFIGURATION)
    for _ in range(3):
        assert word(ask(bench, "/nowhere", "aaa")) == "no_route"
        assert word(ask(bench, "/both", "aaa")) == "missing_credential"
    assert allowed(bench, "/chat/", "aaa") == 3


def test_a_jump_of_the_wall_clock_frees_nobody() -> None:
    bench = Bench(CONFIGURATION)
    allowed(bench, "/chat/", "aaa")
    bench.clock.wall += 10 * 365 * 86400
    assert word(ask(bench, "/chat/", "aaa")) == "rate_limited"
    bench.clock.monotonic += 1200
    assert word(ask(bench, "/chat/", "aaa")) == "allow"
