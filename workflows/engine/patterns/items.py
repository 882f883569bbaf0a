"""The items of a pattern, and the storage format of their results."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, get_type_hints

from pydantic import TypeAdapter

from workflows.engine.adapters import adapter
from workflows.engine.frozen import Json, freeze
from workflows.engine.nodes import FunctionNode, Node
from workflows.engine.state import State

Over: TypeAlias = str | Callable[[Any], Iterable[Any]]


def items_of(state: State, over: Over, node: str) -> list[Any]:
    """Return the items from a field of the state or a function of it. Raises TypeError."""
    items = state.get(over) if isinstance(over, str) else over(state)
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        where = (
            f"the field “{over}”" if isinstance(over, str) else "its function `over`"
        )
        raise TypeError(
            f"Node “{node}” works on {where}, which gives {type(items).__name__}: give a list."
        )
    return list(items)


class ResultCodec:
    """Converts results to JSON and back to the annotated return type of the item's function.

    Every result is converted both ways, so that a resumed run has the same values as any other.
    """

    def __init__(self, node: Node[Any, Any]) -> None:
        self._adapter = _adapter(node)

    def write(self, result: object) -> Json:
        """Return a result as JSON. Raises NotSerialisable."""
        kind: Any = type(result)
        codec = self._adapter or adapter(kind)
        return freeze(codec.dump_python(result, mode="json"))

    def read(self, value: Json) -> Any:
        """Return a result from JSON; JSON itself if the function has no return annotation."""
        return value if self._adapter is None else self._adapter.validate_python(value)


def _adapter(node: Node[Any, Any]) -> TypeAdapter[Any] | None:
    """Return the validator of the annotated return type of an item's function, or None."""
    if not isinstance(node, FunctionNode):
        return None
    function = inspect.unwrap(node.function)
    try:
        annotation = get_type_hints(function).get("return", Any)
    except (NameError, TypeError):  # a name known to type checkers only
        return None
    return None if annotation is Any else TypeAdapter(annotation)
