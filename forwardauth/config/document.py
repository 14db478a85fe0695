"""Text to plain data. The one door to PyYAML.

YAML's last word wins when a key stands twice, which hides a mistake; here it is one. What would overflow a stack or
never end (brackets in brackets, aliases of aliases) is refused before anything is made of it.
"""

from dataclasses import dataclass
from typing import Any

import yaml

from forwardauth.config.mistakes import ConfigurationError, Mistake, Mistakes, join

# libyaml reads a thousand tokens in 40 ms, Python in 300 ms; not every build of PyYAML has it.
_FASTEST: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_DEEPEST = 32
_MOST = 500_000
"""Values in a file, each alias counted as what it stands for: 35,000 tokens with scopes, read in some 8 s."""
_TAG = "tag:yaml.org,2002:"
_EXPECTED = {
    f"{_TAG}timestamp": "a date or time that exists, such as 2027-01-31",
    f"{_TAG}int": "a whole number",
    f"{_TAG}float": "a number",
    f"{_TAG}bool": "true or false",
}


def parse(text: str) -> dict[str, Any]:
    """The document's top level. Raises ConfigurationError with the line of every mistake."""
    try:
        _check_size(text)
        document = _construct(text)
    except yaml.MarkedYAMLError as failure:
        mark = failure.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigurationError([Mistake(where, f"not readable as YAML: {failure.problem}")]) from None
    except yaml.YAMLError as failure:
        raise ConfigurationError([Mistake("", f"not readable as YAML: {failure}".replace("\n", " "))]) from None
    if document is None:
        raise ConfigurationError([Mistake("", "the file is empty; it needs at least authenticators and routes")])
    if not isinstance(document, dict):
        raise ConfigurationError([Mistake("", "expected settings such as `routes:` at the top level")])
    return document


# What an alias stands for: how many values, and how many levels they are deep.


@dataclass(slots=True)
class _Extent:
    """A scalar's, until it is told more. The levels are lists and settings in each other, its own included."""

    values: int = 1
    levels: int = 0

    def take(self, inner: "_Extent") -> None:
        self.values += inner.values
        self.levels = max(self.levels, inner.levels + 1)


def _check_size(text: str) -> None:
    """Refuse what is nested too deep, has too many values, or holds itself.

    PyYAML composes by recursion, libyaml in C, where nothing catches it. Events come without.
    """
    # None while it is open: an alias of it would have no end.
    anchored: dict[str | None, _Extent | None] = {}
    opened: list[tuple[str | None, _Extent]] = [(None, _Extent(levels=1))]
    event: Any
    for event in yaml.parse(text, _FASTEST):
        anchor, closed = None, None
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, _Extent(levels=1)))
            anchored[event.anchor] = None
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, closed = opened.pop()
        elif isinstance(event, yaml.ScalarEvent):
            anchor, closed = event.anchor, _Extent()
        elif isinstance(event, yaml.AliasEvent):
            # One that nobody anchored is told by composing.
            closed = anchored.get(event.anchor, _Extent())
            if closed is None:
                raise _refusal(f"*{event.anchor} stands inside what it stands for", event)
        if closed is not None:
            opened[-1][1].take(closed)
            anchored[anchor] = closed
        innermost = opened[-1][1]
        # Its own level is counted twice, and the document is none.
        if len(opened) + innermost.levels - 2 > _DEEPEST:
            raise _refusal(f"nested more than {_DEEPEST} levels deep", event)
        if innermost.values > _MOST:
            raise _refusal(f"more than {_MOST} values, each alias counted as what it stands for", event)


def _refusal(what: str, event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=what, problem_mark=event.start_mark)


# The data.


def _construct(text: str) -> Any:
    loader = _FASTEST(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        mistakes = Mistakes()
        _check_node(loader, node, "", mistakes, set())
        mistakes.check()
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_node(loader: Any, node: yaml.Node, path: str, mistakes: Mistakes, seen: set[int]) -> None:
    """Note what YAML lets pass, or would tell one at a time; what has an alias is looked at once."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        _check_keys(node, path, mistakes)
        for key, value in node.value:
            _check_node(loader, value, join(path, _name(key)), mistakes, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, entry in enumerate(node.value):
            _check_node(loader, entry, f"{path}[{index}]", mistakes, seen)
    else:
        try:
            loader.construct_object(node)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            # What looks like a date or a number and is none (2027-02-30), PyYAML leaves to Python's own exceptions.
            # They may repeat the value, which may be a secret.
            what = _EXPECTED.get(node.tag, "another value")
            mistakes.add(path, f"expected {what}, or text in quotes ({_place(node)})")


def _check_keys(node: yaml.MappingNode, path: str, mistakes: Mistakes) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if key.tag == f"{_TAG}merge":
            continue
        if not isinstance(key, yaml.ScalarNode):
            mistakes.add(path, f"expected a name before the colon, no list and no settings ({_place(key)})")
        elif key.tag != f"{_TAG}str":
            mistakes.add(join(path, key.value), f"this name is no text; put it in quotes ({_place(key)})")
        elif key.value in seen:
            mistakes.add(join(path, key.value), f"stands there twice; keep one of them (again in {_place(key)})")
        else:
            seen.add(key.value)


def _name(key: yaml.Node) -> str:
    return str(key.value) if isinstance(key, yaml.ScalarNode) else "?"


def _place(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}, column {node.start_mark.column + 1}"
