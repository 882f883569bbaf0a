"""Redaction of rows for users who may see a run but not view its data.

Data is removed from rows before they are rendered, and texts are replaced by “hidden”
or, where they name a run, by nothing; steps, edges and times stay. Redacted rows must never
be saved.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from workflows.models import (
    AgentCall,
    Approval,
    ApprovalVote,
    Assessment,
    Attempt,
    AuditEvent,
    Decision,
    EventMessage,
    EventWait,
    ItemFailure,
    Note,
    Retry,
    Run,
    Schedule,
    ScheduleMoment,
    Stage,
    WebhookDelivery,
    WebhookEndpoint,
    WorkflowPause,
)

if TYPE_CHECKING:
    from django.db.models import Model

    from workflows.access.permissions import WorkflowSet

HIDDEN: Final = "hidden"
TEXTS: Final[dict[type[Model], tuple[str, ...]]] = {
    Run: ("error_message", "cancel_reason"),
    Attempt: ("error_message", "traceback"),
    Stage: ("error_message",),
    Retry: ("error_message",),
    ItemFailure: ("error_message",),
    Decision: ("reason", "comment"),
    Approval: ("question", "comment"),
    ApprovalVote: ("comment",),
    AuditEvent: ("reason",),
    Note: ("text",),
    Assessment: ("note",),
    Schedule: ("pause_reason",),
    ScheduleMoment: ("message",),
    WorkflowPause: ("reason",),
    WebhookDelivery: ("message", "event", "body"),
    AgentCall: ("error_message",),
    EventWait: ("key",),
    EventMessage: ("key",),
}
VALUES: Final[dict[type[Model], tuple[str, ...]]] = {
    Run: ("params", "result"),
    Schedule: ("params",),
    WebhookEndpoint: ("mapping", "filters"),
    WebhookDelivery: ("headers",),
    Decision: ("values",),
    Approval: ("form", "evidence", "initial", "response"),
    ApprovalVote: ("response",),
    AuditEvent: ("before", "after"),
    EventMessage: ("value",),
}
EMPTY: Final[dict[type[Model], tuple[str, ...]]] = {
    Run: ("title",),
    Stage: ("progress_text",),
}
MARK: Final = "is_redacted"

Row = TypeVar("Row", bound="Model")


def redact(row: Row) -> Row:
    """Remove the data from a row, in place, and from the run that was read with it."""
    kind: Any = type(row)
    loaded = row.__dict__  # deferred fields are not loaded
    for name in TEXTS.get(kind, ()):
        if loaded.get(name):
            setattr(row, name, HIDDEN)
        elif name not in loaded:
            setattr(row, name, "")
    for name in EMPTY.get(kind, ()):
        setattr(row, name, "")
    for name in VALUES.get(kind, ()):
        setattr(row, name, {})
    setattr(row, MARK, True)
    run = row._state.fields_cache.get("run")  # noqa: SLF001 - what has been read
    if run is not None and not is_redacted(run):
        redact(run)
    return row


def is_redacted(row: object) -> bool:
    """Return whether a row is redacted."""
    return bool(getattr(row, MARK, False))


def redact_rows(run: Run, rows: Iterable[Row]) -> list[Row]:
    """Return rows of a run, redacted if the run is."""
    return [redact(row) for row in rows] if is_redacted(run) else list(rows)


def by_workflow(names: WorkflowSet, rows: Iterable[Row]) -> list[Row]:
    """Return rows of many workflows, redacted unless their workflow is in `names`."""
    known: list[Any] = list(rows)
    return [row if row.workflow_name in names else redact(row) for row in known]
