"""Totals of the home page, and the success rate and duration of each workflow.

Counts over time are read from the tallies, whose size does not depend on the number of
runs; rates and durations of a workflow are those of its newest runs.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from itertools import chain
from statistics import median
from typing import TYPE_CHECKING, Any, TypeAlias

from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from workflows.access import permissions
from workflows.models import ENDED, RunTally, Status
from workflows.models.status import success_rate
from workflows.pages.render.charts import Bar, Bars, stacked
from workflows.pages.render.zones import zone_named
from workflows.pages.visible_rows import visible_runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.models import Run

Newest: TypeAlias = tuple[Any, ...]  # status, start and end of a run
NEWEST = 100  # runs that a workflow's rate and durations are of
HOURS, DAYS = 24, 14  # bars
MAX_COUNTED_RUNS = 10_000  # active runs; more are shown as "10,000+"
HOUR = dt.timedelta(hours=1)
PARTS = (Status.COMPLETED, Status.CANCELLED, Status.FAILED)  # of a bar, bottom up


@dataclass(frozen=True, slots=True)
class Ended:
    """The runs that finished within a period, in total and per bar."""

    total: int
    failed: int
    cancelled: int
    bars: Bars
    rates: Bars  # of failed ones
    unit: str  # of the bars, with the time zone

    @property
    def summary(self) -> str:
        """Return a text alternative of the chart."""
        return f"{self.total} finished, {self.failed} failed, per {self.unit}"

    @property
    def failure_rate(self) -> float | None:
        """Return the share of failed runs, 0..1; cancelled ones do not count."""
        completed = self.total - self.failed - self.cancelled
        rate = success_rate(completed, self.failed)
        return None if rate is None else 1 - rate


@dataclass(frozen=True, slots=True)
class Overview:
    """The totals of the home page."""

    running: int
    pending: int
    waiting: int
    day: Ended
    fortnight: Ended


def overview(person: User, zone: str = "") -> Overview:
    """Return the totals of what a user may see, by hours and days of a time zone."""
    tzinfo = zone_named(zone)
    return Overview(
        running=_count(person, Status.RUNNING),
        pending=_count(person, Status.PENDING),
        waiting=_count(person, Status.WAITING),
        day=_ended(person, _hours(tzinfo), f"hour in {tzinfo}"),
        fortnight=_ended(person, _days(tzinfo), f"day in {tzinfo}"),
    )


def _count(person: User, status: str) -> int:
    """Return the number of runs with a status, up to MAX_COUNTED_RUNS + 1."""
    rows = visible_runs(person).filter(status=status)
    return rows.values("pk")[: MAX_COUNTED_RUNS + 1].count()


@dataclass(frozen=True, slots=True)
class Slot:
    """The time span of a bar."""

    since: dt.datetime
    until: dt.datetime
    name: str


def _hours(zone: dt.tzinfo) -> list[Slot]:
    this = timezone.localtime(timezone=zone).replace(minute=0, second=0, microsecond=0)
    now = this.astimezone(dt.UTC)  # so that daylight saving does not shift hours
    starts = [now + HOUR * offset for offset in range(1 - HOURS, 2)]
    names = [f"{at.astimezone(zone):%H:%M}" for at in starts]
    return [
        Slot(at, at + HOUR, f"{first}–{last}")
        for at, first, last in zip(starts[:-1], names[:-1], names[1:], strict=True)
    ]


def _days(zone: dt.tzinfo) -> list[Slot]:
    today = timezone.localdate(timezone=zone)
    days = [today - dt.timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    return [
        Slot(
            _midnight(day, zone),
            _midnight(day + dt.timedelta(days=1), zone),
            f"{day:%d %b}",
        )
        for day in days
    ]


def _midnight(day: dt.date, zone: dt.tzinfo) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), zone)


def _ended(person: User, slots: Sequence[Slot], unit: str) -> Ended:
    rows = permissions.visible(person, RunTally.objects.order_by())
    rows = rows.filter(hour__gte=slots[0].since, hour__lt=slots[-1].until)
    counted = rows.values("hour", "status").annotate(runs=Sum("count"))
    counts = [dict.fromkeys(PARTS, 0) for _ in slots]
    for row in counted:
        index = _slot_index(slots, row["hour"])
        counts[index][Status(row["status"])] += row["runs"]
    failed = sum(count[Status.FAILED] for count in counts)
    texts = [_bar_text(slot, count) for slot, count in zip(slots, counts, strict=True)]
    ended = [
        Bar(text, tuple(c.values())) for text, c in zip(texts, counts, strict=True)
    ]
    rates = [Bar(text, (_rate(c),)) for text, c in zip(texts, counts, strict=True)]
    return Ended(
        total=sum(sum(count.values()) for count in counts),
        failed=failed,
        cancelled=sum(count[Status.CANCELLED] for count in counts),
        bars=stacked(ended),
        rates=stacked(rates, whole=1.0),
        unit=unit,
    )


def _rate(count: Mapping[Status, int]) -> float:
    rate = success_rate(count[Status.COMPLETED], count[Status.FAILED])
    return 0.0 if rate is None else 1 - rate


def _slot_index(slots: Sequence[Slot], time: dt.datetime) -> int:
    """Return the slot of a time; in zones with half-hour offsets, by the hour's start."""
    return max(
        index for index, slot in enumerate(slots) if slot.since <= time or index == 0
    )


