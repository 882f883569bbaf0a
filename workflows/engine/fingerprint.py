"""Fingerprints of graphs: may a run continue under a workflow that changed since its launch?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from .graph_shape import GraphShape, NodeShape


def fingerprint(shape: GraphShape) -> str:
    """Return a hash of nodes, edges, predicate names, entry, exits and fields: 16 hex digits."""
    parts: dict[str, object] = {
        "entry": shape.entry,
        "exits": sorted(shape.exits),
        "nodes": sorted((node.name, node.kind) for node in shape.nodes),
        "edges": sorted(
            (e.source, e.index, e.target, e.predicate, *(["failure"] * e.on_failure))
            for e in shape.edges
        ),
        "fields": sorted(shape.fields),
    }
    # shapes of older workflows have none of these, and keep their fingerprint
    if shape.undo:
        parts["undo"] = sorted((of, node.name) for of, node in shape.undo)
    if shape.on_end is not None:
        parts["on_end"] = shape.on_end.name
    if votes := sorted(_votes(shape).items()):
        parts["votes"] = votes
    if has_branches := sorted(map(_branch_parts, shape.nodes_with_branches)):
        parts["branches"] = has_branches
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _branch_parts(node: NodeShape) -> list[Any]:
    branches = [
        [branch.name, *([inner.name, inner.kind] for inner in branch.nodes)]
        for branch in node.branches
    ]
    return [node.name, node.need, branches]


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
        *_undo_changes(before, after),
        *_vote_changes(before, after),
        *_branch_changes(before, after),
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
            yield f"the {what} “{name}” was removed"
        elif name not in before:
            yield f"the {what} “{name}” was added"
        elif before[name] != after[name]:
            yield f"the {what} “{name}” was {before[name]} and is {after[name]} now"


def _route_changes(before: GraphShape, after: GraphShape) -> Iterator[str]:
    for name in sorted({*before.names} & {*after.names}):
        was, now = _route_text(before, name), _route_text(after, name)
        if was != now:
            yield f"“{name}” led {was} and leads {now} now"


def _undo_changes(before: GraphShape, after: GraphShape) -> Iterator[str]:
    was = {of: node.name for of, node in before.undo}
    now = {of: node.name for of, node in after.undo}
    for of in sorted(was.keys() | now.keys()):
        first, second = was.get(of, ""), now.get(of, "")
        what = f"what undoes “{of}”"
        yield from _value_change(what, _named(first), _named(second))
    ends = [shape.on_end.name if shape.on_end else "" for shape in (before, after)]
    yield from _value_change("the node at the end", *map(_named, ends))


def _votes(shape: GraphShape) -> dict[str, int]:
    """Return the number of responses by approval, for those that wait for several."""
    return {node.name: node.votes for node in shape.nodes if node.votes != 1}


def _vote_changes(before: GraphShape, after: GraphShape) -> Iterator[str]:
    was, now = _votes(before), _votes(after)
    for name in sorted({*before.names} & {*after.names}):
        first, second = was.get(name, 1), now.get(name, 1)
        what = f"the number of responses to “{name}”"
        yield from _value_change(what, str(first), str(second))


def _branch_changes(before: GraphShape, after: GraphShape) -> Iterator[str]:
    was = {node.name: _branch_text(node) for node in before.nodes_with_branches}
    now = {node.name: _branch_text(node) for node in after.nodes_with_branches}
    for name in sorted(was.keys() & now.keys()):
        yield from _value_change(f"the branches of “{name}”", was[name], now[name])


def _branch_text(node: NodeShape) -> str:
    branches = ", ".join(
        f"“{branch.name}” ({' → '.join(inner.name for inner in branch.nodes)})"
        for branch in node.branches
    )
    return f"{branches}, of which {node.need} are needed"


def _named(name: str) -> str:
    return f"“{name}”" if name else "nothing"


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
