"""Immutable JSON values, so that states can share structure.

A frozen container is a `dict` or `list` for reading, comparison and JSON output; every mutating
method raises TypeError. The content of a frozen container is frozen too, so freezing it again
costs nothing. Copies (`.copy()`, `copy.deepcopy`, `{**value}`, `list + list`) are ordinary dicts
and lists, which can be changed and stored again.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, NoReturn, TypeAlias

from .errors import NotSerialisable

MAX_DEPTH = 100  # levels of nested containers
MAX_DIGITS = 4_300  # of an integer: Python converts no longer ones to text

Json: TypeAlias = Any
"""None, bool, int, float, str, FrozenDict or FrozenList."""


def _refuse(self: object, *_: object, **__: object) -> NoReturn:
    kind = "object" if isinstance(self, dict) else "list"
    raise TypeError(
        f"This {kind} belongs to a state and cannot be changed in place: change a copy"
        " and put that in with state.set(…), or use state.append(…) for lists."
    )


class FrozenDict(dict[str, Any]):
    """An immutable JSON object."""

    __slots__ = (
        "depth",
    )  # levels of containers including itself; an upper bound after changes
    depth: int

    def __new__(cls, values: Mapping[str, Any] | None = None) -> FrozenDict:
        """Freeze a mapping. Raises NotSerialisable."""
        if values is None:
            return _frozen_dict({}, 1)
        frozen: FrozenDict = _freeze_mapping(values, "", 0)
        return frozen

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        """Do nothing: `__new__` filled the container."""

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __copy__(self) -> dict[str, Any]:
        """Return a mutable dict with frozen values."""
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        """Return a mutable dict with mutable content at all levels."""
        return {key: copy.deepcopy(value, memo) for key, value in self.items()}

    def __reduce__(self) -> tuple[type[FrozenDict], tuple[dict[str, Any]]]:
        """Pickle the content; unpickling freezes it."""
        return FrozenDict, (dict(self),)

    def with_items(self, changes: Mapping[str, Json]) -> FrozenDict:
        """Return a copy with keys set to frozen values."""
        new = _frozen_dict(self, max(self.depth, 1 + _depth_of(changes.values())))
        dict.update(new, changes)
        return new


class FrozenList(list[Any]):
    """An immutable JSON list."""

    __slots__ = (
        "depth",
    )  # levels of containers including itself; an upper bound after changes
    depth: int

    def __new__(cls, values: Iterable[Any] = ()) -> FrozenList:
        """Freeze values. Raises NotSerialisable."""
        frozen: FrozenList = _freeze_items(list(values), "", 0)
        return frozen

    def __init__(self, values: Iterable[Any] = ()) -> None:
        """Do nothing: `__new__` filled the container."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = extend = insert = pop = remove = clear = _refuse
    sort = reverse = _refuse

    def __copy__(self) -> list[Any]:
        """Return a mutable list with frozen items."""
        return list(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        """Return a mutable list with mutable content at all levels."""
        return [copy.deepcopy(item, memo) for item in self]

    def __reduce__(self) -> tuple[type[FrozenList], tuple[list[Any]]]:
        """Pickle the content; unpickling freezes it."""
        return FrozenList, (list(self),)

    def with_appended(self, items: Sequence[Json]) -> FrozenList:
        """Return a copy with frozen items appended."""
        return _frozen_list([*self, *items], max(self.depth, 1 + _depth_of(items)))


def _frozen_dict(values: Mapping[str, Json], depth: int) -> FrozenDict:
    new: FrozenDict = dict.__new__(FrozenDict)
    dict.update(new, values)
    new.depth = depth
    return new


def _frozen_list(items: Iterable[Json], depth: int) -> FrozenList:
    new: FrozenList = list.__new__(FrozenList)
    list.extend(new, items)
    new.depth = depth
    return new


EMPTY = FrozenDict()


def freeze(value: object, path: str = "") -> Json:
    """Return a value as frozen JSON; tuples become lists, frozen values are returned as they are.

    Raises NotSerialisable with the path and the type of a value that JSON cannot represent.
    """
    return _freeze(value, path, 0)


def _freeze(value: Any, path: str, depth: int) -> Json:
    kind = type(value)
    if kind in _SCALARS:
        return _SCALARS[kind](value, path)
    if kind in _CONTAINERS:
        _check_depth(value, path, depth + value.depth)
        return value
    return _freeze_other(value, path, depth)


def _freeze_other(value: Any, path: str, depth: int) -> Json:
    if isinstance(value, Mapping):
        return _freeze_mapping(value, path, depth)
    if isinstance(value, list | tuple):
        return _freeze_items(value, path, depth)
    return _freeze_subclass(value, path)


def _freeze_mapping(value: Mapping[Any, Any], path: str, depth: int) -> Any:
    _check_depth(value, path, depth + 1)
    frozen: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise NotSerialisable(path, type(key), f"its key {key!r} is no text")
        inner = f"{path}.{key}" if path else key
        frozen[_text(str.__str__(key), inner)] = _freeze(item, inner, depth + 1)
    return _frozen_dict(frozen, 1 + _depth_of(frozen.values()))


def _freeze_items(values: Sequence[Any], path: str, depth: int) -> Any:
    _check_depth(values, path, depth + 1)
    items = [
        _freeze(item, f"{path}.{index}" if path else str(index), depth + 1)
        for index, item in enumerate(values)
    ]
    return _frozen_list(items, 1 + _depth_of(items))


def _freeze_subclass(value: Any, path: str) -> Json:
    """Return a subclass of str, int or float (SafeString, NumPy's floats) as the base type."""
    if not isinstance(value, Enum):
        if isinstance(value, str):
            return _text(str.__str__(value), path)
        if isinstance(value, int):
            return _integer(int.__int__(value), path)
        if isinstance(value, float):
            return _number(float.__float__(value), path)
    raise NotSerialisable(path, type(value))


def _depth_of(values: Iterable[Json]) -> int:
    depths = [value.depth for value in values if type(value) in _CONTAINERS]
    return max(depths, default=0)


def _check_depth(value: object, path: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        why = f"it is nested more than {MAX_DEPTH} levels deep"
        raise NotSerialisable(path, dict if isinstance(value, Mapping) else list, why)


def _identity(value: bool | None, _path: str) -> bool | None:
    return value


def _text(value: str, path: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            why = "its text has half of a surrogate pair"
            raise NotSerialisable(path, str, why) from error
    if "\x00" in value:
        raise NotSerialisable(path, str, "its text has a NUL character")
    return value


def _integer(value: int, path: str) -> int:
    if value.bit_length() > _SAFE_BITS and abs(value) >= 10**MAX_DIGITS:
        raise NotSerialisable(path, int, f"it has more than {MAX_DIGITS:,} digits")
    return value


def _number(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise NotSerialisable(path, float, f"JSON has no {value}")
    return value


_SAFE_BITS = int(MAX_DIGITS * math.log2(10)) - 1  # bits
_CONTAINERS = frozenset({FrozenDict, FrozenList})
_SCALARS: dict[type, Any] = {
    str: _text,
    int: _integer,
    float: _number,
    bool: _identity,
    type(None): _identity,
}


def share(old: Json, new: Json) -> Json:
    """Return `new` with all parts that equal those of `old`, including types, replaced by them.

    Two states then differ by identity exactly where their content differs.
    """
    if old is new or type(old) is not type(new):
        return new
    if isinstance(new, FrozenDict):
        return _share_dicts(old, new)
    if isinstance(new, FrozenList):
        return _share_lists(old, new)
    return old if _same_scalar(old, new) else new


def _share_dicts(old: FrozenDict, new: FrozenDict) -> FrozenDict:
    items = {k: share(old[k], v) if k in old else v for k, v in new.items()}
    is_old = len(old) == len(items) and all(
        key == other and value is old[other]
        for (key, value), other in zip(items.items(), old, strict=True)
    )
    return old if is_old else _frozen_dict(items, new.depth)


def _share_lists(old: FrozenList, new: FrozenList) -> FrozenList:
    items = [share(*pair) for pair in zip(old, new, strict=False)]
    if len(old) == len(new) and all(map(_is, items, old)):
        return old
    return _frozen_list([*items, *new[len(items) :]], new.depth)


def equal(one: Json, other: Json) -> bool:
    """Return whether two JSON values are equal, including types: 1, 1.0 and True differ."""
    if one is other:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            equal(value, other[key]) for key, value in one.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return type(one) is type(other) and bool(one == other)


def same(one: Json, other: Json) -> bool:
    """Return whether two values are equal, including types, order of keys and the sign of 0.0."""
    if one is other:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and _same_scalar(one, other)


def _same_scalar(one: Any, other: Any) -> bool:
    return bool(one == other) and (one != 0.0 or str(one) == str(other))


def _is(one: object, other: object) -> bool:
    return one is other
