"""Live lists: home, runs, approvals and more.

The template context of each is a function of query and user; the page and its websocket
render the same regions from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlencode

from workflows.access import permissions
from workflows.models import RemovedRun, RunLabel, Status
from workflows.pages.lists import bulk_operations, open_approvals, schedules
from workflows.pages.lists.columns import Columns, Row
from workflows.pages.lists.decision_filters import DecisionFilters
from workflows.pages.lists.decision_groups import add_assessments, grouped
from workflows.pages.lists.overview import overview
from workflows.pages.lists.pagination import merged_page
from workflows.pages.lists.run_filters import RunFilters
from workflows.pages.lists.run_sorting import Order, counted, headings, listed
from workflows.pages.lists.workers import workers_for
from workflows.pages.query_string import clean_text, int_in
from workflows.pages.redaction import by_workflow
from workflows.pages.render.regions import render_regions
from workflows.pages.render.zones import zone_in
from workflows.services import approval_snoozes, pauses, saved_views
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    from django.contrib.auth.models import User
    from django.db.models import Model, QuerySet

    from workflows.models import Run, SavedView

SHORT_LIST, SHORTEST_LIST = 6, 4  # rows
MAX_LABELS, MAX_SCANNED_LABELS = 100, 2_000
WORKFLOW_COLUMNS = Columns(ours=("launched", "by", "duration"))
Context = dict[str, Any]
Shown = TypeVar("Shown", bound="Model")


@dataclass(frozen=True, slots=True)
class LiveList:
    """A page with live rows: its context, template and regions."""

    context: Callable[[Mapping[str, str], User], Context]
    template: str
    regions: tuple[str, ...]
    may: Callable[[User], bool] = permissions.is_member
    has_approvals: bool = False  # those that a person can respond to

    def shared_by(self, person: User, query: Mapping[str, str]) -> object:
        """Return what is equal for the viewers of the same rows, with equal queries."""
        granted = permissions.permissions_for(person)
        if not self.has_approvals:
            return granted
        snoozed = approval_snoozes.snoozed_by(person)
        shows_mine = query.get("show") == open_approvals.MINE
        is_personal = shows_mine or open_approvals.are_personal(granted)
        return (granted, person.pk if is_personal else None, snoozed)

    def render(self, query: Mapping[str, str], person: User) -> dict[str, str]:
        """Return the HTML of each region, for htmx out-of-band swaps."""
        return render_regions(self.template, self.regions, self.context(query, person))


def list_visible_runs(user: User, **filters: Any) -> QuerySet[Run]:
    """Return the runs that a user may see, newest first; filters as `System.list_runs`."""
    return permissions.visible(user, system.list_runs(**filters))


def rows_of(runs: Iterable[Run], columns: Columns, person: User) -> list[Row]:
    """Return runs as rows of a table, redacted for the user."""
    return [Row.of(run, columns) for run in redacted_for(person, runs)]


def redacted_for(user: User, rows: Iterable[Shown]) -> list[Shown]:
    """Return rows of runs, redacted where the user may not view their data."""
    return by_workflow(permissions.permissions_for(user).read, rows)


def runs_context(query: Mapping[str, str], person: User) -> Context:
    """Return a page of the matching runs."""
    filters, columns = RunFilters.read(query), Columns.read(query)
    order, condition = Order.read(query), filters.by_value()
    runs = filters.by_index(person)
    if order.needs_data:
        runs = permissions.visible(person, runs, read=True)
    found = listed(
        *(columns.fill(runs), condition, order, query),
        indexed=filters.is_indexed,
        limit=filters.scan_limit,
    )
    unsorted = encoded_query(filters, columns)
    return {
        "filters": filters,
        "refusal": filters.refusal(person),
        "leaves_out": filters.leaves_out(person, also=order.needs_data),
        "columns": columns,
        "order": order,
        "headings": list(headings(columns, order, unsorted)),
        "query": encoded_query(filters, columns, order),
        "listed": found,
        "found": found.page,
        "count": counted(runs, condition, found),
        "rows": rows_of(found.page.rows, columns, person),
        "before": found.before,
        "is_live": filters.is_live and order.is_default,
        "me": person,
        "can_launch_any": permissions.can_launch_any(person),
    }


def encoded_query(
    filters: RunFilters, columns: Columns, order: Order | None = None
) -> str:
    """Return filters, columns and order as a query string in canonical form."""
    sort = order.query if order else {}
    return urlencode({**filters.query, **columns.query, **sort})


def views_of(person: User) -> list[SavedView]:
    """Return the saved views of a user, and those shared with them."""
    return saved_views.visible_views(person)


def known_labels(person: User) -> list[str]:
    """Return recently used labels of runs whose data a user may view."""
    rows = RunLabel.objects.order_by("-pk")
    rows = permissions.visible(person, rows, "run__workflow_name", read=True)
    names = rows.values_list("name", flat=True)
    return sorted(set(names[:MAX_SCANNED_LABELS]))[:MAX_LABELS]


def home_context(query: Mapping[str, str], person: User) -> Context:
    """Return open approvals, active and recent runs, recent failures and totals."""
    runs = list_visible_runs(person)
    # each by its index: one query for both scans all runs on SQLite if few are active
    active = merged_page(
        [runs.filter(status=status) for status in (Status.PENDING, Status.RUNNING)],
        size=SHORT_LIST,
    )
    failed = runs.filter(status=Status.FAILED)
    granted = permissions.permissions_for(person)
    snoozed = approval_snoozes.snoozed_by(person)
    waiting = open_approvals.count_open(granted, person.pk, snoozed)
    return {
        "approvals": open_approvals.by_urgency(
            granted, SHORTEST_LIST, person.pk, snoozed
        ),
        "more": waiting > SHORTEST_LIST,
        "waiting": waiting,
        "pauses": redacted_for(person, pauses.visible_pauses(person)),
        "running": redacted_for(person, active.rows),
        "failed": redacted_for(person, failed[:SHORTEST_LIST]),
        "lately": redacted_for(person, runs[:SHORT_LIST]),
        "overview": overview(person, zone_in(query)),
        "can_launch_any": permissions.can_launch_any(person),
        "zone": zone_in(query),
    }


def workflow_context(query: Mapping[str, str], person: User) -> Context:
    """Return the newest runs of a workflow."""
    name = clean_text(query.get("workflow", ""))
    runs = list_visible_runs(person, workflow=name).prefetch_related("labels")
    found = pauses.visible_pauses(person).filter(workflow_name=name)
    return {
        "name": name,
        "can_launch": permissions.can_launch(person, name),
        "can_pause": permissions.can_pause_workflow(person, name),
        "pause": next(iter(redacted_for(person, found)), None),
        "columns": WORKFLOW_COLUMNS,
        "rows": rows_of(runs[: SHORT_LIST * 2], WORKFLOW_COLUMNS, person),
    }


def decisions_context(query: Mapping[str, str], person: User) -> Context:
    """Return a page of the matching decisions."""
    filters = DecisionFilters.read_folded(query)
    before = int_in(query, "before")
    found = filters.page(person, before)
    found.rows = redacted_for(person, found.rows)
    ids = {row.run_id for row in found.rows}
    groups = grouped(found.rows)
    add_assessments(groups, person)
    return {
        "filters": filters,
        "query": filters.encoded,
        "found": found,
        "groups": groups,
        "has_hidden_edges": not found.rows and _has_hidden_edges(filters, person),
        "removed": set(removed_runs(ids)),
        "before": before,
        "can_launch_any": permissions.can_launch_any(person),
    }


def _has_hidden_edges(filters: DecisionFilters, person: User) -> bool:
    """Return whether decisions match of which the list leaves out the edges."""
    every = replace(filters, every_edge=True)
    return filters.hides_edges and bool(every.page(person, None, size=1).rows)


def removed_runs(ids: Iterable[UUID]) -> QuerySet[RemovedRun, UUID]:
    """Return which of these runs are deleted except for their history."""
    return RemovedRun.objects.filter(pk__in=ids).values_list("pk", flat=True)


def workers_context(query: Mapping[str, str], person: User) -> Context:  # noqa: ARG001
    """Return workers, queue and recoveries."""
    return {"page": workers_for(person)}


def approvals_context(query: Mapping[str, str], person: User) -> Context:
    """Return a page of the user's open approvals, and recently answered ones."""
    granted = permissions.permissions_for(person)
    after, show = int_in(query, "after"), query.get("show", open_approvals.ALL)
    show = show if show in open_approvals.SHOWN else open_approvals.ALL
    snoozed = approval_snoozes.snoozed_by(person)
    only = open_approvals.shown_to(person.pk, show, snoozed)
    found = open_approvals.open_page(granted, after, only=only)
    rows = list(open_approvals.with_refusals(found.rows, person.pk))
    place = {"after": after} if after else {}
    which = {"show": show} if show else {}
    return {
        "found": found,
        "after": after,
        "show": show,
        "query": urlencode(which),
        "address": urlencode({**place, **which}),
        "choices": open_approvals.SHOWN.items(),
        "groups": open_approvals.by_group(rows),
        "equal": open_approvals.equal_rows(rows),
        "waiting": open_approvals.count_open(granted, person.pk, snoozed),
        "answered": open_approvals.list_answered(granted, SHORT_LIST),
    }


