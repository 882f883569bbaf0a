"""Launches the moments of schedules that are due, each exactly once.

A worker locks a schedule and processes its moments in one transaction each: the row of the
moment, the run and the next due time are committed together. The unique constraint of the
moments and the idempotency key of the run exclude a second run, also if two workers or two
copies of a database disagree. Times are the database's; a clock that is set back repeats no
moment, since moments only move forward.
"""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any, Final

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from workflows.engine.errors import RequestError
from workflows.errors import NotAllowed
from workflows.infra import clock, notifications, outages
from workflows.infra.database import is_postgresql
from workflows.models import (
    ENDED,
    CatchUp,
    MomentResult,
    Overlap,
    Run,
    Schedule,
    ScheduleMoment,
)
from workflows.schedules.calendar import jitter, times_after
from workflows.system import System, system

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

logger = logging.getLogger(__name__)

MISSED_AFTER: Final = dt.timedelta(minutes=5)  # a moment that is later was missed
MAX_SCHEDULES: Final = 20  # per call; the worker calls again at once
MAX_MOMENTS: Final = 100  # of one schedule per transaction


def launch_due(_worker: str = "") -> bool:
    """Process due moments; return True if more are due now."""
    now = clock.now()
    ids = _due_ids(now)
    for schedule_id in ids[:MAX_SCHEDULES]:
        try:
            process(schedule_id, now)
        except Exception as error:
            if outages.of(error) is not None:
                raise
            # the others must not wait for it; it is tried again with the next poll
            logger.exception("Schedule %s could not be processed.", schedule_id)
    return len(ids) > MAX_SCHEDULES


def _due_ids(now: dt.datetime) -> list[UUID]:
    """Return the schedules with a due moment, or a queued one whose turn has come."""
    queued = ScheduleMoment.objects.filter(
        schedule=OuterRef("pk"), result=MomentResult.QUEUED
    )
    due = Q(due_at__lte=now) | Exists(queued)
    rows = Schedule.objects.filter(due, paused_at=None).order_by("due_at")
    return list(rows.values_list("pk", flat=True)[: MAX_SCHEDULES + 1])


def process(schedule_id: UUID, now: dt.datetime, executor: System = system) -> None:
    """Process the due moments of a schedule, unless another worker is doing it."""
    with transaction.atomic():
        rows = Schedule.objects.select_related("owner")
        if is_postgresql():
            rows = rows.select_for_update(skip_locked=True, of=("self",))
        schedule = rows.filter(pk=schedule_id, paused_at=None).first()
        if schedule is None:
            return
        turn = _Turn(schedule, now, executor)
        turn.launch_queued()
        turn.process_due()
        schedule.save(update_fields=["next_moment", "due_at"])
        notifications.lists_changed_on_commit()


def plan(schedule: Schedule, after: dt.datetime) -> None:
    """Set the next moment after a time, and when it is due; none after the end."""
    moment = next(times_after(schedule.cron, schedule.zone, after), None)
    if moment is None or (schedule.ends_at is not None and moment >= schedule.ends_at):
        schedule.next_moment = schedule.due_at = None
        return
    delay = jitter(schedule.pk, moment, schedule.jitter_seconds)
    schedule.next_moment, schedule.due_at = moment, moment + delay


