"""Schedules with their last result, and the moments of a schedule by page."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Count, OuterRef, Subquery
from django.utils.dateparse import parse_datetime

from workflows.access import permissions
from workflows.errors import ScheduleNotFound
from workflows.infra import clock
from workflows.models import MomentResult, Schedule, ScheduleMoment
from workflows.pages.catalog import title_of
from workflows.pages.lists.pagination import PAGE_SIZE, Page
from workflows.pages.query_string import clean_text, uuid_in
from workflows.pages.redaction import by_workflow, redact
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
NEXT_TIMES: Final = 5
MAX_MOMENT_LENGTH: Final = 40  # characters


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
    found = (
        visible_runs(user).only("workflow_name", "status", "title").filter(pk__in=ids)
    )
    runs = {
        run.pk: run
        for run in by_workflow(permissions.permissions_for(user).read, found)
    }
    return [
        MomentRow(row, runs.get(row.run_id) if row.run_id else None) for row in rows
    ]


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


# Pages ----------------------------------------------------------------------------------


def list_context(query: Mapping[str, str], person: User) -> dict[str, Any]:
    """Return the schedules that a person may see, of one workflow or of all."""
    visible = service.visible_schedules(person)
    name = clean_text(query.get("workflow", ""))
    found = visible.filter(workflow_name=name) if name else visible
    names = visible.order_by("workflow_name").values_list("workflow_name", flat=True)
    return {
        "rows": schedule_rows(person, found),
        "workflow": name,
        "workflows": [(one, title_of(one)) for one in names.distinct()],
    }


def detail_context(query: Mapping[str, str], person: User) -> dict[str, Any]:
    """Return a schedule with its next times and a page of its moments; None if deleted."""
    schedule_id = uuid_in(query.get("schedule", ""))
    try:
        found = service.find(schedule_id, by=person) if schedule_id else None
    except ScheduleNotFound:
        found = None
    if found is None:
        return {"schedule": None}
    can_read = permissions.can_read(person, found.workflow_name)
    before = _moment_in(clean_text(query.get("before", ""), MAX_MOMENT_LENGTH))
    page = moments_page(found, before, can_read=can_read)
    after = page.after and page.after.astimezone(dt.UTC)
    zone = calendar.zone_of(found.zone)
    for row in page.rows:  # as the next launches are shown
        row.moment = row.moment.astimezone(zone)
    return {
        "description": calendar.describe(found.cron),
        "times": _next_times(found),
        "can_read": can_read,
        "rows": moment_rows(person, page.rows),
        "after": after and after.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "before": before,
        "schedule": found if can_read else redact(found),
    }


def _next_times(found: Schedule) -> list[dt.datetime]:
    """Return the next times in the zone of the schedule; [] if it is paused."""
    if found.next_moment is None:
        return []
    first = found.next_moment - dt.timedelta(seconds=1)
    times = calendar.next_times(found.cron, found.zone, first, NEXT_TIMES)
    zone = calendar.zone_of(found.zone)
    ends = found.ends_at
    return [one.astimezone(zone) for one in times if ends is None or one < ends]


def _moment_in(text: str) -> dt.datetime | None:
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None
