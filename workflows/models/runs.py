"""A run and its history: attempts, stages, decisions, checkpoints, log lines.

The rows tell the truth: a status moves only by the conditional updates of
`RunQuerySet` (see `transitions.py`), and a worker that lost its lease writes nothing.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, ClassVar

import uuid_utils.compat
from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.models.status import (
    CANCELLABLE,
    ENDED,
    RESUMABLE,
    Level,
    StageStatus,
    Status,
    WaitKind,
)
from workflows.models.transitions import RunQuerySet

if TYPE_CHECKING:
    from datetime import timedelta


def new_run_id() -> uuid.UUID:
    """Return a UUIDv7: ids sort by the time they were made."""
    return uuid_utils.compat.uuid7()


class Run(models.Model):
    """One execution of a workflow: the queue entry, the status and the outcome."""

    id = models.UUIDField(primary_key=True, default=new_run_id, editable=False)
    workflow_name = models.CharField(max_length=100)
    status = models.CharField(
        max_length=10, choices=Status.choices, default=Status.PENDING
    )
    params = models.JSONField(default=dict)
    result = models.JSONField(null=True)  # the final state; null until completed
    error_message = models.TextField(blank=True, default="")
    error_code = models.CharField(max_length=60, blank=True, default="")
    error_node = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)  # first start; kept over resumes
    completed_at = models.DateTimeField(null=True)  # cleared by a resume
    launched_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="runs",
    )

    graph = models.JSONField(default=dict)  # nodes, edges, predicate names as drawn
    fingerprint = models.CharField(max_length=64, blank=True, default="")
    version = models.PositiveIntegerField(default=0)  # +1 per recorded change
    sequence = models.PositiveIntegerField(default=0)  # steps completed
    attempt = models.PositiveIntegerField(default=0)  # +1 per claim; fences writes

    worker = models.CharField(max_length=200, blank=True, default="")
    lease_expires_at = models.DateTimeField(null=True)  # null unless running
    recoveries = models.PositiveIntegerField(default=0)  # workers lost in a row
    cancel_requested_at = models.DateTimeField(null=True)
    cancel_requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    cancel_reason = models.TextField(blank=True, default="")

    waiting_for = models.CharField(
        max_length=20, choices=WaitKind.choices, blank=True, default=""
    )
    # The node that paused and has not finished; kept while pending again, so that
    # the next attempt enters there and evaluates no edge twice.
    waiting_node = models.CharField(max_length=200, blank=True, default="")
    wake_at = models.DateTimeField(null=True)  # when the pause is over by itself

    priority = models.SmallIntegerField(default=0)  # higher goes first
    idempotency_key = models.CharField(max_length=200, null=True)  # noqa: DJ001 - NULL keeps the unique constraint out of the way
    parent = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="children"
    )
    parent_sequence = models.PositiveIntegerField(null=True)  # the step that waits
    forked_from = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="forks"
    )
    secrets = models.BinaryField(null=True)  # encrypted; erased when the run ends

    objects: ClassVar[RunQuerySet] = RunQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status__in=Status.values), name="run_status_known"
            ),
            models.CheckConstraint(
                condition=Q(status=Status.RUNNING, lease_expires_at__isnull=False)
                | (~Q(status=Status.RUNNING) & Q(lease_expires_at__isnull=True)),
                name="run_lease_while_running",
            ),
            models.CheckConstraint(
                condition=Q(status__in=ENDED, completed_at__isnull=False)
                | (~Q(status__in=ENDED) & Q(completed_at__isnull=True)),
                name="run_completed_at_when_ended",
            ),
            models.UniqueConstraint(
                fields=["workflow_name", "idempotency_key"],
                name="run_idempotency_key_once",
            ),
        ]
        indexes: ClassVar = [
            # queue.claim: the next pending runs of each workflow, by priority, then age
            models.Index(
                fields=["workflow_name", "-priority", "id"],
                condition=Q(status=Status.PENDING),
                name="run_pending",
            ),
            # sweep: runs whose lease ran out
            models.Index(
                fields=["lease_expires_at"],
                condition=Q(status=Status.RUNNING),
                name="run_lease",
            ),
            # sweep: waits that are over
            models.Index(
                fields=["wake_at"],
                condition=Q(status=Status.WAITING),
                name="run_wake",
            ),
            # runs page: one workflow's or one status' runs, newest first
            models.Index(fields=["workflow_name", "-id"], name="run_by_workflow"),
            models.Index(fields=["status", "-id"], name="run_by_status"),
        ]

    def __str__(self) -> str:
        """Return the workflow's name and the end of the id, which tells runs apart."""
        return f"{self.workflow_name} {self.short_id}"

    @property
    def short_id(self) -> str:
        """Return the last eight hex digits: the random part of the id."""
        return self.id.hex[-8:]

    @property
    def is_ended(self) -> bool:
        """Tell whether nothing more happens unless someone resumes it."""
        return self.status in ENDED

    @property
    def is_cancellable(self) -> bool:
        """Tell whether a cancel would be accepted."""
        return self.status in CANCELLABLE and self.cancel_requested_at is None

    @property
    def is_resumable(self) -> bool:
        """Tell whether a resume would be accepted."""
        return self.status in RESUMABLE

    @property
    def elapsed(self) -> timedelta | None:
        """Return the time from the first start to the end, or to now."""
        if self.started_at is None:
            return None
        return (self.completed_at or timezone.now()) - self.started_at


