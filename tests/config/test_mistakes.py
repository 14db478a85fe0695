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
