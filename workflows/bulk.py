"""One deed on many runs, as a job: asked for once, done to each by itself, told of each.

The runs are written down with the job, so that what was confirmed is what is done. A
worker takes a job up, a few runs at a time. The deed on a run and what is told of it are
one transaction: a worker that dies has done nothing that is not told, and whoever goes on
does nothing twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from workflows.access import permissions
from workflows.audit import trail
from workflows.engine.errors import RequestError
from workflows.errors import EmptySelection, JobNotFound, NotAllowed
from workflows.infra import clock, notifications, outages
from workflows.models import BulkItem, BulkJob, ItemResult
from workflows.system import system

if TYPE_CHECKING:
    from uuid import UUID

    from django.contrib.auth.models import User

    from workflows.models import Run

logger = logging.getLogger(__name__)

MAX_RUNS = 20_000  # runs of one job
AT_ONCE = 50  # runs: so few are done while who asked for it waits
CHUNK = 1_000  # rows written at once
BATCH = 20  # runs between two looks whether it is still wanted
TURN_SECONDS = 2.0  # that a worker spends on it before it looks around
FAILED = "That failed on our side; the server's log tells why."


@dataclass(frozen=True, slots=True)
class BulkAction:
    """Something that can be done to many runs at once."""

    name: str
    verb: str  # "Cancel", of how many runs
    consequence: str
    done: str  # what is said of a run it was done to
    method: str  # of System: takes a run's id, perhaps a label, by and reason
    is_danger: bool = False
    needs_label: bool = False


BULK_ACTIONS = {
    deed.name: deed
    for deed in (
        BulkAction(
            "cancel",
            "Cancel",
            "Each stops where it next waits, or before its next step. It can be resumed.",
            "Cancelled, or told to stop",
            "cancel",
            is_danger=True,
        ),
        BulkAction(
            "resume",
            "Resume",
            "Each goes on from its last step.",
            "Goes on from its last step",
            "resume",
        ),
        BulkAction(
            "again",
            "Run again",
            "For each, a new run is launched with the same values. The old one stays.",
            "Launched once more",
            "run_again",
        ),
        BulkAction(
            "release",
            "Release",
            "Runs whose worker is gone are given back to the queue at once, instead of"
            " when their lease ends. The step they were in runs again.",
            "Given back to the queue",
            "release",
        ),
        BulkAction(
            "keep",
            "Keep",
            "No rule of retention lets go of anything of these runs.",
            "Kept for good",
            "keep",
        ),
        BulkAction(
            "label",
            "Label",
            "Labels are words by which a team finds its runs again. Everyone sees them.",
            "Labelled",
            "label",
            needs_label=True,
        ),
        BulkAction(
            "unlabel",
            "Remove a label from",
            "The label is taken off where it is.",
            "Without the label",
            "unlabel",
            needs_label=True,
        ),
        BulkAction(
            "delete",
            "Delete",
            "Each is gone for good, with its steps, decisions, states and log. What people"
            " did to it stays on record.",
            "Deleted",
            "delete_run",
            is_danger=True,
        ),
    )
}


# Asking for it --------------------------------------------------------------------------


def start(
    deed: BulkAction, runs: Iterable[Run], *, by: User, reason: str, label: str = ""
) -> BulkJob:
    """Write down a deed on these runs; workers do it. A few are done before this returns.

    The runs need no more than their id, status and the name of their workflow.
    Raises EmptySelection.
    """
    with transaction.atomic():
        job = BulkJob.objects.create(
            action=deed.name,
            label=label,
            reason=reason,
            person=by,
            person_name=by.get_username(),
            address=trail.address(),
        )
        items = (
            BulkItem(
                job=job,
                position=position,
                run_id=run.pk,
                workflow_name=run.workflow_name,
                status_before=run.status,
            )
            for position, run in enumerate(islice(runs, MAX_RUNS), 1)
        )
        while chunk := list(islice(items, CHUNK)):
            BulkItem.objects.bulk_create(chunk)
            job.total += len(chunk)
        if not job.total:
            raise EmptySelection
        job.save(update_fields=["total"])
    if job.total <= AT_ONCE:
        go_through(job)
    return job


def stop(job_id: UUID, *, by: User) -> BulkJob:
    """Do no more of a job; what it did stays done. Raises JobNotFound, NotAllowed."""
    job = find(job_id, by=by)
    if not may_stop(by, job):
        raise NotAllowed("Only who asked for it, or an administrator, may stop it.")
    now = timezone.now()
    mine = BulkJob.objects.filter(pk=job.pk, ended_at=None)
    with transaction.atomic():
        if mine.update(stopped_at=now, ended_at=now, lease_expires_at=None):
            trail.note("stop job", by=by, reason=f"{job}, {job.remaining} of them left")
            notifications.lists_changed_on_commit()
    return find(job_id, by=by)


def may_stop(person: User, job: BulkJob) -> bool:
    """Tell whether a person may stop a job: who asked for it, and administrators."""
    return job.person_id == person.pk or person.has_perm("workflows.administer_run")


def visible_jobs(person: User) -> QuerySet[BulkJob]:
    """Return the jobs that a person may see: their own, and all to those who audit."""
    jobs = BulkJob.objects.select_related("person")
    return jobs if permissions.may_audit(person) else jobs.filter(person=person)


def find(job_id: UUID, *, by: User) -> BulkJob:
    """Return a job that a person may see. Raises JobNotFound."""
    job: BulkJob | None = visible_jobs(by).filter(pk=job_id).first()
    if job is None:
        raise JobNotFound(job_id)
    return job


# Doing it -------------------------------------------------------------------------------


def continue_jobs(worker: str) -> bool:
    """Do some more of what was asked for; tell whether there is more to do now."""
    job = _take(worker)
    return job is not None and _some_of(job, worker, TURN_SECONDS)


def go_through(job: BulkJob) -> None:
    """Do all of a job, unless a worker is at it already."""
    holder = f"request {job.pk}"
    if _taken(BulkJob.objects.filter(pk=job.pk), holder):
        while _some_of(job, holder, TURN_SECONDS):
            pass
    job.refresh_from_db()


def _take(worker: str) -> BulkJob | None:
    """Return the oldest job that nobody is at, and hold it for a lease."""
    under_way = BulkJob.objects.filter(ended_at=None).order_by("id")
    for job in under_way.filter(_free_for(worker))[:BATCH]:
        if _taken(BulkJob.objects.filter(pk=job.pk), worker):
            return job
    return None


def _free_for(worker: str) -> Q:
    expired = Q(lease_expires_at__lt=clock.now())
    return Q(lease_expires_at=None) | expired | Q(worker=worker)


def _taken(job: QuerySet[BulkJob], holder: str) -> bool:
    """Hold a job for a lease more; False when it has ended, or another holds it."""
    mine = job.filter(ended_at=None).filter(_free_for(holder))
    expires = clock.in_seconds(settings.LEASE_SECONDS)
    return bool(mine.update(worker=holder, lease_expires_at=expires))


def _some_of(job: BulkJob, holder: str, seconds: float) -> bool:
    """Do what a turn has time for; tell whether there is more."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not _taken(BulkJob.objects.filter(pk=job.pk), holder):
            return False
        items = list(job.items.filter(result=ItemResult.OPEN)[:BATCH])
        if not items:
            _end(job)
            return False
        with trail.coming_from(job.address):
            for item in items:
                _do(job, item)
        notifications.lists_changed_on_commit()
    return True


