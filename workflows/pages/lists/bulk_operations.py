"""Bulk actions as pages show them: the preview, and the progress of a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workflows import bulk
from workflows.access import permissions
from workflows.errors import JobNotFound
from workflows.models import BulkItem, ItemResult
from workflows.pages.lists.export import csv_cell, csv_lines, file_parts
from workflows.pages.lists.pagination import forward_page, iter_chunks
from workflows.pages.lists.run_filters import RunFilters
from workflows.pages.query_string import int_in, parse_query, uuid_in
from workflows.pages.redaction import HIDDEN
from workflows.pages.visible_rows import visible_runs
from workflows.services import actions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from uuid import UUID

    from django.contrib.auth.models import User

    from workflows.models import BulkJob, Run

MAX_SHOWN_RUNS = 100  # on one page
MAX_POSITION = 2**31 - 1  # of a run in a job
READ = 2_000  # runs read per chunk
NEEDED = (
    *("id", "workflow_name", "created_at", "worker", "lease_expires_at"),
    *actions.NEEDED,
)


@dataclass(frozen=True, slots=True)
class Preview:
    """The effect of an action on the selected runs."""

    rows: list[tuple[Run, bool]]  # shown runs, and whether the action applies to each
    total: int
    fitting: int
    newest: UUID | None  # selected run: runs created later were not confirmed

    @property
    def others(self) -> int:
        """Return how many runs the action does not apply to."""
        return self.total - self.fitting

    @property
    def more(self) -> int:
        """Return how many runs are not shown."""
        return self.total - len(self.rows)


def preview(action: bulk.BulkAction, runs: Iterator[Run], person: User) -> Preview:
    """Check which of the selected runs a user can apply an action to."""
    granted = permissions.permissions_for(person)
    rows: list[tuple[Run, bool]] = []
    total = fitting = 0
    newest = None
    for run in runs:
        fits = action.name in actions.offered(run, granted)
        total += 1
        fitting += fits
        newest = run.pk if newest is None else max(newest, run.pk)
        if len(rows) < MAX_SHOWN_RUNS:
            rows.append((run, fits))
    return Preview(rows, total, fitting, newest)


def selected(person: User, ids: Sequence[UUID]) -> Iterator[Run]:
    """Yield the runs with these ids that a user may see, newest first."""
    runs = visible_runs(person).filter(pk__in=ids[: bulk.MAX_RUNS])
    yield from runs.order_by("-pk").only(*NEEDED)


def matching(person: User, query: str, newest: UUID | None) -> Iterator[Run]:
    """Yield the runs that match a list's query, newest first, up to bulk.MAX_RUNS."""
    filters = RunFilters.read(parse_query(query))
    runs = filters.by_index(person).select_related(None).defer(None).only(*NEEDED)
    if newest is not None:
        runs = runs.filter(pk__lte=newest)
    left = bulk.MAX_RUNS
    for chunk in iter_chunks(runs, filters.by_value(), size=READ):
        yield from chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return


def context(query: Mapping[str, str], person: User) -> dict[str, Any]:
    """Return the progress of a job and a page of its results, as template context."""
    job_id = uuid_in(query.get("job", ""))
    try:
        job = bulk.find(job_id, by=person) if job_id else None
    except JobNotFound:
        job = None
    return {"job": None} if job is None else _job_context(job, query, person)


def _job_context(
    job: BulkJob, query: Mapping[str, str], person: User
) -> dict[str, Any]:
    only = query.get("only", "")
    only = only if only in {ItemResult.DONE, ItemResult.REFUSED} else ""
    after = min(int_in(query, "after") or 0, MAX_POSITION)
    items = permissions.visible(person, BulkItem.objects.filter(job=job))
    if only:
        items = items.filter(result=only)
    page = forward_page(
        items.defer("params"), after=after, size=MAX_SHOWN_RUNS, key="position"
    )
    redact_items(page.rows, person)
    return {
        "job": job,
        "action": bulk.action_of(job),
        "is_launch": job.action == bulk.LAUNCH.name,
        "items": page.rows,
        "only": only,
        "after": after,
        "next": page.after,
        "can_cancel": bulk.can_cancel(person, job),
    }


def redact_items(items: Iterable[BulkItem], person: User) -> None:
    """Hide the texts of refused rows whose data a person may not read: they quote params."""
    readable = permissions.permissions_for(person).read
    for item in items:
        if item.result == ItemResult.REFUSED and item.workflow_name not in readable:
            item.text = HIDDEN


@dataclass(frozen=True, slots=True)
class Results:
    """The results of a bulk operation as CSV."""

    job: BulkJob
    person: User

    def parts(self) -> Iterator[str]:
        """Yield the parts of the file; each is read when the previous one was sent."""
        head = ("row", "run", "workflow", "result", "message")
        return file_parts("csv", head, self._texts())

    def _texts(self) -> Iterator[str]:
        items = permissions.visible(self.person, BulkItem.objects.filter(job=self.job))
        last = 0
        while True:
            rows = items.filter(position__gt=last).order_by("position")
            found = list(rows.defer("params")[:READ])
            redact_items(found, self.person)
            yield csv_lines([csv_cell(cell) for cell in _cells(one)] for one in found)
            if len(found) < READ:
                return
            last = found[-1].position


def _cells(item: BulkItem) -> tuple[Any, ...]:
    run = str(item.run_id) if item.run_id else ""
    return item.position, run, item.workflow_name, item.result or "open", item.text
