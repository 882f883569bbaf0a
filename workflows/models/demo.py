"""What `manage.py demo` has added, so that it can be removed."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone


class DemoData(models.Model):
    """One fill of demo data: the keys of its rows by kind, as they are added."""

    rows = models.JSONField(default=dict)  # kind → keys as text
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        """Return the number of rows."""
        return f"{sum(map(len, self.rows.values()))} rows"

    def add(self, kind: str, *keys: object) -> None:
        """Store the keys of rows."""
        self.rows.setdefault(kind, []).extend(map(str, keys))
        self.save()
