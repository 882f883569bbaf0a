"""The live lists: home, runs, a workflow's runs and approvals, by what they show.

Each is a function of the address' query and the person; the page and its socket draw
the same regions from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from workflows.access import permissions
from workflows.models import RemovedRun, RunLabel, Status
from workflows.pages.lists import bulk_jobs, inbox
from workflows.pages.lists.columns import Columns, Row
from workflows.pages.lists.decision_filters import DecisionFilters
from workflows.pages.lists.overview import overview
from workflows.pages.lists.pagination import page_of
from workflows.pages.lists.run_filters import RunFilters, id_in
from workflows.pages.lists.workers import workers_for
from workflows.pages.redaction import by_workflow
from workflows.pages.render.regions import drawn
from workflows.pages.render.zones import zone_in
from workflows.services import saved_views
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    from django.contrib.auth.models import User
    from django.db.models import Model, QuerySet

    from workflows.models import Run, SavedView

FEW, FEWEST = 6, 4  # runs in a short list
DIGITS = 18  # read of a number
OFFERED, LATELY = 100, 2_000  # labels offered, labels looked at
OF_A_WORKFLOW = Columns(ours=("launched", "by", "took"))
Context = dict[str, Any]
Shown = TypeVar("Shown", bound="Model")


@dataclass(frozen=True, slots=True)
class LiveList:
    """A page with live rows: how its context is read, and its template's regions."""

    context: Callable[[Mapping[str, str], User], Context]
    template: str
    regions: tuple[str, ...]
    may: Callable[[User], bool] = permissions.is_member

    def render(self, query: Mapping[str, str], person: User) -> dict[str, str]:
        """Return its regions as HTML to be swapped in out of band."""
        return drawn(self.template, self.regions, self.context(query, person))


def seen(person: User, **wanted: Any) -> QuerySet[Run]:
    """Return the runs that a person may see, newest first."""
    return permissions.visible(person, system.list_runs(**wanted))


def rows_of(runs: Iterable[Run], columns: Columns, person: User) -> list[Row]:
    """Return runs as rows of a table."""
    return [Row.of(run, columns) for run in as_read(runs, person)]


def as_read(rows: Iterable[Shown], person: User) -> list[Shown]:
    """Return rows of runs, without what the person may not read of them."""
    return by_workflow(permissions.permissions_for(person).read, rows)


def runs_context(query: Mapping[str, str], person: User) -> Context:
    """Return one page of the runs that match."""
    filters, columns = RunFilters.read(query), Columns.read(query)
    before = id_in(query.get("before", ""))
    found = page_of(
        columns.fill(filters.by_index(person)),
        filters.by_value(),
        before=before,
        indexed=filters.is_indexed,
    )
    return {
        "filters": filters,
        "columns": columns,
        "query": with_query(filters, columns),
        "found": found,
        "rows": rows_of(found.rows, columns, person),
        "before": before,
        "me": person,
        "may_launch_any": permissions.may_launch_any(person),
    }


def with_query(filters: RunFilters, columns: Columns) -> str:
    """Return filters and columns as a query string, always written the same way."""
    return urlencode({**filters.query, **columns.query})


def views_of(person: User) -> list[SavedView]:
    """Return the saved views that a person is offered."""
    return saved_views.visible_views(person)


def known_labels(person: User) -> list[str]:
    """Return labels that were used lately on what a person may read, to be offered."""
    rows = RunLabel.objects.order_by("-pk")
    rows = permissions.visible(person, rows, "run__workflow_name", read=True)
    names = rows.values_list("name", flat=True)
    return sorted(set(names[:LATELY]))[:OFFERED]


def home_context(query: Mapping[str, str], person: User) -> Context:
    """Return what needs this person, what runs, what failed lately and how much ended."""
    live = seen(person).filter(status__in=(Status.PENDING, Status.RUNNING))
    sight = permissions.permissions_for(person)
    waiting = inbox.count_open(sight)
    return {
        "approvals": inbox.by_urgency(sight, FEWEST),
        "more": waiting > FEWEST,
        "waiting": waiting,
        "running": as_read(live[:FEW], person),
        "failed": as_read(seen(person, status=Status.FAILED)[:FEWEST], person),
        "lately": as_read(seen(person)[:FEW], person),
        "overview": overview(person, zone_in(query)),
        "may_launch_any": permissions.may_launch_any(person),
        "zone": zone_in(query),
    }


def workflow_context(query: Mapping[str, str], person: User) -> Context:
    """Return the newest runs of one workflow."""
    name = query.get("workflow", "").replace("\x00", "")
    runs = seen(person, workflow=name).prefetch_related("labels")[: FEW * 2]
    return {
        "name": name,
        "may_launch": permissions.may_launch(person, name),
        "columns": OF_A_WORKFLOW,
        "rows": rows_of(runs, OF_A_WORKFLOW, person),
    }


def decisions_context(query: Mapping[str, str], person: User) -> Context:
    """Return one page of the decisions that match."""
    filters = DecisionFilters.read(query)
    before = _number_in(query, "before")
    found = filters.page(person, before)
    found.rows = as_read(found.rows, person)
    ids = {row.run_id for row in found.rows}
    return {
        "filters": filters,
        "query": filters.encoded,
        "found": found,
        "removed": set(removed_runs(ids)),
        "before": before,
        "may_launch_any": permissions.may_launch_any(person),
    }


def _number_in(query: Mapping[str, str], name: str) -> int | None:
    """Return a whole number from a query, None if there is none."""
    text = query.get(name, "")[:DIGITS]
    return int(text) if text.isascii() and text.isdigit() else None


def removed_runs(ids: Iterable[UUID]) -> QuerySet[RemovedRun, UUID]:
    """Return those of some runs of which only the history is left."""
    return RemovedRun.objects.filter(pk__in=ids).values_list("pk", flat=True)


def workers_context(query: Mapping[str, str], person: User) -> Context:  # noqa: ARG001
    """Return who works, what waits and what was lost."""
    return {"page": workers_for(person)}


def approvals_context(query: Mapping[str, str], person: User) -> Context:
    """Return a page of the questions for this person, and those answered lately."""
    sight = permissions.permissions_for(person)
    after = _number_in(query, "after")
    found = inbox.page_of_open(sight, after)
    return {
        "found": found,
        "after": after,
        "groups": inbox.by_group(found.approvals),
        "waiting": inbox.count_open(sight),
        "answered": inbox.list_answered(sight, FEW),
    }


LISTS: dict[str, LiveList] = {
    "runs": LiveList(runs_context, "runs/list.html", ("runs-rows",)),
    "home": LiveList(
        home_context,
        "home.html",
        (
            "home-approvals",
            "home-figures",
            "home-running",
            "home-failed",
            "home-lately",
            "nav-waiting",
        ),
    ),
    "job": LiveList(bulk_jobs.context, "runs/job.html", ("job-state",)),
    "decisions": LiveList(
        decisions_context, "decisions/list.html", ("decisions-rows",)
    ),
    "workers": LiveList(
        workers_context,
        "workers/list.html",
        ("workers-alive", "workers-queue", "workers-lost"),
        may=permissions.may_see_workers,
    ),
    "workflow": LiveList(workflow_context, "workflows/detail.html", ("workflow-runs",)),
    "approvals": LiveList(
        approvals_context,
        "approvals/list.html",
        ("approvals-open", "approvals-answered", "nav-waiting"),
    ),
}
