"""Rows for those who may see that there is a run, and not what it is about.

Whatever was computed, written or said is taken off a row before it is drawn, and the word
“hidden” stands for it; steps, ways and times stay. The rows are never saved.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from workflows.models import (
    Approval,
    Attempt,
    AuditEvent,
    Decision,
    Note,
    Retry,
    Run,
    Stage,
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
    Decision: ("reason", "comment"),
    Approval: ("question", "comment"),
    AuditEvent: ("reason",),
    Note: ("text",),
}
VALUES: Final[dict[type[Model], tuple[str, ...]]] = {
    Run: ("params", "result"),
    Decision: ("values",),
    Approval: ("form", "evidence", "answer"),
    AuditEvent: ("before", "after"),
}
MARK: Final = "is_redacted"

Row = TypeVar("Row", bound="Model")


def redact(row: Row) -> Row:
    """Take off a row what is for some groups only; return it."""
    kind: Any = type(row)
    known = row.__dict__  # what was not read stays unread
    for name in TEXTS.get(kind, ()):
        if known.get(name):
            setattr(row, name, HIDDEN)
        elif name not in known:
            setattr(row, name, "")
    for name in VALUES.get(kind, ()):
        setattr(row, name, {})
    setattr(row, MARK, True)
    return row


def is_redacted(row: object) -> bool:
    """Tell whether something was taken off a row."""
    return bool(getattr(row, MARK, False))


def redact_rows(run: Run, rows: Iterable[Row]) -> list[Row]:
    """Return rows of a run as they may be shown where the run may be."""
    return [redact(row) for row in rows] if is_redacted(run) else list(rows)


def by_workflow(names: WorkflowSet, rows: Iterable[Row]) -> list[Row]:
    """Return rows of many workflows, of which the values of some may be read."""
    told: list[Any] = list(rows)
    return [row if row.workflow_name in names else redact(row) for row in told]
