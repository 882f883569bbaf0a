"""Filters of the run list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Q

from workflows.access import permissions
from workflows.models import RESUMABLE, Status
from workflows.models.id_ranges import run_id_at
from workflows.pages.lists import json_conditions, run_expression
from workflows.pages.lists.filters import Filters, id_of_person, without_empty
from workflows.pages.lists.pagination import SCATTERED_LIMIT
from workflows.pages.lists.period import ANY_TIME, Period
from workflows.pages.query_string import text_in
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.access.permissions import Permissions
    from workflows.models import Run

COLUMNS = ("params", "result")


@dataclass(frozen=True, slots=True)
class RunFilters(Filters):
    """Conditions on runs."""

    workflow: str = ""
    status: str = ""
    who: str = ""
    label: str = ""
    period: Period = ANY_TIME
    where: str = ""  # conditions on params and result, as written
    title: str = ""  # a part of the title
    text: str = ""  # in the error
    q: str = ""  # an expression, as written
    conditions: tuple[json_conditions.Condition, ...] = ()
    expression: run_expression.Expression | None = None
    error: str = ""  # why `where` is invalid: then no run matches
    q_error: str = ""  # why `q` is invalid: likewise
    q_error_at: int | None = None  # the character of the error, from 0

    @classmethod
    def read(cls, query: Mapping[str, str]) -> RunFilters:
        """Read the filters of a query, ignoring invalid values."""
        status, where = query.get("status", ""), text_in(query, "where")
        conditions, error = json_conditions.read_or_error(where, COLUMNS)
        q = text_in(query, "q")
        expression, problem = run_expression.read_or_error(q)
        return cls(
            q=q,
            expression=expression,
            q_error=str(problem or ""),
            q_error_at=problem.place if problem else None,
            workflow=text_in(query, "workflow"),
            status=status if status in Status.values else "",
            who=text_in(query, "who"),
            label=text_in(query, "label"),
            period=Period.read(query),
            where=where,
            title=text_in(query, "title"),
            text=text_in(query, "text"),
            conditions=conditions,
            error=error,
        )

    @property
    def query(self) -> dict[str, str]:
        """Return the filters that are set, as fields of a query string."""
        fields = {
            "q": self.q,
            "workflow": self.workflow,
            "status": self.status,
            "who": self.who,
            "label": self.label,
            **self.period.query,
            "title": self.title,
            "where": self.where,
            "text": self.text,
        }
        return without_empty(fields)

    @property
    def q_marked(self) -> tuple[str, str, str]:
        """Return the expression around the place of its error: before, at and after it."""
        at = min(self.q_error_at or 0, len(self.q))
        return self.q[:at], self.q[at : at + 1] or "\u2423", self.q[at + 1 :]

    @property
    def is_live(self) -> bool:
        """Return whether the list is updated live: not while it scans texts."""
        scans = self.expression is not None and self.expression.scans_texts
        return not (self.title or self.text or scans)

    @property
    def is_indexed(self) -> bool:
        """Return whether PostgreSQL's index of values covers a part of `by_value`."""
        scans = self.title or self.text
        if scans:
            return False
        if self.expression is not None and self.expression.is_in_value_index:
            return True
        return any(one.is_indexed for one in self.conditions)

    @property
    def is_rare(self) -> bool:
        """Return whether one of the filters under “More filters” is set."""
        more = self.label or self.where or self.text
        return bool(more or self.period.first or self.period.last)

    @property
    def needs_data(self) -> bool:
        """Return whether the data of runs is searched, not only what everyone sees."""
        in_expression = self.expression is not None and self.expression.needs_data
        return in_expression or bool(
            self.label or self.title or self.where or self.text
        )

    def refusal(self, person: User) -> str:
        """Return why a user can't search this; "" if they can.

        Matches would reveal data, so that only runs whose data a person may view are
        searched. Where these are none, an empty list would seem to be an answer.
        """
        if not self.needs_data:
            return ""
        granted = permissions.permissions_for(person)
        hidden = sorted(self.workflows - _readable(granted, self.workflows))
        if hidden:
            return (
                f"You don’t have permission to view the data of {_named(hidden)}, so"
                " titles, labels, errors, parameters and results can’t be searched."
            )
        if not granted.read.is_any and granted.view.is_any:
            return (
                "You don’t have permission to view the data of runs, so titles,"
                " labels, errors, parameters and results can’t be searched."
            )
        return ""

    def leaves_out(self, person: User, *, also: bool = False) -> bool:
        """Return whether runs are left out because their data is hidden from a user.

        `also` is whether something else, such as the order, reads the data.
        """
        granted = permissions.permissions_for(person)
        return (self.needs_data or also) and not granted.view.is_within(granted.read)

    @property
    def workflows(self) -> frozenset[str]:
        """Return the workflows that the filters are limited to; empty for no limit."""
        named = frozenset({self.workflow} if self.workflow else ())
        return named or (self.expression.workflows if self.expression else named)

    def by_index(self, person: User) -> QuerySet[Run]:
        """Return the runs that match the conditions with an index, newest first.

        Labels, titles, values and errors are matched only in runs whose data the user may view.
        """
        runs = system.list_runs(workflow=self.workflow, status=self.status)
        runs = permissions.visible(person, runs, read=self.needs_data)
        if self.error or self.q_error or self.refusal(person):
            return runs.none()
        if self.expression is not None:
            runs = runs.filter(self.expression.by_index())
        if self.who:
            runs = runs.filter(launched_by_id=id_of_person(self.who))
        if self.label:
            runs = runs.filter(labels__name=self.label)
        if (since := self.period.since) is not None:
            runs = runs.filter(pk__gte=run_id_at(since))
        if (until := self.period.until) is not None:
            runs = runs.filter(pk__lt=run_id_at(until))
        return runs.filter(status__in=RESUMABLE) if self.text else runs

    @property
    def scan_limit(self) -> int | None:
        """Return how many runs are tested for a page, None for as many as usual.

        Those with errors are far apart among all runs.
        """
        of_errors = bool(self.text) or (
            self.expression is not None and self.expression.needs_error
        )
        return SCATTERED_LIMIT if of_errors else None

    def by_value(self) -> Q:
        """Return the other conditions: on title, params, result and error messages."""
        wanted = Q() if self.expression is None else self.expression.by_value()
        for condition in self.conditions:
            wanted &= condition.q()
        if self.title:
            wanted &= Q(title__icontains=self.title)
        if self.text:
            wanted &= Q(error_message__icontains=self.text)
        return wanted


def _readable(granted: Permissions, names: frozenset[str]) -> frozenset[str]:
    """Return those of the workflows whose data is not hidden from a person who sees them."""
    return frozenset(
        name for name in names if name in granted.read or name not in granted.view
    )


def _named(names: list[str]) -> str:
    return ", ".join(f"“{name}”" for name in names)
