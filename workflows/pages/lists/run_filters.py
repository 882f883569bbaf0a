"""Filters of the run list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Q

from workflows.access import permissions
from workflows.models import RESUMABLE, Status
from workflows.models.id_ranges import run_id_at
from workflows.pages.lists import json_conditions
from workflows.pages.lists.filters import Filters, id_of_person, without_empty
from workflows.pages.lists.period import ANY_TIME, Period
from workflows.pages.query_string import text_in
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

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
    conditions: tuple[json_conditions.Condition, ...] = ()
    error: str = ""  # why `where` is invalid: then no run matches

    @classmethod
    def read(cls, query: Mapping[str, str]) -> RunFilters:
        """Read the filters of a query, ignoring invalid values."""
        status, where = query.get("status", ""), text_in(query, "where")
        conditions, error = json_conditions.read_or_error(where, COLUMNS)
        return cls(
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
    def is_live(self) -> bool:
        """Return whether the list is updated live: not while it scans titles or error messages."""
        return not (self.title or self.text)

    @property
    def is_indexed(self) -> bool:
        """Return whether PostgreSQL's index of values covers a part of `by_value`."""
        scans = self.title or self.text
        return not scans and any(one.is_indexed for one in self.conditions)

    @property
    def is_rare(self) -> bool:
        """Return whether one of the filters under “More filters” is set."""
        more = self.label or self.where or self.text
        return bool(more or self.period.first or self.period.last)

    def by_index(self, person: User) -> QuerySet[Run]:
        """Return the runs that match the conditions with an index, newest first.

        Labels, titles, values and errors are matched only in runs whose data the user may view.
        """
        runs = system.list_runs(workflow=self.workflow, status=self.status)
        needs_data = bool(self.label or self.title or self.where or self.text)
        runs = permissions.visible(person, runs, read=needs_data)
        if self.error:
            return runs.none()
        if self.who:
            runs = runs.filter(launched_by_id=id_of_person(self.who))
        if self.label:
            runs = runs.filter(labels__name=self.label)
        if (since := self.period.since) is not None:
            runs = runs.filter(pk__gte=run_id_at(since))
        if (until := self.period.until) is not None:
            runs = runs.filter(pk__lt=run_id_at(until))
        return runs.filter(status__in=RESUMABLE) if self.text else runs

    def by_value(self) -> Q:
        """Return the other conditions: on title, params, result and error messages."""
        wanted = Q()
        for condition in self.conditions:
            wanted &= condition.q()
        if self.title:
            wanted &= Q(title__icontains=self.title)
        if self.text:
            wanted &= Q(error_message__icontains=self.text)
        return wanted
