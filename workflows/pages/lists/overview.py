"""How it goes on the whole: what runs, what ended lately, how each workflow does.

Counts over time are read from the tallies, which do not grow with the history; rates and
durations of a workflow are those of its newest runs.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from django.db.models import Sum
from django.utils import timezone

from workflows.access import permissions
from workflows.models import ENDED, Run, RunTally, Status
from workflows.models.status import success_rate
from workflows.pages.render.charts import Bar, Bars, stacked
from workflows.pages.render.zones import zone_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from django.contrib.auth.models import User

NEWEST = 100  # runs that a workflow's rate and durations are of
HOURS, DAYS = 24, 14  # bars
MAX_COUNTED_RUNS = 10_000  # runs under way; more are told as "10,000+"
HOUR = dt.timedelta(hours=1)
PARTS = (Status.COMPLETED, Status.CANCELLED, Status.FAILED)  # of a bar, from below


@dataclass(frozen=True, slots=True)
class Ended:
    """How many runs ended within a period, and the bars of it."""

    total: int
    failed: int
    cancelled: int
    bars: Bars
    rates: Bars  # of failed ones
    unit: str  # of the bars, and of which zone

    @property
    def told(self) -> str:
        """Return the whole in words, for who cannot see the bars."""
        return (
            f"{self.total} runs ended, {self.failed} of them failed, by the {self.unit}"
        )

    @property
    def failure_rate(self) -> float | None:
        """Return the share of failed runs, 0..1; cancelled ones do not count."""
        completed = self.total - self.failed - self.cancelled
        rate = success_rate(completed, self.failed)
        return None if rate is None else 1 - rate


@dataclass(frozen=True, slots=True)
class Overview:
    """The figures of the home page."""

    running: int
    pending: int
    waiting: int
    day: Ended
    fortnight: Ended


def overview(person: User, zone: str = "") -> Overview:
    """Return the figures of what a person may see, by the hours and days of a zone."""
    there = zone_named(zone)
    return Overview(
        running=_count(person, Status.RUNNING),
        pending=_count(person, Status.PENDING),
        waiting=_count(person, Status.WAITING),
        day=_ended(person, _hours(there), f"hour in {there}"),
        fortnight=_ended(person, _days(there), f"day in {there}"),
    )


def _count(person: User, status: str) -> int:
    """Return how many runs have a status, up to a bound."""
    rows = permissions.visible(person, Run.objects.filter(status=status)).order_by()
    return rows.values("pk")[: MAX_COUNTED_RUNS + 1].count()


@dataclass(frozen=True, slots=True)
class Slot:
    """A bar's piece of time."""

    since: dt.datetime
    until: dt.datetime
    name: str


def _hours(zone: dt.tzinfo) -> list[Slot]:
    this = timezone.localtime(timezone=zone).replace(minute=0, second=0, microsecond=0)
    now = this.astimezone(dt.UTC)  # hours are counted there: clocks change elsewhere
    starts = [now + HOUR * place for place in range(1 - HOURS, 2)]
    told = [f"{at.astimezone(zone):%H:%M}" for at in starts]
    return [
        Slot(at, at + HOUR, f"{began}–{ended}")
        for at, began, ended in zip(starts[:-1], told[:-1], told[1:], strict=True)
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
        place = _place(slots, row["hour"])
        counts[place][Status(row["status"])] += row["runs"]
    failed = sum(count[Status.FAILED] for count in counts)
    said = [_said(slot, count) for slot, count in zip(slots, counts, strict=True)]
    ended = [Bar(text, tuple(c.values())) for text, c in zip(said, counts, strict=True)]
    rates = [Bar(text, (_rate(c),)) for text, c in zip(said, counts, strict=True)]
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


def _place(slots: Sequence[Slot], moment: dt.datetime) -> int:
    """Return the slot of a moment; hours of a zone off by half an hour go by their start."""
    return max(
        place for place, slot in enumerate(slots) if slot.since <= moment or place == 0
    )


def _said(slot: Slot, count: Mapping[Status, int]) -> str:
    """Return a bar in words: `14:00–15:00: 12 completed, 1 failed`."""
    told = [
        f"{number} {status.label.lower()}" for status, number in count.items() if number
    ]
    return f"{slot.name}: {', '.join(told) or 'nothing ended'}"


# Workflows ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Health:
    """How the newest runs of a workflow went."""

    ended: int = 0  # of the newest runs
    completed: int = 0
    cancelled: int = 0
    median: dt.timedelta | None = None  # of the completed ones

    @property
    def success_rate(self) -> float | None:
        """Return the share of completed runs, 0..1; cancelled ones do not count."""
        return success_rate(self.completed, self.counted - self.completed)

    @property
    def counted(self) -> int:
        """Return how many runs the rate is of."""
        return self.ended - self.cancelled


def health_of(person: User, names: Iterable[str]) -> dict[str, Health]:
    """Return how each workflow does, by its newest runs that ended."""
    return {name: _health(person, name) for name in names}


def _health(person: User, name: str) -> Health:
    runs = permissions.visible(person, Run.objects.filter(workflow_name=name))
    ended = runs.filter(status__in=ENDED).order_by("-pk")
    rows = list(ended.values_list("status", "started_at", "completed_at")[:NEWEST])
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
