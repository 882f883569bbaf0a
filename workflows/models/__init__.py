"""The rows: runs and their history, approvals, the library, operations."""

from workflows.models.approvals import Approval
from workflows.models.history import (
    Attempt,
    Checkpoint,
    Decision,
    LogLine,
    Outcome,
    Stage,
    StageItem,
)
from workflows.models.labels import RunLabel, SavedView
from workflows.models.library import Document, PageImage
from workflows.models.operations import Intervention, Note, Worker
from workflows.models.retries import Retry
from workflows.models.runs import Run
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
from workflows.models.tallies import EdgeTally, RunTally, Tally

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
    "EdgeTally",
    "Intervention",
    "Level",
    "LogLine",
    "Note",
    "Outcome",
    "PageImage",
    "Retry",
    "Run",
    "RunLabel",
    "RunTally",
    "SavedView",
    "Stage",
    "StageItem",
    "StageStatus",
    "Status",
    "Tally",
    "WaitKind",
    "Worker",
]