def _end(job: BulkJob) -> None:
    done = BulkJob.objects.filter(pk=job.pk, ended_at=None)
    done.update(ended_at=timezone.now(), lease_expires_at=None)
    notifications.lists_changed_on_commit()


class _Elsewhere(Exception):
    """Another process has come to this run meanwhile: what was done here is taken back."""


def _do(job: BulkJob, item: BulkItem) -> None:
    """Do it to one run, and write down what became of it.

    1. The deed and the word that it was done are one transaction.
    2. A refusal is written down; so is a failure of ours, for which the log has the cause.
    3. An outage is raised: the job goes on when it is over.
    """
    deed, person = BULK_ACTIONS[job.action], job.person
    try:
        if person is None or not person.is_active:
            raise NotAllowed("Who asked for it has no account any more.")  # noqa: TRY301 - said as all refusals are
        with transaction.atomic():
            given = (item.run_id, job.label) if deed.needs_label else (item.run_id,)
            getattr(system, deed.method)(*given, by=person, reason=job.reason)
            _settle(job, item, ItemResult.DONE, f"{deed.done}.")
    except _Elsewhere:
        return
    except RequestError as refused:
        _refuse(job, item, str(refused))
    except Exception as error:
        if outages.of(error):
            raise
        logger.exception("%s failed for run %s.", deed.verb, item.run_id)
        _refuse(job, item, FAILED)


def _refuse(job: BulkJob, item: BulkItem, why: str) -> None:
    try:
        with transaction.atomic():
            _settle(job, item, ItemResult.REFUSED, why)
    except _Elsewhere:
        return


def _settle(job: BulkJob, item: BulkItem, result: ItemResult, text: str) -> None:
    """Write down what became of a run. Raises _Elsewhere when somebody else has."""
    mine = BulkItem.objects.filter(pk=item.pk, result=ItemResult.OPEN)
    if not mine.update(result=result, text=text):
        raise _Elsewhere
    counted = "done" if result == ItemResult.DONE else "refused"
    BulkJob.objects.filter(pk=job.pk).update(**{counted: F(counted) + 1})
