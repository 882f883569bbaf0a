"""What people do with schedules: create, change, pause, backfill and delete them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from django.db import transaction

from workflows.access import permissions
from workflows.audit import audit_events
from workflows.documents import uses
from workflows.errors import InvalidSchedule, NotAllowed, ScheduleNotFound
from workflows.execution.params import check_params
from workflows.infra import clock, notifications
from workflows.models import (
    CatchUp,
    MomentResult,
    Overlap,
    Schedule,
    ScheduleMoment,
)
from workflows.schedules import calendar
from workflows.schedules.due_moments import plan
from workflows.services import entry_rules, named_rows
from workflows.services.entry_rules import choice_rule, name_rule
from workflows.system import System, system

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.registry import AnyWorkflow

MAX_JITTER: Final = 86_400  # seconds
MAX_BACKFILL: Final = 500  # moments
EARLIEST: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)  # of a backfill


@dataclass(frozen=True, slots=True)
class Plan:
    """What a person enters about a schedule."""

    name: str
    cron: str
    zone: str
    params: Mapping[str, Any] = field(default_factory=dict)
    profile: str | None = None  # "" = the workflow's defaults, None = by weight
    priority: int = 0
    overlap: str = Overlap.SKIP
    catch_up: str = CatchUp.LAST
    jitter_seconds: int = 0
    ends_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class BackfillPreview:
    """The moments of a period: those to be launched, and those that have a result."""

    to_launch: list[dt.datetime]
    known: list[ScheduleMoment]


def visible_schedules(user: User) -> QuerySet[Schedule]:
    """Return the schedules of the workflows that a person may see."""
    return permissions.visible(user, Schedule.objects.select_related("owner"))


def find(schedule_id: UUID | str, *, by: User) -> Schedule:
    """Return a schedule. Raises ScheduleNotFound, also if `by` may not see it."""
    try:
        return visible_schedules(by).get(pk=schedule_id)
    except (Schedule.DoesNotExist, ValueError) as error:
        raise ScheduleNotFound from error


def can_change(user: User, schedule: Schedule) -> bool:
    """Return whether a person may change a schedule: who may launch its workflow.

    Another person's only with the permission to operate its runs.
    """
    name = schedule.workflow_name
    granted = permissions.permissions_for(user)
    return name in granted.launch and (
        schedule.owner_id == user.pk or name in granted.operate
    )


def can_pause(user: User, schedule: Schedule) -> bool:
    """Return whether a person may pause a schedule: who may change it or operate its runs."""
    granted = permissions.permissions_for(user)
    return schedule.workflow_name in granted.operate or can_change(user, schedule)


def create(
    workflow: str, plan_: Plan, *, by: User, executor: System = system
) -> Schedule:
    """Create a schedule, whose runs `by` launches.

    Raises WorkflowNotFound, NotAllowed, InvalidSchedule, InvalidParams.
    """
    found = executor.find_workflow(workflow, by=by)
    permissions.require(permissions.can_launch(by, workflow), "launch this workflow")
    schedule = Schedule(workflow_name=workflow)
    _apply(schedule, found, plan_, by=by)
    return _save(schedule, "create schedule", by=by)


def change(
    schedule_id: UUID | str, plan_: Plan, *, by: User, executor: System = system
) -> Schedule:
    """Change a schedule; from now on `by` owns it and launches its runs.

    Otherwise one person would decide what is launched with another's permissions.
    Raises ScheduleNotFound, NotAllowed, WorkflowNotFound, InvalidSchedule, InvalidParams.
    """
    with transaction.atomic():
        schedule = _locked(schedule_id, by)
        permissions.require(can_change(by, schedule), "change this schedule")
        workflow = executor.find_workflow(schedule.workflow_name, by=by)
        _apply(schedule, workflow, plan_, by=by)
        return _save(schedule, "change schedule", by=by)


def pause(schedule_id: UUID | str, *, by: User, reason: str) -> Schedule:
    """Pause a schedule: moments of the pause are neither launched nor missed.

    Raises ScheduleNotFound, NotAllowed, ReasonMissing, InvalidSchedule.
    """
    with transaction.atomic():
        schedule = _locked(schedule_id, by)
        permissions.require(can_pause(by, schedule), "pause this schedule")
        audit_events.require_reason(reason, by=by)
        if schedule.is_paused:
            raise InvalidSchedule({"": ["The schedule is paused already."]})
        with audit_events.changing(
            "pause schedule",
            schedule,
            by=by,
            reason=f"{schedule}: {reason}",
            workflow=schedule.workflow_name,
        ):
            schedule.paused_at = clock.now()
            schedule.paused_by_name = by.get_username()
            schedule.pause_reason = reason
            schedule.next_moment = schedule.due_at = None
            schedule.save()
        notifications.lists_changed_on_commit()
    return schedule


def resume(schedule_id: UUID | str, *, by: User) -> Schedule:
    """Resume a paused schedule from its next moment.

    Raises ScheduleNotFound, NotAllowed, InvalidSchedule.
    """
    with transaction.atomic():
        schedule = _locked(schedule_id, by)
        permissions.require(can_pause(by, schedule), "resume this schedule")
        if not schedule.is_paused:
            raise InvalidSchedule({"": ["The schedule is not paused."]})
        name = schedule.workflow_name
        with audit_events.changing("resume schedule", schedule, by=by, workflow=name):
            schedule.paused_at, schedule.paused_by_name = None, ""
            schedule.pause_reason = ""
            plan(schedule, after=clock.now())
            schedule.save()
        notifications.lists_changed_on_commit()
    return schedule


def delete(schedule_id: UUID | str, *, by: User, reason: str) -> Schedule:
    """Delete a schedule, and return it; its runs are kept.

    Raises ScheduleNotFound, NotAllowed, ReasonMissing.
    """
    with transaction.atomic():
        schedule = _locked(schedule_id, by)
        permissions.require(can_change(by, schedule), "delete this schedule")
        name = schedule.workflow_name
        named_rows.delete(
            schedule, "delete schedule", by=by, reason=reason, workflow=name
        )
        notifications.lists_changed_on_commit()
    return schedule


# Backfill -------------------------------------------------------------------------------


def preview_backfill(
    schedule: Schedule, first: dt.datetime, last: dt.datetime
) -> BackfillPreview:
    """Return the moments from `first` up to `last`, which must have passed.

    Raises InvalidSchedule for a period without moments, or with too many.
    """
    if last > clock.now():
        raise InvalidSchedule({"last": ["Choose a period that has passed."]})
    if first < EARLIEST:
        raise InvalidSchedule({"first": [f"Choose a time since {EARLIEST.year}."]})
    before = first - dt.timedelta(microseconds=1)
    following = calendar.times_after(schedule.cron, schedule.zone, before)
    moments: list[dt.datetime] = []
    for moment in takewhile(lambda one: one <= last, following):
        moments.append(moment)
        if len(moments) > MAX_BACKFILL:
            text = f"The period has more than {MAX_BACKFILL} moments. Choose a shorter one."
            raise InvalidSchedule({"last": [text]})
    if not moments:
        raise InvalidSchedule(
            {"first": ["No moment of the schedule is in this period."]}
        )
    known = list(schedule.moments.filter(moment__in=moments).order_by("moment"))
    launched = {one.moment for one in known if _is_launched(one)}
    return BackfillPreview([one for one in moments if one not in launched], known)


def require_owner(schedule: Schedule, user: User) -> None:
    """Raise NotAllowed unless a person owns a schedule: its runs are the owner's."""
    if schedule.owner_id != user.pk:
        raise NotAllowed(
            f"Runs are launched by {schedule.owner_name}. Save the schedule to take it"
            " over, then backfill."
        )


