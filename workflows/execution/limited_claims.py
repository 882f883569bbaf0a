"""The claim of runs that have limits, together with those that have none.

1. One claim at a time does this: on PostgreSQL under an advisory lock, on SQLite as the only
   transaction that writes. So what it counts holds until its commit.
2. The checks that are due say which keys may have a run to start (`LimitCheck`). For each, the
   runs that are running and the starts of the last minute leave so many slots, for which the
   next pending runs are candidates.
3. The candidates are ranked with those of the queue: by priority, then fair between
   workflows, then by age. What they leave gets a check again, now or when it is due.

At no time are more runs of a key running than `at_once`, and no more than `per_minute` start
within 60 seconds of the database's clock.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.db import transaction
from django.db.models import F, Q

from workflows.execution import queue, sql
from workflows.infra import clock
from workflows.models import (
    Fork,
    LimitCheck,
    LimitStart,
    Run,
    Status,
    Suspicion,
    WorkflowPause,
)
from workflows.models.pauses import CONTINUES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from django.db.models import QuerySet

    from workflows.engine import Limits
    from workflows.registry import Registry

    Key = tuple[str, str]  # workflow and key
    # id, attempt, closing, created at, attempts that a fork shares with its origin
    Row = tuple[UUID, int, object, dt.datetime, int | None]

MINUTE: Final = dt.timedelta(seconds=60)
CHECKS_PER_SLOT: Final = 4  # that a claim reads
NOW: Final = 0.0  # of a check
# a pending run that has begun; a fork begins with the attempts of its origin
HAS_STARTED: Final = CONTINUES & (
    Q(closing__isnull=False) | ~Q(fork__attempt=F("attempt"))
)


def claim(
    worker: str, limit: int, workflows: Registry, suspicion: Suspicion = Suspicion.NONE
) -> sql.Claimed:
    """Claim up to `limit` pending runs, also those with limits, as `queue.claim` does.

    The limits are those of `workflows`; of a workflow that it does not have, none are known.
    """
    with transaction.atomic():
        sql.driver().lock_limits()
        now = clock.now()
        claim_ = _Claim(workflows, suspicion, now, limit)
        keys = claim_.due_keys()
        found = [claim_.candidates(key) for key in keys]
        ids = [run_id for candidates in found for run_id in candidates.ids]
        claimed = queue.claim(worker, limit, suspicion, admitted=ids, now=now)
        LimitStart.objects.bulk_create(
            LimitStart(
                workflow_name=run.workflow_name,
                limit_key=run.limit_key or "",
                started_at=now,
                run_id=run.pk,
            )
            for run in starts_among(claimed.runs)
        )
        if suspicion == Suspicion.NONE:
            taken = {run.pk for run in claimed.runs}
            checks = [check for one in found for check in one.checks_after(taken)]
            LimitCheck.objects.bulk_create(checks)
            claimed.limits_due_at = (
                LimitCheck.objects.order_by("due_at")
                .values_list("due_at", flat=True)
                .first()
            )
    return claimed


def starts_among(claimed: Sequence[Run]) -> Iterable[Run]:
    """Yield the claimed runs with a limit that have started for the first time."""
    limited = [run for run in claimed if run.limit_key is not None]
    rows = Fork.objects.filter(run__in=[run.pk for run in limited if run.attempt > 1])
    shared = dict(rows.values_list("run_id", "attempt"))
    for run in limited:
        if run.attempt == 1 + shared.get(run.pk, 0) and run.closing is None:
            yield run


@dataclass(slots=True)
class Candidates:
    """The runs of a key that may be claimed now, and when to check the key again."""

    key: Key
    ids: list[UUID]
    has_more: bool  # further ones may be claimed now
    due_at: float | None  # when one that may not be claimed now may be

    def checks_after(self, taken: set[UUID]) -> Iterable[LimitCheck]:
        """Return the checks of the key that a claim of these runs leaves."""
        name, key = self.key
        if self.has_more or not taken.issuperset(self.ids):
            yield LimitCheck(workflow_name=name, limit_key=key, due_at=NOW)
        elif self.due_at is not None:
            yield LimitCheck(workflow_name=name, limit_key=key, due_at=self.due_at)


class _Claim:
    """What one claim reads."""

    def __init__(
        self, workflows: Registry, suspicion: Suspicion, now: dt.datetime, limit: int
    ) -> None:
        self._workflows = workflows
        self._suspicion = suspicion
        self._now = now
        self._limit = limit
        LimitStart.objects.filter(started_at__lte=now - MINUTE).delete()

    def due_keys(self) -> Sequence[Key]:
        """Return the keys to check, and delete their checks that are due.

        What ends or becomes pending after this statement leaves a check of its own.
        """
        if self._suspicion != Suspicion.NONE:  # there are few suspects
            suspects = Run.objects.filter(
                status=Status.PENDING,
                suspicion=self._suspicion,
                limit_key__isnull=False,
            )
            return [*_keys_of(suspects.order_by("pk"))]
        due = LimitCheck.objects.filter(due_at__lte=self._now.timestamp())
        first = due.order_by("due_at", "id")[: self._limit * CHECKS_PER_SLOT]
        keys = [*_keys_of(first)]
        for name, key in keys:
            due.filter(workflow_name=name, limit_key=key).delete()
        return keys

    def candidates(self, key: Key) -> Candidates:
        """Return the next runs of a key for the slots that its limits leave."""
        workflow = self._workflows.find(key[0])
        limits = workflow.limits if workflow is not None else None
        slots, starts, renewed_at = self._left(limits, key)
        pending = Run.objects.filter(
            status=Status.PENDING,
            workflow_name=key[0],
            limit_key=key[1],
            suspicion=self._suspicion,
        ).order_by("-priority", "pk")
        ids: list[UUID] = []
        due: list[float] = []
        if WorkflowPause.objects.filter(pk=key[0]).exists():
            ids = _ids(pending.filter(CONTINUES), slots)
        elif starts <= 0:
            ids, due = _ids(pending.filter(HAS_STARTED), slots), [renewed_at]
        elif slots > 0:
            debounce = limits.debounce if limits else None
            columns = ("pk", "attempt", "closing", "created_at", "fork__attempt")
            rows = pending.values_list(*columns)[: min(slots, self._limit + 1)]
            for row in rows:
                later = self._due_of(row, debounce)
                if later is None and _is_new(row):
                    later = None if starts > 0 else renewed_at
                    starts -= 1
                if later is None:
                    ids.append(row[0])
                else:
                    due.append(later)
        has_more = len(ids) > self._limit
        return Candidates(key, ids[: self._limit], has_more, min(due, default=None))

    def _due_of(self, row: Row, debounce: dt.timedelta | None) -> float | None:
        """Return when a debounced run may start, None if it may now."""
        is_fork = row[4] is not None
        if debounce is None or is_fork or not _is_new(row):
            return None
        if row[3] + debounce <= self._now:
            return None
        return (row[3] + debounce).timestamp()

    def _left(self, limits: Limits | None, key: Key) -> tuple[int, int, float]:
        """Return the free slots, the starts that are left, and when there is a further one."""
        slots = starts = self._limit + 1
        first = self._now
        if limits is not None and limits.at_once is not None:
            running = running_of(key).order_by()[: limits.at_once].count()
            slots = min(slots, limits.at_once - running)
        if limits is not None and limits.per_minute is not None:
            times = starts_of(key, self._now).values_list("started_at", flat=True)
            recent = [*times.order_by("-started_at")[: limits.per_minute]]
            starts = min(starts, limits.per_minute - len(recent))
            first = min([first, *recent])
        return slots, starts, (first + MINUTE).timestamp()


def check_again(workflow: str) -> None:
    """Let all keys of a workflow be checked: claims have dropped their checks meanwhile."""
    pending = Run.objects.filter(
        status=Status.PENDING, workflow_name=workflow, limit_key__isnull=False
    )
    keys = pending.order_by().values_list("limit_key", flat=True).distinct()
    LimitCheck.objects.bulk_create(
        LimitCheck(workflow_name=workflow, limit_key=key or "", due_at=NOW)
        for key in keys
    )


def running_of(key: Key) -> QuerySet[Run]:
    """Return the runs that hold a slot of a key: those that a worker executes."""
    return Run.objects.filter(
        status=Status.RUNNING, workflow_name=key[0], limit_key=key[1]
    )


def starts_of(key: Key, now: dt.datetime) -> QuerySet[LimitStart]:
    """Return the starts of a key within the last minute."""
    return LimitStart.objects.filter(
        workflow_name=key[0], limit_key=key[1], started_at__gt=now - MINUTE
    )


def _keys_of(rows: QuerySet[Run] | QuerySet[LimitCheck]) -> Iterable[Key]:
    """Return the keys of rows, each once, in their order."""
    found = rows.values_list("workflow_name", "limit_key")
    return dict.fromkeys((name, key or "") for name, key in found)


def _is_new(row: Row) -> bool:
    """Return whether a claim would be the first start of this pending run."""
    return row[1] == (row[4] or 0) and row[2] is None


def _ids(rows: QuerySet[Run], number: int) -> list[UUID]:
    return [*rows.values_list("pk", flat=True)[:number]] if number > 0 else []
