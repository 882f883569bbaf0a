"""Periodic purge: one worker at a time, for a limited time each hour, if enabled.

A worker first moves the due time, by one conditional UPDATE. If it is killed during its purge,
only whole batches are deleted, and the next purge continues.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import Final

from django.conf import settings
from django.utils import timezone

from workflows.models import Retention, Tally, WebhookDelivery
from workflows.retention.purge import purge_due

NAME: Final = "retention"
INTERVAL: Final = dt.timedelta(hours=1)
SLICE_SECONDS: Final = 20.0  # of one worker; then another one may continue
PAUSE: Final = dt.timedelta(minutes=2)  # between two slices while more is due


def purge_if_due(_worker: str = "") -> bool:
    """Purge for SLICE_SECONDS if a purge is due; return False if none is."""
    if not settings.RETENTION_ENABLED:
        return False
    if not (Retention.objects.exists() or WebhookDelivery.objects.exists()):
        return False
    now = timezone.now()
    row, _ = Tally.objects.get_or_create(name=NAME, defaults={"next_at": now})
    mine = Tally.objects.filter(pk=NAME, next_at=row.next_at)
    if row.next_at > now or not mine.update(next_at=now + INTERVAL):
        return False
    until = time.monotonic() + SLICE_SECONDS
    purge_due(more=lambda: time.monotonic() < until)
    if time.monotonic() >= until:
        Tally.objects.filter(pk=NAME).update(next_at=timezone.now() + PAUSE)
    return True
