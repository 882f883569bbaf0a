"""Bulk operations: one action on many runs, or many launches, executed by workers as a job.

The job stores its runs, so that exactly the confirmed runs are processed. A worker holds
the job by a lease and processes the runs in batches. The action on a run and its result
are one transaction: a crash loses no result, and the next worker repeats no action.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from workflows.access import permissions
from workflows.audit import audit_events
from workflows.engine.errors import RequestError
from workflows.errors import EmptySelection, InvalidParams, JobNotFound, NotAllowed
from workflows.infra import clock, notifications, outages
from workflows.models import BulkItem, BulkJob, ItemResult
from workflows.models.runs import new_run_id
from workflows.services.entry_rules import errors_of, launch_rules
from workflows.system import system

if TYPE_CHECKING:
    from uuid import UUID

    from django.contrib.auth.models import User

    from workflows.models import Run

logger = logging.getLogger(__name__)

MAX_RUNS = 20_000  # per job
INLINE_RUNS_LIMIT = 50  # a job of up to this many runs is executed in the request
CHUNK = 1_000  # rows per INSERT
BATCH = 20  # runs between two renewals of the lease
SLOT_SECONDS = 2.0  # of a worker per call
FAILED = "Internal error; see the server log."


@dataclass(frozen=True, slots=True)
class BulkAction:
    """An action that can be applied to many runs."""

    name: str
    verb: str  # label of the button, such as "Cancel"
    consequence: str
    done: str  # result shown for a run
    method: str  # of System; takes the run id, the label if needed, by and reason
    is_danger: bool = False
    needs_label: bool = False


BULK_ACTIONS = {
    action.name: action
    for action in (
        BulkAction(
            "cancel",
            "Cancel",
            "The current step of each run is interrupted at its next wait or finishes first."
            " Cancelled runs can be resumed.",
            "Cancelled or cancelling",
            "cancel",
            is_danger=True,
        ),
        BulkAction(
            "resume",
            "Resume",
            "Each run continues after its last completed step.",
            "Resumed after its last completed step",
            "resume",
        ),
        BulkAction(
            "rerun",
            "Rerun",
            "A new run with the same parameters is launched for each. The old runs are kept.",
            "Rerun launched",
            "rerun",
        ),
        BulkAction(
            "rerun-failed",
            "Rerun the failed step of",
            "A new run is launched for each, from the step where it failed or was cancelled. It"
            " shares the steps before it. The old runs are kept.",
            "Rerun launched from its failed step",
            "rerun_failed_step",
        ),
        BulkAction(
            "release",
            "Release",
            "Runs whose worker is lost return to the queue now, before their lease expires."
            " The interrupted step runs again.",
            "Returned to the queue",
            "release",
        ),
        BulkAction(
            "pin",
            "Pin",
            "Pinned runs are exempt from retention.",
            "Pinned",
            "set_pinned",
        ),
        BulkAction(
            "label",
            "Label",
            "Labels are visible to everyone who can view the run.",
            "Labelled",
            "label",
            needs_label=True,
        ),
        BulkAction(
            "unlabel",
            "Remove a label from",
            "The label is removed from the runs that have it.",
            "Label removed",
            "unlabel",
            needs_label=True,
        ),
        BulkAction(
            "delete",
            "Delete",
            "This permanently deletes the runs with their steps, decisions, states and logs."
            " The audit log is kept.",
            "Deleted",
            "delete_run",
            is_danger=True,
        ),
    )
}

LAUNCH = BulkAction(
    "launch", "Launch", "A run is launched for each row.", "Launched", "execute"
)


def action_of(job: BulkJob) -> BulkAction:
    """Return the action of a job; LAUNCH for a batch of launches."""
    return LAUNCH if job.action == LAUNCH.name else BULK_ACTIONS[job.action]


# Requests -------------------------------------------------------------------------------


def start(  # noqa: PLR0913 - all but the first two are named
    action: BulkAction,
    runs: Iterable[Run],
    *,
    by: User,
    reason: str,
    label: str = "",
    job_id: UUID | None = None,
) -> BulkJob:
    """Create a job; up to INLINE_RUNS_LIMIT runs are processed before this returns.

    The runs need only id, status and workflow_name. A `job_id` that is in use returns the
    existing job: its form was sent again. Raises EmptySelection, ReasonTooLong.
    """
    audit_events.check_length(reason)
    job = BulkJob(id=job_id or new_run_id(), action=action.name)
    job.label, job.reason = label, reason
    items = (
        BulkItem(
            run_id=run.pk, workflow_name=run.workflow_name, status_before=run.status
        )
        for run in runs
    )
    return _start(job, items, by)


def start_launches(  # noqa: PLR0913 - options of a launch
    workflow: str,
    rows: Iterable[Mapping[str, Any]],
    *,
    by: User,
    profile: str | None = None,
    priority: int = 0,
    job_id: UUID | None = None,
) -> BulkJob:
    """Create a job that launches a run with each of these params, which were checked.

    Each launch is checked again, also for permissions. `job_id` as for `start`. Raises
    WorkflowNotFound, NotAllowed, InvalidParams, EmptySelection.
    """
    system.find_workflow(workflow, by=by)
    permissions.require(permissions.can_launch(by, workflow), "launch this workflow")
    if errors := errors_of(launch_rules(workflow, profile, priority)):
        raise InvalidParams(errors)
    job = BulkJob(id=job_id or new_run_id(), action=LAUNCH.name)
    job.workflow_name = workflow
    job.options = {"profile": profile, "priority": priority}
    items = (BulkItem(params=dict(row), workflow_name=workflow) for row in rows)
    return _start(job, items, by)


def _start(job: BulkJob, items: Iterable[BulkItem], by: User) -> BulkJob:
    try:
        _create(job, items, by)
    except IntegrityError:
        existing = BulkJob.objects.filter(person=by, pk=job.pk).first()
        if existing is None:
            raise
        return existing
    if job.total <= INLINE_RUNS_LIMIT:
        run_inline(job)
    return job


def _create(job: BulkJob, items: Iterable[BulkItem], by: User) -> None:
    job.person, job.person_name = by, by.get_username()
    job.address = audit_events.address()
    with transaction.atomic():
        job.save(force_insert=True)
        numbered = enumerate(islice(items, MAX_RUNS), 1)
        while chunk := list(islice(numbered, CHUNK)):
            for position, item in chunk:
                item.job, item.position = job, position
            BulkItem.objects.bulk_create([item for _, item in chunk])
            job.total += len(chunk)
        if not job.total:
            raise EmptySelection
        job.save(update_fields=["total"])
        if job.action == LAUNCH.name:
            text = f"{job.workflow_name}: {job.total} runs"
            audit_events.note(
                "launch batch", by=by, reason=text, workflow=job.workflow_name
            )


def cancel(job_id: UUID, *, by: User) -> BulkJob:
    """Cancel a job; processed runs are not reverted. Raises JobNotFound, NotAllowed."""
    job = find(job_id, by=by)
    if not can_cancel(by, job):
        raise NotAllowed("Only the requester or an administrator can cancel this.")
    now = timezone.now()
    active = BulkJob.objects.filter(pk=job.pk, ended_at=None)
    with transaction.atomic():
        if active.update(cancelled_at=now, ended_at=now, lease_expires_at=None):
            job.items.filter(params__isnull=False).update(params=None)
            audit_events.note(
                "cancel job", by=by, reason=f"{job}, {job.remaining} not processed"
            )
            notifications.lists_changed_on_commit()
    return find(job_id, by=by)


def can_cancel(person: User, job: BulkJob) -> bool:
    """Return whether a person may cancel a job: its requester and administrators."""
    return job.person_id == person.pk or permissions.can_administer(person)


def visible_jobs(person: User) -> QuerySet[BulkJob]:
    """Return the jobs that a person may see: their own; auditors see all."""
    jobs = BulkJob.objects.select_related("person")
    return jobs if permissions.can_audit(person) else jobs.filter(person=person)


def find(job_id: UUID, *, by: User) -> BulkJob:
    """Return a job that a person may see. Raises JobNotFound."""
    job: BulkJob | None = visible_jobs(by).filter(pk=job_id).first()
    if job is None:
        raise JobNotFound(job_id)
    return job


# Execution ------------------------------------------------------------------------------


def continue_jobs(worker: str) -> bool:
    """Process the next job for a slot of time; return whether work remains."""
    job = _claim(worker)
    return job is not None and _process(job, worker, SLOT_SECONDS)


def run_inline(job: BulkJob) -> None:
    """Process a whole job, unless a worker holds it."""
    holder = f"request {job.pk}"
    if _renew_lease(BulkJob.objects.filter(pk=job.pk), holder):
        while _process(job, holder, SLOT_SECONDS):
            pass
    job.refresh_from_db()


def _claim(worker: str) -> BulkJob | None:
    """Claim the oldest available job."""
    active = BulkJob.objects.filter(ended_at=None).order_by("id")
    for job in active.filter(_available_to(worker))[:BATCH]:
        if _renew_lease(BulkJob.objects.filter(pk=job.pk), worker):
            return job
    return None


def _available_to(worker: str) -> Q:
    expired = Q(lease_expires_at__lt=clock.now())
    return Q(lease_expires_at=None) | expired | Q(worker=worker)


def _renew_lease(job: QuerySet[BulkJob], holder: str) -> bool:
    """Acquire or renew the lease; False if the job has ended or another holder has it."""
    available = job.filter(ended_at=None).filter(_available_to(holder))
    expires = clock.in_seconds(settings.LEASE_SECONDS)
    return bool(available.update(worker=holder, lease_expires_at=expires))


def _process(job: BulkJob, holder: str, seconds: float) -> bool:
    """Process items for some seconds; return whether work remains."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not _renew_lease(BulkJob.objects.filter(pk=job.pk), holder):
            return False
        items = list(job.items.filter(result=ItemResult.OPEN)[:BATCH])
        if not items:
            _end(job)
            return False
        with audit_events.coming_from(job.address):
            for item in items:
                _apply(job, item)
        notifications.lists_changed_on_commit()
    return True


