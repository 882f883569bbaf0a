"""Which runs a list shows: the filters of the runs page, as its address tells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl
from uuid import UUID

from django.db.models import Q

from workflows.access import permissions
from workflows.models import RESUMABLE, Status
from workflows.models.datetimes import run_id_at
from workflows.pages.lists import json_conditions
from workflows.pages.lists.filters import Filters, id_of_person, text_in
from workflows.pages.lists.period import ANY_TIME, Period
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.models import Run

COLUMNS = ("params", "result")
MOST_QUERY, MOST_NAMES = 8_000, 100  # characters and names of a query


@dataclass(frozen=True, slots=True)
class RunFilters(Filters):
    """Which runs a list shows."""

    workflow: str = ""
    status: str = ""
    who: str = ""
    label: str = ""
    period: Period = ANY_TIME
    where: str = ""  # conditions on params and result, as written
    text: str = ""  # in the error
    conditions: tuple[json_conditions.Condition, ...] = ()
    error: str = ""  # why `where` cannot be read: then no run matches

    @classmethod
    def read(cls, query: Mapping[str, str]) -> RunFilters:
        """Take what a query says; what means nothing is left out."""
        status, where, error = query.get("status", ""), text_in(query, "where"), ""
        conditions: list[json_conditions.Condition] = []
        try:
            conditions = json_conditions.read(where, COLUMNS)
        except json_conditions.BadCondition as refused:
            error = str(refused)
        return cls(
            workflow=text_in(query, "workflow"),
            status=status if status in Status.values else "",
            who=text_in(query, "who"),
            label=text_in(query, "label"),
            period=Period.read(query),
            where=where,
            text=text_in(query, "text"),
            conditions=tuple(conditions),
            error=error,
        )

    @property
    def query(self) -> dict[str, str]:
        """Return what is set, as an address tells it."""
        told = {
            "workflow": self.workflow,
            "status": self.status,
            "who": self.who,
            "label": self.label,
            **self.period.query,
            "where": self.where,
            "text": self.text,
        }
        return {name: value for name, value in told.items() if value}

    @property
    def is_live(self) -> bool:
        """Tell whether the list is drawn again as runs change: not if that costs much."""
        return not self.text

    @property
    def is_indexed(self) -> bool:
        """Tell whether PostgreSQL's index of values answers a part of `by_value`."""
        return not self.text and any(one.is_indexed for one in self.conditions)

    @property
    def is_rare(self) -> bool:
        """Tell whether one of the less usual filters is set."""
        more = self.label or self.where or self.text
        return bool(more or self.period.first or self.period.last)

    def by_index(self, person: User) -> QuerySet[Run]:
        """Return the runs that match what an index answers, newest first."""
        runs = system.list_runs(workflow=self.workflow, status=self.status)
        asks_values = bool(self.label or self.where or self.text)
        runs = permissions.visible(person, runs, read=asks_values)
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
        """Return the rest as a condition: what JSON and errors say."""
        wanted = Q()
        for condition in self.conditions:
            wanted &= condition.q()
        if self.text:
            wanted &= Q(error_message__icontains=self.text)
        return wanted


def id_in(text: str) -> UUID | None:
    """Return the id that a text is, None if it is none."""
    try:
        return UUID(text)
    except ValueError:
        return None


def read_query(text: str | bytes) -> dict[str, str]:
    """Return what a query string says, the last word of each name, whatever it is made of."""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    try:
        return dict(parse_qsl(text[:MOST_QUERY], max_num_fields=MOST_NAMES))
    except ValueError:
        return {}
