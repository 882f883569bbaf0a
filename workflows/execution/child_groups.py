"""The child runs that a step launches for the elements of a list.

The parent waits as a row and holds no slot. `advance` launches the next runs, up to the limit
of the node, whenever a child has ended, and wakes the parent once the outcome is certain. It
holds the lock on the parent's row, and each element has one row with one run: over crashes
and in any number of workers there is exactly one run per element. What a lost worker did not
do is done by the sweep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.utils import timezone

from workflows.audit import seal_rows
from workflows.documents import uses
from workflows.engine.errors import RequestError, describe
from workflows.errors import InvalidStatus
from workflows.execution import launching, queue, resumption, run_cancellation
from workflows.execution.child_group_rows import counts_of, group_at
from workflows.infra import notifications
from workflows.models import (
    ENDED,
    RESUMABLE,
    ChildGroup,
    ChildItem,
    ItemStatus,
    Run,
    Status,
    WaitKind,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from workflows.registry import Registry

MAX_LAUNCHED = 100  # runs in one transaction, which limits the time of its locks


def child_ended(child_id: UUID, workflows: Registry) -> None:
    """Continue the parent of a child run that has ended, or is waiting or pending again."""
    queue.wake_parent(child_id)
    parents = Run.objects.filter(children=child_id, status=Status.WAITING)
    groups = ChildGroup.objects.filter(
        parent__in=parents, sequence=F("parent__sequence") + 1, is_decided=False
    )
    parent_id = groups.values_list("parent_id", flat=True).first()
    if parent_id is not None:
        advance(parent_id, workflows)


def sweep(workflows: Registry) -> None:
    """Continue the parents that wait although none of their child runs is active."""
    unfinished = ChildItem.objects.filter(
        group=OuterRef("pk"), status=ItemStatus.LAUNCHED, child__isnull=False
    ).exclude(child__status__in=ENDED)
    groups = ChildGroup.objects.filter(
        ~Exists(unfinished),
        is_decided=False,
        parent__status=Status.WAITING,
        parent__waiting_for=WaitKind.SUBWORKFLOW,
        sequence=F("parent__sequence") + 1,
    )
    for parent_id in [*groups.values_list("parent_id", flat=True)]:
        advance(parent_id, workflows)


def advance(parent_id: UUID, workflows: Registry) -> None:
    """Launch the next child runs of a waiting parent, or wake it if the outcome is certain."""
    while _advance_once(parent_id, workflows):
        pass


def _advance_once(parent_id: UUID, workflows: Registry) -> bool:
    """Do so in one transaction; return whether more runs can be launched."""
    with transaction.atomic():
        waiting = Run.objects.filter(
            pk=parent_id, status=Status.WAITING, waiting_for=WaitKind.SUBWORKFLOW
        )
        parent = waiting.select_for_update(of=("self",)).first()
        group = None if parent is None else group_at(parent, parent.sequence + 1)
        if parent is None or group is None or group.is_decided:
            return False
        counts = counts_of(group)
        # pages are rendered once for each version
        Run.objects.filter(pk=parent.pk).update(version=F("version") + 1)
        notifications.changed_on_commit(parent.pk)
        if counts.verdict(group.need, fail_fast=group.fail_fast):
            _decide(parent, group)
            return False
        free = group.limit - counts.active
        launched = _launch(parent, group, min(free, MAX_LAUNCHED), workflows)
        return launched == MAX_LAUNCHED and free > MAX_LAUNCHED


def _decide(parent: Run, group: ChildGroup) -> None:
    """Launch nothing more, cancel what is active and wake the parent."""
    ChildGroup.objects.filter(pk=group.pk).update(is_decided=True)
    group.items.filter(status__in=(ItemStatus.WAITING, ItemStatus.RESUME)).update(
        status=ItemStatus.WITHDRAWN
    )
    run_cancellation.cancel_below(
        parent.pk, "The parent run does not need this run any more."
    )
    if Run.objects.filter(pk=parent.pk).wake():
        notifications.pending_on_commit()


def _launch(parent: Run, group: ChildGroup, count: int, workflows: Registry) -> int:
    """Launch or resume the runs of the next elements; return their number."""
    due = group.items.filter(status__in=(ItemStatus.WAITING, ItemStatus.RESUME))
    items = list(due.order_by("position")[: max(count, 0)])
    for item in items:
        if item.child_id is None or not _resumed(item, group, workflows):
            item.child = _insert_child(parent, group, item, workflows)
        item.status = ItemStatus.LAUNCHED
        item.save(update_fields=["child", "status"])
    if items:
        notifications.launched_on_commit()
    return len(items)


def _insert_child(
    parent: Run, group: ChildGroup, item: ChildItem, workflows: Registry
) -> Run:
    child = new_child(parent, group, item.params, workflows)
    seal_rows.begin(child)
    child.save(force_insert=True)
    uses.note(child.workflow_name, child.params)
    return child


def new_child(
    parent: Run, group: ChildGroup, params: Mapping[str, Any], workflows: Registry
) -> Run:
    """Return the run of an element, not inserted; one that cannot start has failed already."""
    place: dict[str, Any] = {
        "launched_by_id": parent.launched_by_id,
        "parent_id": parent.pk,
        "parent_sequence": group.sequence,
        "priority": parent.priority,
        "scheduled_for": parent.scheduled_for,
        "traceparent": group.traceparent or parent.traceparent,
    }
    try:
        return launching.new_run(workflows.get(group.workflow_name), params, **place)
    except RequestError as error:
        return Run(
            workflow_name=group.workflow_name,
            params=dict(params),
            status=Status.FAILED,
            error_message=f"The run was not started: {describe(error)}",
            error_code="not_started",
            completed_at=timezone.now(),
            **place,
        )


def _resumed(item: ChildItem, group: ChildGroup, workflows: Registry) -> bool:
    """Resume the run of an element; False if it is to be launched again in its place."""
    child = item.child
    if child is None or child.status not in RESUMABLE:
        return child is not None
    try:
        with transaction.atomic():
            resumption.resume(
                child, workflows, by=group.resumed_by, reason=group.resume_reason
            )
    except resumption.UNRESUMABLE:
        Run.objects.filter(pk=child.pk).update(parent_sequence=None)
        return False
    except InvalidStatus:
        pass  # someone else has resumed it
    return True
