"""The items of one step of a parallel node: failed ones first, then those with a result."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Exists, OuterRef

from workflows.engine.errors import CheckpointMismatch
from workflows.engine.patterns.parallel_node import ParallelNode
from workflows.models import (
    ItemFailure,
    StageItem,
    StageKind,
    StageStatus,
    with_current,
)
from workflows.pages.catalog import installed_workflow
from workflows.pages.lists.pagination import Page, forward_page
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.db.models import QuerySet

    from workflows.models import Run, Stage

ITEMS: Final = 100  # on one page
MAX_MISSING: Final = 50  # indexes that are listed
NOTHING: Final = object()


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One item, with its result or its error."""

    number: int  # counted from 1
    status: str  # completed or failed
    tries: int | None  # None: not recorded
    duration_ms: float | None
    value: Any = NOTHING  # what it was given
    result: Any = None
    error_type: str = ""
    error: str = ""

    @property
    def has_value(self) -> bool:
        """Return whether its value is known."""
        return self.value is not NOTHING


@dataclass(frozen=True, slots=True)
class Place:
    """The item after which a page begins."""

    is_failed: bool
    index: int


@dataclass(frozen=True, slots=True)
class StepItems:
    """A page of the items of a step."""

    rows: Sequence[ItemRow]
    done: int
    failed: int
    total: int
    missing: Sequence[int]  # numbers of items with neither result nor error
    has_more_missing: bool
    after: Place | None  # where the next page begins


def stage_with_items(run: Run, sequence: int) -> Stage | None:
    """Return the last execution of a parallel node at a step, None if there is none."""
    ended = run.stages.filter(sequence=sequence).order_by("attempt")
    stages = [
        stage for stage in with_current(run, ended) if _has_items(stage, sequence)
    ]
    return stages[-1] if stages else None


def _has_items(stage: Stage, sequence: int) -> bool:
    is_of_node = stage.sequence == sequence and stage.kind != StageKind.UNDO
    return is_of_node and stage.items_total is not None


def items_of_step(run: Run, stage: Stage, after: Place | None) -> StepItems:
    """Return a page of items: those that failed come first, then those with a result."""
    completed = StageItem.objects.filter(run=run, sequence=stage.sequence)
    failures = failures_of(run, stage.sequence)
    page = page_of(failures, completed, after, ITEMS)
    done, failed = completed.count(), failures.count()
    total = max(stage.items_total or 0, done + failed)
    # A completed step may have a million items: their indexes are not read.
    is_whole = stage.status == StageStatus.COMPLETED or done + failed >= total
    unfinished = iter(()) if is_whole else _missing(run, stage.sequence, total)
    missing = list(islice(unfinished, MAX_MISSING + 1))
    values = values_of(run, stage)
    return StepItems(
        rows=[item_row(row, values) for row in page.rows],
        done=done,
        failed=failed,
        total=total,
        missing=missing[:MAX_MISSING],
        has_more_missing=len(missing) > MAX_MISSING,
        after=page.after,
    )


def page_of(
    failures: QuerySet[ItemFailure],
    completed: QuerySet[StageItem],
    after: Place | None,
    size: int,
) -> Page[Any]:
    """Return a page of failures, filled up with results; its key is a Place."""
    rows: list[Any] = []
    if after is None or after.is_failed:
        index = None if after is None else after.index
        failed = forward_page(failures, after=index, size=size, key="index")
        rows, after = failed.rows, None
        if failed.after is not None:
            return Page(rows, Place(True, failed.after))
    room = size - len(rows)
    if not room:
        return Page(rows, Place(True, rows[-1].index) if completed.exists() else None)
    index = None if after is None else after.index
    done = forward_page(completed, after=index, size=room, key="index")
    following = None if done.after is None else Place(False, done.after)
    return Page([*rows, *done.rows], following)


def failures_of(run: Run, sequence: int) -> QuerySet[ItemFailure]:
    """Return the newest failure of each item without a result, in the order of the items."""
    rows = ItemFailure.objects.filter(run=run, sequence=sequence)
    same = {"run": run, "sequence": sequence, "index": OuterRef("index")}
    later = ItemFailure.objects.filter(**same, attempt__gt=OuterRef("attempt"))
    results = StageItem.objects.filter(**same)
    return rows.exclude(Exists(later)).exclude(Exists(results)).order_by("index")


def item_row(row: ItemFailure | StageItem, values: Sequence[Any]) -> ItemRow:
    """Return what is shown of an item, with its value out of those of all items."""
    number, value = row.index + 1, _at(values, row.index)
    if isinstance(row, StageItem):
        done, result = StageStatus.COMPLETED, json.loads(row.data)
        return ItemRow(number, done, row.tries, row.duration_ms, value, result)
    return ItemRow(
        number,
        StageStatus.FAILED,
        row.tries,
        row.duration_ms,
        value,
        error_type=row.error_type,
        error=row.error_message,
    )


def _at(values: Sequence[Any], index: int) -> Any:
    return values[index] if index < len(values) else NOTHING


def values_of(run: Run, stage: Stage) -> Sequence[Any]:
    """Return the values of the items, [] unless they are a list in the state before."""
    workflow = installed_workflow(run.workflow_name)
    node = workflow.graph.nodes.get(stage.node_name) if workflow is not None else None
    if not isinstance(node, ParallelNode) or not isinstance(node.over, str):
        return []
    try:
        _, before, _ = system.get_states(run.pk, stage.sequence - 1)
    except CheckpointMismatch:
        return []  # the page of the state reports it
    found = before.get(node.over) if before else None
    return found if isinstance(found, list | tuple) else []


def _missing(run: Run, sequence: int, total: int) -> Iterator[int]:
    """Yield the numbers of items with neither result nor error, counted from 1."""
    failed = set(failures_of(run, sequence).values_list("index", flat=True))
    rows = StageItem.objects.filter(run=run, sequence=sequence).order_by("index")
    following = 0  # the index that comes next
    for index in rows.values_list("index", flat=True).iterator():
        yield from _without(failed, following, index)
        following = index + 1
    yield from _without(failed, following, total)


def _without(failed: set[int], first: int, end: int) -> Iterator[int]:
    return (index + 1 for index in range(first, end) if index not in failed)
