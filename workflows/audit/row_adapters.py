"""Convert model rows to the dataclasses of step records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.audit.step_records import DecisionRow, StageRow

if TYPE_CHECKING:
    from workflows.models import Decision, Stage


def as_bytes(value: bytes | memoryview | None) -> bytes | None:
    """Return the bytes of a column: drivers return bytes or memoryview."""
    return None if value is None else bytes(value)


def stage_row(stage: Stage) -> StageRow:
    """Return a stage as a StageRow."""
    return StageRow(
        sequence=stage.sequence,
        node=stage.node_name,
        iteration=stage.iteration,
        status=stage.status,
        created_at=stage.created_at,
        tries=stage.tries,
        duration_ms=stage.duration_ms,
        items_done=stage.items_done,
        items_total=stage.items_total,
        error=stage.error_message,
        kind=stage.kind,
        undoes=stage.undoes,
        branch=stage.branch,
        inherited_from=stage.inherited_from,
    )


def decision_row(decision: Decision) -> DecisionRow:
    """Return a decision as a DecisionRow, without its values."""
    return DecisionRow(
        sequence=decision.sequence,
        edge_index=decision.edge_index,
        from_node=decision.from_node,
        to_node=decision.to_node,
        predicate=decision.predicate_name,
        result=decision.predicate_result,
        reason=decision.reason,
        values="",
        created_at=decision.created_at,
        taken=decision.taken,
        decided_by_id=decision.decided_by_id,
        comment=decision.comment,
        kind=decision.kind,
        inherited_from=decision.inherited_from,
    )
