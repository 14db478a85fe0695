"""Text to plain data. The one door to PyYAML.

YAML's last word wins when a key stands twice, which hides a mistake; here it is one.
"""

from typing import Any

import yaml

from forwardauth.config.mistakes import ConfigurationError, Mistake


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(problem=f"{key!r} is no name", problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"{key} stands there twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


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
