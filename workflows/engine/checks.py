"""Checks at import of mistakes in a workflow that would otherwise only show in a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from string import Formatter
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from .errors import DefinitionError
from .event_nodes import MessageNode
from .first_of import FirstOf, approval_of
from .nodes import Node
from .pause_nodes import Approval
from .predicates import (
    Edge,
    FailurePredicate,
    FunctionPredicate,
    Predicate,
    always,
)
from .state import State
from .votes import answer_in_votes

_STEP = re.compile(r"\.([^.\[]+)|\[([^\]]*)\]")  # of a box such as s.params.names[0]


def dead_edge(edges: Sequence[Edge]) -> tuple[Edge, Edge] | None:
    """Return the first edge that is never taken, and the earlier one that is taken instead.

    That is an edge after one without a condition, or after one with the same predicate. The
    edges of the failure route are compared with each other only.
    """
    ordinary = [edge for edge in edges if not edge.on_failure]
    return _dead_ordinary_edge(ordinary) or _dead_failure_edge(edges)


def _dead_failure_edge(edges: Sequence[Edge]) -> tuple[Edge, Edge] | None:
    earlier: list[tuple[Edge, FailurePredicate]] = []
    for edge in edges:
        if isinstance(edge.when, FailurePredicate):
            for other, predicate in earlier:
                if predicate.covers(edge.when):
                    return edge, other
            earlier.append((edge, edge.when))
    return None


def _dead_ordinary_edge(edges: Sequence[Edge]) -> tuple[Edge, Edge] | None:
    evaluated: dict[int, Edge] = {}
    for edge in edges:
        predicate = always if edge.when is None else edge.when
        if earlier := evaluated.get(id(always)) or evaluated.get(id(predicate)):
            return edge, earlier
        evaluated[id(predicate)] = edge
    return None


def check_against_state(
    workflow: str,
    nodes: Iterable[Node[Any, Any]],
    predicates: Iterable[Predicate[Any]],
    state: type[State],
) -> None:
    """Check answers and templates against the fields of the state. Raises DefinitionError."""
    if not state.fields():
        return  # an untyped state accepts any key
    for node in nodes:
        _check_node(f"Workflow “{workflow}”: {node.kind} “{node.name}”", node, state)
    for predicate in predicates:
        for part in _functions(predicate):
            for template in (part.template, part.otherwise):
                where = (
                    f"Workflow “{workflow}”: predicate “{part.name}” has the template"
                    f" {template!r}"
                )
                _check_template_fields(where, template, state)


def _check_node(where: str, node: Node[Any, Any], state: type[State]) -> None:
    if isinstance(node, Approval | MessageNode):
        _check_answer_type(where, node, state)
    elif isinstance(node, FirstOf):
        _check_name_field(where, node, state)
    if isinstance(node, Approval):
        _check_template_fields(f"{where} asks {node.question!r}", node.question, state)


def check_exclusions(
    workflow: str, nodes: Mapping[str, Node[Any, Any]], edges: Iterable[tuple[str, str]]
) -> None:
    """Raise DefinitionError for `not_by="previous"` where no approval can come before.

    `edges` are the names of source and target.
    """
    sources: dict[str, set[str]] = {}
    for source, target in edges:
        sources.setdefault(target, set()).add(source)
    for name, node in nodes.items():
        approval = approval_of(node)
        if approval is None or approval.not_by != "previous":
            continue
        earlier = _reaching(name, sources)
        if not any(approval_of(nodes[one]) for one in earlier):
            raise DefinitionError(
                f"Workflow “{workflow}”: approval “{approval.name}” has not_by='previous', and no"
                " approval comes before it: leave it out, or use not_by='launcher'.",
                code="check.not_by",
            )


def _reaching(name: str, sources: Mapping[str, set[str]]) -> set[str]:
    """Return the nodes from which a node is reached, itself if it is part of a cycle."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        new = sources.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


# Answers ----------------------------------------------------------------------------


def _check_answer_type(
    where: str, node: Approval | MessageNode, state: type[State]
) -> None:
    field = state.fields().get(node.into)
    if field is None or any(map(_converts, field.metadata)):
        return
    if isinstance(node, Approval) and node.votes > 1:
        _check_votes_field(where, node, state, field.annotation)
    elif not accepts(field.annotation, node.answer_type):
        raise DefinitionError(
            f"{where} puts a {node.answer_type.__name__} into “{node.into}”, which"
            f" {state.__name__} declares as {name_of(field.annotation)}: give the field that"
            " type.",
            code="check.answer_type",
        )


def _check_name_field(where: str, node: FirstOf, state: type[State]) -> None:
    """Raise DefinitionError unless a field accepts the names of all parts."""
    annotation = state.fields()[node.into].annotation

    def accepts_all(kind: Any) -> bool:
        if get_origin(kind) is Literal:
            return {part.name for part in node.parts} <= {*get_args(kind)}
        return kind is Any or not isinstance(kind, type) or issubclass(str, kind)

    if not _some_arm(annotation, accepts_all):
        names = ", ".join(f"“{part.name}”" for part in node.parts)
        raise DefinitionError(
            f"{where} puts the name of what came first ({names}) into “{node.into}”, which"
            f" {state.__name__} declares as {name_of(annotation)}: declare it as str.",
            code="check.answer_type",
        )


