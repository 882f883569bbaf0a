"""Who works on an approval: small rows, apart from the approval that every page reads."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone

from workflows.models.approvals import Approval

MAX_NAME_LENGTH = 150  # characters of a user or group name


class ApprovalClaim(models.Model):
    """A person's note that they work on an approval; others may respond all the same."""

    approval = models.OneToOneField(
        Approval, on_delete=models.CASCADE, related_name="claim"
    )
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    person_name = models.CharField(max_length=MAX_NAME_LENGTH)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        """Return the name of the person."""
        return self.person_name

    @property
    def is_current(self) -> bool:
        """Return whether the claim has not expired."""
        return self.expires_at > timezone.now()


class ApprovalAssignment(models.Model):
    """The person or group that an approval was reassigned to; others may respond all the same."""

    approval = models.OneToOneField(
        Approval, on_delete=models.CASCADE, related_name="assignment"
    )
    person = models.ForeignKey(  # null: a group
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+"
    )
    name = models.CharField(max_length=MAX_NAME_LENGTH)  # of the person or group
    assigned_by_name = models.CharField(max_length=MAX_NAME_LENGTH)
    reason = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        """Return the name of the person or group."""
        return self.name


class ApprovalSnooze(models.Model):
    """A person's wish not to see an approval in their lists until a time."""

    approval = models.ForeignKey(
        Approval,
        on_delete=models.CASCADE,
        related_name="snoozes",
        db_index=False,  # the unique constraint begins with it
    )
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    until = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["approval", "person"], name="snooze_once_per_person"
            )
        ]

    def __str__(self) -> str:
        """Return the time."""
        return self.until.isoformat()


class ApprovalReminder(models.Model):
    """The last reminder of the approvers."""

    approval = models.OneToOneField(
        Approval, on_delete=models.CASCADE, related_name="reminder"
    )
    person_name = models.CharField(max_length=MAX_NAME_LENGTH)
    created_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        """Return the name of the person who reminded."""
        return self.person_name


class ApprovalEscalation(models.Model):
    """When an open approval goes to another group as declared, or went there."""

    approval = models.OneToOneField(
        Approval, on_delete=models.CASCADE, related_name="escalation"
    )
    to = models.CharField(max_length=MAX_NAME_LENGTH)  # name of the group
    due_at = models.DateTimeField()
    escalated_at = models.DateTimeField(null=True)  # null: not yet
    by_name = models.CharField(max_length=MAX_NAME_LENGTH, blank=True, default="")

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            # those that a sweep makes next
            models.Index(
                fields=["due_at"],
                condition=models.Q(escalated_at=None),
                name="escalation_due",
            )
        ]

    def __str__(self) -> str:
        """Return the name of the group."""
        return self.to
