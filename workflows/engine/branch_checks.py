"""Checks at import of the field into which a branches node puts its results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, get_origin

from pydantic import BaseModel

from .checks import accepts, name_of, only_type
from .errors import DefinitionError
from .patterns.branches import BranchesNode, returned_type
from .state import State

if TYPE_CHECKING:
    from .nodes import Node


def check_branches(
    workflow: str, nodes: Iterable[Node[Any, Any]], state: type[State]
) -> None:
    """Check the steps and the field of each branches node. Raises DefinitionError."""
    for node in nodes:
        if isinstance(node, BranchesNode):
            where = f"Workflow “{workflow}”: “{node.name}”"
            _check_inner_steps(where, node)
            if (field := state.fields().get(node.into)) is not None:
                _check_field(where, node, field.annotation)


def _check_inner_steps(where: str, node: BranchesNode) -> None:
    for step in node.steps:
        kind = returned_type(step.node)
        if step.is_last or kind is Any or _is_state(kind):
            continue
        raise DefinitionError(
            f"{where}: node “{step.node.name}” of branch “{step.branch}” returns"
            f" {name_of(kind)}, and another node follows: return the state from it, or put it"
            " last.",
            code="check.branches",
        )


def _is_state(kind: Any) -> bool:
    return not isinstance(kind, type) or issubclass(kind, State)


def _check_field(where: str, node: BranchesNode, annotation: Any) -> None:
    kind = only_type(annotation) or Any
    origin = get_origin(kind) or kind
    if isinstance(origin, type) and issubclass(origin, BaseModel):
        _check_model(where, node, origin)
    elif isinstance(origin, type) and not _is_mapping(origin):
        raise DefinitionError(
            f"{where} stores its results in “{node.into}”, which is {name_of(annotation)}: make"
            " it a model with a field for each branch, or dict[str, …].",
            code="check.branches",
        )


def _is_mapping(origin: type) -> bool:
    is_open = origin is object or hasattr(origin, "__get_pydantic_core_schema__")
    return is_open or issubclass(origin, Mapping)


def _check_model(where: str, node: BranchesNode, model: type[BaseModel]) -> None:
    keys = {
        key: info
        for name, info in model.model_fields.items()
        for key in (name, info.validation_alias)
        if isinstance(key, str)
    }
    is_open = model.model_config.get("extra") == "allow"
    for branch, steps in node.branches.items():
        if branch not in keys:
            if is_open:
                continue
            raise DefinitionError(
                f"{where} has the branch “{branch}”, and {model.__name__} has no such field: it"
                f" has {', '.join(model.model_fields)}.",
                code="check.branches",
            )
        kind = returned_type(steps[-1].node)
        field = keys[branch].annotation
        if kind is Any or _fits(field, kind):
            continue
        raise DefinitionError(
            f"{where}: branch “{branch}” returns {_result_of(kind)}, which"
            f" {model.__name__}.{branch} does not hold: it is {name_of(field)}.",
            code="check.branches",
        )
    _check_missing(where, node, model)


def _fits(field: Any, kind: Any) -> bool:
    """Return whether a field may hold a result; True if that is unknown."""
    if isinstance(kind, type) and issubclass(kind, State):
        one = only_type(field) or Any
        inner = get_origin(one) or one
        is_model = isinstance(inner, type) and issubclass(inner, BaseModel)
        return not isinstance(inner, type) or is_model or _is_mapping(inner)
    if not isinstance(kind, type) or not issubclass(kind, BaseModel):
        return True  # pydantic may convert it
    return accepts(field, kind)


def _result_of(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, State):
        return "a state, so its result is a dict of the fields that it changed"
    return name_of(kind)


def _check_missing(where: str, node: BranchesNode, model: type[BaseModel]) -> None:
    """Raise DefinitionError for a field without default that may get no value."""
    for name, info in model.model_fields.items():
        if not info.is_required():
            continue
        is_filled = bool({name, info.validation_alias} & {*node.branches})
        if is_filled and node.needs_all:
            continue
        why = (
            f"only {node.need} of {len(node.branches)} branches have a result"
            if is_filled
            else "no branch has that name"
        )
        raise DefinitionError(
            f"{where}: {model.__name__}.{name} needs a value, and {why}: give the field a"
            " default.",
            code="check.branches",
        )
