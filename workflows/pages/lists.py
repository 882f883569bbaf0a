"""The live lists: home, runs, a workflow's runs and approvals, by what they show.

Each is a function of the address' query and the person; the page and its socket draw
the same regions from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.auth.models import User

from workflows.models import Run, Status
from workflows.pages import inbox
from workflows.pages.regions import drawn
from workflows.system import system

if TYPE_CHECKING:
    from django.db.models import QuerySet

LONGEST = 150  # characters of a name in a query
PAGE = 50  # runs on one page
FEW, FEWEST = 6, 4  # runs in a short list
Context = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LiveList:
    """A page with live rows: how its context is read, and its template's regions."""

    context: Callable[[Mapping[str, str], User], Context]
    template: str
    regions: tuple[str, ...]

    def render(self, query: Mapping[str, str], person: User) -> dict[str, str]:
        """Return its regions as HTML to be swapped in out of band."""
        return drawn(self.template, self.regions, self.context(query, person))


@dataclass(frozen=True, slots=True)
class Filters:
    """Which runs a list shows."""

    workflow: str = ""
    status: str = ""
    who: str = ""
    before: str = ""  # id of the last run on the page before

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Filters:
        """Take what a query says; what means nothing is left out."""
        status, before = query.get("status", ""), query.get("before", "")
        return cls(
            workflow=_text(query, "workflow"),
            status=status if status in Status.values else "",
            who=_text(query, "who"),
            before=before if _is_id(before) else "",
        )

    @property
    def is_any(self) -> bool:
        """Tell whether anything is filtered."""
        return bool(self.workflow or self.status or self.who)

    def runs(self) -> QuerySet[Run]:
        """Return the runs, newest first."""
        runs = system.list_runs(workflow=self.workflow, status=self.status)
        if self.who:
            runs = runs.filter(launched_by__username=self.who)
        return runs.filter(pk__lt=UUID(self.before)) if self.before else runs


def _text(query: Mapping[str, str], name: str) -> str:
    """Return a name from a query; PostgreSQL's text cannot hold NUL."""
    return query.get(name, "").replace("\x00", "")[:LONGEST]


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def runs_context(query: Mapping[str, str], person: User) -> Context:
    """Return one page of the runs that match."""
    filters = Filters.read(query)
    rows = list(filters.runs()[: PAGE + 1])
    return {
        "filters": filters,
        "runs": rows[:PAGE],
        "next": rows[PAGE - 1].pk if len(rows) > PAGE else None,
        "me": person,
    }


def home_context(query: Mapping[str, str], person: User) -> Context:  # noqa: ARG001 - as all lists
    """Return what needs this person, what runs and what failed lately."""
    live = system.list_runs().filter(status__in=(Status.PENDING, Status.RUNNING))
    approvals = inbox.list_open(inbox.groups_of(person))
    return {
        "approvals": approvals,
        "waiting": len(approvals),
        "running": list(live[:FEW]),
        "failed": list(system.list_runs(status=Status.FAILED)[:FEWEST]),
        "lately": list(system.list_runs()[:FEW]),
    }


def workflow_context(query: Mapping[str, str], person: User) -> Context:  # noqa: ARG001
    """Return the newest runs of one workflow."""
    name = _text(query, "workflow")
    return {"name": name, "runs": list(system.list_runs(workflow=name)[: FEW * 2])}


def approvals_context(query: Mapping[str, str], person: User) -> Context:  # noqa: ARG001
    """Return the questions that wait for this person, and those answered lately."""
    approvals = inbox.list_open(inbox.groups_of(person))
    return {
        "approvals": approvals,
        "waiting": len(approvals),
        "answered": inbox.list_answered(FEW),
    }


LISTS: dict[str, LiveList] = {
    "runs": LiveList(runs_context, "runs/list.html", ("runs-rows",)),
    "home": LiveList(
        home_context,
        "home.html",
        ("home-approvals", "home-running", "home-failed", "home-lately", "nav-waiting"),
    ),
    "workflow": LiveList(workflow_context, "workflows/detail.html", ("workflow-runs",)),
    "approvals": LiveList(
        approvals_context,
        "approvals/list.html",
        ("approvals-open", "approvals-answered", "nav-waiting"),
    ),
}
