"""The history of a run: attempts, stages, decisions, checkpoints, log lines."""

from __future__ import annotations

from typing import ClassVar, Final

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.engine.first_of import FIRST_EDGE
from workflows.engine.predicates.wording import condition_label, explain
from workflows.models.exact_json import ExactJSONField
from workflows.models.runs import Run
from workflows.models.status import Level, StageKind, StageStatus

# Error codes of attempts
PROCESS_DIED: Final = "process_died"  # lost: the run ended the child process it was in
SUSPICION_LIFTED: Final = "suspicion_lifted"  # released from a child process


class Outcome(models.TextChoices):
    """Outcome of an attempt."""

    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    WAITING = "waiting", "Waiting"
    RELEASED = "released", "Released"  # its worker drained
    LOST = "lost", "Worker lost"  # the lease expired
    FORKED = "forked", "Forked"  # in a fork: of its origin, shared up to a step


class DecisionKind(models.TextChoices):
    """What made a decision, if not the evaluation of an edge."""

    OVERRIDE = "override", "Override"  # a person, against the edge that was taken


class Attempt(models.Model):
    """One period in which a worker executes a run; a resume or recovery adds another."""

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
        indexes: ClassVar = [
            # workers page: recent lost leases
            models.Index(
                fields=["-id"], condition=Q(outcome=Outcome.LOST), name="attempt_lost"
            )
        ]

    def __str__(self) -> str:
        """Return the number and the outcome."""
        return f"attempt {self.number} ({self.get_outcome_display() or 'running'})"


class Stage(models.Model):
    """One execution of a node that has ended or pauses.

    `sequence` is the number of the step in its run. The steps of branches have the numbers
    before that of the node that joins them, in the order of the declaration. A number stays
    the same when an interrupted or failed node runs again; `attempt` distinguishes the
    executions. The one in progress is in the run's row (`current_stages.py`); those of branches
    are rows as soon as they start.
    """

    run = models.ForeignKey(  # may not exist: retention keeps the history longer
        Run,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="stages",
        db_index=False,  # the unique constraint begins with it
    )
    attempt = models.PositiveIntegerField()
    sequence = models.PositiveIntegerField()
    kind = models.CharField(
        max_length=6,
        choices=StageKind.choices,
        default=StageKind.NODE,
        db_default=StageKind.NODE,
    )
    undoes = models.PositiveIntegerField(null=True)  # sequence of the step it undoes
    # of a node with branches, of which it is a step; null instead of "": adding the column
    # rebuilds no table of SQLite
    branch = models.CharField(max_length=100, null=True)  # noqa: DJ001
    node_name = models.CharField(max_length=200)
    iteration = models.PositiveIntegerField()  # counted from 1 within the attempt
    tries = models.PositiveIntegerField(default=1)
    status = models.CharField(max_length=12, choices=StageStatus.choices)
    duration_ms = models.FloatField(null=True)  # null while it runs
    items_done = models.PositiveIntegerField(null=True)  # of a parallel node
    items_total = models.PositiveIntegerField(null=True)
    # while it runs: all threads for sync nodes are busy
    waits_for_thread = models.BooleanField(default=False, db_default=False)
    error_message = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)
    seal = models.BinaryField(null=True)  # audit/seals.py; null until it ends
    # in a fork: the run that executed the step; null: this run (`models/forks.py`)
    inherited_from = models.UUIDField(null=True)

    # what the node in progress reported last, no columns (`Run.current_stage`)
    progress_done: float | None = None
    progress_of: float | None = None
    progress_text = ""

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
        """Return the step number and the node."""
        return f"{self.sequence}. {self.node_name}"

    @property
    def place(self) -> tuple[int, int]:
        """Return attempt and sequence: they identify a stage within its run."""
        return self.attempt, self.sequence

    @property
    def status_text(self) -> str:
        """Return the status as text for pages."""
        if self.waits_for_thread and self.status == StageStatus.STARTED:
            return "Waiting for a thread"
        return self.get_status_display()

    @property
    def amount_done(self) -> str:
        """Return how far the stage is, as its node reported or by its items: `3 of 12`."""
        items = (
            f"{self.items_done or 0} of {self.items_total}" if self.items_total else ""
        )
        return self.progress_amount or items

    @property
    def progress_amount(self) -> str:
        """Return how far the node in progress is: `3 of 12`, `3`, or "" if it did not say."""
        if self.status != StageStatus.STARTED or self.progress_done is None:
            return ""
        done = _number(self.progress_done)
        return (
            done
            if self.progress_of is None
            else f"{done} of {_number(self.progress_of)}"
        )


def _number(value: float) -> str:
    """Return a number with separators, and at most two digits after the point."""
    return f"{value:,.2f}".rstrip("0").rstrip(".")


