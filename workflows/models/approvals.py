"""Approvals: a person's input that a run waits for."""

from __future__ import annotations

import datetime as dt
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q, Value
from django.utils import timezone

from workflows.models.exact_json import ExactJSONField
from workflows.models.runs import Run
from workflows.models.status import ApprovalKind, ApprovalStatus

URGENT = dt.timedelta(hours=4)  # before it expires


class ApprovalQuerySet(models.QuerySet["Approval"]):
    """Approvals, and the conditional updates that close them."""

    def open(self) -> ApprovalQuerySet:
        """Return the open approvals."""
        return self.filter(status=ApprovalStatus.OPEN)

    def respond(self, *, value: object, by_id: int | None, comment: str) -> bool:
        """Record a response. Return False if the approval was closed before."""
        return bool(
            self.open().update(
                status=ApprovalStatus.ANSWERED,
                response=value,
                responded_by=by_id,
                comment=comment,
                responded_at=timezone.now(),
            )
        )

    def withdraw(self, reason: str) -> int:
        """Close open approvals that nobody has to respond to any more; return their number."""
        return self.open().update(
            status=ApprovalStatus.WITHDRAWN,
            withdrawn_reason=reason,
            responded_at=timezone.now(),
        )

    def expire(self, now: dt.datetime) -> int:
        """Close open approvals with the response that was declared; return their number."""
        return self.open().update(
            status=ApprovalStatus.EXPIRED, response=F("on_expiry"), responded_at=now
        )


class Approval(models.Model):
    """A question with a form; one person responds, once, or as many as it needs votes."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="approvals")
    sequence = models.PositiveIntegerField()  # of the step that waits
    node_name = models.CharField(max_length=200)
    kind = models.CharField(
        max_length=10, choices=ApprovalKind.choices, default=ApprovalKind.NODE
    )
    budget = models.ForeignKey(  # the exhausted budget, if any
        "Budget", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    question = models.TextField()
    form = ExactJSONField(default=dict)  # JSON schema of the response
    evidence = ExactJSONField(default=dict)  # what the response is based on
    initial = ExactJSONField(null=True)  # the response that the form shows at first
    groups = models.JSONField(
        default=list
    )  # names of groups that can respond; [] = any
    # who cannot respond, as declared: "launcher", "previous", or "" = all can; and the
    # primary keys of these persons when the approval was requested
    not_by = models.CharField(max_length=10, blank=True, default="", db_default="")
    excluded = models.JSONField(default=list, db_default=Value([], models.JSONField()))
    votes_needed = models.PositiveSmallIntegerField(default=1, db_default=1)
    # values by field: one response with all of them ends the vote; null = none does
    veto = ExactJSONField(null=True)
    status = models.CharField(
        max_length=10, choices=ApprovalStatus.choices, default=ApprovalStatus.OPEN
    )
    expires_at = models.DateTimeField(null=True)
    on_expiry = ExactJSONField(null=True)  # the declared response; null = the run fails
    response = ExactJSONField(null=True)
    responded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    comment = models.TextField(blank=True, default="")
    responded_at = models.DateTimeField(null=True)
    # continues "The approval was withdrawn: "; "" for those of earlier versions
    withdrawn_reason = models.TextField(blank=True, default="", db_default="")
    created_at = models.DateTimeField(default=timezone.now)
    # in a fork: the run that asked; null: this run
    inherited_from = models.UUIDField(null=True)

    objects: ClassVar[ApprovalQuerySet] = ApprovalQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["run", "sequence"], name="approval_once_per_step"
            ),
            models.CheckConstraint(
                condition=Q(status__in=ApprovalStatus.values),
                name="approval_status_known",
            ),
        ]
        indexes: ClassVar = [
            # list of open approvals, oldest first
            models.Index(
                fields=["id"],
                condition=Q(status=ApprovalStatus.OPEN),
                name="approval_open",
            )
        ]

    def __str__(self) -> str:
        """Return the question."""
        return self.question

    @property
    def is_personal(self) -> bool:
        """Return whether it depends on the person, not only on permissions, who may respond."""
        return bool(self.not_by) or self.votes_needed > 1

    @property
    def is_urgent(self) -> bool:
        """Return whether the approval expires within URGENT, or has expired."""
        return self.expires_at is not None and self.expires_at - timezone.now() < URGENT

    @property
    def is_overdue(self) -> bool:
        """Return whether the approval has expired; the sweep is about to close it."""
        return self.expires_at is not None and self.expires_at <= timezone.now()


class ApprovalVote(models.Model):
    """The response of one person to an approval that several persons respond to."""

    approval = models.ForeignKey(
        Approval, on_delete=models.CASCADE, related_name="votes"
    )
    voter = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    voter_name = models.CharField(max_length=150)  # also of a deleted account
    response = ExactJSONField(null=True)  # null: deleted by retention
    comment = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["approval", "voter"], name="vote_once_per_person"
            )
        ]

    def __str__(self) -> str:
        """Return the name of the person."""
        return self.voter_name
