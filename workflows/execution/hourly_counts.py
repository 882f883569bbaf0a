"""Counts of ended runs and taken edges per hour, kept up to date by the workers.

One worker at a time counts: it moves the due time first, by one conditional UPDATE. An
hour is counted again until it is closed, and each count replaces the earlier one, so that
a worker that dies half-way leaves no wrong count behind. The interval follows from the
cost of a count: at most a twentieth of one worker's time.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import Count, Max, Min, Q
from django.db.models.functions import TruncHour
from django.utils import timezone

from workflows.infra import clock
from workflows.models import Decision, EdgeTally, Run, RunTally, Tally
from workflows.models.id_ranges import decisions_between

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import QuerySet

HISTORY = "history"
HOUR = dt.timedelta(hours=1)
SPAN = 24 * HOUR  # counted in one transaction
CLOSED_AFTER = HOUR  # by which a row may be written late
CLAIM_SECONDS = 60.0  # for one span: then another worker counts, this one may be lost
MIN_PAUSE_SECONDS = 2.0
PAUSE_FACTOR = 20  # pause after a count, in multiples of its duration
SLICE_SECONDS = 2.0  # after which a worker that is behind makes a break


def count_due() -> bool:
    """Count new history; return False if there is none or another worker counts."""
    now = clock.now()
    row, _ = Tally.objects.get_or_create(name=HISTORY, defaults={"next_at": now})
    newest = _newest()
    if row.next_at > now or row.newest_rows == newest:
        return False
    mine = Tally.objects.filter(pk=HISTORY, next_at=row.next_at)
    if not mine.update(next_at=clock.in_seconds(CLAIM_SECONDS)):
        return False  # another worker counts
    began = time.monotonic()
    until, behind = _count_from(row.counted_until, now)
    pause = max(MIN_PAUSE_SECONDS, PAUSE_FACTOR * (time.monotonic() - began))
    Tally.objects.filter(pk=HISTORY).update(
        counted_until=until,
        counted_at=timezone.now(),
        newest_rows="" if behind else newest,
        next_at=clock.in_seconds(0 if behind else pause),
    )
    return True


def count_all() -> None:
    """Count the whole history, however long it takes: for use after a bulk load."""
    EdgeTally.objects.all().delete()
    RunTally.objects.all().delete()
    Tally.objects.update_or_create(
        name=HISTORY,
        defaults={"next_at": timezone.now(), "counted_until": None, "newest_rows": ""},
    )
    while count_due():
        pass


def _newest() -> str:
    """Return a mark that changes whenever there is new history."""
    decision = Decision.objects.aggregate(newest=Max("pk"))["newest"]
    ended = _ended().aggregate(newest=Max("completed_at"))["newest"]
    return f"{decision} {ended.isoformat() if ended else ''}"


def _ended() -> QuerySet[Run]:
    """Return the ended runs, with the condition that makes SQLite use their index."""
    return Run.objects.filter(completed_at__isnull=False)


def _count_from(
    since: dt.datetime | None, now: dt.datetime
) -> tuple[dt.datetime, bool]:
    """Count from `since` to now; return the end of the closed hours, and True if behind."""
    closed = _hour(now - CLOSED_AFTER)
    deadline = time.monotonic() + SLICE_SECONDS
    for start, end in _spans(since or _beginning(now), now):
        Tally.objects.filter(pk=HISTORY).update(next_at=clock.in_seconds(CLAIM_SECONDS))
        _count(start, end)
        if end < closed and time.monotonic() > deadline:
            return end, True
    return closed, False


def _spans(
    since: dt.datetime, now: dt.datetime
) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    end = _hour(now) + HOUR
    while since < end:
        yield since, min(since + SPAN, end)
        since += SPAN


def _beginning(now: dt.datetime) -> dt.datetime:
    """Return the first hour of the history."""
    ended = _ended().aggregate(oldest=Min("completed_at"))["oldest"]
    decided = Decision.objects.order_by("pk").values_list("created_at", flat=True)
    return _hour(min(filter(None, (ended, decided.first(), now))))


def _hour(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)


def _count(start: dt.datetime, end: dt.datetime) -> None:
    """Replace the counts of the hours from `start` to `end`."""
    with transaction.atomic():
        within = {"hour__gte": start, "hour__lt": end}
        RunTally.objects.filter(**within).delete()
        EdgeTally.objects.filter(**within).delete()
        RunTally.objects.bulk_create(_run_tallies(start, end))
        EdgeTally.objects.bulk_create(_edge_tallies(start, end))


def _run_tallies(start: dt.datetime, end: dt.datetime) -> Iterator[RunTally]:
    ended = Run.objects.filter(completed_at__gte=start, completed_at__lt=end).order_by()
    hours = ended.annotate(hour=TruncHour("completed_at", tzinfo=dt.UTC))
    for row in hours.values("hour", "workflow_name", "status").annotate(
        count=Count("pk")
    ):
        yield RunTally(**row)


def _edge_tallies(start: dt.datetime, end: dt.datetime) -> Iterator[EdgeTally]:
    made = decisions_between(start, end).filter(inherited_from=None).order_by()
    hours = made.annotate(hour=TruncHour("created_at", tzinfo=dt.UTC))
    edges = hours.values(
        "hour", "workflow_name", "from_node", "to_node", "edge_index", "predicate_name"
    )
    counted = edges.annotate(
        taken_count=Count("pk", filter=Q(taken=True)),
        rejected=Count("pk", filter=Q(taken=False)),
        by_people=Count("pk", filter=Q(taken=True, decided_by__isnull=False)),
    )
    for row in counted:
        values: dict[str, Any] = dict(row)
        yield EdgeTally(taken=values.pop("taken_count"), **values)
