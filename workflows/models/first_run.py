"""Choices of the first steps: the default access, and who has hidden the steps."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone


class AccessMode(models.TextChoices):
    """Access to workflows that have no permissions of their own."""

    OPEN = "open", "Open"
    CLOSED = "closed", "Closed"


class DefaultAccess(models.Model):
    """The access that an administrator has chosen: at most one row.

    `DEFAULT_ACCESS=closed` applies whatever the row contains.
    """

    ONLY: ClassVar = 1  # the key of the row

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    mode = models.CharField(max_length=6, choices=AccessMode.choices)
    chosen_by_name = models.CharField(max_length=150)  # survives the account
    chosen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "default access"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(id=1), name="default_access_one"),
            models.CheckConstraint(
                condition=Q(mode__in=AccessMode.values), name="default_access_known"
            ),
        ]

    def __str__(self) -> str:
        """Return the mode."""
        return self.mode


class FirstStepsHidden(models.Model):
    """A user who has hidden the first steps from the home page."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        primary_key=True,
        on_delete=models.CASCADE,
        related_name="+",
    )
    hidden_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        """Return the name of the user."""
        return self.user.get_username()