def _check_votes_field(
    where: str, node: Approval, state: type[State], annotation: Any
) -> None:
    if not _accepts_votes(annotation, node.answer_type):
        name = node.answer_type.__name__
        raise DefinitionError(
            f"{where} puts {node.votes} votes into “{node.into}”, which {state.__name__} declares"
            f" as {name_of(annotation)}: declare it as tuple[Vote[{name}], ...] = ().",
            code="check.answer_type",
        )


def _accepts_votes(annotation: Any, answer: type[BaseModel]) -> bool:
    def accepts_them(kind: Any) -> bool:
        found = answer_in_votes(kind)
        return kind is Any or (found is not None and accepts(found, answer))

    return _some_arm(annotation, accepts_them)


def accepts(annotation: Any, answer: type[BaseModel]) -> bool:
    """Return whether a field of that type may accept an answer; True if that is unknown."""

    def accepts_it(kind: Any) -> bool:
        origin: Any = get_origin(kind)
        return _class_accepts(origin or kind, answer)

    return _some_arm(annotation, accepts_it)


def _some_arm(annotation: Any, holds: Callable[[Any], bool]) -> bool:
    """Return whether a test holds for a type, or for one type of a union.

    It holds for an annotated type whose metadata may convert a value before validation.
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        kind, *metadata = get_args(annotation)
        return any(map(_converts, metadata)) or _some_arm(kind, holds)
    if origin in {Union, UnionType}:
        return any(_some_arm(arm, holds) for arm in get_args(annotation))
    return holds(annotation)


def _class_accepts(kind: Any, answer: type[BaseModel]) -> bool:
    if kind is None or kind is Literal:
        return False
    if kind is Any or not isinstance(kind, type):  # a type variable, an alias
        return True
    return issubclass(answer, kind) or _is_convertible(kind)


def _is_convertible(kind: type) -> bool:
    """Return whether pydantic may convert another model to this type."""
    if not issubclass(kind, BaseModel):
        return hasattr(kind, "__get_pydantic_core_schema__")
    validators = kind.__pydantic_decorators__.model_validators.values()
    return bool(kind.model_config.get("from_attributes")) or any(
        validator.info.mode != "after" for validator in validators
    )


def _converts(metadata: object) -> bool:
    """Return whether it is a function that may convert a value before validation."""
    return hasattr(metadata, "func")


def name_of(annotation: Any) -> str:
    """Return a type as text for messages."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


# Templates --------------------------------------------------------------------------


def _functions(predicate: Predicate[Any]) -> Iterator[FunctionPredicate[Any]]:
    """Yield the functions in a predicate."""
    waiting = [predicate]
    while waiting:
        each = waiting.pop()
        if isinstance(each, FunctionPredicate):
            yield each
        waiting += getattr(each, "parts", ())
        waiting += [each.part] if hasattr(each, "part") else []


def _check_template_fields(where: str, template: str, state: type[State]) -> None:
    for place in _places(template):
        if missing := _missing(place, state):
            raise DefinitionError(
                f"{where}, and there is no “{{{place}}}”: {missing}",
                code="check.template",
            )


def _places(template: str) -> Iterator[str]:
    """Yield the placeholders of a template, including those within format specifications."""
    for _, place, form, _ in Formatter().parse(template):
        if place is not None:
            yield place
            yield from _places(form or "")


def _missing(place: str, state: type[State]) -> str:
    """Return an error message for a placeholder that cannot be resolved, else ""."""
    kind: Any = state
    for match in _STEP.finditer(place):
        attribute, item = match.groups()
        name = attribute or item
        if not isinstance(kind, type) or (item and not issubclass(kind, State)):
            return ""
        fields = _fields_of(kind)
        if fields is None or (name not in fields and attribute and hasattr(kind, name)):
            return ""  # a type with unknown fields, or a property
        if name not in fields:
            return f"{kind.__name__} has no field “{name}”. It has {', '.join(fields)}."
        kind = only_type(fields[name].annotation)
    return ""


def _fields_of(kind: type) -> dict[str, Any] | None:
    """Return the fields of a typed state or a model without extra fields, else None."""
    if issubclass(kind, State):
        return dict(kind.fields()) or None
    if issubclass(kind, BaseModel) and kind.model_config.get("extra") != "allow":
        return dict(kind.model_fields)
    return None


def only_type(annotation: Any) -> Any:
    """Return the one type a value can have apart from None; None if there are several."""
    if get_origin(annotation) is Annotated:
        return only_type(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        arms = [arm for arm in get_args(annotation) if arm is not NoneType]
        return only_type(arms[0]) if len(arms) == 1 else None
    return annotation
