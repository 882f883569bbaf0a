"""Thresholds: the values in the conditions of a workflow that can be replaced to try others.

These are the params of the workflow, the bounds of `key("confidence").at_least(0.8)`, and the
constants and enclosing variables that a function of a condition reads. Numbers written inside a
function have no name and cannot be replaced.

Nothing here changes the workflow: conditions are rebuilt with the other values.
"""

from __future__ import annotations

import dis
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import CellType, CodeType, FunctionType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeAlias,
    Union,
    get_args,
    get_origin,
)

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from .adapters import codec
from .predicates import FunctionPredicate, Predicate
from .predicates.core import AllOf, AnyOf, Not
from .predicates.keys import Comparison
from .workflow import Workflow

Place: TypeAlias = tuple[str, ...]
"""What a threshold is part of: its kind, then what tells it from others of this kind."""

PARAM, BOUND, CONSTANT, VARIABLE = "param", "bound", "constant", "variable"
SCALARS: Final = (bool, int, float, Decimal, date, datetime, time, timedelta, Enum)
READS_GLOBAL: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})  # instructions
MAX_DEPTH: Final = 20  # of functions within a function


@dataclass(frozen=True, slots=True)
class Threshold:
    """A value that a what-if report may replace."""

    name: str
    place: Place
    value: Any  # today's; None for a param without default
    what: str  # what it is part of, for people
    read: Callable[[str], Any]  # the value of a text; raises pydantic's ValidationError
    longer: str = ""  # a longer name, used if several have the short one

    @property
    def is_param(self) -> bool:
        """Whether each run has a value of its own."""
        return self.place[0] == PARAM


def thresholds_of(workflow: Workflow[Any]) -> tuple[Threshold, ...]:
    """Return what can be replaced: first params, then the others in the order of the edges.

    Each has a name of its own.
    """
    found: dict[Place, Threshold] = {}
    for one in (*_params(workflow), *_in_edges(workflow)):
        found.setdefault(one.place, one)
    by_name: dict[str, list[Threshold]] = defaultdict(list)
    for one in found.values():
        by_name[one.name].append(one)
    return tuple(
        one if len(by_name[one.name]) == 1 else replace(one, name=one.longer)
        for one in found.values()
    )


def replaced(predicate: Predicate[Any], values: Mapping[Place, Any]) -> Predicate[Any]:
    """Return a predicate with the given values; the same one if it has none of them."""
    found = predicate
    if isinstance(predicate, Not):
        part = replaced(predicate.part, values)
        found = predicate if part is predicate.part else Not(part)
    elif isinstance(predicate, AllOf | AnyOf):
        parts = tuple(replaced(part, values) for part in predicate.parts)
        same = all(a is b for a, b in zip(parts, predicate.parts, strict=True))
        found = predicate if same else type(predicate)(parts)
    elif isinstance(predicate, Comparison):
        place = _place_of_bound(predicate)
        found = predicate.with_bound(values[place]) if place in values else predicate
    elif isinstance(predicate, FunctionPredicate):
        found = _with_variables(predicate, values)
    return found


# Params ---------------------------------------------------------------------------------


def _params(workflow: Workflow[Any]) -> Iterator[Threshold]:
    kind = workflow.params_type
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return
    fields = workflow.state_type.fields()
    for key, name in codec(kind).keys_of(kind).items():
        info = kind.model_fields[name]
        is_kept = not fields or "params" in fields or name in fields
        if is_kept and _is_scalar(info.annotation):
            default = None if info.default is PydanticUndefined else info.default
            yield Threshold(
                name,
                (PARAM, key, name),
                default,
                "param",
                _reader_of_field(info),
                f"params.{name}",
            )


