"""What has to hold after every schedule: one function, and one sentence, for each invariant.

An invariant yields a result for each thing that it looked at: None if it is as it should
be, else a sentence. So a report shows also how much each of them has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.evidence import Evidence

Results = Iterator[str | None]
Invariant = Callable[["Evidence"], Results]


@dataclass(frozen=True, slots=True)
class Finding:
    """How often an invariant was checked, and where it did not hold."""

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


def check(evidence: Evidence) -> list[Finding]:
    """Check everything."""
    return [_checked(invariant, evidence) for invariant in all_invariants()]


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
