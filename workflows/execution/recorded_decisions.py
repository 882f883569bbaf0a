"""The recorded decisions of many runs with the states that they were made from, as a stream.

Rows of decisions and checkpoints are read side by side, a few at a time, so that the memory needed
does not grow with the number of runs or steps: at any time it holds one state, and some rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from workflows.engine.errors import CheckpointMismatch
from workflows.execution.checkpoints import states
from workflows.models import Checkpoint, Decision, DecisionKind, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from uuid import UUID

    from django.db.models import QuerySet

    from workflows.execution.checkpoints import Snapshot

RUNS: Final = 100  # whose rows are found by one query
DECISIONS: Final = 500  # rows that are read at once
CHECKPOINTS: Final = 20  # each may be as large as MAX_STATE_BYTES
NEEDED: Final = ("pk", "workflow_name", "fingerprint", "payload_removed_at", "params")


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """What followed a step, and the state after it."""

    sequence: int
    node: str
    target: str | None  # None: no edge was taken
    is_override: bool  # a person chose the edge
    is_routed: bool  # by the edges of the node; else by what came first within it
    state: Snapshot | None  # None if it is not stored any more, or cannot be read


def by_run(runs: QuerySet[Run]) -> Iterator[tuple[Run, Iterator[RecordedDecision]]]:
    """Yield the runs, the newest first, each with its own decisions in order.

    A fork has copies of decisions of its origin: they are left out. The decisions of a run are to
    be read before the next run is asked for; those not read are skipped.
    """
    rows = runs.order_by("-pk").only(*NEEDED)
    after: UUID | None = None
    while True:
        older = rows if after is None else rows.filter(pk__lt=after)
        batch = list(older[:RUNS])
        yield from _of_batch(batch)
        if len(batch) < RUNS:
            return
        after = batch[-1].pk


def _of_batch(
    batch: Sequence[Run],
) -> Iterator[tuple[Run, Iterator[RecordedDecision]]]:
    ids = [run.pk for run in batch]
    made = Decision.objects.filter(run_id__in=ids, inherited_from=None)
    made = made.order_by("-run_id", "sequence", "attempt", "edge_index")
    kept = Checkpoint.objects.filter(run_id__in=ids).order_by("-run_id", "sequence")
    decisions = _Rows(
        made.values_list(
            *("run_id", "sequence", "attempt", "from_node", "to_node", "taken", "kind"),
            named=True,
        ).iterator(chunk_size=DECISIONS)
    )
    checkpoints = _Rows(
        kept.values_list(
            *("run_id", "sequence", "node_name", "kind", "data", "failure"), named=True
        ).iterator(chunk_size=CHECKPOINTS)
    )
    for run in batch:
        yield run, _of_run(decisions.of(run.pk), checkpoints.of(run.pk))


class _Rows:
    """Rows of many runs, ordered by run: those of each run in turn."""

    def __init__(self, rows: Iterator[Any]) -> None:
        self._rows = rows
        self._next: Any = next(rows, None)

    def of(self, run_id: UUID) -> Iterator[Any]:
        """Yield the rows of a run; rows of newer runs that were not read are skipped."""
        while self._next is not None and self._next.run_id > run_id:
            self._next = next(self._rows, None)
        while self._next is not None and self._next.run_id == run_id:
            row, self._next = self._next, next(self._rows, None)
            yield row


def _of_run(
    decisions: Iterable[Any], checkpoints: Iterable[Any]
) -> Iterator[RecordedDecision]:
    """Yield the decisions of a run, one per step, that of its last attempt."""
    find_state = _finder(states(checkpoints))
    for rows in _by_step(decisions):
        last = rows[-1]
        state = find_state(last.sequence)
        newest = [row for row in rows if row.attempt == last.attempt]
        node = last.from_node if state is None else state.node
        routed = [row for row in newest if row.from_node == node]
        taken = next((row for row in routed if row.taken), None)
        yield RecordedDecision(
            sequence=last.sequence,
            node=node,
            target=taken.to_node if taken else None,
            is_override=taken is not None and taken.kind == DecisionKind.OVERRIDE,
            is_routed=bool(routed),
            state=state,
        )


def _by_step(decisions: Iterable[Any]) -> Iterator[list[Any]]:
    step: list[Any] = []
    for row in decisions:
        if step and step[0].sequence != row.sequence:
            yield step
            step = []
        step.append(row)
    if step:
        yield step


def _finder(snapshots: Iterator[Snapshot]) -> Callable[[int], Snapshot | None]:
    """Return a function that finds the state after a step, each later than the one before.

    After a missing or damaged row it finds no state.
    """
    current: Snapshot | None = None

    def find(sequence: int) -> Snapshot | None:
        nonlocal current
        try:
            while current is None or current.sequence < sequence:
                current = next(snapshots)
        except (StopIteration, CheckpointMismatch):
            current = None
            return None
        return current if current.sequence == sequence else None

    return find
