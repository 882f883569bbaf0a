"""Looking for rows by a value inside their JSON, as people write it.

    params.threshold = 0.8
    result.label = very secret and params.limit = 3

A path goes from object to object by their keys; what it leads to is a text, a number,
true, false or null. Text in quotes is text, even if it looks like a number; without
quotes either will do.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.db.models import F, JSONField, Q, Value
from django.db.models.fields.json import DataContains, KeyTransform, KeyTransformExact

from workflows.models.exact_json import AsJson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models.expressions import Combinable

EXACT = frozenset({"params", "result"})  # columns of JSON text
LONGEST = 500  # characters
MOST = 5  # conditions
FURTHEST = 1_000_000  # place in a list
DEEPEST = 8  # keys of a path
AND = re.compile(r"\s+and\s+", re.IGNORECASE)


class BadCondition(ValueError):
    """The text is no condition on values."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A field has one of these values; they are what one text may stand for."""

    column: str
    path: tuple[str, ...]
    values: tuple[Any, ...]

    def q(self) -> Q:
        """Return it as a condition on rows."""
        found = Q()
        for value in self.values:
            found |= self._is(value)
        return found

    def _is(self, value: Any) -> Q:
        if connection.vendor == "postgresql":  # by the GIN index
            for key in reversed(self.path):
                value = {key: value}
            whole = at(self.column, ())
            return Q(DataContains(whole, Value(value, JSONField())))
        return Q(
            KeyTransformExact(at(self.column, self.path), Value(value, JSONField()))
        )


def at(column: str, path: Sequence[str]) -> Combinable:
    """Return the value at a path inside a JSON column."""
    inner: Any = AsJson(F(column)) if column in EXACT else F(column)
    for key in path:
        inner = KeyTransform(key, inner)
    return inner  # type: ignore[no-any-return]


def is_key(text: str) -> bool:
    """Tell whether databases take a text as the name of a value, or its place in a list."""
    try:
        place = int(text)
    except ValueError:
        return bool(text)
    return text.isascii() and text.isdigit() and place < FURTHEST


def read(text: str, columns: Sequence[str], *, column: str = "") -> list[Condition]:
    """Return the conditions of a text. Raises BadCondition with a sentence.

    Paths begin with one of `columns`; with `column`, it goes without saying.
    """
    text = text.replace("\x00", "").strip()
    if not text:
        return []
    if len(text) > LONGEST:
        raise BadCondition(f"That is longer than {LONGEST} characters.")
    parts = AND.split(text)
    if len(parts) > MOST:
        raise BadCondition(f"At most {MOST} conditions fit.")
    return [_one(part, columns, column) for part in parts]


def _one(text: str, columns: Sequence[str], column: str) -> Condition:
    name, equals, wanted = text.partition("=")
    path = [column] * bool(column) + [key.strip() for key in name.strip().split(".")]
    example = f"{columns[0]}.name = value" if not column else "name = value"
    if not equals or not all(map(is_key, path)) or len(path) < 2:  # noqa: PLR2004 - column and key
        raise BadCondition(f"Write it as “{example}”.")
    if path[0] not in columns:
        raise BadCondition(f"Begin with {' or '.join(columns)}, as in “{example}”.")
    if len(path) > DEEPEST:
        raise BadCondition(f"A path has at most {DEEPEST} names.")
    return Condition(
        path[0], tuple(path[1:]), _meant(wanted.strip().lstrip("=").strip())
    )


def _meant(text: str) -> tuple[Any, ...]:
    """Return what a text may stand for: itself, and the JSON it looks like."""
    try:
        value = json.loads(text, parse_constant=lambda _: text)
    except (ValueError, RecursionError):
        return (text,)
    if isinstance(value, str):
        return (value.encode(errors="replace").decode().replace("\x00", ""),)
    if isinstance(value, dict | list) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        return (text,)
    return (value, text)
