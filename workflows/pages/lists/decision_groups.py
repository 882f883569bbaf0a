"""Decisions grouped by the step after which they were made."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from workflows.models import Decision


@dataclass(slots=True)
class DecisionGroup:
    """The decisions of one step, in the order in which its edges were evaluated."""

    run_id: UUID
    attempt: int
    sequence: int
    rows: list[Decision] = field(default_factory=list)

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
