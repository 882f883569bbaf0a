"""Generated history: runs of a few workflows with their decisions.

For trying out and measuring pages over many runs. What is made follows from the seed
alone, but for the moment it ends with.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKFLOWS = ("made-up-intake", "made-up-review", "made-up-billing", "made-up-archive")
SHARES = (60, 25, 14.9, 0.1)  # percent of the runs: a common one to a rare one
LABELS = ("restricted", "secret", "unclassified", "public")
ERRORS = (
    "The agent did not answer within 30 s: connection refused.",
    "The document could not be opened: page {page} is damaged.",
    "Customer {page} is not known to the register.",
)
STATUSES = ("completed", "failed", "cancelled")
OUTCOMES = (92, 6, 2)  # percent of the runs that end in each
CONDITION_MET_SHARE = 0.4  # chance of a condition
APPROVAL_SHARE = 0.05  # share of reviews that a person answers
LABELLED_SHARE = 0.02  # share of runs with a label
LABEL_TEXTS = ("to check", "audit", "customer b")
NODES = ("read", "judge", "review", "publish")
EDGES = (  # source, target, place among the source's edges, condition
    ("read", "judge", 0, "always"),
    ("judge", "read", 0, "is_incomplete"),
    ("judge", "publish", 1, "is_confident"),
    ("judge", "review", 2, "always"),
    ("review", "publish", 0, "was_approved"),
    ("review", "judge", 1, "always"),
)
GRAPH = {
    "entry": "read",
    "exits": ["publish"],
    "nodes": [{"name": name, "kind": "node", "doc": ""} for name in NODES],
    "edges": [
        {"source": source, "target": target, "index": place, "predicate": predicate}
        for source, target, place, predicate in EDGES
    ],
}


@dataclass(slots=True)
class MadeDecision:
    """An edge evaluated."""

    sequence: int
    edge: tuple[str, str, int, str]
    result: bool
    taken: bool
    reason: str
    values: str  # JSON text
    by_person: bool
    at: dt.datetime


@dataclass(slots=True)
class MadeRun:
    """A run with its decisions."""

    id: UUID
    workflow: str
    status: str
    params: str  # JSON text
    result: str | None
    error: str
    created_at: dt.datetime
    completed_at: dt.datetime
    person: int  # which of those there are
    label: str
    steps: list[tuple[str, float]] = field(default_factory=list)  # node, milliseconds
    decisions: list[MadeDecision] = field(default_factory=list)


def runs(  # noqa: PLR0913 - what a history is made of
    count: int, decisions: int, *, days: int, until: dt.datetime, people: int, seed: int
) -> Iterator[MadeRun]:
    """Yield so many runs with so many decisions in all, oldest first, evenly spread."""
    rng = random.Random(seed)  # noqa: S311 - nothing secret
    pace = dt.timedelta(days=days) / max(count, 1)
    begin, assigned = until - dt.timedelta(days=days), 0
    for number in range(count):
        run = _run(rng, begin + pace * number, people)
        wanted = (number + 1) * decisions // count - assigned
        _EdgeWalk(rng, run, wanted).run_edges()
        assigned += wanted
        yield run


def _run(rng: random.Random, at: dt.datetime, people: int) -> MadeRun:
    status = rng.choices(STATUSES, OUTCOMES)[0]
    took = dt.timedelta(seconds=rng.lognormvariate(3, 1))
    confidence, label = round(rng.random(), 3), rng.choice(LABELS)
    params = {
        "document": f"doc-{rng.randrange(10**6)}",
        "threshold": rng.choice((0.7, 0.8, 0.9)),
    }
    result = {"label": label, "confidence": confidence, "pages": rng.randrange(1, 300)}
    error = rng.choice(ERRORS).format(page=rng.randrange(10**4))
    return MadeRun(
        id=_id(rng, at),
        workflow=rng.choices(WORKFLOWS, SHARES)[0],
        status=status,
        params=json.dumps(params),
        result=json.dumps(result) if status == "completed" else None,
        error=error if status == "failed" else "",
        created_at=at,
        completed_at=at + took,
        person=rng.randrange(people),
        label=rng.choice(LABEL_TEXTS) if rng.random() < LABELLED_SHARE else "",
    )


def _id(rng: random.Random, at: dt.datetime) -> UUID:
    """Return a UUIDv7 with this time."""
    milliseconds = int(at.timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | rng.getrandbits(62))


@dataclass(slots=True)
class _EdgeWalk:
    """Walk of a run through the graph until `limit` edges are evaluated."""

    rng: random.Random
    run: MadeRun
    limit: int

    def run_edges(self) -> None:
        node, at = "read", self.run.created_at
        pace = (self.run.completed_at - self.run.created_at) / max(self.limit, 1)
        while len(self.run.decisions) < self.limit:
            self._record_step(node)
            at += pace
            node = self._take_edge(node, at)
        self._record_step(node)

    def _record_step(self, node: str) -> None:
        self.run.steps.append((node, self.rng.lognormvariate(5, 1)))

    def _take_edge(self, node: str, at: dt.datetime) -> str:
        """Evaluate the outgoing edges of a node in order; return the target of the taken one."""
        for edge in (edge for edge in EDGES if edge[0] == node):
            if len(self.run.decisions) < self.limit:
                decision = self._evaluate(edge, at)
                self.run.decisions.append(decision)
                if decision.taken:
                    return edge[1]
        return "read"  # from the last node it begins again

    def _evaluate(
        self, edge: tuple[str, str, int, str], at: dt.datetime
    ) -> MadeDecision:
        always, confidence = edge[3] == "always", round(self.rng.random(), 3)
        is_met = always or self.rng.random() < CONDITION_MET_SHARE
        by_person = (
            edge[0] == "review" and is_met and self.rng.random() < APPROVAL_SHARE
        )
        reason = f"confidence {confidence:.0%}, threshold 80%"
        return MadeDecision(
            len(self.run.steps),
            edge,
            result=is_met,
            taken=is_met,
            reason="always" if always else reason,
            values="{}" if always else json.dumps({"confidence": confidence}),
            by_person=by_person,
            at=at,
        )
