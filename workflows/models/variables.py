"""Variables and secrets that administrators define and nodes read."""

from __future__ import annotations

from typing import Any, ClassVar

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

NAME = RegexValidator(
    r"^[A-Za-z_][A-Za-z0-9_]*\Z", "Use letters, digits and “_”; begin with a letter."
)


class Variable(models.Model):
    """A value by name: plain, or a secret, which is encrypted and never shown again."""

    name = models.CharField(max_length=60, unique=True, validators=[NAME])
    is_secret = models.BooleanField(default=False)
    value = models.TextField(blank=True, default="")  # "" for a secret
    secret = models.BinaryField(null=True, editable=False)  # encrypted
    description = models.CharField(max_length=200, blank=True, default="")
    workflows = models.JSONField(default=list)  # names of those that may read it
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(is_secret=False, secret=None) | Q(is_secret=True, value=""),
                name="variable_secret_is_encrypted",
            )
        ]

    def __str__(self) -> str:
        """Return the name."""
        return self.name

    def is_readable_by(self, workflow: str) -> bool:
        """Return whether runs of a workflow may read it."""
        allowed: list[Any] = self.workflows
        return workflow in allowed
