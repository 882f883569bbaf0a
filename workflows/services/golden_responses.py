"""What a run received while it waited, as answers to the pauses of a rerun in memory."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from workflows.execution.pause_records import reply_at
from workflows.execution.run_tree import children_of
from workflows.models import Approval, ApprovalKind, EventWait, EventWaitKind, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from workflows.engine import Answer
    from workflows.engine.errors import Paused
    from workflows.engine.testing import ManualClock

    Given = Callable[[Paused], Any]


def runs_below(run: Run) -> list[Run]:
    """Return a run and the child runs that its steps waited for, parents first."""
    found, last = [run], [run.pk]
    while last:
        rows = children_of(last).exclude(pk__in=[one.pk for one in found])
        level = list(rows.order_by("pk"))
        found += level
        last = [one.pk for one in level]
    return found


class RecordedResponses:
    """The recorded answers by node; each visit of a node takes the next one."""

    def __init__(self, runs: Sequence[Run], clock: ManualClock) -> None:
        """Read the answers of these runs, which are not read again."""
        self._clock = clock
        self._answers: dict[str, list[Answer | None]] = defaultdict(list)
        for run in runs:
            self._add(run)

    def _add(self, run: Run) -> None:
        """Add what each part of each pause received: None for one that was withdrawn."""
        places = _pauses_of(run)
        for (sequence, node), is_alone in sorted(places.items()):
            reply = reply_at(run, sequence)
            answer = None if reply is None else reply.answer
            if answer is not None and not is_alone and answer.choice != node:
                answer = None  # another part came first
            self._answers[node].append(answer)

    def by_node(self) -> Mapping[str, Given]:
        """Return the functions that answer the pauses, for `run_in_memory`."""
        return dict.fromkeys(self._answers, self._next)

    def _next(self, pause: Paused) -> Any:
        """Return the next answer to a node; None, which leaves the run waiting, without one."""
        left = self._answers[pause.node]
        answer = left.pop(0) if left else None
        if answer is None:
            return None
        if answer.at is not None:
            self._clock.move_to(answer.at)
        if pause.kind == "approval" and pause.votes > 1:
            return [*answer.votes, *([answer] if answer.expired else [])]
        return answer


def _pauses_of(run: Run) -> dict[tuple[int, str], bool]:
    """Return the step and node of what a run waited for, and whether nothing else did there."""
    approvals = Approval.objects.filter(run=run).exclude(kind=ApprovalKind.BUDGET)
    waits = EventWait.objects.filter(run=run).exclude(kind=EventWaitKind.TIMER)
    places = {
        *approvals.values_list("sequence", "node_name"),
        *waits.values_list("sequence", "node_name"),
    }
    several = set(
        EventWait.objects.filter(run=run, position__gt=0).values_list(
            "sequence", flat=True
        )
    )
    return {place: place[0] not in several for place in places}
