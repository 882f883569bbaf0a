"""Rows of the child runs that a step launches for the elements of a list.

`child_groups.py` launches and resumes them; this module reads and prepares the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Count, Q

from workflows.engine import Answer
from workflows.engine.child_groups import Counts, failure_text
from workflows.models import (
    ENDED,
    RESUMABLE,
    ChildGroup,
    ChildItem,
    ItemStatus,
    Run,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.engine import Paused


def group_at(run: Run, sequence: int) -> ChildGroup | None:
    """Return the child runs of a step, None if it has none."""
    return ChildGroup.objects.filter(parent=run.pk, sequence=sequence).first()


def counts_of(group: ChildGroup) -> Counts:
    """Return how many of the elements have which status, with one query."""
    has_run = Q(child__isnull=False, status=ItemStatus.LAUNCHED)
    bad = has_run & Q(child__status__in=RESUMABLE)
    found = group.items.aggregate(
        completed=Count("pk", filter=has_run & Q(child__status=Status.COMPLETED)),
        failed=Count("pk", filter=bad),
        active=Count("pk", filter=has_run & ~Q(child__status__in=ENDED)),
    )
    return Counts(group.total, found["completed"], found["failed"], found["active"])


def reopen(group: ChildGroup, *, by_id: int | None, reason: str) -> None:
    """Let the runs that did not complete be resumed or launched when the parent waits again."""
    ChildGroup.objects.filter(pk=group.pk).update(
        is_decided=False, resumed_by=by_id, resume_reason=reason
    )
    launched = group.items.filter(status=ItemStatus.LAUNCHED)
    launched.filter(child__isnull=True).update(status=ItemStatus.WAITING)
    launched.filter(child__status__in=RESUMABLE).update(status=ItemStatus.RESUME)
    group.items.filter(status=ItemStatus.WITHDRAWN).update(status=ItemStatus.WAITING)


def insert(run: Run, made: ChildGroup, paused: Paused) -> None:
    """Insert the elements of a step, in the transaction of its pause, once."""
    params = [] if paused.children is None else paused.children.params
    if group_at(run, paused.sequence) is not None:
        return
    made._state.adding, made.pk = True, None  # noqa: SLF001 - the transaction may be repeated
    made.save(force_insert=True)
    ChildItem.objects.bulk_create(
        [
            ChildItem(group=made, position=position, params=one)
            for position, one in enumerate(params)
        ],
        batch_size=500,
    )


def outcome_of(group: ChildGroup) -> Answer | None:
    """Return the results of a step in the order of its elements, None if it still waits."""
    if not group.is_decided:
        return None
    rows = group.items.order_by("position").select_related("child")
    columns = "status", "result", "error_message", "workflow_name", "completed_at"
    items = list(rows.only("position", "status", *(f"child__{one}" for one in columns)))
    completed = [
        item.child
        for item in items
        if item.child is not None and item.child.status == Status.COMPLETED
    ]
    needed = group.total if group.need is None else group.need
    if len(completed) < needed:
        return Answer(error=_failure(group, items))
    return Answer(
        value=[
            item.child.result
            if item.child is not None and item.child.status == Status.COMPLETED
            else None
            for item in items
        ],
        at=max(
            (one.completed_at for one in completed if one.completed_at), default=None
        ),
    )


def _failure(group: ChildGroup, items: Sequence[ChildItem]) -> str:
    bad = [
        item.child
        for item in items
        if item.child is not None and item.child.status in RESUMABLE
    ]
    caused = [child for child in bad if child.status == Status.FAILED] or bad
    first = caused[0] if caused else None
    text = (
        f"run {first.pk} {first.status}: {first.error_message}"
        if first is not None
        else "it was deleted"
    )
    counts = counts_of(group)
    failed = max(counts.failed, len(bad), 1)
    return failure_text(Counts(group.total, failed=failed), group.need, text)
