"""Resume a run, together with the child runs whose failure it depends on.

A run that failed or was cancelled at a sub-workflow depends on the outcome of its child,
which may depend on its own child. This line of runs is resumed from the bottom up, each
from its last checkpoint:

- A failed or cancelled child is resumed; completed steps are not repeated.
- A child that has completed or is active is left alone: the parent takes its result, or
  waits for it.
- A child that cannot be resumed (its workflow changed, or retention deleted its state) is
  replaced: it remains a child of the parent, and the node launches a new one.

Each run is resumed in its own transaction by one conditional update, so that concurrent
resumes succeed once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.db import transaction
from django.db.models import Q

from workflows.agents.run_keys import RunKey
from workflows.audit import audit_events
from workflows.engine import GraphShape
from workflows.errors import (
    DeadlineOver,
    FingerprintChanged,
    InvalidStatus,
    PayloadRemoved,
    StepsUndone,
    WorkflowNotFound,
)
from workflows.execution import child_group_rows, run_tree
from workflows.infra import notifications
from workflows.models import (
    ENDED,
    RESUMABLE,
    Approval,
    ApprovalKind,
    ApprovalStatus,
    ChildGroup,
    EventWait,
    EventWaitStatus,
    Run,
    Status,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

    from workflows.registry import Registry


# Errors of a child run that is replaced, since it cannot be resumed
UNRESUMABLE: Final = (
    DeadlineOver,
    FingerprintChanged,
    PayloadRemoved,
    StepsUndone,
    WorkflowNotFound,
)


@dataclass(frozen=True, slots=True)
class Link:
    """A run to resume, and the child that its node replaces, if any."""

    run: Run
    replaced: Run | None = None
    group: ChildGroup | None = (
        None  # its runs are resumed when this one waits for them again
    )


def resume(
    run: Run,
    workflows: Registry,
    *,
    by: AbstractBaseUser | None,
    reason: str,
    token: str = "",
) -> None:
    """Queue a run and the child runs it depends on.

    `token` applies to this run only. Raises InvalidStatus, PayloadRemoved, StepsUndone,
    DeadlineOver, WorkflowNotFound, FingerprintChanged; on an error this call has resumed
    nothing, except for children if a concurrent resume of the run won.
    """
    if run.status not in RESUMABLE:
        raise InvalidStatus(run, wanted="resumed")
    _require_resumable(run, workflows)
    first, *below = _line(run, workflows)
    for link in reversed(below):
        _resume_one(link, by=by, reason=reason)
    if not _resume_one(first, by=by, reason=reason, token=token):
        raise InvalidStatus(Run.objects.get(pk=run.pk), wanted="resumed")


def _require_resumable(run: Run, workflows: Registry) -> None:
    """Check that a run can continue; old runs without a fingerprint pass."""
    if run.payload_removed_at is not None:
        raise PayloadRemoved
    if run.steps_to_undo:
        raise StepsUndone(run)
    if run.is_overdue:
        raise DeadlineOver(run)
    workflow = workflows.get(run.workflow_name)
    if run.fingerprint and not workflow.accepts(run.fingerprint):
        before = GraphShape.from_json(run.graph)
        raise FingerprintChanged(run, workflow.differences(before))


def _line(run: Run, workflows: Registry) -> list[Link]:
    """Return the run and the runs below it to resume, from the top down."""
    links: list[Link] = []
    while True:
        group = child_group_rows.group_at(run, run.sequence + 1)
        if group is not None:
            _require_none_cancelling(links[0].run if links else run, group)
            return [*links, Link(run, group=group)]
        child = run_tree.child_at(run, run.sequence + 1)
        if child is None or child.status not in RESUMABLE:
            _require_not_cancelling(links[0].run if links else run, child)
            return [*links, Link(run)]
        try:
            _require_resumable(child, workflows)
        except UNRESUMABLE:
            return [*links, Link(run, replaced=child)]
        links.append(Link(run))
        run = child


def _require_not_cancelling(run: Run, child: Run | None) -> None:
    """Raise InvalidStatus if the child run is being cancelled."""
    if child is None or child.status == Status.COMPLETED:
        return
    if child.cancel_requested_at is not None:
        raise InvalidStatus(
            run,
            wanted=f"resumed yet: its child run {child.short_id} is still being cancelled."
            " Try again in a few seconds",
        )


def _require_none_cancelling(run: Run, group: ChildGroup) -> None:
    """Raise InvalidStatus if a child run of an element is being cancelled."""
    items = group.items.filter(child__cancel_requested_at__isnull=False)
    cancelling = items.exclude(child__status__in=ENDED).select_related("child")
    item = cancelling.first()
    if item is not None:
        _require_not_cancelling(run, item.child)


def _resume_one(
    link: Link, *, by: AbstractBaseUser | None, reason: str, token: str = ""
) -> bool:
    """Queue a run; False if its status changed concurrently."""
    run, replaced = link.run, link.replaced
    secrets = {"secrets": RunKey.entered(token).encrypted()} if token else {}
    with transaction.atomic():
        resumable = Run.objects.filter(pk=run.pk, payload_removed_at=None)
        again = {"waiting_node": ""} if _asks_again(run) else {}
        if not resumable.resume(**secrets, **again):
            return False
        changed = None
        if link.group is not None:
            child_group_rows.reopen(
                link.group, by_id=by.pk if by else None, reason=reason
            )
        if replaced is not None:
            Run.objects.filter(pk=replaced.pk).update(parent_sequence=None)
            changed = {"child run": str(replaced.pk)}, {"child run": None}
        audit_events.record(
            run,
            "resume",
            by=by,
            reason=reason,
            after=Status.PENDING,
            changed=changed,
        )
        notifications.pending_on_commit()
        notifications.changed_on_commit(run.pk)
    return True


def _asks_again(run: Run) -> bool:
    """Return whether a run failed since a person gave up, or nothing came in time.

    The node then waits again; otherwise it would read the same end of its wait once more.
    """
    if run.status != Status.FAILED:
        return False
    step = {"run": run, "sequence": run.sequence + 1}
    expired = Q(status=ApprovalStatus.EXPIRED, on_expiry__isnull=True)
    asked = Approval.objects.filter(expired | Q(kind=ApprovalKind.FAILURE), **step)
    waits = EventWait.objects.filter(status=EventWaitStatus.EXPIRED, **step)
    return asked.exists() or waits.exists()
