"""Fields of a result that a golden run compares: their names, values and tolerances."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MISSING: Final = object()  # a field that is not there
MAX_FIELDS: Final = 100  # of one golden run
MAX_NAME_LENGTH: Final = 200  # characters
MAX_OFFERED: Final = 60
MAX_DEPTH: Final = 4  # of the objects whose fields are offered
PARAMS: Final = "params"  # they are in the state too, and always the same


@dataclass(frozen=True, slots=True)
class GoldenField:
    """A field of the result, by its keys joined by dots, such as `total.net` or `items.0`."""

    name: str
    tolerance: float | None = None  # largest accepted difference of a number

    @classmethod
    def of_json(cls, stored: Mapping[str, Any]) -> GoldenField:
        """Return a field as it is stored."""
        return cls(stored["field"], stored.get("tolerance"))

    @property
    def as_json(self) -> dict[str, Any]:
        """The field as it is stored."""
        return {"field": self.name, "tolerance": self.tolerance}

    def accepts(self, expected: object, found: object) -> bool:
        """Return whether a value repeats the expected one."""
        if self.tolerance is not None and is_number(expected) and is_number(found):
            # of the digits as they are written: 1.01 is 0.01 from 1
            gap = abs(Decimal(str(expected)) - Decimal(str(found)))
            return gap <= Decimal(str(self.tolerance))
        return are_same(expected, found)


def is_number(value: object) -> bool:
    """Return whether a value is a finite number, which excludes true and false."""
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(value)  # type: ignore[arg-type]


def are_same(one: Any, other: Any) -> bool:
    """Return whether two values of JSON are the same: 1 is 1.0, and true is not 1."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(
            are_same(value, other[key]) for key, value in one.items()
        )
    if _is_list(one) and _is_list(other):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(are_same(*pair) for pair in pairs)
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def value_at(data: object, name: str) -> Any:
    """Return the value of a field, MISSING if there is none."""
    value: Any = data
    for key in name.split("."):
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif _is_list(value) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return MISSING
    return value


def fields_of(result: object) -> list[tuple[str, Any]]:
    """Return the names and values of the fields to choose from, MAX_OFFERED at most.

    Objects are listed by their fields, lists as a whole.
    """
    found: list[tuple[str, Any]] = []
    for field in _fields(result, (), MAX_DEPTH):
        if len(found) == MAX_OFFERED:
            break
        found.append(field)
    return found


def _fields(value: Any, path: tuple[str, ...], depth: int) -> Iterator[tuple[str, Any]]:
    # a key with a dot cannot be named: its object is compared as a whole
    if (
        isinstance(value, Mapping)
        and value
        and depth
        and not any("." in key or not key for key in value)
    ):
        for key, inner in value.items():
            if path or key != PARAMS:
                yield from _fields(inner, (*path, key), depth - 1)
    elif path:
        yield ".".join(path), value
