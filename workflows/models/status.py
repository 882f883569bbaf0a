"""Statuses of runs, stages and approvals, and other choices they share."""

import datetime as dt
from typing import Final

from django.db import models


class Status(models.TextChoices):
    """Status of a run. Completed is final; failed and cancelled can be resumed."""

    PENDING = "pending", "Pending"  # queued
    RUNNING = "running", "Running"  # a worker holds its lease
    WAITING = "waiting", "Waiting"  # for an approval, a sub-workflow or a timer
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


ENDED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
CANCELLABLE = (Status.PENDING, Status.RUNNING, Status.WAITING)
CANCEL_AGAIN: Final = dt.timedelta(seconds=10)  # until a cancel is accepted again
RESUMABLE = (Status.FAILED, Status.CANCELLED)


def success_rate(completed: int, failed: int) -> float | None:
    """Return the share of runs that succeeded, 0..1; None if none completed or failed.

    Cancelled runs are excluded from every success rate.
    """
    total = completed + failed
    return completed / total if total else None


class Suspicion(models.IntegerChoices):
    """Whether a run may have ended the process of its worker, and how it is executed."""

    NONE = 0, "None"  # in the worker's process
    SUSPECT = 1, "Suspect"  # in a child process
    # In a child process that no other one runs beside: its child and the worker that
    # started it were lost together, perhaps because of it.
    ALONE = 2, "Suspect, executed alone"


class StageStatus(models.TextChoices):
    """Status of one execution of a node."""

    STARTED = "started", "Running"
    WAITING = "waiting", "Waiting"  # for an approval, a sub-workflow or a timer
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"  # its run was cancelled while it ran or waited
    INTERRUPTED = (
        "interrupted",
        "Interrupted",
    )  # its worker was lost or stopped


class StageKind(models.TextChoices):
    """What the node of a stage was executed for."""

    NODE = "node", "Step"
    UNDO = "undo", "Undo"  # of a completed step of a run that failed or was cancelled
    ON_END = "on_end", "At the end"  # of the run
    EDIT = "edit", "Edit"  # of the state of a fork, by a person


class ApprovalStatus(models.TextChoices):
    """Status of an approval."""

    OPEN = "open", "Open"
    ANSWERED = "answered", "Answered"
    EXPIRED = "expired", "Expired"
    WITHDRAWN = "withdrawn", "Withdrawn"  # its run was cancelled


class ApprovalKind(models.TextChoices):
    """Source of an approval, and what the response changes."""

    NODE = "node", "Node"  # the response is passed to the node
    BUDGET = "budget", "Budget"  # the response raises it; the node runs again
    FAILURE = "failure", "Failed step"  # the response decides how the run continues


class WaitKind(models.TextChoices):
    """What a waiting run waits for."""

    APPROVAL = "approval", "approval"
    WAIT = "wait", "timer"
    SUBWORKFLOW = "subworkflow", "sub-workflow"
    EVENT = "event", "event"
    CALLBACK = "callback", "callback"
    FIRST_OF = "first_of", "the first of several"


class EventWaitKind(models.TextChoices):
    """What a step waits for; the last two only among others, of which the first counts."""

    EVENT = "event", "Event"  # a message with its name and key
    CALLBACK = "callback", "Callback"  # a message to the address of this wait
    APPROVAL = "approval", "Approval"
    TIMER = "timer", "Timer"


class EventWaitStatus(models.TextChoices):
    """Status of a wait for a message."""

    OPEN = "open", "Open"
    RECEIVED = "received", "Received"
    EXPIRED = "expired", "Expired"
    WITHDRAWN = "withdrawn", "Withdrawn"  # the run ended, or something else came first


class Level(models.IntegerChoices):
    """Log level; the numbers are those of `logging`."""

    DEBUG = 10, "Debug"
    INFO = 20, "Info"
    WARNING = 30, "Warning"
    ERROR = 40, "Error"
