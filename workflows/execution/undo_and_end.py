"""What follows the end of a run once it is decided: its steps are undone, then it is closed.

A run whose workflow declares `undo` or `on_end` does not end at once. How it will end is stored
in `Run.closing`, while it is running, or pending for a worker to continue; no edge is followed
any more. Stages of the kinds undo and on_end record what was executed, so that any worker
continues after the last one. The end of the run is written after them.

    decide        an end from outside of the worker: `Run.closing` is set, the run is queued
    close         a worker executes what is left, which follows from the stages, and ends the run
    finish        the end of a run whose closing cannot be continued
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from workflows.engine.branch_steps import state_in_branch
from workflows.engine.outcomes import RunOutcome
from workflows.engine.patterns.branches import BranchesNode
from workflows.engine.undo_and_end_nodes import Closing, StepToUndo
from workflows.execution import checkpoints, undo_and_end_records
from workflows.infra.database_threads import run_in_db_retrying
from workflows.infra.text import clean
from workflows.models import Run, Stage, StageItem, StageKind, StageStatus, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workflows.engine import Graph, State
    from workflows.execution.recorder import Recorder
    from workflows.execution.run_preparation import PreparedRun
    from workflows.models.status_transitions import RunQuerySet

SETTLED = (StageStatus.COMPLETED, StageStatus.FAILED)


@dataclass(frozen=True, slots=True)
class DecidedEnd:
    """How a run will end."""

    status: str
    attempt: int  # in which it was decided
    sequence: int  # steps completed before
    message: str = ""
    code: str = ""
    node: str = ""
    traceback: str = ""
    next_params: Mapping[str, Any] | None = None  # of the run that continues it

    @classmethod
    def of(cls, run: Run) -> DecidedEnd:
        """Return how a run in its closing will end."""
        return cls(**(run.closing or {}))

    def to_json(self) -> dict[str, Any]:
        """Return the value of `Run.closing`."""
        values = asdict(self)
        return {**values, "message": clean(self.message), "status": str(self.status)}

    def outcome(self, undone: int, to_undo: int) -> RunOutcome:
        """Return what the on_end node reads."""
        status: Any = str(self.status)
        return RunOutcome(
            status, self.code, self.message, self.node, undone=undone, to_undo=to_undo
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """What is left of the closing of a run."""

    steps: Sequence[tuple[int, str]]  # to undo: sequence and node, the newest first
    undone: int  # so far
    to_undo: int  # in all
    # nodes of the step at which the run ended, with those of its branches, in the order of
    # their numbers; empty if they are counted already
    open_nodes: Sequence[str]
    is_end_due: bool  # the on_end node has not run


def plan_of(run: Run, end: DecidedEnd, graph: Graph) -> Plan:
    """Return what is left to execute after the end of a run was decided."""
    stages = Stage.objects.filter(run=run.pk)
    step = Run.objects.values_list("sequence", flat=True).get(pk=run.pk) + 1
    relevant = stages.filter(
        Q(kind=StageKind.UNDO) | Q(node_name__in=[*graph.undo]) | Q(sequence__gte=step)
    )
    # the shared steps of a fork are undone by its origin, if at all
    own = relevant.filter(inherited_from=None)
    rows = [*own.values_list("sequence", "node_name", "kind", "status", "undoes")]
    settled = {row[4] for row in rows if row[2] == StageKind.UNDO and row[3] in SETTLED}
    completed = {
        sequence: node
        for sequence, node, kind, status, _ in rows
        if kind == StageKind.NODE and status == StageStatus.COMPLETED
    }
    to_undo = [
        (sequence, node)
        for sequence, node in sorted(completed.items(), reverse=True)
        if node in graph.undo and end.status != Status.COMPLETED
    ]
    undone = stages.filter(
        kind=StageKind.UNDO, status=StageStatus.COMPLETED, inherited_from=None
    ).count()
    at_end = stages.filter(
        kind=StageKind.ON_END, status__in=SETTLED, attempt__gte=end.attempt
    )
    is_open = {
        row[0]: row[1] for row in rows if row[0] >= step and row[2] == StageKind.NODE
    }
    numbers = range(step, max(is_open, default=0) + 1)
    return Plan(
        steps=[one for one in to_undo if one[0] not in settled],
        undone=undone,
        to_undo=len(to_undo),
        open_nodes=[is_open.get(number, "") for number in numbers],
        is_end_due=graph.on_end is not None and not at_end.exists(),
    )


def steps_of(plan: Plan, prepared: PreparedRun) -> Sequence[StepToUndo]:
    """Return the steps that are left to undo, each with the state after it."""
    return [
        StepToUndo(sequence, node, partial(_state_to_undo, prepared, sequence, node))
        for sequence, node in plan.steps
    ]


async def _state_to_undo(prepared: PreparedRun, sequence: int, node: str) -> State:
    """Return the state after a step: within its branch, if it has one."""
    for joining in prepared.graph.nodes.values():
        if not isinstance(joining, BranchesNode):
            continue
        for step in joining.steps:
            if step.node.name == node:
                first = sequence - step.index
                before = await state_after(prepared, first - 1)
                join = first + len(joining.steps)
                items = await run_in_db_retrying(_items_of, prepared.run, join)
                return state_in_branch(joining, step, before, items)
    return await state_after(prepared, sequence)


def _items_of(run: Run, sequence: int) -> dict[int, Any]:
    rows = StageItem.objects.filter(run=run.pk, sequence=sequence)
    return {row.index: json.loads(row.data) for row in rows}


async def state_after(prepared: PreparedRun, sequence: int) -> State:
    """Return the state after a step of a run. Raises CheckpointMismatch."""
    snapshot = await run_in_db_retrying(
        checkpoints.rebuild, prepared.run.pk, at=sequence
    )
    if snapshot is None:
        return prepared.initial
    return prepared.state_of(snapshot)


async def close(
    prepared: PreparedRun, recorder: Recorder, end: DecidedEnd, result: str | None
) -> None:
    """Undo the steps of a run, run its on_end node, then commit its end.

    `result` is the JSON text of the final state of a completed run, if it is known here.
    Raises LeaseLost, and Drained when the worker drains.
    """
    run, graph = prepared.run, prepared.graph
    plan = await run_in_db_retrying(plan_of, run, end, graph)
    undo_and_end_records.set_columns(
        recorder, steps_to_undo=plan.to_undo, steps_undone=plan.undone
    )
    last = recorder.last_state or prepared.initial
    passed = 0 if plan.steps else len(plan.open_nodes)  # their numbers are in use
    closing = Closing(graph, prepared.runtime, last, last.sequence + passed)
    for node in plan.open_nodes if plan.steps else ():
        closing.skip_step(node)
    undone = plan.undone
    for step in steps_of(plan, prepared):
        undone += await closing.undo(step)
        undo_and_end_records.set_columns(
            recorder, steps_to_undo=plan.to_undo, steps_undone=undone
        )
    final = partial(state_after, prepared, end.sequence)
    if plan.is_end_due:
        await closing.end(final, end.outcome(undone, plan.to_undo))
    if result is None and end.status == Status.COMPLETED:
        result = checkpoints.dumps((await final()).data)
    await undo_and_end_records.end_as_decided(recorder, end, result=result)


def note_factory(prepared: PreparedRun, recorder: Recorder) -> None:
    """Record that the graph of a run, which a factory has built, has closing nodes."""
    run, graph = prepared.run, prepared.graph
    if run.fingerprint or run.has_closing or not _has_nodes(graph):
        return
    run.has_closing = True
    undo_and_end_records.set_columns(recorder, has_closing=True)


def has_nodes_for(prepared: PreparedRun, end: DecidedEnd) -> bool:
    """Return whether nodes are to be executed before a run ends so.

    A run keeps to what its workflow declared when it was launched. One whose step could not be
    stored can be resumed, and its nodes could not be recorded either.
    """
    if not prepared.run.has_closing or end.code == "checkpoint_save_failed":
        return False
    if prepared.graph.on_end is not None:
        return True
    return bool(prepared.graph.undo) and end.status != Status.COMPLETED


def _has_nodes(graph: Graph) -> bool:
    return bool(graph.undo) or graph.on_end is not None


def is_due(run: Run) -> bool:
    """Return whether a run that ends now has to be closed by a worker first."""
    if not run.has_closing or run.closing is not None:
        return False
    return run.sequence > 0 or "on_end" in run.graph


def decide(runs: RunQuerySet, end: DecidedEnd, **changes: object) -> int:
    """Queue a run, the one of `runs`, for the worker that closes it, then ends it so."""
    return runs.close(end.to_json(), **changes)


def decided(run: Run, status: Status, **details: Any) -> DecidedEnd:
    """Return an end that is decided now, from outside of the worker."""
    return DecidedEnd(status.value, run.attempt, run.sequence, **details)


def finish(runs: RunQuerySet, run: Run, why: str) -> int:
    """End a running run whose closing cannot be continued, as was decided."""
    end = DecidedEnd.of(run)
    moved = runs.finish(
        Status(end.status),
        message=f"{end.message} {unfinished(why)}".strip(),
        code=end.code,
        node=end.node,
    )
    if moved:
        Run.objects.filter(pk=run.pk).update(closing=None)
    return moved


def unfinished(why: str) -> str:
    """Return the message of a run whose closing stopped before its end."""
    return f"What follows the end of the run was not finished: {why}"
