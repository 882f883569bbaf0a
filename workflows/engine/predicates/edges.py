"""Edges between nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workflows.engine.errors import PredicateFailed
from workflows.engine.state import State

from .core import Evaluation, Predicate

UNCONDITIONAL_EVALUATION = Evaluation(True, "", "always")


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge from one node to another."""

    source: str
    target: str
    when: Predicate[Any] | None = None  # None: unconditional
    name: str | None = None
    on_failure: bool = False  # followed if the source failed, else if it succeeded

    @property
    def predicate_name(self) -> str:
        """The name of the predicate; empty without one."""
        return "" if self.when is None else self.when.name

    def evaluate(self, state: State) -> Evaluation:
        """Evaluate the predicate. Raises PredicateFailed with this edge."""
        if self.when is None:
            return UNCONDITIONAL_EVALUATION
        try:
            return self.when.evaluate(state)
        except PredicateFailed as error:
            raise PredicateFailed(error.evaluation, self) from error.__cause__
