"""Periods of the history as ranges of ids, since ids grow with time.

The id of a run begins with its creation time in milliseconds. Decisions are numbered as
they are written, a few out of order: for a period to the second, filter the range by
time as well.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, TypeVar
from uuid import UUID

from django.db import connection

from workflows.models.history import Decision
from workflows.models.operations import AuditEvent

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet

Row = TypeVar("Row", bound="Model")

SLACK = dt.timedelta(minutes=15)  # between a decision and its INSERT, at most
TIME_BITS_AT = 80  # of the 128 of a UUIDv7: higher bits are milliseconds since 1970
FURTHEST_MS = 2**48 - 1


def run_id_at(moment: dt.datetime) -> UUID:
    """Return the lowest id that a run created at this time can have."""
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(int=min(max(milliseconds, 0), FURTHEST_MS) << TIME_BITS_AT)


def decisions_between(
    since: dt.datetime | None, until: dt.datetime | None
) -> QuerySet[Decision]:
    """Return the decisions made at or after `since` and before `until`."""
    return _between(Decision, since, until)


def audit_events_between(
    since: dt.datetime | None, until: dt.datetime | None
) -> QuerySet[AuditEvent]:
    """Return the audit events at or after `since` and before `until`."""
    return _between(AuditEvent, since, until)


def _between(
    model: type[Row], since: dt.datetime | None, until: dt.datetime | None
) -> QuerySet[Row]:
    """Return the rows created at or after `since` and before `until`.

    The range of ids is found by bisection, a few dozen lookups of the primary key within
    one statement, so that no index of times is needed.
    """
    rows = model._default_manager.all()  # noqa: SLF001 - Django's documented model API
    if since is not None:
        first = _first_id_after(model, since - SLACK)
        rows = rows.filter(pk__gte=first, created_at__gte=since)
    if until is not None:
        first = _first_id_after(model, until + SLACK)
        rows = rows.filter(pk__lt=first, created_at__lt=until)
    return rows


# Halves a range of ids until its ends meet; a gap belongs to the row after it.
BISECTION = """
WITH RECURSIVE ends(low, high) AS (
    SELECT COALESCE(MIN(id), 0), COALESCE(MAX(id), -1) + 1 FROM {table}
    UNION ALL
    SELECT CASE WHEN {made} < %s THEN (low + high) / 2 + 1 ELSE low END,
           CASE WHEN {made} < %s THEN high ELSE (low + high) / 2 END
    FROM ends WHERE low < high
)
SELECT MAX(low) FROM ends WHERE low >= high
"""
MADE = "(SELECT created_at FROM {table} WHERE id >= (low + high) / 2 {own} ORDER BY id LIMIT 1)"
OWN = "AND inherited_from IS NULL"  # copies in a fork are newer than their times


def _first_id_after(model: type[Model], moment: dt.datetime) -> int:
    """Return the lowest id whose row was created at or after a time, in one query."""
    table = model._meta.db_table  # noqa: SLF001 - Django's documented model API
    given = connection.ops.adapt_datetimefield_value(moment)
    with connection.cursor() as cursor:
        own = OWN if model is Decision else ""
        made = MADE.format(table=table, own=own)
        cursor.execute(BISECTION.format(table=table, made=made), [given, given])
        row = cursor.fetchone()
    return int(row[0])
