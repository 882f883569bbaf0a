"""Who may do what with the runs of a workflow: given to groups, by workflow."""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q


class WorkflowRight(models.Model):
    """What the members of one group may do with the runs of one workflow.

    A workflow that anything but reading was given for is for those who are named, and
    for nobody else. One that reading was given for shows its values to these only.
    """

    workflow_name = models.CharField(
        "workflow",
        max_length=100,
        help_text="The name in addresses, such as classify-document. It need not be "
        "installed: its runs stay.",
    )
    group = models.ForeignKey(
        Group,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="workflow_rights",
        help_text="Whom this is for; empty: everyone who is signed in.",
    )
    may_see = models.BooleanField(
        "see",
        default=True,
        help_text="That there are runs, their steps and times. The rights to launch, "
        "operate and approve include it.",
    )
    may_launch = models.BooleanField(
        "launch", default=False, help_text="Start runs, and with them what they start."
    )
    may_operate = models.BooleanField(
        "operate",
        default=False,
        help_text="Cancel, resume, label and delete runs.",
    )
    may_approve = models.BooleanField(
        "approve",
        default=False,
        help_text="Answer questions of runs; one for some groups only by their members.",
    )
    may_read = models.BooleanField(
        "read values",
        default=False,
        help_text="Params, results, states, reasons, errors and logs. As soon as one "
        "group has this, everyone else sees the shape of the runs and their times only.",
    )

    class Meta:
        verbose_name = "right by workflow"
        verbose_name_plural = "rights by workflow"
        ordering: ClassVar = ["workflow_name", "group__name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["workflow_name", "group"],
                name="right_once_per_group",
                violation_error_message="This group has rights for this workflow: "
                "change those.",
            ),
            models.UniqueConstraint(
                fields=["workflow_name"],
                condition=Q(group=None),
                name="right_once_for_everyone",
                violation_error_message="Everyone has rights for this workflow: change "
                "those.",
            ),
            models.CheckConstraint(
                condition=Q(may_see=True)
                | Q(may_launch=False, may_operate=False, may_approve=False),
                name="right_includes_seeing",
                violation_error_message="Who may launch, operate or approve has to see "
                "as well: tick “see”.",
            ),
        ]

    def __str__(self) -> str:
        """Return whom it is for, and for what."""
        return f"{self.workflow_name} for {self.group or 'everyone'}"

    def clean(self) -> None:
        """Refuse a row that gives nothing."""
        if not (self.restricts or self.may_read):
            raise ValidationError("Tick at least one right, or delete this.")

    @property
    def restricts(self) -> bool:
        """Tell whether it keeps the workflow for those who are named."""
        return self.may_see  # which all rights but reading include