class _Turn:
    """One pass over the moments of a locked schedule."""

    def __init__(self, schedule: Schedule, now: dt.datetime, executor: System) -> None:
        self.schedule, self.now, self.executor = schedule, now, executor

    def launch_queued(self) -> None:
        """Launch the moments that waited for an earlier run, oldest first."""
        queued = self.schedule.moments.filter(result=MomentResult.QUEUED)
        for row in queued.order_by("moment")[:MAX_MOMENTS]:
            if self.schedule.overlap != Overlap.ALLOW and self._active():
                return
            self._launch(row)
            row.save()

    def process_due(self) -> None:
        """Process the moments that have come, oldest first."""
        due = self._take_due()
        late = [one for one in due if one < self.now - MISSED_AFTER]
        made_up = self._made_up(late)
        known = self.schedule.moments.filter(moment__in=due)
        backfilled = set(known.values_list("moment", flat=True))
        for moment in due:
            if moment in backfilled:
                continue
            if moment not in late:
                self._enter(moment)
            elif moment in made_up:
                self._enter(moment, waits=True)
            else:
                text = "No worker was running at this time."
                self._record(moment, MomentResult.MISSED, text)

    def _take_due(self) -> list[dt.datetime]:
        found: list[dt.datetime] = []
        schedule = self.schedule
        while (
            schedule.due_at is not None
            and schedule.next_moment is not None
            and schedule.due_at <= self.now
            and len(found) < MAX_MOMENTS
        ):
            found.append(schedule.next_moment)
            plan(schedule, after=schedule.next_moment)
        return found

    def _made_up(self, late: Sequence[dt.datetime]) -> Sequence[dt.datetime]:
        """Return the missed moments that are launched now."""
        if self.schedule.catch_up == CatchUp.ALL:
            return late
        is_last = self.schedule.due_at is None or self.schedule.due_at > self.now
        return late[-1:] if self.schedule.catch_up == CatchUp.LAST and is_last else ()

    def _enter(self, moment: dt.datetime, *, waits: bool = False) -> None:
        """Launch the run of a moment, or what its overlap with an earlier run permits.

        `waits` queues a moment that would be skipped: one that is made up.
        """
        overlap = self.schedule.overlap
        if waits and overlap == Overlap.SKIP:
            overlap = Overlap.QUEUE
        active = [] if overlap == Overlap.ALLOW else self._active()
        if active and overlap == Overlap.SKIP:
            text = f"Run {active[0].short_id} had not ended."
            self._record(moment, MomentResult.SKIPPED, text)
        elif active and overlap == Overlap.QUEUE:
            self._record(moment, MomentResult.QUEUED)
        else:
            for run in active:
                self._cancel(run, moment)
            row = self._new(moment, MomentResult.LAUNCHED)
            self._launch(row)
            row.save(force_insert=True)

    def _active(self) -> list[Run]:
        """Return the runs of the schedule that have not ended, newest first."""
        mine = self.schedule.moments.filter(run_id__isnull=False).order_by("-moment")
        ids = [row.run_id for row in mine[:MAX_MOMENTS] if row.run_id]
        return list(Run.objects.filter(pk__in=ids).exclude(status__in=ENDED))

    def _launch(self, row: ScheduleMoment) -> None:
        """Launch the run of a moment; what System refuses is recorded."""
        schedule = self.schedule
        try:
            with transaction.atomic():
                owner = schedule.owner
                if owner is None or not owner.is_active:
                    raise NotAllowed(
                        f"{schedule.owner_name}, who owns the schedule, has no active"
                        " account. Save the schedule again to take it over."
                    )
                run = self.executor.execute(
                    schedule.workflow_name,
                    schedule.params,
                    by=owner,
                    priority=schedule.priority,
                    profile=schedule.profile,
                    idempotency_key=row.key,
                    scheduled_for=row.moment,
                )
        except RequestError as error:
            logger.warning("Schedule %s launched nothing: %s", schedule.pk, error)
            row.result, row.message = MomentResult.REFUSED, str(error)
        else:
            row.result, row.run_id, row.message = MomentResult.LAUNCHED, run.pk, ""
        row.processed_at = self.now

    def _cancel(self, run: Run, moment: dt.datetime) -> None:
        at = moment.isoformat(timespec="minutes")
        reason = f"Replaced by the run of {at} of the schedule “{self.schedule.name}”."
        try:
            with transaction.atomic():
                self.executor.cancel(run.pk, by=None, reason=reason)
        except RequestError as error:  # it has just ended, or is being cancelled
            logger.info("Run %s was not replaced: %s", run.pk, error)

    def _record(
        self, moment: dt.datetime, result: MomentResult, message: str = ""
    ) -> None:
        self._new(moment, result, message=message).save(force_insert=True)

    def _new(
        self, moment: dt.datetime, result: MomentResult, **fields: Any
    ) -> ScheduleMoment:
        return ScheduleMoment(
            schedule=self.schedule,
            moment=moment,
            result=result,
            processed_at=self.now,
            **fields,
        )
