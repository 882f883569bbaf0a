"""Fingerprints of graphs: may a run continue under a workflow that changed since its launch?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from .shape import GraphShape


def fingerprint(shape: GraphShape) -> str:
    """Return a hash of nodes, edges, predicate names, entry, exits and fields: 16 hex digits."""
    parts = {
        "entry": shape.entry,
        "exits": sorted(shape.exits),
        "nodes": sorted((node.name, node.kind) for node in shape.nodes),
        "edges": sorted(
            (e.source, e.index, e.target, e.predicate, *(["failure"] * e.on_failure))
            for e in shape.edges
        ),
        "fields": sorted(shape.fields),
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def differences(
    before: GraphShape | Mapping[str, Any], after: GraphShape | Mapping[str, Any]
) -> list[str]:
    """Return the changes between two shapes, or their JSON, as sentences."""
    before, after = _shape(before), _shape(after)
    kinds_before = {node.name: node.kind for node in before.nodes}
    kinds_after = {node.name: node.kind for node in after.nodes}
    return [
        *_changes("node", kinds_before, kinds_after),
        *_changes("field", dict(before.fields), dict(after.fields)),
        *_route_changes(before, after),
        *_value_change("the entry point", before.entry, after.entry),
        *_value_change("the exits", _listed(before.exits), _listed(after.exits)),
    ]


def _shape(value: GraphShape | Mapping[str, Any]) -> GraphShape:
    return value if isinstance(value, GraphShape) else GraphShape.from_json(value)


def _changes(
    what: str, before: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            yield f"the {what} “{name}” is gone"
        elif name not in before:
            yield f"the {what} “{name}” is new"
        elif before[name] != after[name]:
            yield f"the {what} “{name}” was {before[name]} and is {after[name]} now"


def _route_changes(before: GraphShape, after: GraphShape) -> Iterator[str]:
    for name in sorted({*before.names} & {*after.names}):
        was, now = _route_text(before, name), _route_text(after, name)
        if was != now:
            yield f"“{name}” led {was} and leads {now} now"


def _route_text(shape: GraphShape, name: str) -> str:
    """Return the edges that leave a node, in order, as text."""
    routes = [
        f"to “{edge.target}”"
        + (f" if {'it ' * edge.on_failure}{edge.predicate}" if edge.predicate else "")
        for edge in shape.edges_from(name)
    ]
    return ", else ".join(routes) or "nowhere"


def _value_change(what: str, before: str, after: str) -> Iterator[str]:
    if before != after:
        yield f"{what} changed from {before} to {after}"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"“{name}”" for name in sorted(names))


def type_text(annotation: Any) -> str:
    """Return a type as text without module names; models include their fields."""
    return _type_text(annotation, ())


def _type_text(annotation: Any, within: tuple[Any, ...]) -> str:
    if get_origin(annotation) is Annotated:
        # validators are not part of the shape, and their repr may vary between processes
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(_type_text(part, within) for part in get_args(annotation))
    if get_args(annotation):
        return _generic_text(annotation, within)
    name = (
        "None"
        if annotation is NoneType
        else str(getattr(annotation, "__name__", annotation))
    )
    if not _is_model(annotation) or annotation in within:
        return name
    inner = (*within, annotation)
    fields = {
        field: _type_text(info.annotation, inner)
        for field, info in annotation.model_fields.items()
    }
    return f"{name}({', '.join(f'{field}: {text}' for field, text in fields.items())})"


def _generic_text(annotation: Any, within: tuple[Any, ...]) -> str:
    origin = get_origin(annotation)
    name = getattr(origin, "__name__", None) or str(origin)
    parts = [
        "..."
        if part is ...
        else _type_text(part, within)
        if _is_type(part)
        else repr(part)
        for part in get_args(annotation)
    ]
    return f"{name}[{', '.join(parts)}]"


def _is_type(part: Any) -> bool:
    return isinstance(part, type) or bool(get_args(part)) or part is Any


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
