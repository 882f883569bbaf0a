"""The rows: runs and their history, approvals, the library, operations."""

from workflows.models.approvals import Approval
from workflows.models.library import Document, PageImage
from workflows.models.operations import Intervention, Worker
from workflows.models.runs import (
    Attempt,
    Checkpoint,
    Decision,
    LogLine,
    Outcome,
    Run,
    Stage,
    StageItem,
)
from workflows.models.status import (
    CANCELLABLE,
    ENDED,
    RESUMABLE,
    ApprovalStatus,
    Level,
    StageStatus,
    Status,
    WaitKind,
)

__all__ = [
    "CANCELLABLE",
    "ENDED",
    "RESUMABLE",
    "Approval",
    "ApprovalStatus",
    "Attempt",
    "Checkpoint",
    "Decision",
    "Document",
    "Intervention",
    "Level",
    "LogLine",
    "Outcome",
    "PageImage",
    "Run",
    "Stage",
    "StageItem",
    "StageStatus",
    "Status",
    "WaitKind",
    "Worker",
]
