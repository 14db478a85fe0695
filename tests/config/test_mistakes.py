import pytest

from forwardauth.config.mistakes import ConfigurationError, Mistake, Mistakes, join


def test_a_mistake_is_one_line_with_its_path() -> None:
    failure = ConfigurationError([Mistake("routes[2].rate", "expected a rate"), Mistake("", "the file is empty")])
    assert str(failure).splitlines() == ["routes[2].rate: expected a rate", "the file is empty"]


def test_a_mistake_is_told_once() -> None:
    mistakes = Mistakes()
    mistakes.add("a", "b")
    mistakes.add("a", "b")
    assert mistakes.found == [Mistake("a", "b")]


def test_paths_are_joined_as_yaml_writes_them() -> None:
    assert [join("", "a"), join("a", ""), join("a", "b"), join("a", "[0]")] == ["a", "a", "a.b", "a[0]"]


def test_what_follows_from_a_value_that_could_not_be_read_is_not_told() -> None:
    mistakes = Mistakes()
    mistakes.add_unreadable("a.b[1].c", "expected text")
    for path in ("a.b[1].c", "a.b[1].c.d", "a.b[1].c[0]", "a.b[1]"):
        mistakes.add(path, "follows")
    mistakes.add("a.b[1]", "is about another key and that one", "e", "c")
    assert mistakes.found == [Mistake("a.b[1].c", "expected text")]
    for path in ("a.b[1].cc", "a.b[1].d", "a.b[10]", "a.b", "a", ""):
        mistakes.add(path, "does not")
    mistakes.add("a.b[1]", "is about another key", "e")
    assert len(mistakes.found) == 8


def test_what_is_forgotten_hides_nothing() -> None:
    mistakes = Mistakes()
    mistakes.add_unreadable("a.b", "expected text")
    mistakes.add_unreadable("c.d", "expected text")
    mistakes.keep(1)
    for path in ("a", "a.b", "c", "c.d"):
        mistakes.add(path, "told")
    assert [mistake.path for mistake in mistakes.found] == ["a.b", "c", "c.d"]


def test_the_thousandth_mistake_is_the_last() -> None:
    mistakes = Mistakes()
    for index in range(999):
        mistakes.add(f"a[{index}]", "b")
    with pytest.raises(ConfigurationError, match="the first 1000 mistakes"):
        mistakes.add("a[999]", "b")
