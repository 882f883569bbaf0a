"""The child runs that a step launches for the elements of a list, and waits for."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models

from workflows.models.exact_json import ExactJSONField
from workflows.models.runs import Run


class ChildGroup(models.Model):
    """The child runs of one step."""

    parent = models.ForeignKey(
        Run,
        on_delete=models.CASCADE,
        related_name="child_groups",
        db_index=False,  # child_group_once begins with it
    )
    sequence = models.PositiveIntegerField()  # the step of the parent
    workflow_name = models.CharField(max_length=100)
    total = models.PositiveIntegerField()
    limit = models.PositiveIntegerField()  # so many at once
    need = models.PositiveIntegerField(null=True)  # so many have to complete
    fail_fast = models.BooleanField(default=False)
    # the outcome is certain: no more runs are launched, and the parent reads it
    is_decided = models.BooleanField(default=False)
    traceparent = models.CharField(max_length=55, blank=True, default="")
    # who resumed the parent, and with it the children that had failed
    resumed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    resume_reason = models.TextField(blank=True, default="")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["parent", "sequence"], name="child_group_once"
            )
        ]

    def __str__(self) -> str:
        """Return the number of runs and their workflow."""
        return f"{self.total} × {self.workflow_name}"


class ItemStatus(models.TextChoices):
    """What has been done for an element."""

    WAITING = "waiting", "Waiting"  # its run is to be launched
    LAUNCHED = "launched", "Launched"
    RESUME = "resume", "To be resumed"  # with the parent
    WITHDRAWN = "withdrawn", "Not launched"  # the outcome was certain before


class ChildItem(models.Model):
    """One element, with the child run that was launched for it."""

    group = models.ForeignKey(
        ChildGroup,
        on_delete=models.CASCADE,
        related_name="items",
        db_index=False,  # child_item_once begins with it
    )
    position = models.PositiveIntegerField()  # of the element, from 0
    params = ExactJSONField(default=dict)  # {} once retention removed them
    status = models.CharField(
        max_length=10, choices=ItemStatus.choices, default=ItemStatus.WAITING
    )
    child = models.OneToOneField(
        Run, null=True, on_delete=models.SET_NULL, related_name="child_item"
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["group", "position"], name="child_item_once"
            )
        ]
        indexes: ClassVar = [
            # the next elements to launch
            models.Index(
                fields=["group", "position"],
                condition=models.Q(status__in=["waiting", "resume"]),
                name="child_item_next",
            )
        ]

    def __str__(self) -> str:
        """Return the position."""
        return f"element {self.position}"

    @property
    def number(self) -> int:
        """The position, counted from 1."""
        return self.position + 1