def _is_scalar(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin in {Union, UnionType}:
        parts = [part for part in get_args(annotation) if part is not type(None)]
        return bool(parts) and all(map(_is_scalar, parts))
    if origin is Annotated:
        return _is_scalar(get_args(annotation)[0])
    if origin is Literal:
        return True
    return isinstance(annotation, type) and issubclass(annotation, SCALARS)


def _reader_of_field(info: FieldInfo) -> Callable[[str], Any]:
    """Return a function from a text to the JSON of a field. Runs the author's validators."""
    bare = copy(info)
    bare.default, bare.default_factory = PydanticUndefined, None

    def read(text: str) -> Any:
        whole: Any = Annotated[info.annotation, bare]
        adapter: TypeAdapter[Any] = TypeAdapter(whole)
        return adapter.dump_python(adapter.validate_strings(text), mode="json")

    return read


# Conditions -----------------------------------------------------------------------------


def _in_edges(workflow: Workflow[Any]) -> Iterator[Threshold]:
    for node in workflow.graph.nodes:
        for edge in workflow.graph.edges_from(node):
            if edge.when is not None:
                yield from _in_predicate(edge.when)


def _in_predicate(predicate: Predicate[Any]) -> Iterator[Threshold]:
    parts: Iterable[Predicate[Any]] = ()
    if isinstance(predicate, Not):
        parts = (predicate.part,)
    elif isinstance(predicate, AllOf | AnyOf):
        parts = predicate.parts
    elif isinstance(predicate, Comparison):
        if isinstance(predicate.bound, SCALARS):
            yield _of_bound(predicate)
    elif isinstance(predicate, FunctionPredicate):
        yield from _of_function(predicate)
    for part in parts:
        yield from _in_predicate(part)


def _place_of_bound(predicate: Comparison) -> Place:
    return BOUND, predicate.key, predicate.wanted, repr(predicate.bound)


def _of_bound(predicate: Comparison) -> Threshold:
    name = f"{predicate.key}.{predicate.wanted.replace(' ', '_')}"
    return Threshold(
        name,
        _place_of_bound(predicate),
        predicate.bound,
        f"bound of “{predicate.name}”",
        _reader_of_value(predicate.bound),
        f"{name}:{predicate.bound}",
    )


def _of_function(predicate: FunctionPredicate[Any]) -> Iterator[Threshold]:
    """Yield the constants and enclosing variables that a function reads."""
    function = predicate.function
    if not isinstance(function, FunctionType):
        return
    what = f"read by “{predicate.name}”"
    module = function.__module__ or ""
    for name, value in _constants(function).items():
        longer = f"{module.rpartition('.')[2]}.{name}"
        reader = _reader_of_value(value)
        yield Threshold(name, (CONSTANT, module, name), value, what, reader, longer)
    for name, cell in zip(
        function.__code__.co_freevars, function.__closure__ or (), strict=True
    ):
        value = _content(cell)
        if isinstance(value, SCALARS):
            longer = f"{predicate.name}.{name}"
            place = VARIABLE, predicate.name, name
            yield Threshold(name, place, value, what, _reader_of_value(value), longer)


def _constants(function: FunctionType) -> dict[str, Any]:
    """Return the scalar global variables that a function reads."""
    known = function.__globals__
    names = dict.fromkeys(_global_names(function.__code__, MAX_DEPTH))
    return {
        name: known[name]
        for name in names
        if isinstance(known.get(name), SCALARS) and not name.startswith("__")
    }


def _global_names(code: CodeType, depth: int) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in READS_GLOBAL:
            yield str(instruction.argval)
    for inner in code.co_consts if depth else ():
        if isinstance(inner, CodeType):
            yield from _global_names(inner, depth - 1)


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _reader_of_value(value: Any) -> Callable[[str], Any]:
    """Return a function from a text to a value like another one; a number may be any number."""
    is_number = type(value) in {int, float}
    kind: Any = int | float if is_number else type(value)
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    return adapter.validate_strings


def _with_variables(
    predicate: FunctionPredicate[Any], values: Mapping[Place, Any]
) -> Predicate[Any]:
    function = predicate.function
    if not isinstance(function, FunctionType):
        return predicate
    places = {one.place: one.place[-1] for one in _of_function(predicate)}
    changed = {place: values[place] for place in places if place in values}
    if not changed:
        return predicate
    constants = {p[-1]: value for p, value in changed.items() if p[0] == CONSTANT}
    variables = {p[-1]: value for p, value in changed.items() if p[0] == VARIABLE}
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    made = FunctionType(
        function.__code__,
        {**function.__globals__, **constants},
        function.__name__,
        function.__defaults__,
        tuple(
            CellType(variables[name]) if name in variables else cell
            for name, cell in cells
        ),
    )
    made.__kwdefaults__ = function.__kwdefaults__
    made.__module__ = function.__module__
    return FunctionPredicate(
        made, predicate.template, predicate.name, predicate.otherwise
    )
