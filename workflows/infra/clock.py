"""Clocks: the database's, by which processes on several machines compare times, and ours.

A worker's own clock may be wrong, or jump. Leases, heartbeats and the ends of pauses are
therefore written and compared in the database's time. Durations are measured on the
monotonic clock of the process that waits.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, cast

from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from workflows.infra.database import is_postgresql

if TYPE_CHECKING:
    from django.db.models import Expression


def now() -> dt.datetime:
    """Return the database's time; SQLite's is this machine's."""
    if not is_postgresql():
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        return cast("dt.datetime", cursor.fetchone()[0])


def local_now() -> dt.datetime:
    """Return this machine's time, as `timezone.now` does.

    For what happens at each step: Django looks up a setting at each call, which costs more
    than the rest.
    """
    return dt.datetime.now(dt.UTC)


def in_seconds(seconds: float) -> Expression | dt.datetime:
    """Return now plus `seconds`, which may be negative, for use in a query."""
    distance = dt.timedelta(seconds=seconds)
    return Now() + distance if is_postgresql() else timezone.now() + distance
