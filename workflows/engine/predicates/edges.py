"""The ways from node to node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workflows.engine.errors import PredicateFailed
from workflows.engine.state import State

from .core import Evaluation, Predicate

UNCONDITIONAL_EVALUATION = Evaluation(True, "", "always")


@dataclass(frozen=True, slots=True)
class Edge:
    """A way from one node to another."""

    source: str
    target: str
    when: Predicate[Any] | None = None  # None: always taken
    name: str | None = None

    @property
    def predicate_name(self) -> str:
        """The predicate's name; empty without one."""
        return "" if self.when is None else self.when.name

    def evaluate(self, state: State) -> Evaluation:
        """Return what its predicate says of a state. Raises PredicateFailed, naming this edge."""
        if self.when is None:
            return UNCONDITIONAL_EVALUATION
        try:
            return self.when.evaluate(state)
        except PredicateFailed as error:
            raise PredicateFailed(error.evaluation, self) from error.__cause__
