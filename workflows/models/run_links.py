"""Which run launched another one without waiting for it, or continues it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from workflows.models.runs import Run


class LinkKind(models.TextChoices):
    """How a run came from another one."""

    LAUNCH = "launch", "Launched by"
    CONTINUE = "continue", "Continues"


class RunLink(models.Model):
    """A run that a step of another one launched. At most one per step: see `run_links.py`."""

    run = models.OneToOneField(
        Run, on_delete=models.CASCADE, primary_key=True, related_name="link"
    )
    origin = models.ForeignKey(
        Run,
        null=True,  # it was deleted
        on_delete=models.SET_NULL,
        related_name="links",
        db_index=False,  # run_link_once begins with it
    )
    kind = models.CharField(max_length=10, choices=LinkKind.choices)
    sequence = models.PositiveIntegerField()  # the step of the origin

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["origin", "sequence", "kind"], name="run_link_once"
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=LinkKind.values), name="run_link_kind_known"
            ),
        ]

    def __str__(self) -> str:
        """Return kind and run."""
        return f"{self.kind} {self.run_id}"