class Decision(models.Model):
    """One edge evaluated after a step: predicate, values read, result."""

    run = models.ForeignKey(  # may not exist: retention keeps the history longer
        Run,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="decisions",
        db_index=False,  # the unique constraint begins with it
    )
    workflow_name = models.CharField(max_length=100, default="")  # that of the run
    attempt = models.PositiveIntegerField()
    sequence = models.PositiveIntegerField()  # of the step whose node it leaves
    edge_index = models.PositiveIntegerField()
    from_node = models.CharField(max_length=200)
    to_node = models.CharField(max_length=200)
    predicate_name = models.TextField(blank=True, default="")  # "" = always
    predicate_result = models.BooleanField()
    reason = models.TextField(blank=True, default="")
    values = models.JSONField(default=dict)  # the state keys the predicate read
    values_digest = models.BinaryField(
        null=True
    )  # of `values`, once retention has deleted them
    taken = models.BooleanField(default=False)
    # null: the edge was evaluated
    kind = models.CharField(max_length=10, choices=DecisionKind.choices, null=True)  # noqa: DJ001 - adding the column rebuilds no table
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,  # mostly null: decision_by_person
    )
    comment = models.TextField(
        blank=True, default=""
    )  # of the person who decided, if any
    created_at = models.DateTimeField(default=timezone.now)
    seal = models.BinaryField(null=True)  # audit/seals.py
    # in a fork: the run that decided; null: this run. Counts leave such rows out.
    inherited_from = models.UUIDField(null=True)

    class Meta:
        ordering: ClassVar = ["sequence", "attempt", "edge_index"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "attempt", "sequence", "edge_index"],
                name="decision_once_per_attempt",
            )
        ]
        indexes: ClassVar = [
            # decisions page, newest first: by workflow, by edge, by person
            models.Index(fields=["workflow_name", "-id"], name="decision_by_workflow"),
            models.Index(
                fields=["workflow_name", "from_node", "to_node", "taken", "-id"],
                name="decision_by_edge",
            ),
            models.Index(
                fields=["decided_by", "-id"],
                condition=Q(decided_by__isnull=False),
                name="decision_by_person",
            ),
            # decisions page: overrides, of which there are few
            models.Index(
                fields=["workflow_name", "-id"],
                condition=Q(kind=DecisionKind.OVERRIDE),
                name="decision_overrides",
            ),
            # also, on PostgreSQL: GIN over values (migration 0003)
        ]

    def __str__(self) -> str:
        """Return the edge and whether it was taken."""
        outcome = "taken" if self.taken else "not taken"
        return f"{self.from_node} → {self.to_node}: {outcome}"

    @property
    def is_of_part(self) -> bool:
        """Return whether it says if one of several waits came first, or was withdrawn."""
        return self.edge_index >= FIRST_EDGE

    @property
    def condition_label(self) -> str:
        """Return "condition met" or "condition not met"; "" without a condition."""
        name, result = self.predicate_name, self.predicate_result
        return condition_label(name, self.reason, result=result)

    @property
    def explanation(self) -> str:
        """Return the result of the condition with the reason; "" without a condition."""
        name, result = self.predicate_name, self.predicate_result
        return explain(name, self.reason, result=result)


class Checkpoint(models.Model):
    """The state after a step, in full or as a patch of the previous state."""

    class Kind(models.TextChoices):
        """Format of `data`."""

        FULL = "full", "Full state"
        DELTA = "delta", "Patch"  # JSON Patch (RFC 6902) of the previous state

    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="checkpoints", db_index=False
    )  # the unique constraint begins with it
    attempt = models.PositiveIntegerField()
    sequence = models.PositiveIntegerField()  # 0 = the initial state
    node_name = models.CharField(max_length=200, blank=True, default="")
    kind = models.CharField(max_length=5, choices=Kind.choices)
    data = models.TextField()  # JSON text: exact for every number
    bytes = models.PositiveIntegerField()  # length of `data` in UTF-8
    # why the step failed, if its failure route was taken: `engine.failures.Failure`
    failure = ExactJSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["sequence"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "sequence"], name="checkpoint_once")
        ]

    def __str__(self) -> str:
        """Return the step number and the node."""
        return f"{self.sequence}. {self.node_name or 'start'}"


class StageItem(models.Model):
    """The result of one completed item of a parallel node; the item never runs again."""

    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="items", db_index=False
    )  # the unique constraint begins with it
    sequence = models.PositiveIntegerField()
    index = models.PositiveIntegerField()
    data = models.TextField()  # JSON text of the result
    # null: not recorded, in runs of earlier versions; the step of a branch has none
    tries = models.PositiveIntegerField(null=True)
    duration_ms = models.FloatField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "sequence", "index"], name="item_once"
            )
        ]

    def __str__(self) -> str:
        """Return the step number and the item index."""
        return f"step {self.sequence}, item {self.index}"


class ItemFailure(models.Model):
    """Why an item of a parallel node failed in an attempt, after its last try."""

    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="item_failures", db_index=False
    )  # the unique constraint begins with it
    attempt = models.PositiveIntegerField()
    sequence = models.PositiveIntegerField()
    index = models.PositiveIntegerField()
    tries = models.PositiveIntegerField()
    duration_ms = models.FloatField()
    error_type = models.TextField()  # the class of the exception
    error_message = models.TextField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "attempt", "sequence", "index"], name="item_failure_once"
            )
        ]

    def __str__(self) -> str:
        """Return the step number and the item index."""
        return f"step {self.sequence}, item {self.index}: {self.error_type}"


class LogLine(models.Model):
    """One log line of a node or the engine."""

    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="log_lines", db_index=False
    )  # the unique constraint begins with it
    attempt = models.PositiveIntegerField()
    # from 1 within the attempt; 0 for what happened before it (`execution/rewinds.py`)
    number = models.PositiveIntegerField()
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
