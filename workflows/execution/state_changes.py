"""The changes of each step to the state, read from the checkpoints.

A stored checkpoint never changes, so the result is cached, cut to what a page shows. The
start of the stage is part of the key: when the database went back to an older copy, the
step runs again. States too large to be compared are described by their stored patches
alone, without the values before.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Sum

from workflows.engine.json_patch import diff, unescaped
from workflows.execution.checkpoints import replay, states
from workflows.infra.page_cache import MISSING, page_cache
from workflows.models import Checkpoint, StageItem

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from workflows.engine.json_patch import Operation

MAX_BYTES = 1_000_000  # of checkpoints that are replayed for one page
MAX_CHANGES = 12  # listed per step; the rest is counted
MAX_TEXT_CHARS = 2_000  # characters of one value
NOTHING: Final = object()  # there was no value, or it is unknown


@dataclass(frozen=True, slots=True)
class Change:
    """One changed value, before and after as JSON text, None where there is none."""

    path: str  # `verdicts / 3 / label`
    kind: str  # added, appended, replaced or removed
    before: str | None = None
    after: str | None = None
    count: int = 1  # items that were appended


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes of one step."""

    listed: tuple[Change, ...] = ()
    hidden: int = 0  # changes beyond the listed ones
    is_known: bool = True  # False: too large to be compared

    @property
    def size(self) -> int:
        """The bytes of its texts."""
        texts = ((one.path, one.before, one.after) for one in self.listed)
        return sum(sys.getsizeof(text) for three in texts for text in three)


def changes_of(run_id: UUID, steps: Mapping[int, dt.datetime]) -> Mapping[int, Changes]:
    """Return the changes by step; steps without checkpoints are left out.

    `steps` has the start of the stage of each step. Raises CheckpointMismatch when a row
    is missing or damaged.
    """
    keys = {
        step: ("changes", run_id, step, start)
        for step, start in steps.items()
        if step > 0
    }
    cached = {step: page_cache.get(key) for step, key in keys.items()}
    missing = {step for step, changes in cached.items() if changes is MISSING}
    known = {step: cached[step] for step in cached.keys() - missing}
    if missing:
        found = _read(run_id, min(missing), max(missing), missing)
        for step, changes in found.items():
            page_cache.add(keys[step], changes, changes.size)
        known |= found
    return known


def branch_changes(
    run_id: UUID, steps: Mapping[int, tuple[int, int]]
) -> Mapping[int, Changes]:
    """Return the changes of steps of branches, which the state of the run does not have.

    `steps` has, by sequence, that of the join and the index of the step among those of the
    branches. The result of a branch is a change of its last step.
    """
    joins = {join for join, _ in steps.values()}
    rows = StageItem.objects.filter(run_id=run_id, sequence__in=joins)
    items = {(row.sequence, row.index): row.data for row in rows}
    return {
        sequence: _branch_change(json.loads(items[place]))
        for sequence, place in steps.items()
        if place in items
    }


def _branch_change(item: Mapping[str, Any]) -> Changes:
    if "patch" in item:
        return describe_patch(item["patch"])
    return Changes((Change("result", "added", after=_text(item["result"])),))


def _read(run_id: UUID, first: int, last: int, wanted: set[int]) -> dict[int, Changes]:
    rows = Checkpoint.objects.filter(run_id=run_id, sequence__lte=last)
    keyframes = rows.filter(kind=Checkpoint.Kind.FULL, sequence__lt=first)
    start = keyframes.order_by("-sequence").values_list("sequence", flat=True).first()
    rows = rows.filter(sequence__gte=first if start is None else start)
    weight = rows.aggregate(bytes=Sum("bytes"))["bytes"] or 0
    if weight > MAX_BYTES or start is None:
        found = _by_patches(rows.filter(sequence__in=wanted))
    else:
        found = _by_states(list(rows.order_by("sequence")))
    return {step: changes for step, changes in found.items() if step in wanted}


def _by_patches(rows: Iterable[Checkpoint]) -> dict[int, Changes]:
    return {
        row.sequence: describe_patch(json.loads(row.data))
        if row.kind == Checkpoint.Kind.DELTA
        else Changes(is_known=False)
        for row in rows
    }


def _by_states(rows: Sequence[Checkpoint]) -> dict[int, Changes]:
    found = {}
    for (row, after), (_, before) in _pairs(rows):
        patch = (
            json.loads(row.data)
            if row.kind == Checkpoint.Kind.DELTA
            else diff(before, after)
        )
        found[row.sequence] = describe_patch(patch, before)
    return found


def _pairs(rows: Sequence[Checkpoint]) -> Iterable[tuple[Any, Any]]:
    data = [(row, step.data) for row, step in zip(rows, states(rows), strict=True)]
    return ((after, before) for before, after in pairwise(data))


def between(run_id: UUID, sequence: int) -> tuple[Any, Any, Changes]:
    """Return the states before and after a step, and the changes between them.

    A state that does not exist is None. Raises CheckpointMismatch.
    """
    before = after = None
    for snapshot in replay(run_id, sequence - 1) if sequence else ():
        before = snapshot.data
    for snapshot in replay(run_id, sequence):
        after = snapshot.data if snapshot.sequence == sequence else None
    if before is None or after is None:
        return before, after, Changes()
    patch: list[Operation] = diff(before, after)
    return before, after, describe_patch(patch, before, limit=10 * MAX_CHANGES)


# A patch as changes -----------------------------------------------------------------------


def describe_patch(
    patch: Sequence[Operation], before: Any = NOTHING, limit: int = MAX_CHANGES
) -> Changes:
    """Return a patch as changes; items appended to the same list are one change."""
    found: list[Change] = []
    appended: dict[str, list[Any]] = {}
    hidden = 0
    for operation in patch:
        keys = [unescaped(token) for token in operation["path"].split("/")[1:]]
        if operation["op"] == "add" and keys[-1:] == ["-"]:
            appended.setdefault(_path(keys[:-1]), []).append(operation["value"])
        elif len(found) < limit:
            found.append(_change(operation, keys, before))
        else:
            hidden += 1
    found += [
        Change(path, "appended", after=_text(items), count=len(items))
        for path, items in appended.items()
    ]
    return Changes(tuple(found), hidden)


def _change(operation: Operation, keys: list[str], before: Any) -> Change:
    kind = {"add": "added", "remove": "removed"}.get(operation["op"], "replaced")
    old = NOTHING if kind == "added" else _at(before, keys)
    new = operation.get("value", NOTHING)
    return Change(
        _path(keys),
        kind,
        before=None if old is NOTHING else _text(old),
        after=None if new is NOTHING else _text(new),
    )


def _at(value: Any, keys: list[str]) -> Any:
    for key in keys:
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list | tuple) and key.isdigit():
            value = value[int(key)] if int(key) < len(value) else NOTHING
        else:
            return NOTHING
    return value


def _path(keys: Sequence[str]) -> str:
    """Return a path for people: list positions are counted from 1."""
    return " / ".join(str(int(k) + 1) if k.isdigit() else k for k in keys) or "state"


def _text(value: Any) -> str:
    if isinstance(value, str) and len(value) <= MAX_TEXT_CHARS:
        return json.dumps(value, ensure_ascii=False)
    text = json.dumps(value, ensure_ascii=False, default=str)
    cut = len(text) - MAX_TEXT_CHARS
    return text if cut <= 0 else f"{text[:MAX_TEXT_CHARS]}… ({cut:,} more characters)"
