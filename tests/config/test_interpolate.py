"""References inside values: names of the environment, defaults and files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwardauth.config.interpolate import Whole, expand

ENVIRONMENT = {"NAME": "value", "EMPTY": "", "NESTED": "${NAME}"}


def read_file(path: str) -> str:
    if path != "/run/secrets/x":
        raise ValueError(f"{path} does not exist")
    return "from a file\n"


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("${NAME}", "value"),
        ("a-${NAME}-b", "a-value-b"),
        ("${NAME}${NAME}", "valuevalue"),
        ("${NAME:-other}", "value"),
        ("${UNSET:-other}", "other"),
        ("${UNSET:-}", ""),
        ("${EMPTY}", ""),
        ("${EMPTY:-other}", "other"),
        ("${UNSET:-a:-b}", "a:-b"),
        ("${file:/run/secrets/x}", "from a file"),
        ("$${NAME}", "${NAME}"),
        ("$NAME and $5", "$NAME and $5"),
        ("$2b$12$hash", "$2b$12$hash"),
        ("${NESTED}", "${NAME}"),
        ("${UNSET:-${NAME}/x}", "value/x"),
        ("${UNSET:-${ALSO:-a}/${file:/run/secrets/x}}/b", "a/from a file/b"),
        ("${NAME:-${NAMELESS}}", "value"),
        ("${UNSET:-${NESTED}}", "${NAME}"),
        ("$${NAME}${NAME}", "${NAME}value"),
        ("${NAME:-${B:-${C:-${D:-deep}}}}", "value"),
        ("a-${UNSET:-${B:-${C:-${NAME}}}}-b", "a-value-b"),
        ('${NAME:-{"a": {}}}', "value"),
        ('${UNSET:-{"a": {}}}', '{"a": {}}'),
        ("${UNSET:-$${NAME}}", "${NAME}"),
        ("${NAME:-$${NAME}}", "value"),
        ("}{", "}{"),
    ],
)
def test_a_reference_is_replaced_once(text: str, expanded: str) -> None:
    assert expand(text, ENVIRONMENT, read_file) == expanded


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("${UNSET}", "the environment variable UNSET is not set"),
        ("a${UNSET}b", "the environment variable UNSET is not set"),
        ("${}", "is no reference"),
        ("${1A}", "is no reference"),
        ("${A B}", "is no reference"),
        ("${A:?must}", "is no reference"),
        ("${file:/nowhere}", "/nowhere does not exist"),
        ("a${NAME", r"no closing brace; close it, or write \$\$\{ for a literal"),
        ("${", "no closing brace"),
        ("${UNSET:-${NAME}", "no closing brace"),
        ("$${NAME}${NAME", "no closing brace"),
        ("${A:-" * 10_000 + "}" * 10_000, "more than 16 deep"),
    ],
)
def test_what_is_missing_or_no_reference_is_told(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        expand(text, ENVIRONMENT, read_file)


def test_what_is_no_reference_is_not_repeated() -> None:
    """It may be a part of a password."""
    with pytest.raises(ValueError, match="is no reference") as failure:
        expand("pass${hunter 2}word", ENVIRONMENT, read_file)
    assert "hunter" not in str(failure.value)


def test_only_a_value_that_is_one_reference_whole_is_typed_by_its_target() -> None:
    assert isinstance(expand("${NAME}", ENVIRONMENT, read_file), Whole)
    assert isinstance(expand("${UNSET:-${NAME}}", ENVIRONMENT, read_file), Whole)
    for text in ("x${NAME}", "${NAME}x", "$${NAME}${NAME}", "${NAME}${NAME}", "plain", "$${NAME}"):
        assert not isinstance(expand(text, ENVIRONMENT, read_file), Whole)


@given(st.text(st.characters(exclude_characters="$")))
def test_a_text_without_a_dollar_is_itself(text: str) -> None:
    assert expand(text, {}, read_file) == text


@given(st.text())
def test_what_a_reference_brings_in_is_never_read_again(secret: str) -> None:
    """Attack: a secret, or a user's value, with `${` in it."""
    assert expand("${S:-}", {"S": secret}, read_file) == secret
