"""Decisions grouped by the step after which they were made."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from workflows.access import permissions
from workflows.engine.first_of import FIRST_EDGE
from workflows.models import WHOLE_RUN, Assessment
from workflows.models.status import ENDED
from workflows.pages.visible_rows import visible_runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from django.contrib.auth.models import User

    from workflows.models import Decision


@dataclass(slots=True)
class DecisionGroup:
    """The decisions of one step, in the order in which its edges were evaluated."""

    run_id: UUID
    attempt: int
    sequence: int
    rows: list[Decision] = field(default_factory=list)
    assessment: Assessment | None = None
    can_assess: bool = False  # the viewer may say whether the edge taken was right

    @property
    def is_assessable(self) -> bool:
        """Return whether an edge was taken by its condition, or by a person."""
        return any(one.taken and one.edge_index < FIRST_EDGE for one in self.rows)

    def has_edge_of(self, assessment: Assessment | None) -> bool:
        """Return whether the edge that was assessed was taken in this attempt."""
        return assessment is not None and any(
            one.taken
            and (one.from_node, one.to_node)
            == (assessment.from_node, assessment.to_node)
            for one in self.rows
        )

    @property
    def first(self) -> Decision:
        """Return the first decision: they share node, workflow and run."""
        return self.rows[0]

    @property
    def key(self) -> str:
        """Return the id of its HTML element."""
        return f"decisions-{self.run_id}-{self.attempt}-{self.sequence}"


def grouped(rows: Iterable[Decision]) -> list[DecisionGroup]:
    """Return decisions, newest first, as one group for each step of a run."""
    return [
        DecisionGroup(*place, sorted(of_step, key=lambda one: one.edge_index))
        for place, of_step in groupby(
            rows, key=lambda one: (one.run_id, one.attempt, one.sequence)
        )
    ]


def add_assessments(groups: Sequence[DecisionGroup], person: User) -> None:
    """Add what was said about the edges taken, and whether the viewer may say it."""
    granted = permissions.permissions_for(person)
    ids = {one.run_id for one in groups if one.is_assessable}
    runs = visible_runs(person).filter(pk__in=ids, status__in=ENDED)
    ended = set(runs.values_list("pk", flat=True))
    rows = Assessment.objects.filter(run__in=ids).exclude(sequence=WHOLE_RUN)
    found = {(one.run_id, one.sequence): one for one in rows.defer("note")}
    seen = set()  # newest first: of several attempts, the last one counts
    for one in groups:
        step = one.run_id, one.sequence
        one.assessment = found.get(step) if one.has_edge_of(found.get(step)) else None
        may = one.run_id in ended and one.is_assessable and step not in seen
        if one.is_assessable:
            seen.add(step)
        one.can_assess = may and granted.can_note(one.first.workflow_name)
