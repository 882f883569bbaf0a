"""Schedules with their last result, and the moments of a schedule by page."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.db.models import Count, OuterRef, Subquery

from workflows.access import permissions
from workflows.infra import clock
from workflows.models import MomentResult, Schedule, ScheduleMoment
from workflows.pages.lists.pagination import PAGE_SIZE, Page
from workflows.pages.redaction import redact
from workflows.pages.visible_rows import visible_runs
from workflows.schedules import calendar, service

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.models import Run

FAILED: Final = (MomentResult.MISSED, MomentResult.REFUSED)  # nothing was launched
FIXED_TEXTS: Final = (MomentResult.MISSED, MomentResult.SKIPPED)
RECENT: Final = dt.timedelta(days=1)  # in which home and lists report failures
MAX_SCHEDULES: Final = 500  # on one page
SHORT_LIST: Final = 4


@dataclass(frozen=True, slots=True)
class MomentRow:
    """A moment with its run, None if there is none or it was deleted."""

    moment: ScheduleMoment
    run: Run | None

    @property
    def is_failed(self) -> bool:
        """Return whether nothing was launched although it should have been."""
        return self.moment.result in FAILED


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule as lists show it."""

    schedule: Schedule
    last: MomentRow | None
    failures: int  # moments within RECENT that launched nothing

    @property
    def description(self) -> str:
        """Return the times in words."""
        return calendar.describe(self.schedule.cron)


def schedule_rows(user: User, schedules: QuerySet[Schedule]) -> list[ScheduleRow]:
    """Return visible schedules with their last results, redacted for the user."""
    newest = ScheduleMoment.objects.filter(schedule=OuterRef("pk")).exclude(
        result=MomentResult.QUEUED
    )
    last = newest.order_by("-moment").values("pk")[:1]
    found = list(schedules.annotate(last_pk=Subquery(last))[:MAX_SCHEDULES])
    moments = ScheduleMoment.objects.in_bulk([one.last_pk for one in found])
    rows = {row.moment.pk: row for row in moment_rows(user, moments.values())}
    failures = recent_failures(found)
    readable = permissions.permissions_for(user).read
    for schedule in found:
        if schedule.workflow_name not in readable:
            redact(schedule)
            if schedule.last_pk is not None:
                redact_moment(rows[schedule.last_pk].moment)
    return [
        ScheduleRow(one, rows.get(one.last_pk), failures.get(one.pk, 0))
        for one in found
    ]


def recent_failures(schedules: Iterable[Schedule]) -> Mapping[UUID, int]:
    """Return how many recent moments of each schedule launched nothing."""
    failed = ScheduleMoment.objects.filter(
        schedule__in=[one.pk for one in schedules],
        moment__gte=clock.now() - RECENT,
        result__in=FAILED,
    )
    counted = failed.order_by().values_list("schedule").annotate(Count("pk"))
    return dict(counted)


def moment_rows(user: User, moments: Iterable[ScheduleMoment]) -> list[MomentRow]:
    """Return moments with those of their runs that are stored."""
    rows = list(moments)
    ids = [row.run_id for row in rows if row.run_id]
    runs = visible_runs(user).only("workflow_name", "status").in_bulk(ids)
    return [MomentRow(row, runs.get(row.run_id)) for row in rows]


def moments_page(
    schedule: Schedule,
    before: dt.datetime | None,
    *,
    can_read: bool,
    size: int = PAGE_SIZE,
) -> Page[ScheduleMoment]:
    """Return a page of the moments of a schedule, newest first."""
    moments = schedule.moments.order_by("-moment")
    if before is not None:
        moments = moments.filter(moment__lt=before)
    rows = list(moments[: size + 1])
    after = rows[size - 1].moment if len(rows) > size else None
    shown = rows[:size]
    return Page(shown if can_read else [redact_moment(row) for row in shown], after)


def redact_moment(row: ScheduleMoment) -> ScheduleMoment:
    """Remove the text of a moment, which may quote params unless it is a fixed one."""
    return row if row.result in FIXED_TEXTS else redact(row)


def of_workflow(user: User, name: str) -> list[ScheduleRow]:
    """Return the schedules of a workflow."""
    visible = service.visible_schedules(user)
    return schedule_rows(user, visible.filter(workflow_name=name))


@dataclass(frozen=True, slots=True)
class HomeSchedules:
    """What home shows of schedules."""

    failed: list[tuple[Schedule, int]]  # with the number of recent failures
    following: list[Schedule]  # those that launch next

    @property
    def is_empty(self) -> bool:
        """Return whether there is nothing to show."""
        return not (self.failed or self.following)


def home_schedules(user: User) -> HomeSchedules:
    """Return the schedules with recent failures, and the next launches."""
    visible = service.visible_schedules(user).order_by("next_moment")
    following = visible.filter(next_moment__isnull=False)
    failed = ScheduleMoment.objects.filter(
        moment__gte=clock.now() - RECENT, result__in=FAILED
    )
    rows = visible.filter(pk__in=failed.values("schedule"))[:SHORT_LIST]
    counts = recent_failures(rows) if rows else {}
    return HomeSchedules(
        [(one, counts.get(one.pk, 0)) for one in rows], list(following[:SHORT_LIST])
    )


def schedule_of(run: Run) -> Schedule | None:
    """Return the schedule that launched a run; None also if it was deleted."""
    if run.scheduled_for is None:
        return None
    found = ScheduleMoment.objects.filter(run_id=run.pk).select_related("schedule")
    moment = found.first()
    return moment.schedule if moment is not None else None
