"""The row of a decision for an evaluated edge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflows.audit.step_records import DecisionRow
from workflows.execution.checkpoints import dumps
from workflows.infra import clock
from workflows.infra.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workflows.execution.pause_records import Reply

MAX_VALUE_CHARS = 2_000  # of one value in a decision; a longer one is cut and marked


def decision_of(data: Mapping[str, Any], reply: Reply | None) -> DecisionRow:
    """Return the row of an `edge.evaluate` event, with the person whose response it follows."""
    return DecisionRow(
        sequence=data["sequence"],
        edge_index=data["edge_index"],
        from_node=data["from"],
        to_node=data["to"],
        predicate=data["predicate_name"],
        result=data["predicate_result"],
        reason=clean(data["reason"]),
        values=dumps(shortened(values)) if (values := data["values"]) else "{}",
        created_at=clock.local_now(),
        decided_by_id=reply.person_id if reply else None,
        comment=reply.answer.comment if reply else "",
    )


def shortened(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a predicate read, long ones cut to MAX_VALUE_CHARS."""
    short = {}
    for name, value in values.items():
        text = dumps(value)
        short[name] = (
            value
            if len(text) <= MAX_VALUE_CHARS
            else {"shortened": text[:MAX_VALUE_CHARS], "characters": len(text)}
        )
    return short