def _end(job: BulkJob) -> None:
    done = BulkJob.objects.filter(pk=job.pk, ended_at=None)
    done.update(ended_at=timezone.now(), lease_expires_at=None)
    notifications.lists_changed_on_commit()


class _AlreadyProcessed(Exception):
    """Another process has recorded a result for the run: roll back."""


def _apply(job: BulkJob, item: BulkItem) -> None:
    """Apply the action to one run and record the result.

    1. The action and its result are one transaction.
    2. A rejected request is recorded; so is an internal error, with its cause in the log.
    3. An outage is raised: the job continues afterwards.
    """
    action, person = action_of(job), job.person
    try:
        if person is None or not person.is_active:
            raise NotAllowed("The requester has no active account.")  # noqa: TRY301 - recorded like other rejections
        with transaction.atomic():
            if action is LAUNCH:
                item.run_id = _launch(job, item, person)
            else:
                label = (job.label,) if action.needs_label else ()
                act = getattr(system, action.method)
                act(item.run_id, *label, by=person, reason=job.reason)
            _record_result(job, item, ItemResult.DONE, f"{action.done}.")
    except _AlreadyProcessed:
        return
    except RequestError as error:
        _refuse(job, item, str(error))
    except Exception as error:
        if outages.of(error):
            raise
        logger.exception("%s failed for %s of %s.", action.verb, item, job.pk)
        _refuse(job, item, FAILED)


