"""Text to plain data. The one door to PyYAML.

YAML's last word wins when a key stands twice, which hides a mistake; here it is one.
"""

from typing import Any

import yaml

from forwardauth.config.mistakes import ConfigurationError, Mistake


def _mapping_without_repetition(loader: Any, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.MarkedYAMLError(
                problem=f"{key!r} is no text; put the name in quotes", problem_mark=key_node.start_mark
            )
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"{key} stands there twice", problem_mark=key_node.start_mark)
        seen.add(key)
    return dict(_FASTEST.construct_mapping(loader, node, deep))


def _object_in_its_place(loader: Any, node: yaml.Node, deep: bool = False) -> Any:
    try:
        return _FASTEST.construct_object(loader, node, deep)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as failure:
        # What looks like a date or a number and is none (2027-02-30), PyYAML leaves to Python's own exceptions.
        raise yaml.MarkedYAMLError(problem=str(failure), problem_mark=node.start_mark) from None


# libyaml reads a thousand tokens in 40 ms, Python in 300 ms; not every build of PyYAML has it.
_FASTEST: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_METHODS = {"construct_mapping": _mapping_without_repetition, "construct_object": _object_in_its_place}
_Loader: Any = type("_Loader", (_FASTEST,), _METHODS)


def parse(text: str) -> dict[str, Any]:
    """The document's top level. Raises ConfigurationError with line and column."""
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as failure:
        mark = failure.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigurationError([Mistake(where, f"not readable as YAML: {failure.problem}")]) from None
    except (yaml.YAMLError, RecursionError) as failure:
        raise ConfigurationError([Mistake("", f"not readable as YAML: {failure}".replace("\n", " "))]) from None
    if document is None:
        raise ConfigurationError([Mistake("", "the file is empty; it needs at least authenticators and routes")])
    if not isinstance(document, dict):
        raise ConfigurationError([Mistake("", "expected settings such as `routes:` at the top level")])
    return document
