"""The items a pattern works on, and how their results are kept."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, get_type_hints

from pydantic import TypeAdapter

from workflows.engine.frozen import Json, freeze
from workflows.engine.nodes import FunctionNode, Node
from workflows.engine.state import State

Over: TypeAlias = str | Callable[[Any], Iterable[Any]]


def items_of(state: State, over: Over, node: str) -> list[Any]:
    """The items, read from a field of the state or by a function of it. Raises TypeError."""
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
    """Writes results as JSON and reads them back as what the item's function is said to return.

    A result always goes both ways, so that a run that was resumed sees what one that was not sees.
    """

    def __init__(self, node: Node[Any, Any]) -> None:
        self._adapter = _adapter(node)

    def write(self, result: object) -> Json:
        """The result as JSON. Raises NotSerialisable."""
        adapter = self._adapter or TypeAdapter(type(result))
        return freeze(adapter.dump_python(result, mode="json"))

    def read(self, value: Json) -> Any:
        """The result again; as JSON where the function does not tell its type."""
        return value if self._adapter is None else self._adapter.validate_python(value)


def _adapter(node: Node[Any, Any]) -> TypeAdapter[Any] | None:
    """For the type an item's function returns, where it is annotated."""
    if not isinstance(node, FunctionNode):
        return None
    function = inspect.unwrap(node.function)
    try:
        annotation = get_type_hints(function).get("return", Any)
    except (NameError, TypeError):  # a name known to type checkers only
        return None
    return None if annotation is Any else TypeAdapter(annotation)
