"""Exact comparison of a value that was read back with the one that was stored.

`==` does not suffice: 1 == True == 1.0, NaN differs from itself, and a time in the repeated hour
of a clock change differs from the same time in another zone (PEP 495).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Difference:
    """The first position at which two values differ."""

    path: str  # keys and indices, as in pages.3.author; "" for the whole value
    one: Any
    other: Any


Key = Callable[[type[BaseModel], str], str]
"""Returns the key of a model's field in JSON."""


def _name(_model: type[BaseModel], field: str) -> str:
    return field


def difference(
    one: Any, other: Any, path: str = "", key: Key = _name, *, defaults: bool = True
) -> Difference | None:
    """Return the first difference between `one` and `other`, which was read back, or None.

    A dict or list in `one` may be a subclass in `other`, as JSON is read as frozen containers. An
    int may be an equal float, as a float field accepts both. Without `defaults`, fields of models
    that were not set are ignored.
    """
    if one is other:
        return None
    parts = next((parts for kind, parts in _PARTS if isinstance(one, kind)), _no_parts)
    is_same = _same_type(one, other)
    mine, others = (parts(one, key), parts(other, key)) if is_same else ({}, {})
    is_same = is_same and _same_keys(mine, others)
    if parts is _no_parts:
        is_same = is_same and _same_scalar(one, other)
    if not is_same:
        return Difference(path, one, other)
    # by position: a time in a repeated hour, as a key, is not found by an equal one
    pairs = zip(mine.items(), others.values(), strict=True)
    parts_of_both = [(name, part, again) for (name, part), again in pairs]
    if not defaults and isinstance(one, BaseModel):
        given = {key(type(one), name) for name in one.model_fields_set}
        parts_of_both = [each for each in parts_of_both if each[0] in given]
    return _first(parts_of_both, path, key, defaults=defaults)


def _first(
    parts_of_both: Iterable[tuple[Any, Any, Any]],
    path: str,
    key: Key,
    *,
    defaults: bool,
) -> Difference | None:
    for name, part, again in parts_of_both:
        inner = f"{path}.{name}" if path else str(name)
        if found := difference(part, again, inner, key, defaults=defaults):
            return found
    return None


def _same_type(one: Any, other: Any) -> bool:
    if isinstance(one, dict | list) and not isinstance(one, tuple):
        return isinstance(other, type(one))
    return type(one) is type(other) or (type(one) is int and type(other) is float)


def _of_model(model: BaseModel, key: Key) -> Mapping[Any, Any]:
    """Return the fields of a model that are set, and its extra values."""
    kind, values = type(model), model.__dict__
    fields = {key(kind, n): values[n] for n in kind.model_fields if n in values}
    return {**fields, **(model.__pydantic_extra__ or {})}


def _of_dataclass(value: Any, _key: Key) -> Mapping[Any, Any]:
    names = [field.name for field in dataclasses.fields(value)]
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _of_mapping(value: Any, _key: Key) -> Mapping[Any, Any]:
    found: Mapping[Any, Any] = value
    return found


def _of_sequence(value: Any, _key: Key) -> Mapping[Any, Any]:
    return dict(enumerate(value))


def _no_parts(_value: Any, _key: Key) -> Mapping[Any, Any]:
    return {}


class _Dataclass(type):
    def __instancecheck__(cls, value: object) -> bool:
        return dataclasses.is_dataclass(value) and not isinstance(value, type)


class _AnyDataclass(metaclass=_Dataclass):
    """Matches every dataclass in `isinstance`."""


_PARTS: tuple[tuple[Any, Callable[[Any, Key], Mapping[Any, Any]]], ...] = (
    (BaseModel, _of_model),
    (_AnyDataclass, _of_dataclass),
    (Mapping, _of_mapping),
    (list | tuple, _of_sequence),
)


def _same_keys(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
    """Return whether the keys are the same, including types and order."""
    return len(one) == len(other) and all(
        difference(key, again) is None for key, again in zip(one, other, strict=True)
    )


def _same_scalar(one: Any, other: Any) -> bool:
    for kind, same in _SAME:
        if isinstance(one, kind):
            return same(one, other)
    return bool(one == other)


def _same_float(one: float, other: float) -> bool:
    both_nan = math.isnan(one) and math.isnan(other)
    signs = math.copysign(1, one), math.copysign(1, other)
    return both_nan or (one == other and signs[0] == signs[1])


def _same_decimal(one: Decimal, other: Decimal) -> bool:
    return one.as_tuple() == other.as_tuple()  # 1.0 is not 1.00, and a NaN is itself


def _same_set(one: Iterable[Any], other: Iterable[Any]) -> bool:
    mine, others = {(type(x), x) for x in one}, {(type(x), x) for x in other}
    left, others_left = mine - others, [value for _, value in others - mine]
    # times in a repeated hour are not equal to those that were read back
    return len(left) == len(others_left) and all(
        any(difference(value, again) is None for again in others_left)
        for _, value in left
    )


def _same_datetime(one: datetime, other: datetime) -> bool:
    """Return whether two times and their offsets are the same; zone names are not stored."""
    offsets = one.utcoffset(), other.utcoffset()
    if None in offsets:
        return offsets[0] is offsets[1] and one == other
    # with the same offset, the wall-clock times decide, also in a repeated hour
    return offsets[0] == offsets[1] and _naive(one) == _naive(other)


def _naive(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None, fold=0)


_SAME: tuple[tuple[Any, Callable[[Any, Any], bool]], ...] = (
    (Enum, lambda one, other: one is other),
    (float, _same_float),
    (Decimal, _same_decimal),
    (datetime, _same_datetime),
    (set | frozenset, _same_set),
)