def backfill(
    schedule_id: UUID | str, first: dt.datetime, last: dt.datetime, *, by: User
) -> int:
    """Queue the moments of a period that launched nothing; return their number.

    Workers launch them in order, one after another unless the schedule allows overlaps.
    Raises ScheduleNotFound, NotAllowed, InvalidSchedule.
    """
    with transaction.atomic():
        schedule = _locked(schedule_id, by)
        permissions.require(can_change(by, schedule), "change this schedule")
        require_owner(schedule, by)
        wanted = preview_backfill(schedule, first, last).to_launch
        schedule.moments.filter(moment__in=wanted).delete()
        ScheduleMoment.objects.bulk_create(
            ScheduleMoment(
                schedule=schedule,
                moment=moment,
                result=MomentResult.QUEUED,
                is_backfill=True,
                processed_at=clock.now(),
            )
            for moment in wanted
        )
        text = (
            f"{schedule}: {first.isoformat()} to {last.isoformat()}, {len(wanted)} runs"
        )
        name = schedule.workflow_name
        audit_events.note("backfill schedule", by=by, reason=text, workflow=name)
        notifications.lists_changed_on_commit()
    return len(wanted)


def _is_launched(row: ScheduleMoment) -> bool:
    return row.result in {MomentResult.LAUNCHED, MomentResult.QUEUED}


# Rows -----------------------------------------------------------------------------------


def _locked(schedule_id: UUID | str, by: User) -> Schedule:
    return named_rows.locked(find(schedule_id, by=by), ScheduleNotFound)


def _save(schedule: Schedule, action: str, *, by: User) -> Schedule:
    name = schedule.workflow_name
    taken = f"{name} has a schedule “{schedule.name}” already."
    with (
        named_rows.unique_name(taken, InvalidSchedule),
        audit_events.changing(action, schedule, by=by, workflow=name),
    ):
        schedule.save()
        uses.note(name, schedule.params)
    notifications.lists_changed_on_commit()
    return schedule


def _apply(schedule: Schedule, workflow: AnyWorkflow, plan_: Plan, *, by: User) -> None:
    """Set the fields of a valid plan. Raises InvalidSchedule, InvalidParams."""
    _validate(schedule.workflow_name, plan_)
    now = clock.now()
    schedule.name = entry_rules.normalised(plan_.name)
    schedule.cron = calendar.normalised(plan_.cron)
    schedule.zone = calendar.zone_of(plan_.zone).key
    schedule.params = check_params(workflow, plan_.params, by=by)
    schedule.profile, schedule.priority = plan_.profile, plan_.priority
    schedule.overlap, schedule.catch_up = plan_.overlap, plan_.catch_up
    schedule.jitter_seconds, schedule.ends_at = plan_.jitter_seconds, plan_.ends_at
    schedule.owner, schedule.owner_name = by, by.get_username()
    schedule.updated_at = now
    if not schedule.is_paused:
        plan(schedule, after=now)


def _validate(workflow: str, plan_: Plan) -> None:
    errors = entry_rules.errors_of(
        {
            "name": name_rule(plan_.name),
            "overlap": choice_rule(plan_.overlap, Overlap.values),
            "catch_up": choice_rule(plan_.catch_up, CatchUp.values),
            "jitter_seconds": (
                0 <= plan_.jitter_seconds <= MAX_JITTER,
                f"Enter 0 to {MAX_JITTER} seconds.",
            ),
            "ends_at": (
                plan_.ends_at is None or plan_.ends_at > clock.now(),
                "Choose a time in the future.",
            ),
            **entry_rules.launch_rules(workflow, plan_.profile, plan_.priority),
        }
    )
    if errors:
        raise InvalidSchedule(errors)
