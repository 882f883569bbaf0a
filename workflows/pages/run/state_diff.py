"""Two states as one aligned table: before and after in the same row, changed rows marked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from workflows.engine.frozen import same

MAX_ROWS = 500
MAX_DEPTH = 6  # of nested values that are compared; deeper ones are shown as JSON
MAX_TEXT_CHARS = 20_000  # of one value
SHORT_CHARS = 160  # a longer value is folded
NOTHING: Final = object()  # no value on that side


@dataclass(frozen=True, slots=True)
class Side:
    """A value as JSON text, cut to what a page shows."""

    text: str

    @property
    def is_long(self) -> bool:
        """Return whether it is folded."""
        return len(self.text) > SHORT_CHARS

    @property
    def start(self) -> str:
        """Return its beginning."""
        return f"{self.text[:SHORT_CHARS]}…"


@dataclass(frozen=True, slots=True)
class Row:
    """One key or position; `before` and `after` are None where the value has its own rows."""

    key: str
    depth: int
    kind: str  # same, changed, added, removed, inside (changes are in the rows below), skipped
    before: Side | None = None
    after: Side | None = None

    @property
    def is_change(self) -> bool:
        """Return whether the row has, or contains, a change."""
        return self.kind not in {"same", "skipped"}


@dataclass(frozen=True, slots=True)
class StateDiff:
    """The rows of two states, and how many were left out."""

    rows: Sequence[Row]
    is_cut: bool

    @property
    def count(self) -> int:
        """Return the number of changed values."""
        return sum(row.is_change and row.kind != "inside" for row in self.rows)


def diff_of(before: Any, after: Any, *, only_changes: bool = False) -> StateDiff:
    """Return the aligned rows of two JSON values, without unchanged ones if requested."""
    rows = _children(before, after, 0)
    shown = (row for row in rows if row.is_change or not only_changes)
    found = list(islice(shown, MAX_ROWS + 1))
    return StateDiff(found[:MAX_ROWS], is_cut=len(found) > MAX_ROWS)


def _rows(key: str, before: Any, after: Any, depth: int) -> Iterator[Row]:
    if before is NOTHING or after is NOTHING:
        kind = "added" if before is NOTHING else "removed"
        yield Row(key, depth, kind, _side(before), _side(after))
    elif same(before, after):
        yield Row(key, depth, "same", side := _side(before), side)
    elif depth < MAX_DEPTH and _can_align(before, after):
        yield Row(key, depth, "inside")
        yield from _children(before, after, depth + 1)
    else:
        yield Row(key, depth, "changed", _side(before), _side(after))


def _can_align(before: Any, after: Any) -> bool:
    kinds = (Mapping, list | tuple)
    return any(isinstance(before, k) and isinstance(after, k) for k in kinds) and bool(
        before and after
    )


def _children(before: Any, after: Any, depth: int) -> Iterator[Row]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys([*before, *after]):
            old, new = before.get(key, NOTHING), after.get(key, NOTHING)
            yield from _rows(str(key), old, new, depth)
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple):
        yield from _items(before, after, depth)
    elif not same(before, after):
        yield Row("state", depth, "changed", _side(before), _side(after))


def _items(before: Sequence[Any], after: Sequence[Any], depth: int) -> Iterator[Row]:
    """Yield the rows of two lists by position; unchanged positions in a row are one row."""
    first = None  # of unchanged positions
    for place in range(max(len(before), len(after))):
        old = before[place] if place < len(before) else NOTHING
        new = after[place] if place < len(after) else NOTHING
        is_same = old is not NOTHING and new is not NOTHING and same(old, new)
        if is_same:
            first = place if first is None else first
            continue
        if first is not None:
            yield _skipped(first, place, depth)
            first = None
        yield from _rows(str(place + 1), old, new, depth)
    if first is not None:
        yield _skipped(first, max(len(before), len(after)), depth)


def _skipped(first: int, end: int, depth: int) -> Row:
    """Return the row of unchanged positions, which are counted from 1."""
    key = str(first + 1) if end - first == 1 else f"{first + 1}–{end}"
    return Row(key, depth, "skipped")


def _side(value: Any) -> Side | None:
    if value is NOTHING:
        return None
    text = json.dumps(value, ensure_ascii=False, default=str)
    cut = len(text) - MAX_TEXT_CHARS
    if cut > 0:
        text = f"{text[:MAX_TEXT_CHARS]}… ({cut:,} more characters)"
    return Side(text)
