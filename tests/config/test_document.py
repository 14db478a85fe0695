"""YAML, read strictly: a key that stands twice hides a mistake."""

import pytest

from forwardauth.config.document import parse
from forwardauth.config.mistakes import ConfigurationError


def lines(text: str) -> str:
    with pytest.raises(ConfigurationError) as failure:
        parse(text)
    return str(failure.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("routes: []\nroutes: []\n", "routes: stands there twice", id="twice"),
        pytest.param(
            "a:\n  b: 1\n  c: 2\n  b: 3\n",
            "a.b: stands there twice; keep one of them (again in line 4, column 3)",
            id="twice, further in",
        ),
        pytest.param("a: [1, 2\n", "line 2", id="not closed"),
        pytest.param("a: b: c\n", "line 1", id="two colons"),
        pytest.param("a: \t- b\n- c", "line", id="a tab"),
        pytest.param(
            "1: a\n", "1: this name is no text; put it in quotes (line 1, column 1)", id="a number for a name"
        ),
        pytest.param("a: !!python/object/apply:os.system [id]\n", "line 1", id="code"),
        pytest.param("a:\n  b: 2027-02-30\n", "a.b: expected a date or time that exists", id="a day that is none"),
        pytest.param("a: !!int x\n", "line 1, column 4", id="a number that is none"),
        pytest.param("a: !!timestamp x\n", "line 1, column 4", id="a time that is none"),
        pytest.param("a: " + "9" * 5000, "line 1, column 4", id="an endless number"),
        pytest.param("a: \x00\n", "not readable as YAML", id="NUL"),
        pytest.param("", "the file is empty", id="empty"),
        pytest.param("# nothing\n", "the file is empty", id="only a comment"),
        pytest.param("- routes\n", "at the top level", id="a list"),
        pytest.param("routes\n", "at the top level", id="a word"),
        pytest.param("{[a]: b}", "line 1, column 2", id="a list for a name"),
        pytest.param("[" * 30_000, "line 1, column 33: not readable as YAML: nested more than 32", id="endless depth"),
        pytest.param("{a: " * 30_000, "nested more than 32", id="endless depth of settings"),
        pytest.param("a: &a [[*a]]", "line 1, column 9: not readable as YAML: *a stands inside", id="itself in itself"),
        pytest.param("a: &a {b: *a}", "stands inside what it stands for", id="settings in themselves"),
        pytest.param("a: *b", "not readable as YAML: found undefined alias", id="an alias of nothing"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, said: str) -> None:
    assert said in lines(text)
    assert "\n" not in lines(text)


def test_plain_data_comes_out() -> None:
    assert parse("a: {b: [1, 'x', true]}") == {"a": {"b": [1, "x", True]}}


def test_a_merge_key_is_no_key_that_stands_twice() -> None:
    assert parse("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n")["b"] == {"x": 3, "y": 2}


def aliases(levels: int, entry: str) -> str:
    """A text in which each line stands for two of the line before it."""
    doubled = (entry.replace("*", f"*l{level}") for level in range(levels))
    return "l: &l0 x\n" + "".join(f"l{level}: &l{level + 1} {line}\n" for level, line in enumerate(doubled))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(aliases(24, "[*, *]"), "line 18, column 22: not readable as YAML: more than 500000", id="doubled"),
        pytest.param(aliases(24, "{a: *, b: *}"), "more than 500000 values", id="doubled settings"),
        pytest.param(aliases(40, "[*]"), "nested more than 32 levels deep", id="in each other"),
        pytest.param(f"a: [{'x, ' * 500_000}]", "more than 500000 values", id="written out"),
    ],
)
def test_what_would_never_be_read_to_its_end_is_refused(text: str, said: str) -> None:
    """Attack: a kilobyte that stands for a gigabyte, or for a deeper stack than there is."""
    assert said in lines(text)


def test_aliases_may_stand_for_each_other_up_to_the_bounds() -> None:
    found = parse(aliases(14, "[*, *]"))
    assert len(found) == 15
    assert parse(aliases(31, "[*]"))


def test_every_mistake_is_told_at_once_with_its_path() -> None:
    text = """
        a: 1
        a: 2
        routes:
          - {path: /a, 1: b, path: /b}
          - &x {require: a, require: b, expires: 2027-02-30, [c]: d}
          - *x
    """
    assert [line.partition(": ")[0] for line in lines(text).splitlines()] == [
        "a",
        "routes[0].1",
        "routes[0].path",
        "routes[1].require",
        "routes[1]",
        "routes[1].expires",
    ]


def test_a_value_that_cannot_be_read_is_not_repeated() -> None:
    """It may be a secret."""
    assert "hunter2" not in lines("value: !!int hunter2\nother: !!bool hunter2\n")
