"""Forks: runs that share the history of another run up to a step."""

from __future__ import annotations

from typing import ClassVar, Final

from django.conf import settings
from django.db import models
from django.utils import timezone

from workflows.models.exact_json import ExactJSONField
from workflows.models.runs import Run

EDIT_NODE: Final = "edit state"  # name of the step that edits the state of a fork


class ForkKind(models.TextChoices):
    """What was done to the origin."""

    RERUN = "rerun", "Rerun from a step"
    OVERRIDE = "override", "Override of a decision"
    RESPONSE = "response", "Change of an approval response"


class Fork(models.Model):
    """How a run came from another one: what both share, what was changed, and why.

    The fork has copies of the rows that it shares (`execution/fork_rows.py`), so that it is
    complete without its origin. `Run.forked_from` is the origin as long as that exists.
    """

    run = models.OneToOneField(
        Run, on_delete=models.CASCADE, primary_key=True, related_name="fork"
    )
    origin_key = models.UUIDField()  # id of the origin, also of a deleted one
    kind = models.CharField(max_length=10, choices=ForkKind.choices)
    kept = models.PositiveIntegerField()  # number of the last shared step, 0 = none
    # the last attempt of the origin whose rows are shared; the fork's own follow it
    attempt = models.PositiveIntegerField()
    # The node that runs first, and the number of the step before it. No edge is evaluated.
    entry = models.CharField(max_length=200, blank=True, default="")
    enters_after = models.PositiveIntegerField()
    # what was changed: {"state": JSON Patch, "params": …, "edge": …, "response": …,
    # "answers": "recorded" if those of agents are replayed};
    # null once retention deleted it
    change = ExactJSONField(null=True)
    reason = models.TextField(blank=True, default="")
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    person_name = models.CharField(max_length=150)  # survives the account
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(kind__in=ForkKind.values), name="fork_kind_known"
            )
        ]

    def __str__(self) -> str:
        """Return what was done, and from which step."""
        return f"{self.get_kind_display()} {self.step}"

    @property
    def step(self) -> int:
        """The number of the first step of the origin that is not shared."""
        return self.kept + 1

    @property
    def replays_answers(self) -> bool:
        """Return whether recorded answers of agents are used in place of new ones."""
        return bool(self.change) and "answers" in self.change

    @property
    def is_edited(self) -> bool:
        """Return whether the state was edited, by a step of its own."""
        return self.enters_after > self.kept


class SharedChild(models.Model):
    """A child run of a shared step: it belongs to the origin, and the fork shows it as well."""

    run = models.ForeignKey(
        Run, on_delete=models.CASCADE, related_name="shared_children", db_index=False
    )  # the unique constraint begins with it
    child = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="+")
    sequence = models.PositiveIntegerField()  # of the step

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "child"], name="shared_child_once")
        ]

    def __str__(self) -> str:
        """Return the step and the child."""
        return f"step {self.sequence}, run {self.child_id}"
