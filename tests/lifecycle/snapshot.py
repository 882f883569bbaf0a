"""Reads the rows of a run in the format of the reference: `db`, `run` and `stream`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.engine.traces.replay import plain
from workflows.execution.checkpoints import rebuild, states
from workflows.models import (
    Attempt,
    Checkpoint,
    Decision,
    Run,
    Stage,
    StageStatus,
    Status,
    with_current,
)

Row = dict[str, Any]


@dataclass(slots=True)
class RunSnapshot:
    """The rows of one run; all empty if the run was deleted."""

    run: Row | None = None
    stages: list[Row] = field(default_factory=list)
    decisions: list[Row] = field(default_factory=list)
    checkpoint: Row | None = None
    stream: list[Row] = field(default_factory=list)
    attempts: list[Row] = field(default_factory=list)

    @property
    def status(self) -> str:
        """The status of the run; "" if it was deleted."""
        return self.run["status"] if self.run else ""

    @property
    def path(self) -> list[str]:
        """The nodes that completed, in order."""
        return [s["node_name"] for s in self.stages if s["status"] == "completed"]


def read_snapshot(run_id: UUID) -> RunSnapshot:
    """Read all rows of a run; call this on a database thread."""
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        assert not Stage.objects.filter(run=run_id).exists()
        assert not Decision.objects.filter(run=run_id).exists()
        assert not Checkpoint.objects.filter(run=run_id).exists()
        return RunSnapshot()
    rows = Checkpoint.objects.filter(run=run).order_by("sequence")
    known = {state.sequence: plain(state.data) for state in states(rows)}
    stages = with_current(run, run.stages.order_by("attempt", "sequence"))
    taken = _taken_in_attempt(stages, Decision.objects.filter(run=run, taken=True))
    return RunSnapshot(
        run=run_row(run),
        stages=[_stage_row(stage, known) for stage in stages],
        decisions=[_decision_row(one) for one in taken],
        checkpoint=_checkpoint_row(run),
        stream=list(_stream(run, stages, taken, known)),
        attempts=[{"outcome": one.outcome} for one in Attempt.objects.filter(run=run)],
    )


def run_row(run: Run) -> Row:
    """Return the row of a run in the format of the reference."""
    return {
        "workflow_name": run.workflow_name,
        "status": str(run.status),
        "params": plain(run.params),
        "result": plain(run.result),
        # A cancel without a reason has no message, but it has a code.
        "error_message": (run.error_message or run.error_code) or None,
        "started": run.started_at is not None,
        "completed": run.completed_at is not None,
        "stopping": run.status == Status.RUNNING and bool(run.cancel_requested_at),
    }


def _stage_row(stage: Stage, known: Mapping[int, Any]) -> Row:
    completed = stage.status == StageStatus.COMPLETED
    return {
        "node_name": stage.node_name,
        "iteration": stage.iteration,
        "status": str(stage.status),
        "has_duration": stage.duration_ms is not None,
        "input_snapshot": known.get(stage.sequence - 1),
        "output_snapshot": known.get(stage.sequence) if completed else None,
        "sequence": stage.sequence,
        "attempt": stage.attempt,
        "error": stage.error_message,
    }


def _taken_in_attempt(stages: list[Stage], decisions: Any) -> list[Decision]:
    """Return the taken edges without those by which a run continued from its checkpoint.

    Such an edge follows a step of an earlier attempt; the reference has no row for it.
    """
    steps = {(stage.attempt, stage.sequence) for stage in stages}
    ordered = decisions.order_by("attempt", "sequence", "edge_index")
    return [one for one in ordered if (one.attempt, one.sequence) in steps]


def _decision_row(decision: Decision) -> Row:
    return {
        "from_node": decision.from_node,
        "to_node": decision.to_node,
        "predicate_result": decision.predicate_result,
    }


def _checkpoint_row(run: Run) -> Row | None:
    """Return the latest checkpoint, or None while it is the initial state."""
    latest = rebuild(run.pk)
    if latest is None or latest.sequence == 0:
        return None
    return {"checkpoint_node": latest.node, "data": plain(latest.data)}


def _stream(
    run: Run, stages: list[Stage], taken: list[Decision], known: Mapping[int, Any]
) -> Iterator[Row]:
    """Yield the events that the run's page shows, in order."""
    decision_after = {(one.attempt, one.sequence): one for one in taken}
    for stage in stages:
        step = {"node_name": stage.node_name, "iteration": stage.iteration}
        yield _event("stage.start", step)
        if stage.status == StageStatus.COMPLETED:
            output = {"output_snapshot": known.get(stage.sequence)}
            yield _event("stage.complete", step | output)
        elif stage.status != StageStatus.STARTED:
            yield _event("error", {"node_name": stage.node_name})
        if decision := decision_after.get((stage.attempt, stage.sequence)):
            yield _event("decision", _decision_row(decision))
    if run.status == Status.COMPLETED:
        yield _event("complete", {"result": plain(run.result)})
    elif run.is_ended:
        yield _event("error", {})


def _event(kind: str, data: Row) -> Row:
    return {"type": kind, "data": data}