def _launch(job: BulkJob, item: BulkItem, person: User) -> UUID:
    """Launch the run of a row, once: its idempotency key names job and row."""
    run = system.execute(
        job.workflow_name,
        item.params,
        by=person,
        idempotency_key=f"batch {job.pk.hex} {item.position}",
        profile=job.options.get("profile"),
        priority=job.options.get("priority", 0),
    )
    return run.pk


def _refuse(job: BulkJob, item: BulkItem, why: str) -> None:
    if job.action == LAUNCH.name:
        item.run_id = None  # of a transaction that was rolled back
    try:
        with transaction.atomic():
            _record_result(job, item, ItemResult.REFUSED, why)
    except _AlreadyProcessed:
        return


def _record_result(job: BulkJob, item: BulkItem, result: ItemResult, text: str) -> None:
    """Record the result of a run. Raises _AlreadyProcessed if it has one."""
    open_item = BulkItem.objects.filter(pk=item.pk, result=ItemResult.OPEN)
    changes = {"result": result, "text": text, "run_id": item.run_id, "params": None}
    if not open_item.update(**changes):
        raise _AlreadyProcessed
    counted = "done" if result == ItemResult.DONE else "refused"
    BulkJob.objects.filter(pk=job.pk).update(**{counted: F(counted) + 1})