def _bar_text(slot: Slot, count: Mapping[Status, int]) -> str:
    """Return the text of a bar: `14:00–15:00: 12 completed, 1 failed`."""
    parts = [
        f"{number} {status.label.lower()}" for status, number in count.items() if number
    ]
    return f"{slot.name}: {', '.join(parts) or 'no finished runs'}"


# Workflows ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Health:
    """Results of the newest runs of a workflow."""

    ended: int = 0
    completed: int = 0
    cancelled: int = 0
    median: dt.timedelta | None = None  # of the completed ones

    @property
    def success_rate(self) -> float | None:
        """Return the share of completed runs, 0..1; cancelled ones do not count."""
        return success_rate(self.completed, self.counted - self.completed)

    @property
    def counted(self) -> int:
        """Return the number of runs the rate is based on."""
        return self.ended - self.cancelled


def health_of(person: User, names: Iterable[str]) -> dict[str, Health]:
    """Return the results of the newest finished runs of each workflow."""
    newest = {name: _newest(person, name) for name in names}
    if not newest:
        return {}
    found: dict[str, list[Newest]] = {name: [] for name in newest}
    for name, *row in _all_of(list(newest.values())):
        found[name].append(tuple(row))
    return {name: _health(rows) for name, rows in found.items()}


def _newest(person: User, name: str) -> QuerySet[Run, Any]:
    runs = visible_runs(person).filter(workflow_name=name, status__in=ENDED)
    columns = ("workflow_name", "status", "started_at", "completed_at")
    return runs.order_by("-pk").values_list(*columns)[:NEWEST]


def _all_of(parts: Sequence[QuerySet[Run, Any]]) -> Iterable[Any]:
    """Return the rows of all query sets: by one statement, where the database can."""
    if len(parts) > 1 and connection.features.supports_slicing_ordering_in_compound:
        return parts[0].union(*parts[1:], all=True)
    return chain.from_iterable(parts)


def _health(rows: Sequence[Newest]) -> Health:
    took = [
        (end - start).total_seconds()
        for status, start, end in rows
        if status == Status.COMPLETED and start and end
    ]
    return Health(
        ended=len(rows),
        completed=sum(status == Status.COMPLETED for status, _, _ in rows),
        cancelled=sum(status == Status.CANCELLED for status, _, _ in rows),
        median=dt.timedelta(seconds=median(took)) if took else None,
    )
