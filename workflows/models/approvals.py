"""A question a run asks a person, and the answer."""

from __future__ import annotations

import datetime as dt
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.models.exact_json import ExactJSONField
from workflows.models.runs import Run
from workflows.models.status import ApprovalKind, ApprovalStatus

URGENT = dt.timedelta(hours=4)  # before it expires


class ApprovalQuerySet(models.QuerySet["Approval"]):
    """The moves of an approval: each is one conditional update."""

    def open(self) -> ApprovalQuerySet:
        """Return those that still wait for an answer."""
        return self.filter(status=ApprovalStatus.OPEN)

    def answer(self, *, value: object, by_id: int | None, comment: str) -> bool:
        """Record the answer; False when another answer, or the end, came first."""
        return bool(
            self.open().update(
                status=ApprovalStatus.ANSWERED,
                answer=value,
                answered_by=by_id,
                comment=comment,
                answered_at=timezone.now(),
            )
        )

    def close(self, status: ApprovalStatus, *, value: object = None) -> int:
        """Close those still open as expired or withdrawn; return how many."""
        return self.open().update(
            status=status, answer=value, answered_at=timezone.now()
        )


class Approval(models.Model):
    """A typed question; answered once, by one person, for good."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="approvals")
    sequence = models.PositiveIntegerField()  # of the step that waits
    node_name = models.CharField(max_length=200)
    kind = models.CharField(
        max_length=10, choices=ApprovalKind.choices, default=ApprovalKind.NODE
    )
    budget = models.ForeignKey(  # that was reached, if one was
        "Budget", null=True, on_delete=models.SET_NULL, related_name="+"
    )
    question = models.TextField()
    form = ExactJSONField(default=dict)  # JSON schema of the answer
    evidence = ExactJSONField(default=dict)  # what the person should look at
    groups = models.JSONField(default=list)  # names of groups that may answer; [] = any
    status = models.CharField(
        max_length=10, choices=ApprovalStatus.choices, default=ApprovalStatus.OPEN
    )
    expires_at = models.DateTimeField(null=True)
    on_expiry = ExactJSONField(null=True)  # the declared answer; null = the run fails
    answer = ExactJSONField(null=True)
    answered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    comment = models.TextField(blank=True, default="")
    answered_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

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
            # the inbox: what is open, oldest first
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
    def is_urgent(self) -> bool:
        """Tell whether it expires soon, or has."""
        return self.expires_at is not None and self.expires_at - timezone.now() < URGENT

    @property
    def is_overdue(self) -> bool:
        """Tell whether the time to answer is up; the sweep closes it in a moment."""
        return self.expires_at is not None and self.expires_at <= timezone.now()
