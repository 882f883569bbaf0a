"""JSON Patches (RFC 6902) from one state to the next, computed by identity.

States share structure, so an identical object has not changed and is not traversed: the cost is
proportional to the change. Guarantee: `apply(diff(before, after), before)` equals `after`,
including types and the order of keys. Only add, remove and replace are used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from .errors import CheckpointMismatch
from .frozen import Json, freeze, same

Operation: TypeAlias = dict[str, Any]
"""One operation: {"op": "add", "path": "/verdicts/-", "value": …}."""

OPERATION_OVERHEAD_BYTES = 30  # estimated size without path and value
_NOTHING = object()
MAX_SHOWN_CHARS = 200  # characters of an operation in a message
MIN_OPERATIONS = (
    16  # operations within one container, from which on it may be cheaper as a whole
)


def diff(before: Json, after: Json) -> list[Operation]:
    """Return the operations that convert one frozen value to another; empty if equal."""
    return _diff(before, after, "")


def apply(patch: Sequence[Operation], document: Json) -> Json:
    """Return the patched document as frozen JSON; the document itself is not modified.

    Containers on the path of a change are copied once for all operations.
    Raises CheckpointMismatch for a patch that does not fit.
    """
    root: dict[str, Any] = {"": freeze(document)}
    for operation in patch:
        try:
            _apply(operation, root)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointMismatch(
                f"The change {_cut(repr(operation))} does not fit the state it should change:"
                " a stored change before it is missing or damaged."
            ) from error
    return freeze(root[""])


def size(patch: Sequence[Operation]) -> int:
    """Return the size of a patch as compact ASCII JSON, in bytes."""
    return len(_compact_json(patch))


def escaped(key: str) -> str:
    """Return a key as one token of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def unescaped(token: str) -> str:
    """Return the key of a JSON pointer token."""
    return token.replace("~1", "/").replace("~0", "~")


# Finding changes ----------------------------------------------------------------------


def _diff(before: Json, after: Json, path: str) -> list[Operation]:
    if before is after:
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        patch = _diff_objects(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        patch = list(_diff_lists(before, after, path))
    elif same(before, after):
        return []
    else:
        patch = None
    if patch is None or _costs_more_than_replacing(patch, after, path):
        return [{"op": "replace", "path": path, "value": after}]
    return patch


def _diff_objects(
    before: dict[str, Json], after: dict[str, Json], path: str
) -> list[Operation] | None:
    """Return the operations; None if they could not reproduce the order of the keys."""
    patch: list[Operation] = []
    if list(before) != list(after):
        kept = [key for key in before if key in after]
        added = [key for key in after if key not in before]
        if kept + added != list(after):
            return None
        removed = [key for key in before if key not in after]
        patch = [{"op": "remove", "path": f"{path}/{escaped(key)}"} for key in removed]
        before = {key: before.get(key, _NOTHING) for key in after}
    for (key, old), new in zip(before.items(), after.values(), strict=True):
        if old is new:
            continue
        inner = f"{path}/{escaped(key)}"
        if old is _NOTHING:
            patch.append({"op": "add", "path": inner, "value": new})
        else:
            patch += _diff(old, new, inner)
    return patch


def _diff_lists(
    before: list[Json], after: list[Json], path: str
) -> Iterator[Operation]:
    """Yield the operations between the common start and end of two lists.

    1. Items in the middle are compared pairwise.
    2. Remaining items are removed, last first, or added; at the end of the list as “-”.
    """
    start, end = _common_ends(before, after)
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    for index, (one, other) in enumerate(zip(old, new, strict=False), start):
        yield from _diff(one, other, f"{path}/{index}")
    both = start + min(len(old), len(new))
    for index in range(start + len(old) - 1, both - 1, -1):
        yield {"op": "remove", "path": f"{path}/{index}"}
    for index in range(both, start + len(new)):
        place = "-" if end == 0 else index
        yield {"op": "add", "path": f"{path}/{place}", "value": after[index]}


def _common_ends(before: list[Json], after: list[Json]) -> tuple[int, int]:
    """Return the number of common items at the start, and of further ones at the end."""
    limit = min(len(before), len(after))
    start = 0
    for one, other in zip(before, after, strict=False):
        if one is not other and not same(one, other):
            break
        start += 1
    if start == limit and len(before) <= len(after):
        return start, 0  # an append, or nothing
    end = 0
    while end < limit - start and same(before[-1 - end], after[-1 - end]):
        end += 1
    return start, end


def _costs_more_than_replacing(patch: list[Operation], after: Json, path: str) -> bool:
    """Return whether `after` as a whole has less than half the size; stops once it is larger."""
    if len(patch) < MIN_OPERATIONS:
        return False
    # the values of a patch are in `after` as well, so only their overhead counts
    budget = (
        sum(len(operation["path"]) + OPERATION_OVERHEAD_BYTES for operation in patch)
        // 2
    )
    whole = len(path)
    for part in _leaves(after):
        whole += part
        if whole > budget:
            return False
    return True


def _leaves(value: Json) -> Iterator[int]:
    """Yield the estimated bytes of each part of a value."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield len(key) + 4
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield 1
            yield from _leaves(item)
    else:
        yield len(value) + 2 if isinstance(value, str) else 8


# Applying them ------------------------------------------------------------------------


def _apply(operation: Operation, root: dict[str, Any]) -> None:
    kind, path = operation["op"], operation["path"]
    if kind not in {"add", "remove", "replace"}:
        raise ValueError(kind)
    if not path.startswith("/") and (path or kind == "remove"):
        raise ValueError(path)
    tokens = [unescaped(token) for token in path.split("/")]
    parent: Any = root
    for token in tokens[:-1]:
        parent = _mutable_child(parent, token)
    if isinstance(parent, dict):
        _apply_to_object(parent, tokens[-1], operation)
    else:
        _apply_to_list(parent, tokens[-1], operation)


def _mutable_child(parent: Any, token: str) -> Any:
    """Return a nested container, replaced by a mutable copy if it is frozen."""
    place = token if isinstance(parent, dict) else _index(token, len(parent))
    child = parent[place]
    if type(child) in {dict, list}:
        return child
    if not isinstance(child, dict | list):
        raise TypeError(f"nothing is within {child!r}")
    parent[place] = copied = child.copy()
    return copied


def _apply_to_object(parent: dict[str, Any], key: str, operation: Operation) -> None:
    if operation["op"] != "add" and key not in parent:
        raise KeyError(key)
    if operation["op"] == "remove":
        del parent[key]
    else:
        parent[key] = freeze(operation["value"])


def _apply_to_list(parent: list[Any], token: str, operation: Operation) -> None:
    if operation["op"] == "add":
        place = len(parent) if token == "-" else _index(token, len(parent) + 1)  # noqa: S105
        parent.insert(place, freeze(operation["value"]))
    elif operation["op"] == "remove":
        del parent[_index(token, len(parent))]
    else:
        parent[_index(token, len(parent))] = freeze(operation["value"])


def _index(token: str, length: int) -> int:
    """Return a token as an index of a list. Raises ValueError, IndexError."""
    index = int(token)
    if str(index) != token or index < 0:
        raise ValueError(token)
    if index >= length:
        raise IndexError(token)
    return index


def _compact_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[: MAX_SHOWN_CHARS - 1]}…"
