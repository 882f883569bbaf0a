"""Resuming a run, together with the child run whose failure it stands on.

A run that failed or was cancelled at a subworkflow stands on how its child ended, and so
does that on its own child. To resume it is to resume that line of runs from the bottom
up, each from its last checkpoint:

- A child that failed or was cancelled is resumed; what it did is not done again.
- One that has completed meanwhile, or goes on already, is left alone: the parent takes
  its result, or waits for it.
- One that cannot go on (its workflow has other steps now, or retention removed its state)
  is replaced: it stays among the parent's children, and the node launches a new one.

Each run is resumed in a transaction of its own by one conditional update, so that of
several who resume a run at once one does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import transaction

from workflows.audit import trail
from workflows.engine import GraphShape
from workflows.errors import (
    FingerprintChanged,
    InvalidStatus,
    PayloadRemoved,
    WorkflowNotFound,
)
from workflows.execution import run_tree
from workflows.infra import encryption, notifications
from workflows.models import RESUMABLE, Run, Status

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

    from workflows.registry import Registry


@dataclass(frozen=True, slots=True)
class Link:
    """A run to be resumed, and the child it is no longer to stand on, if there is one."""

    run: Run
    replaced: Run | None = None


def resume(
    run: Run,
    workflows: Registry,
    *,
    by: AbstractBaseUser | None,
    reason: str,
    token: str = "",
) -> None:
    """Queue a run again, and what it waits for.

    `token` is for this run alone. Raises InvalidStatus, PayloadRemoved, WorkflowNotFound,
    FingerprintChanged: then nothing was resumed, unless somebody else was faster.
    """
    if run.status not in RESUMABLE:
        raise InvalidStatus(run, wanted="resumed")
    _must_be_able(run, workflows)
    first, *below = _line(run, workflows)
    for link in reversed(below):
        _resume_one(link, by=by, reason=reason)
    if not _resume_one(first, by=by, reason=reason, token=token):
        raise InvalidStatus(Run.objects.get(pk=run.pk), wanted="resumed")


def _must_be_able(run: Run, workflows: Registry) -> None:
    """Return if a run can go on. A child from before it had a fingerprint is believed."""
    if run.payload_removed_at is not None:
        raise PayloadRemoved
    workflow = workflows.get(run.workflow_name)
    if run.fingerprint and not workflow.accepts(run.fingerprint):
        before = GraphShape.from_json(run.graph)
        raise FingerprintChanged(run, workflow.differences(before))


def _line(run: Run, workflows: Registry) -> list[Link]:
    """Return the run and the runs below it that are to be resumed, from the top down."""
    links: list[Link] = []
    while True:
        child = run_tree.child_at(run, run.sequence + 1)
        if child is None or child.status not in RESUMABLE:
            _must_not_be_stopping(links[0].run if links else run, child)
            return [*links, Link(run)]
        try:
            _must_be_able(child, workflows)
        except (PayloadRemoved, WorkflowNotFound, FingerprintChanged):
            return [*links, Link(run, replaced=child)]
        links.append(Link(run))
        run = child


def _must_not_be_stopping(run: Run, child: Run | None) -> None:
    """Raise InvalidStatus when a run would wait for one that is about to be cancelled."""
    if child is None or child.status == Status.COMPLETED:
        return
    if child.cancel_requested_at is not None:
        raise InvalidStatus(
            run,
            wanted=f"resumed yet: run {child.short_id}, which it waits for, is still"
            " stopping. Try again in a moment",
        )


def _resume_one(
    link: Link, *, by: AbstractBaseUser | None, reason: str, token: str = ""
) -> bool:
    """Queue a run again; False when it is none that can be resumed any more."""
    run, replaced = link.run, link.replaced
    kept = {"secrets": encryption.encrypt({"token": token})} if token else {}
    with transaction.atomic():
        whole = Run.objects.filter(pk=run.pk, payload_removed_at=None)
        if not whole.resume(**kept):
            return False
        changed = None
        if replaced is not None:
            Run.objects.filter(pk=replaced.pk).update(parent_sequence=None)
            changed = {"child run": str(replaced.pk)}, {"child run": None}
        trail.record(
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
