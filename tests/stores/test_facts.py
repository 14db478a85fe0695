"""Facts: successes only, for a while, in bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from forwardauth.stores.facts import SECONDS, FactCache, WithFresh
from tests.building import Clock


def test_a_fact_holds_for_fifteen_minutes_from_when_it_was_found_out() -> None:
    clock = Clock()
    facts = FactCache(lambda: clock.monotonic)
    facts.put(b"key")
    clock.forward(SECONDS - 1)
    assert facts.get(b"key") is True
    clock.forward(1)
    assert facts.get(b"key") is None
    assert SECONDS == 900


def test_asking_for_a_fact_does_not_lengthen_it() -> None:
    """Attack: keep a password that was changed alive by using it every minute (THREATS 23, 31)."""
    clock = Clock()
    facts = FactCache(lambda: clock.monotonic)
    facts.put(b"key")
    for _ in range(15):
        clock.forward(60)
        found = facts.get(b"key")
    assert found is None


def test_what_nobody_found_out_is_not_known() -> None:
    assert FactCache(lambda: 0.0).get(b"key") is None


@given(st.integers(1, 10), st.lists(st.binary(max_size=2), max_size=100))
def test_it_remembers_a_bounded_number(size: int, keys: list[bytes]) -> None:
    facts = FactCache(lambda: 0.0, size)
    for key in keys:
        facts.put(key)
    assert sum(facts.get(key) is True for key in set(keys)) <= 2 * size


def test_a_fresh_answer_stands_before_a_remembered_one_and_failures_stay_with_their_request() -> None:
    """Attack: fill the memory of others with failures of one's own."""
    cache = FactCache(lambda: 0.0)
    cache.put(b"known")
    fresh = WithFresh({b"known": False, b"new": True}, cache)
    assert [fresh.get(key) for key in (b"known", b"new", b"other")] == [False, True, None]
    assert [cache.get(key) for key in (b"known", b"new")] == [True, None]
