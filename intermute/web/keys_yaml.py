"""The keys file as YAML, in which no name is read as something else and none is forgotten."""

from collections.abc import Hashable, Iterator
from typing import Any

import yaml

__all__ = ["NameTwiceError", "parse"]

_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"


class NameTwiceError(yaml.MarkedYAMLError):
    """A mapping has a name for the second time; YAML would forget what stood under the first."""


def parse(raw: bytes) -> Any:
    """The document, None if there is none.

    The names of projects are texts as they are written: to YAML `no` is a truth value and `010`
    is eight.

    Raises:
        NameTwiceError: With the place of the second one. It holds no text of the file.
        yaml.YAMLError, ValueError, RecursionError: It is not YAML.
    """
    loader = yaml.SafeLoader(raw)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        for name, section in _members(root):
            if name.value == "projects":
                for project, _ in _members(section):
                    project.tag = _TEXT
        _refuse_names_twice(loader, root)
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _members(node: yaml.Node) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
    """What a mapping holds itself, by names that are scalars; merge keys name nothing."""
    if not isinstance(node, yaml.MappingNode):
        return []
    return [
        (name, held)
        for name, held in node.value
        if isinstance(name, yaml.ScalarNode) and name.tag != _MERGE
    ]


def _refuse_names_twice(loader: yaml.SafeLoader, root: yaml.Node) -> None:
    # Before any mapping is made: merging puts names there a second time, which is no mistake.
    left, seen = [root], {id(root)}
    while left:
        node = left.pop()
        names: set[Hashable] = set()
        for name, _ in _members(node):
            # Two spellings may be one name: 1 and 0x1. What cannot be a name is refused later.
            value = loader.construct_object(name)
            if not isinstance(value, Hashable):
                continue
            if value in names:
                raise NameTwiceError(problem_mark=name.start_mark)
            names.add(value)
        for part in _parts(node):
            # Aliases make one node part of many.
            if id(part) not in seen:
                seen.add(id(part))
                left.append(part)


def _parts(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for name, held in node.value:
            yield name
            yield held
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value
