"""Jobs over many runs as pages show them: what is asked about, and how far one has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workflows import bulk
from workflows.access import permissions
from workflows.errors import JobNotFound
from workflows.models import BulkItem, ItemResult
from workflows.pages.lists.pagination import all_of
from workflows.pages.lists.run_filters import RunFilters, id_in, read_query
from workflows.services import actions
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from uuid import UUID

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.models import BulkJob, Run

SHOWN = 100  # runs that are named on one page
DIGITS = 6  # of a place among the runs of a job
READ = 2_000  # runs read at once
NEEDED = (
    *("id", "workflow_name", "created_at", "worker", "lease_expires_at"),
    *actions.NEEDED,
)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a deed would do to the runs that were chosen."""

    rows: list[tuple[Run, bool]]  # those that are named, and whether they fit
    total: int
    fitting: int
    newest: UUID | None  # of those chosen: what is made later was not confirmed

    @property
    def others(self) -> int:
        """Return how many are in no status for it."""
        return self.total - self.fitting

    @property
    def more(self) -> int:
        """Return how many are not named."""
        return self.total - len(self.rows)


def preview(deed: bulk.BulkAction, runs: Iterator[Run], person: User) -> Preview:
    """Look through the runs that were chosen: to which can this person do it?"""
    sight = permissions.permissions_for(person)
    rows: list[tuple[Run, bool]] = []
    total = fitting = 0
    newest = None
    for run in runs:
        fits = deed.name in actions.offered(run, sight)
        total += 1
        fitting += fits
        newest = run.pk if newest is None else max(newest, run.pk)
        if len(rows) < SHOWN:
            rows.append((run, fits))
    return Preview(rows, total, fitting, newest)


def ticked(person: User, ids: Sequence[UUID]) -> Iterator[Run]:
    """Yield the runs with these ids that a person may see, newest first."""
    runs = permissions.visible(person, system.list_runs()).filter(
        pk__in=ids[: bulk.MAX_RUNS]
    )
    yield from runs.select_related(None).defer(None).only(*NEEDED)


def matching(person: User, query: str, newest: UUID | None) -> Iterator[Run]:
    """Yield the runs that match the filters of a list, newest first, up to bulk.MAX_RUNS."""
    filters = RunFilters.read(read_query(query))
    runs = filters.by_index(person).select_related(None).defer(None).only(*NEEDED)
    if newest is not None:
        runs = runs.filter(pk__lte=newest)
    left = bulk.MAX_RUNS
    for chunk in all_of(runs, filters.by_value(), size=READ):
        yield from chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return


def context(query: Mapping[str, str], person: User) -> dict[str, Any]:
    """Return how far a job has come, and what became of its runs, a page of them."""
    job_id = id_in(query.get("job", ""))
    try:
        job = bulk.find(job_id, by=person) if job_id else None
    except JobNotFound:
        job = None
    return {"job": None} if job is None else _told(job, query, person)


def _told(job: BulkJob, query: Mapping[str, str], person: User) -> dict[str, Any]:
    only = query.get("only", "")
    only = only if only in {ItemResult.DONE, ItemResult.REFUSED} else ""
    after = query.get("after", "")
    first = (
        int(after)
        if after.isascii() and after.isdigit() and len(after) <= DIGITS
        else 0
    )
    items: QuerySet[BulkItem] = job.items.filter(position__gt=first)
    items = permissions.visible(person, items)
    if only:
        items = items.filter(result=only)
    found = list(items[: SHOWN + 1])
    shown = found[:SHOWN]
    return {
        "job": job,
        "deed": bulk.BULK_ACTIONS[job.action],
        "items": shown,
        "only": only,
        "after": first,
        "next": shown[-1].position if len(found) > SHOWN else None,
        "may_stop": bulk.may_stop(person, job),
    }
