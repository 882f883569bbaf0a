"""A run: the queue entry, the status and the outcome; its history is in `history.py`.

The rows are authoritative: a status changes only by the conditional updates of
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

from workflows.models.exact_json import ExactJSONField
from workflows.models.pauses import CONTINUES
from workflows.models.status import (
    CANCEL_AGAIN,
    CANCELLABLE,
    ENDED,
    RESUMABLE,
    Status,
    Suspicion,
    WaitKind,
)
from workflows.models.status_transitions import RunQuerySet

if TYPE_CHECKING:
    from datetime import timedelta


def new_run_id() -> uuid.UUID:
    """Return a UUIDv7: ids sort by creation time."""
    return uuid_utils.compat.uuid7()


class Run(models.Model):
    """One execution of a workflow: the queue entry, the status and the outcome."""

    id = models.UUIDField(primary_key=True, default=new_run_id, editable=False)
    workflow_name = models.CharField(max_length=100)
    status = models.CharField(
        max_length=10, choices=Status.choices, default=Status.PENDING
    )
    # made of the params at launch (`execution/run_titles.py`); shown like them
    title = models.CharField(max_length=200, blank=True, default="", db_default="")
    params = ExactJSONField(default=dict)
    result = ExactJSONField(null=True)  # the final state; null until completed
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
        db_index=False,  # run_by_person begins with it
    )

    graph = models.JSONField(default=dict)  # nodes, edges, predicate names as drawn
    fingerprint = models.CharField(max_length=64, blank=True, default="")
    version = models.PositiveIntegerField(default=0)  # +1 per recorded change
    sequence = models.PositiveIntegerField(default=0)  # steps completed
    attempt = models.PositiveIntegerField(default=0)  # +1 per claim
    # Position of the attempt that holds the run: a random number per claim, +1 per
    # record. A write that expects another number changes nothing (`execution/sql`).
    fence = models.BigIntegerField(default=0, db_default=0)
    # The stage in progress, null between attempts (`current_stages.py`). It has no index,
    # so that PostgreSQL updates a run without touching one.
    current_stage = ExactJSONField(null=True)

    worker = models.CharField(max_length=200, blank=True, default="")
    lease_expires_at = models.DateTimeField(null=True)  # null unless running
    recoveries = models.PositiveIntegerField(default=0)  # processes lost in a row
    suspicion = models.PositiveSmallIntegerField(
        choices=Suspicion.choices, default=Suspicion.NONE
    )
    cancel_requested_at = models.DateTimeField(null=True)
    cancel_requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    cancel_reason = models.TextField(blank=True, default="")

    # Whether its workflow undoes steps or has a node at the end (`execution/undo_and_end.py`);
    # then how it will end, while these nodes run, and how many steps they undid.
    has_closing = models.BooleanField(default=False, db_default=False)
    closing = ExactJSONField(null=True)
    steps_to_undo = models.PositiveIntegerField(null=True)
    steps_undone = models.PositiveIntegerField(null=True)

    waiting_for = models.CharField(
        max_length=20, choices=WaitKind.choices, blank=True, default=""
    )
    # The node that paused and has not finished; kept while pending again, so that
    # the next attempt enters there and evaluates no edge twice.
    waiting_node = models.CharField(max_length=200, blank=True, default="")
    wake_at = models.DateTimeField(null=True)  # when the pause is over by itself

    # The run fails with the code `deadline` at this time, also while it waits. Null once the
    # failure route of a step has taken that failure.
    deadline_at = models.DateTimeField(null=True)
    # the moment of a schedule that launched it; nodes read it as runtime.scheduled_for
    scheduled_for = models.DateTimeField(null=True)
    # W3C Trace Context of the launch, which its worker continues; "" = not traced
    traceparent = models.CharField(max_length=55, blank=True, default="", db_default="")
    priority = models.SmallIntegerField(default=0)  # higher goes first
    # The key for which the limits of its workflow hold, made of the params at launch; null: its
    # workflow had no limits. Part of the data of the run, like the params.
    limit_key = models.CharField(max_length=200, null=True)  # noqa: DJ001 - "" is the key of all
    idempotency_key = models.CharField(max_length=200, null=True)  # noqa: DJ001 - NULL keeps the unique constraint out of the way
    parent = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="children"
    )
    parent_sequence = models.PositiveIntegerField(null=True)  # the step that waits
    forked_from = models.ForeignKey(
        "self", null=True, on_delete=models.SET_NULL, related_name="forks"
    )
    secrets = models.BinaryField(null=True)  # encrypted; erased when the run ends
    # The profile it was launched with, and the settings of its prompts at that time:
    # {prompt: {agent, prompt, options}}. Every attempt uses these.
    profile_name = models.CharField(max_length=60, blank=True, default="")
    profile_stages = ExactJSONField(default=dict)
    # Heads of its two chains (audit/seals.py): of stages and decisions, and of audit
    # events. Null in runs older than sealing.
    history_chain_head = models.BinaryField(null=True)
    audit_chain_head = models.BinaryField(null=True)
    is_pinned = models.BooleanField(default=False)  # exempt from retention
    payload_removed_at = models.DateTimeField(null=True)  # by retention

    already_launched = False  # set on the row that a repeated idempotency key gives

    objects: ClassVar[RunQuerySet] = RunQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering: ClassVar = ["-id"]
        permissions: ClassVar = [  # what roles may; see docs/permissions.md
            ("launch_run", "Can launch runs"),
            ("operate_run", "Can cancel, resume, label and delete runs"),
            ("approve_run", "Can respond to approvals of runs"),
            ("audit_run", "Can see the runs of every workflow"),
            ("administer_run", "Can do everything with the runs of every workflow"),
        ]
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
                condition=Q(status=Status.PENDING, limit_key=None),
                name="run_pending",
            ),
            # queue.claim: those of a paused workflow that have started, of which there are few
            models.Index(
                fields=["workflow_name", "-priority", "id"],
                condition=Q(CONTINUES, status=Status.PENDING, limit_key=None),
                name="run_pending_continues",
            ),
            # limited_claims: the same for each key of a workflow with limits
            models.Index(
                fields=["workflow_name", "limit_key", "-priority", "id"],
                condition=Q(status=Status.PENDING, limit_key__isnull=False),
                name="run_limited_pending",
            ),
            models.Index(
                fields=["workflow_name", "limit_key", "-priority", "id"],
                condition=Q(CONTINUES, status=Status.PENDING, limit_key__isnull=False),
                name="run_limited_continues",
            ),
            # limited_claims: the runs that hold a slot
            models.Index(
                fields=["workflow_name", "limit_key"],
                condition=Q(status=Status.RUNNING, limit_key__isnull=False),
                name="run_limited_running",
            ),
            # queue.claim of suspects, of which there are few
            models.Index(
                fields=["suspicion"],
                condition=Q(status=Status.PENDING, suspicion__gt=0),
                name="run_pending_suspect",
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
            # sweep: deadlines of runs that wait
            models.Index(
                fields=["deadline_at"],
                condition=Q(status=Status.WAITING, deadline_at__isnull=False),
                name="run_deadline",
            ),
            # runs page: one workflow's or one status' runs, newest first
            models.Index(fields=["workflow_name", "-id"], name="run_by_workflow"),
            models.Index(fields=["status", "-id"], name="run_by_status"),
            models.Index(fields=["launched_by", "-id"], name="run_by_person"),
            # runs page: the search in errors is limited to these
            models.Index(
                fields=["-id"], condition=Q(status__in=RESUMABLE), name="run_troubled"
            ),
            # tallies: what ended within an hour
            models.Index(
                fields=["completed_at"],
                condition=Q(completed_at__isnull=False),
                name="run_ended",
            ),
            # retention: runs that ended long ago and have their payload
            models.Index(
                fields=["workflow_name", "completed_at"],
                condition=Q(completed_at__isnull=False, payload_removed_at=None),
                name="run_with_payload",
            ),
            # also, on PostgreSQL: GIN over params and result (migration 0014)
        ]

    def __str__(self) -> str:
        """Return the workflow's name and the short id."""
        return f"{self.workflow_name} {self.short_id}"

    @property
    def short_id(self) -> str:
        """Return the last eight hex digits: the random part of the id."""
        return self.id.hex[-8:]

    @property
    def is_ended(self) -> bool:
        """Return whether the run has ended; it may be resumed."""
        return self.status in ENDED

    @property
    def error_text(self) -> str:
        """Return the error; "" for a cancelled run, whose reason is in `cancel_reason`."""
        return "" if self.status == Status.CANCELLED else self.error_message

    @property
    def is_cancellable(self) -> bool:
        """Return whether a cancel would be accepted, also once more if a node ignores one."""
        requested = self.cancel_requested_at
        is_open = requested is None or requested < timezone.now() - CANCEL_AGAIN
        if self.closing is not None:
            return False  # it ends already
        return self.status in CANCELLABLE and is_open

    @property
    def is_resumable(self) -> bool:
        """Return whether a resume would be accepted: it requires the last state."""
        return (
            self.status in RESUMABLE
            and self.payload_removed_at is None
            and not self.steps_to_undo
            and not self.is_overdue
        )

    @property
    def is_overdue(self) -> bool:
        """Return whether the deadline has passed."""
        return self.deadline_at is not None and self.deadline_at <= timezone.now()

    @property
    def deadline(self) -> timedelta | None:
        """Return the time from the launch to the deadline."""
        return None if self.deadline_at is None else self.deadline_at - self.created_at

    @property
    def undo_text(self) -> str:
        """Return how many steps were undone, such as "3 of 4 undone"; "" for none to undo."""
        if not self.steps_to_undo:
            return ""
        return f"{self.steps_undone or 0} of {self.steps_to_undo} undone"

    @property
    def elapsed(self) -> timedelta | None:
        """Return the time from the first start to the end, or to now."""
        if self.started_at is None:
            return None
        return (self.completed_at or timezone.now()) - self.started_at
