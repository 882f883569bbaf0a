"""Permissions on the runs of one workflow, granted to groups."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q


class WorkflowPermission(models.Model):
    """Permissions of one group, or of all users, on the runs of one workflow.

    A row with any permission but `can_read` restricts the workflow to the groups that
    have rows. A row with `can_read` restricts the values of its runs to those groups.
    """

    workflow_name = models.CharField(
        "workflow",
        max_length=100,
        help_text="The name in URLs, such as classify-document. The workflow does not "
        "have to be installed.",
    )
    group = models.ForeignKey(
        Group,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="workflow_permissions",
        help_text="Empty: all users.",
    )
    can_view = models.BooleanField(
        "view",
        default=True,
        help_text="Runs, their steps and times. Included in launch, operate and "
        "approve.",
    )
    can_launch = models.BooleanField(
        "launch", default=False, help_text="Launch runs, with their sub-workflows."
    )
    can_operate = models.BooleanField(
        "operate",
        default=False,
        help_text="Cancel, resume, label and delete runs.",
    )
    can_approve = models.BooleanField(
        "approve",
        default=False,
        help_text="Respond to approvals; those limited to groups only as a member.",
    )
    can_read = models.BooleanField(
        "view data",
        default=False,
        help_text="Parameters, results, states, reasons, errors and logs. Once one "
        "group has this, everyone else sees only the structure and times of runs.",
    )

    class Meta:
        verbose_name = "workflow permission"
        verbose_name_plural = "workflow permissions"
        ordering: ClassVar = ["workflow_name", "group__name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["workflow_name", "group"],
                name="permission_once_per_group",
                violation_error_message="This group already has permissions for "
                "this workflow. Edit those.",
            ),
            models.UniqueConstraint(
                fields=["workflow_name"],
                condition=Q(group=None),
                name="permission_once_for_everyone",
                violation_error_message="All users already have permissions for "
                "this workflow. Edit those.",
            ),
            models.CheckConstraint(
                condition=Q(can_view=True)
                | Q(can_launch=False, can_operate=False, can_approve=False),
                name="permission_includes_view",
                violation_error_message="Launch, operate and approve require “view”.",
            ),
        ]

    def __str__(self) -> str:
        """Return the workflow and the group."""
        return f"{self.workflow_name} for {self.group or 'everyone'}"

    def clean(self) -> None:
        """Reject a row without any permission. Raises ValidationError."""
        if not (self.restricts or self.can_read):
            raise ValidationError("Select at least one permission, or delete this row.")

    @property
    def restricts(self) -> bool:
        """Return whether the row restricts the workflow to groups with rows."""
        return self.can_view  # included in every permission but can_read
