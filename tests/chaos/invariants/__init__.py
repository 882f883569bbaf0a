"""The invariants after every schedule: a function with a sentence for each.

An invariant yields a result for each checked object: None, or a description of the violation.
A report therefore includes the number of checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.evidence import Evidence

Results = Iterator[str | None]
Invariant = Callable[["Evidence"], Results]


@dataclass(frozen=True, slots=True)
class Finding:
    """The number of checks of an invariant, and its violations."""

    name: str
    sentence: str
    checked: int
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return a line for the report, and one for each violation."""
        mark = "FAILED" if self.violations else "ok"
        line = f"{mark:7}{self.checked:7}  {self.name}: {self.sentence}"
        return "\n".join([line, *(f"          {text}" for text in self.violations)])


def holds(condition: object, text: str) -> str | None:
    """Return the result of one check."""
    return None if condition else text


def all_invariants() -> list[Invariant]:
    """Return the invariants, in the order of the report."""
    from tests.chaos.invariants import audit, decisions, requests, runs, steps, waits

    return [
        *runs.INVARIANTS,
        *steps.INVARIANTS,
        *decisions.INVARIANTS,
        *waits.INVARIANTS,
        *requests.INVARIANTS,
        *audit.INVARIANTS,
    ]


def check(evidence: Evidence, further: Sequence[Invariant] = ()) -> list[Finding]:
    """Check all invariants, and further ones."""
    checks = [*all_invariants(), *further]
    return [_checked(invariant, evidence) for invariant in checks]


def _checked(invariant: Invariant, evidence: Evidence) -> Finding:
    results = list(invariant(evidence))
    return Finding(
        invariant.__name__,
        (invariant.__doc__ or "").strip(),
        len(results),
        [text for text in results if text is not None],
    )


def report(findings: list[Finding]) -> str:
    """Return the report as text."""
    return "\n".join(map(str, findings))
