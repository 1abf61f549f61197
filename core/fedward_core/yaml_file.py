"""YAML files that people write: a slip in one is told, and not guessed at."""

from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.nodes import MappingNode, ScalarNode

from fedward_core.errors import without_folder


class _Loader(yaml.SafeLoader):
    """Takes no key twice; of two, YAML's usual loader keeps the later one in silence."""

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        node: MappingNode = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                problem = f"the key '{key.value}' stands there twice: keep one of the two"
                raise ComposerError("in a table", node.start_mark, problem, key.start_mark)
            seen.add((key.tag, key.value))
        return node


def read_yaml(path: Path) -> Any:
    """The plain values of a YAML file; None if there are none.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is no YAML, or has a key twice in one table; the message tells the line, and not the folder.
    """
    with path.open(encoding="utf-8") as file:  # whose name faults of YAML tell, as they do not of a text
        try:
            return yaml.load(file, _Loader)  # noqa: S506 - it is a safe loader
        except yaml.YAMLError as error:
            raise ValueError(without_folder(error, path)) from error
        except RecursionError:
            raise ValueError("its lists and tables are nested too deeply") from None
