"""Letting go by itself: a worker at a time, a while each hour, if it is told to.

Whoever takes a turn moves the due time first, by one conditional UPDATE; a worker that
dies in its turn leaves whole batches behind, and the next turn goes on.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import Final

from django.conf import settings
from django.utils import timezone

from workflows.models import Retention, Tally
from workflows.retention.purge import let_go

NAME: Final = "retention"
EVERY: Final = dt.timedelta(hours=1)
TURN_SECONDS: Final = 20.0  # that a worker lets go for; then somebody else may
PAUSE: Final = dt.timedelta(minutes=2)  # between two turns while more is due


def take_turn(_worker: str = "") -> bool:
    """Purge for a while if it is due and no other worker does; return whether it did."""
    if not settings.RETENTION_ENABLED or not Retention.objects.exists():
        return False
    now = timezone.now()
    row, _ = Tally.objects.get_or_create(name=NAME, defaults={"next_at": now})
    mine = Tally.objects.filter(pk=NAME, next_at=row.next_at)
    if row.next_at > now or not mine.update(next_at=now + EVERY):
        return False
    until = time.monotonic() + TURN_SECONDS
    let_go(more=lambda: time.monotonic() < until)
    if time.monotonic() >= until:
        Tally.objects.filter(pk=NAME).update(next_at=timezone.now() + PAUSE)
    return True
