"""Which decisions the history shows: the filters of the decisions page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.db.models import Q

from workflows.access import permissions
from workflows.models.datetimes import decisions_between
from workflows.pages.lists import json_conditions
from workflows.pages.lists.edges import edges_with
from workflows.pages.lists.filters import Filters, id_of_person, text_in
from workflows.pages.lists.pagination import Page, page_of, page_of_several
from workflows.pages.lists.period import ANY_TIME, Period

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.models import Decision

ARROW = "→"  # between the nodes of an edge, in an address
OUTCOMES = {"taken": True, "rejected": False}
VALUES = "values"


@dataclass(frozen=True, slots=True)
class DecisionFilters(Filters):
    """Which decisions are shown."""

    workflow: str = ""
    edge: str = ""  # from→to
    predicate: str = ""
    outcome: str = ""  # a key of OUTCOMES
    who: str = ""
    period: Period = ANY_TIME
    where: str = ""  # a condition on what was read, as written
    conditions: tuple[json_conditions.Condition, ...] = ()
    error: str = ""  # why `where` cannot be read: then no decision matches

    @classmethod
    def read(cls, query: Mapping[str, str]) -> DecisionFilters:
        """Take what a query says; what means nothing is left out."""
        outcome, where, error = query.get("outcome", ""), text_in(query, "where"), ""
        conditions: list[json_conditions.Condition] = []
        try:
            conditions = json_conditions.read(where, (VALUES,), column=VALUES)
        except json_conditions.BadCondition as refused:
            error = str(refused)
        edge = text_in(query, "edge")
        return cls(
            workflow=text_in(query, "workflow"),
            edge=edge if ARROW in edge else "",
            predicate=text_in(query, "predicate"),
            outcome=outcome if outcome in OUTCOMES else "",
            who=text_in(query, "who"),
            period=Period.read(query),
            where=where,
            conditions=tuple(conditions),
            error=error,
        )

    @property
    def query(self) -> dict[str, str]:
        """Return what is set, as an address tells it."""
        told = {
            "workflow": self.workflow,
            "edge": self.edge,
            "predicate": self.predicate,
            "outcome": self.outcome,
            "who": self.who,
            **self.period.query,
            "where": self.where,
        }
        return {name: value for name, value in told.items() if value}

    @property
    def is_rare(self) -> bool:
        """Tell whether one of the less usual filters is set."""
        return bool(self.where or self.period.first or self.period.last)

    @property
    def only_edge(self) -> str:
        """Return a query for an edge of the same workflow and time; its value follows."""
        told = {"workflow": self.workflow, **self.period.query, "edge": ""}
        return urlencode(told)

    @property
    def ends(self) -> tuple[str, str]:
        """Return the nodes of the edge."""
        source, _, target = self.edge.partition(ARROW)
        return source, target

    def page(self, person: User, before: int | None) -> Page[Decision]:
        """Return one page of the decisions that match, newest first.

        1. With a value: the rest in the order of the newest, then by value.
        2. With an edge or predicate: each edge from its index, laid together.
        3. Else in the order of the newest, of a workflow or a person from their index.
        """
        if self.error:
            return Page()
        rows = self._rows(person)
        # what was read is never empty where it has a value: so says the index, too
        condition = ~Q(values={}) if self.conditions else Q()
        for one in self.conditions:
            condition &= one.q()
        if condition or not (self.edge or self.predicate):
            narrowed = rows.filter(self._of_edge())
            indexed = any(one.is_indexed for one in self.conditions)
            return page_of(narrowed, condition, before=before, indexed=indexed)
        return page_of_several(self._ways(person, rows), before=before)

    def _rows(self, person: User) -> QuerySet[Decision]:
        rows = decisions_between(self.period.since, self.period.until)
        rows = permissions.visible(person, rows, read=bool(self.where))
        rows = rows.select_related("decided_by")
        rows = rows.only(*SHOWN)
        if self.workflow:
            rows = rows.filter(workflow_name=self.workflow)
        if self.who:
            rows = rows.filter(decided_by_id=id_of_person(self.who))
        if self.outcome:
            rows = rows.filter(taken=OUTCOMES[self.outcome])
        return rows

    def _of_edge(self) -> Q:
        found = Q()
        if self.edge:
            found &= Q(from_node=self.ends[0], to_node=self.ends[1])
        if self.predicate:
            found &= Q(predicate_name=self.predicate)
        return found

    def _ways(self, person: User, rows: QuerySet[Decision]) -> list[QuerySet[Decision]]:
        """Return the rows of each edge and outcome by itself, as their index has them."""
        rows = rows.filter(self._of_edge())
        outcomes = [OUTCOMES[self.outcome]] if self.outcome else [True, False]
        return [
            rows.filter(
                workflow_name=name, from_node=source, to_node=target, taken=taken
            )
            for name, source, target in edges_with(
                person, self.workflow, self.ends, self.predicate
            )
            for taken in outcomes
        ]


SHOWN = (
    "run_id",
    "attempt",
    "workflow_name",
    "sequence",
    "edge_index",
    "from_node",
    "to_node",
    "predicate_name",
    "predicate_result",
    "reason",
    "values",
    "taken",
    "decided_by__username",
    "comment",
    "created_at",
)