LISTS: dict[str, LiveList] = {
    "runs": LiveList(runs_context, "runs/list.html", ("runs-rows",)),
    "home": LiveList(
        home_context,
        "home.html",
        (
            "home-approvals",
            "home-pauses",
            "home-metrics",
            "home-running",
            "home-failed",
            "home-recent",
            "nav-approvals",
        ),
        has_approvals=True,
    ),
    "job": LiveList(bulk_operations.context, "runs/job.html", ("job-state",)),
    "decisions": LiveList(
        decisions_context, "decisions/list.html", ("decisions-rows",)
    ),
    "workers": LiveList(
        workers_context,
        "workers/list.html",
        ("workers-alive", "workers-queue", "workers-lost"),
        may=permissions.can_view_workers,
    ),
    "workflow": LiveList(
        workflow_context, "workflows/detail.html", ("workflow-pause", "workflow-runs")
    ),
    "schedules": LiveList(
        schedules.list_context, "schedules/list.html", ("schedules-rows",)
    ),
    "schedule": LiveList(
        schedules.detail_context,
        "schedules/detail.html",
        ("schedule-next", "schedule-history"),
    ),
    "approvals": LiveList(
        approvals_context,
        "approvals/list.html",
        ("approvals-open", "approvals-answered", "nav-approvals"),
        has_approvals=True,
    ),
}
