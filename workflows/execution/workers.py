"""Which workers are alive: those whose heartbeat is fresh."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import timezone

from workflows.models import Worker

if TYPE_CHECKING:
    from django.db.models import QuerySet


def alive() -> QuerySet[Worker]:
    """Return the workers whose last heartbeat is younger than a lease."""
    since = timezone.now() - dt.timedelta(seconds=settings.LEASE_SECONDS)
    return Worker.objects.filter(stopped_at=None, heartbeat_at__gte=since)


def any_alive() -> bool:
    """Tell whether anyone would take a pending run."""
    return alive().exists()
