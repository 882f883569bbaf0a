"""Filters of the decision history."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.db.models import Q

from workflows.access import permissions
from workflows.models import DecisionKind
from workflows.models.id_ranges import decisions_between
from workflows.pages.lists import json_conditions
from workflows.pages.lists.edges import edges_with
from workflows.pages.lists.filters import Filters, id_of_person, without_empty
from workflows.pages.lists.pagination import Page, keyset_page, merged_page
from workflows.pages.lists.period import ANY_TIME, Period
from workflows.pages.query_string import text_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.models import Decision

ARROW = "→"  # between the nodes of an edge, in a query string
OUTCOMES = {
    "taken": Q(taken=True),
    "rejected": Q(taken=False),
    "override": Q(kind=DecisionKind.OVERRIDE),
}
VALUES = "values"
EVERY_EDGE = "all"  # value of `edges`: unconditional ones, too
# Not the only edge of a node: it has a condition, is the alternative to one, or a person or
# the first of several waits decided.
IS_CHOICE = (
    ~Q(predicate_name__in=("", "always"))
    | Q(decided_by__isnull=False)
    | Q(kind__isnull=False)
    | Q(edge_index__gt=0)
)


@dataclass(frozen=True, slots=True)
class DecisionFilters(Filters):
    """Conditions on decisions."""

    workflow: str = ""
    edge: str = ""  # from→to
    predicate: str = ""
    outcome: str = ""  # a key of OUTCOMES
    who: str = ""
    period: Period = ANY_TIME
    where: str = ""  # conditions on input values, as written
    conditions: tuple[json_conditions.Condition, ...] = ()
    every_edge: bool = True  # unconditional edges, too
    error: str = ""  # why `where` is invalid: then no decision matches

    @classmethod
    def read(cls, query: Mapping[str, str]) -> DecisionFilters:
        """Read the filters of a query, ignoring invalid values."""
        outcome, where = query.get("outcome", ""), text_in(query, "where")
        conditions, error = json_conditions.read_or_error(
            where, (VALUES,), column=VALUES
        )
        edge = text_in(query, "edge")
        return cls(
            workflow=text_in(query, "workflow"),
            edge=edge if ARROW in edge else "",
            predicate=text_in(query, "predicate"),
            outcome=outcome if outcome in OUTCOMES else "",
            who=text_in(query, "who"),
            period=Period.read(query),
            where=where,
            conditions=conditions,
            error=error,
        )

    @classmethod
    def read_folded(cls, query: Mapping[str, str]) -> DecisionFilters:
        """Read the filters of the page, which shows unconditional edges on request only."""
        every = query.get("edges") == EVERY_EDGE
        return replace(cls.read(query), every_edge=every)

    @property
    def query(self) -> dict[str, str]:
        """Return the filters that are set, as fields of a query string."""
        fields = {
            "workflow": self.workflow,
            "edge": self.edge,
            "predicate": self.predicate,
            "outcome": self.outcome,
            "who": self.who,
            **self.period.query,
            "where": self.where,
            "edges": EVERY_EDGE if self.every_edge else "",
        }
        return without_empty(fields)

    @property
    def hides_edges(self) -> bool:
        """Return whether unconditional edges are left out: unless one is selected."""
        return not (self.every_edge or self.edge or self.predicate)

    @property
    def folded(self) -> str:
        """Return the query without unconditional edges."""
        return urlencode(self.query | {"edges": ""})

    @property
    def unfolded(self) -> str:
        """Return the query with unconditional edges."""
        return urlencode(self.query | {"edges": EVERY_EDGE})

    @property
    def is_rare(self) -> bool:
        """Return whether one of the filters under “More filters” is set."""
        return bool(self.where or self.period.first or self.period.last)

    @property
    def only_edge(self) -> str:
        """Return a query for the same workflow and period, to be followed by an edge."""
        return urlencode({"workflow": self.workflow, **self.period.query, "edge": ""})

    @property
    def ends(self) -> tuple[str, str]:
        """Return the nodes of the edge."""
        source, _, target = self.edge.partition(ARROW)
        return source, target

    def page(
        self, person: User, before: int | None, *, size: int | None = None
    ) -> Page[Decision]:
        """Return a page of the matching decisions, newest first.

        1. With a condition on values: scan the newest rows that match the rest.
        2. With an edge or predicate: merge the rows of each edge, from its index.
        3. Else: the newest rows, of a workflow or user from their index.
        """
        if self.error:
            return Page()
        rows, condition = self.rows(person), self.condition
        if condition or not (self.edge or self.predicate):
            narrowed = rows.filter(self.of_edge())
            indexed = any(one.is_indexed for one in self.conditions)
            return keyset_page(
                narrowed, condition, before=before, size=size, indexed=indexed
            )
        return merged_page(self._by_edge(person, rows), before=before, size=size)

    @property
    def condition(self) -> Q:
        """The condition on values, and on edges that are a choice."""
        condition = self.condition_on_values
        return condition & IS_CHOICE if self.hides_edges else condition

    @property
    def condition_on_values(self) -> Q:
        """The condition on values."""
        # implied by any condition on values, and required by the partial index
        condition = ~Q(values={}) if self.conditions else Q()
        for one in self.conditions:
            condition &= one.q()
        return condition

    def rows(self, person: User) -> QuerySet[Decision]:
        """Return the decisions that match the filters but for edge and values."""
        rows = decisions_between(self.period.since, self.period.until)
        rows = rows.filter(inherited_from=None)  # forks have copies
        rows = permissions.visible(person, rows, read=bool(self.where))
        rows = rows.select_related("decided_by")
        rows = rows.only(*SHOWN_COLUMNS)
        if self.workflow:
            rows = rows.filter(workflow_name=self.workflow)
        if self.who:
            rows = rows.filter(decided_by_id=id_of_person(self.who))
        if self.outcome:
            rows = rows.filter(OUTCOMES[self.outcome])
        return rows

    def of_edge(self) -> Q:
        """Return the condition on edge and predicate."""
        condition = Q()
        if self.edge:
            condition &= Q(from_node=self.ends[0], to_node=self.ends[1])
        if self.predicate:
            condition &= Q(predicate_name=self.predicate)
        return condition

    def _by_edge(
        self, person: User, rows: QuerySet[Decision]
    ) -> list[QuerySet[Decision]]:
        """Return a query set for each edge and outcome, which their index selects."""
        rows = rows.filter(self.of_edge())
        outcomes = [self.outcome != "rejected"] if self.outcome else [True, False]
        return [
            rows.filter(
                workflow_name=name, from_node=source, to_node=target, taken=taken
            )
            for name, source, target in edges_with(
                person, self.workflow, self.ends, self.predicate
            )
            for taken in outcomes
        ]


SHOWN_COLUMNS = (
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
    "kind",
    "inherited_from",
    "decided_by__username",
    "comment",
    "created_at",
)
