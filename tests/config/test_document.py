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
        pytest.param("routes: []\nroutes: []\n", "line 2, column 1: not readable as YAML: routes stands", id="twice"),
        pytest.param("a:\n  b: 1\n  c: 2\n  b: 3\n", "line 4, column 3", id="twice, further in"),
        pytest.param("a: [1, 2\n", "line 2", id="not closed"),
        pytest.param("a: b: c\n", "line 1", id="two colons"),
        pytest.param("a: \t- b\n- c", "line", id="a tab"),
        pytest.param("1: a\n", "line 1, column 1: not readable as YAML: 1 is no", id="a number for a name"),
        pytest.param("a: !!python/object/apply:os.system [id]\n", "line 1", id="code"),
        pytest.param(
            "a:\n  b: 2027-02-30\n", "line 2, column 6: not readable as YAML: day is out", id="a day that is none"
        ),
        pytest.param("a: !!int x\n", "line 1, column 4", id="a number that is none"),
        pytest.param("a: !!timestamp x\n", "line 1, column 4", id="a time that is none"),
        pytest.param("a: " + "9" * 5000, "line 1, column 4", id="an endless number"),
        pytest.param("a: \x00\n", "not readable as YAML", id="NUL"),
        pytest.param("", "the file is empty", id="empty"),
        pytest.param("# nothing\n", "the file is empty", id="only a comment"),
        pytest.param("- routes\n", "at the top level", id="a list"),
        pytest.param("routes\n", "at the top level", id="a word"),
        pytest.param("[" * 5000, "not readable as YAML", id="endless depth"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, said: str) -> None:
    assert said in lines(text)
    assert "\n" not in lines(text)


def test_plain_data_comes_out() -> None:
    assert parse("a: {b: [1, 'x', true]}") == {"a": {"b": [1, "x", True]}}


def test_a_merge_key_is_no_key_that_stands_twice() -> None:
    assert parse("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n")["b"] == {"x": 3, "y": 2}