class Outcome(models.TextChoices):
    """How an attempt ended."""

    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    WAITING = "waiting", "Paused"
    RELEASED = "released", "Released"  # its worker was told to stop
    LOST = "lost", "Worker lost"  # its worker died or lost touch


class Attempt(models.Model):
    """One worker's turn at a run: a resume or a recovery never overwrites history."""

    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="attempts", db_index=False
    )  # the unique constraint begins with it
    number = models.PositiveIntegerField()
    worker = models.CharField(max_length=200)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(
        max_length=10, choices=Outcome.choices, blank=True, default=""
    )
    error_message = models.TextField(blank=True, default="")
    error_code = models.CharField(max_length=60, blank=True, default="")
    traceback = models.TextField(blank=True, default="")

    class Meta:
        ordering: ClassVar = ["number"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "number"], name="attempt_number_once"
            )
        ]

    def __str__(self) -> str:
        """Return the attempt's number and how it ended."""
        return f"attempt {self.number} ({self.get_outcome_display() or 'under way'})"


class Stage(models.Model):
    """The trace of one execution of a node.

    `sequence` is the number of the step in its run and is stable when a node that was
    interrupted or failed runs again; the attempt tells the executions apart.
    """

    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="stages", db_index=False
    )  # the unique constraint begins with it
    attempt = models.PositiveIntegerField()
    sequence = models.PositiveIntegerField()
    node_name = models.CharField(max_length=200)
    iteration = models.PositiveIntegerField()  # counted from 1 within the attempt
    tries = models.PositiveIntegerField(default=1)
    status = models.CharField(max_length=12, choices=StageStatus.choices)
    duration_ms = models.FloatField(null=True)  # null while it runs
    items_done = models.PositiveIntegerField(null=True)  # of a parallel node
    items_total = models.PositiveIntegerField(null=True)
    error_message = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["sequence", "attempt"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "attempt", "sequence"], name="stage_once_per_attempt"
            ),
            models.CheckConstraint(
                condition=Q(status__in=StageStatus.values), name="stage_status_known"
            ),
        ]

    def __str__(self) -> str:
        """Return the step's number and node."""
        return f"{self.sequence}. {self.node_name}"


class Decision(models.Model):
    """One edge evaluated after a step: what was asked, what was read, what followed."""

    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="decisions", db_index=False
    )  # the unique constraint begins with it
    attempt = models.PositiveIntegerField()
    sequence = models.PositiveIntegerField()  # of the step whose node it leaves
    edge_index = models.PositiveIntegerField()
    from_node = models.CharField(max_length=200)
    to_node = models.CharField(max_length=200)
    predicate_name = models.TextField(blank=True, default="")  # "" = always
    predicate_result = models.BooleanField()
    reason = models.TextField(blank=True, default="")
    values = models.JSONField(default=dict)  # the state keys the predicate read
    taken = models.BooleanField(default=False)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    comment = models.TextField(blank=True, default="")  # the person's, if one decided
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["sequence", "attempt", "edge_index"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "attempt", "sequence", "edge_index"],
                name="decision_once_per_attempt",
            )
        ]

    def __str__(self) -> str:
        """Return the edge and whether it was taken."""
        verb = "took" if self.taken else "rejected"
        return f"{verb} {self.from_node} → {self.to_node}"


class Checkpoint(models.Model):
    """The state after a step, whole or as the change from the step before."""

    class Kind(models.TextChoices):
        """How `data` is to be read."""

        FULL = "full", "Whole state"
        DELTA = "delta", "Change"  # JSON Patch (RFC 6902) from the state before

    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="checkpoints", db_index=False
    )  # the unique constraint begins with it
    attempt = models.PositiveIntegerField()
    sequence = models.PositiveIntegerField()  # 0 = the initial state
    node_name = models.CharField(max_length=200, blank=True, default="")
    kind = models.CharField(max_length=5, choices=Kind.choices)
    data = models.TextField()  # JSON text: exact for every number
    bytes = models.PositiveIntegerField()  # length of `data` in UTF-8
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["sequence"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "sequence"], name="checkpoint_once")
        ]

    def __str__(self) -> str:
        """Return the step and node it stands after."""
        return f"{self.sequence}. {self.node_name or 'start'}"


class StageItem(models.Model):
    """The result of one finished item of a parallel node: it is never run again."""

    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="items", db_index=False
    )  # the unique constraint begins with it
    sequence = models.PositiveIntegerField()
    index = models.PositiveIntegerField()
    data = models.TextField()  # JSON text of the result

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "sequence", "index"], name="item_once"
            )
        ]

    def __str__(self) -> str:
        """Return the item's place in its step."""
        return f"step {self.sequence}, item {self.index}"


class LogLine(models.Model):
    """One line a node or the engine wrote about a run."""

    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="log_lines", db_index=False
    )  # the unique constraint begins with it
    attempt = models.PositiveIntegerField()
    number = models.PositiveIntegerField()  # from 1 within the attempt
    sequence = models.PositiveIntegerField()  # of the stage that wrote it
    level = models.PositiveSmallIntegerField(choices=Level.choices)
    message = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["attempt", "number"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "attempt", "number"], name="log_line_once"
            )
        ]

    def __str__(self) -> str:
        """Return the message."""
        return self.message
