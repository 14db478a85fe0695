"""Memory that a stranger fills stays bounded, and forgets only what is not used."""

from hypothesis import given
from hypothesis import strategies as st

from forwardauth.core.memo import Memo

SIZES = st.integers(1, 20)


@given(SIZES, st.lists(st.integers(0, 60), max_size=300))
def test_it_never_holds_more_than_twice_its_size(size: int, keys: list[int]) -> None:
    """Attack: fill the memory with names, paths and addresses that nobody sends twice (THREATS 20)."""
    memo: Memo[int, str] = Memo(size)
    for key in keys:
        assert memo.get(key) in (None, str(key))
        memo.put(key, str(key))
        assert memo.get(key) == str(key)
        assert len(memo) <= 2 * size


@given(SIZES, st.lists(st.integers(1, 1000), max_size=200))
def test_reading_keeps_it_bounded_too(size: int, keys: list[int]) -> None:
    memo: Memo[int, int] = Memo(size)
    for key in keys:
        memo.put(key, key)
        for earlier in keys:
            memo.get(earlier)
        assert len(memo) <= 2 * size


def test_what_is_used_survives_any_flood_of_what_is_not() -> None:
    memo: Memo[object, str] = Memo(10)
    memo.put("regular", "kept")
    for stranger in range(1000):
        memo.put(stranger, "once")
        assert memo.get("regular") == "kept"
    assert memo.get(0) is None
