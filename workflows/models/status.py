"""What a run, a stage and an approval can be, and the moves between them."""

import datetime as dt
from typing import Final

from django.db import models


class Status(models.TextChoices):
    """Where a run stands. Completed is final; failed and cancelled can be resumed."""

    PENDING = "pending", "Pending"  # accepted, waits for a worker
    RUNNING = "running", "Running"  # a worker holds its lease
    WAITING = "waiting", "Waiting"  # for a person, a child run or a moment
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


ENDED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
CANCELLABLE = (Status.PENDING, Status.RUNNING, Status.WAITING)
CANCEL_AGAIN: Final = dt.timedelta(seconds=10)  # after which a cancel is accepted again
RESUMABLE = (Status.FAILED, Status.CANCELLED)


def success_rate(completed: int, failed: int) -> float | None:
    """Return the share of runs that succeeded, 0..1; None where none ended by itself.

    A cancelled run is no failure and no success: it does not count, wherever a rate is
    shown.
    """
    decided = completed + failed
    return completed / decided if decided else None


class StageStatus(models.TextChoices):
    """Where one execution of a node stands."""

    STARTED = "started", "Running"
    WAITING = "waiting", "Waiting"  # paused: for a person, a child run or a moment
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"  # its run was cancelled while it ran or waited
    INTERRUPTED = (
        "interrupted",
        "Interrupted",
    )  # its worker went away or was told to stop


class ApprovalStatus(models.TextChoices):
    """Where a question to a person stands."""

    OPEN = "open", "Open"
    ANSWERED = "answered", "Answered"
    EXPIRED = "expired", "Expired"
    WITHDRAWN = "withdrawn", "Withdrawn"  # its run was cancelled


class ApprovalKind(models.TextChoices):
    """Who asks, and what the answer changes."""

    NODE = "node", "A node"  # the answer is the node's
    BUDGET = "budget", "A budget"  # the answer raises it; the node runs again


class WaitKind(models.TextChoices):
    """What a waiting run waits for."""

    APPROVAL = "approval", "a person"
    WAIT = "wait", "a moment in time"
    SUBWORKFLOW = "subworkflow", "another run"


class Level(models.IntegerChoices):
    """How serious a log line is; the numbers are those of `logging`."""

    DEBUG = 10, "Debug"
    INFO = 20, "Info"
    WARNING = 30, "Warning"
    ERROR = 40, "Error"
