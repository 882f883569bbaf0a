"""The database's clock: what processes on several machines compare their times by.

A worker's own clock may be wrong, or jump. Leases, heartbeats and the ends of pauses are
therefore written and compared in the database's time; how long something takes is measured
on the monotonic clock of who waits.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final, cast

from django.conf import settings
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Expression


def now() -> dt.datetime:
    """Ask the database what time it is; SQLite's is this machine's."""
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        return cast("dt.datetime", cursor.fetchone()[0])


# SQL for the moment that is so many seconds from now, in PostgreSQL's time.
ON_POSTGRES: Final = "statement_timestamp() + {} * interval '1 second'"


def lease(on: BaseDatabaseWrapper) -> float | str:
    """Return what stands for the end of a lease in a statement.

    With PostgreSQL the seconds, for the place in ON_POSTGRES; with SQLite the moment.
    """
    if on.vendor == "postgresql":
        return float(settings.LEASE_SECONDS)
    until = timezone.now() + dt.timedelta(seconds=settings.LEASE_SECONDS)
    return str(on.ops.adapt_datetimefield_value(until))


def in_seconds(seconds: float) -> Expression | dt.datetime:
    """Return the moment so far from now, or before it, for use within a query."""
    distance = dt.timedelta(seconds=seconds)
    if connection.vendor != "postgresql":
        return timezone.now() + distance
    return Now() + distance
