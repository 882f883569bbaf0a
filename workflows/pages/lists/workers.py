"""Workers with their runs, the queue, and recent recoveries."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Count, Min
from django.utils import timezone

from workflows.access import permissions
from workflows.execution import workers
from workflows.execution.fork_rows import own_attempts
from workflows.models import Attempt, Outcome, Status, Worker
from workflows.pages.redaction import by_workflow
from workflows.pages.visible_rows import visible_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.contrib.auth.models import User

    from workflows.models import Run

MAX_RUNS = 500  # running runs that are assigned to workers
MAX_RUNS_PER_WORKER = 8
MAX_RECOVERIES = 10
RECENT = dt.timedelta(days=1)  # for which stopped workers are still shown
MAX_STOPPED_WORKERS = 10


@dataclass(slots=True)
class ActiveWorker:
    """A worker and the runs it executes."""

    worker: Worker
    runs: list[Run] = field(default_factory=list)

    @property
    def separate(self) -> int:
        """Return how many of its runs are in child processes."""
        return sum(run.suspicion > 0 for run in self.runs)

    @property
    def shown(self) -> list[Run]:
        """Return the first few of its runs."""
        return self.runs[:MAX_RUNS_PER_WORKER]

    @property
    def more(self) -> int:
        """Return how many runs are not shown."""
        return max(len(self.runs) - MAX_RUNS_PER_WORKER, 0)

    @property
    def occupied(self) -> int:
        """Return the slots that are taken by code which ignores that it has to stop.

        The nodes are named on the pages of their runs, which not every viewer may see.
        """
        left = {hold["run"] for hold in self.worker.holds if hold["kind"] != "loop"}
        return len(left - {str(run.pk) for run in self.runs})

    @property
    def is_blocked(self) -> bool:
        """Return whether a node blocks all runs of the worker now."""
        return any(hold["kind"] == "loop" for hold in self.worker.holds)

    @property
    def is_full(self) -> bool:
        """Return whether all slots of the worker are in use."""
        return len(self.runs) + self.occupied >= self.worker.capacity


@dataclass(frozen=True, slots=True)
class Queued:
    """The pending runs of one workflow."""

    workflow_name: str
    count: int
    since: dt.datetime  # start of the longest wait


@dataclass(frozen=True, slots=True)
class Workers:
    """The page of workers and queue."""

    alive: Sequence[ActiveWorker]
    silent: Sequence[Worker]  # neither alive nor stopped: killed or disconnected
    stopped: Sequence[Worker]
    queue: Sequence[Queued]
    lost: Sequence[Attempt]

    @property
    def capacity(self) -> int:
        """Return the number of slots."""
        return sum(one.worker.capacity for one in self.alive)

    @property
    def running(self) -> int:
        """Return the number of active runs."""
        return sum(len(one.runs) for one in self.alive)

    @property
    def pending(self) -> int:
        """Return the number of pending runs."""
        return sum(one.count for one in self.queue)


def workers_for(person: User) -> Workers:
    """Return what a user may see of workers and queue."""
    now = timezone.now()
    alive = {row.name: ActiveWorker(row) for row in workers.alive()}
    running = visible_runs(person).filter(status=Status.RUNNING)
    light = running.order_by("pk").defer("params", "result", "graph", "secrets")
    read = permissions.permissions_for(person).read
    for run in by_workflow(read, light[:MAX_RUNS]):
        if run.worker in alive:
            alive[run.worker].runs.append(run)
    recent = Worker.objects.filter(heartbeat_at__gte=now - RECENT)
    expired = now - dt.timedelta(seconds=settings.LEASE_SECONDS)
    silent = recent.filter(stopped_at=None, heartbeat_at__lt=expired)
    stopped = recent.exclude(stopped_at=None).order_by("-stopped_at")
    return Workers(
        alive=list(alive.values()),
        silent=list(silent[:MAX_STOPPED_WORKERS]),
        stopped=list(stopped[:MAX_STOPPED_WORKERS]),
        queue=_queue(person),
        lost=_lost(person),
    )


def _queue(person: User) -> list[Queued]:
    pending = visible_runs(person).filter(status=Status.PENDING)
    rows = pending.values("workflow_name")
    counted = rows.annotate(count=Count("pk"), since=Min("updated_at"))
    return [Queued(**row) for row in counted.order_by("since")]


def _lost(person: User) -> list[Attempt]:
    """Return the attempts whose lease expired, newest first."""
    rows = own_attempts(Attempt.objects.filter(outcome=Outcome.LOST)).order_by("-pk")
    found = list(
        rows.select_related("run").defer(
            "run__params", "run__result", "run__graph", "run__secrets", "traceback"
        )[:MAX_RECOVERIES]
    )
    runs = visible_runs(person).filter(pk__in=[one.run_id for one in found])
    visible = set(runs.values_list("pk", flat=True))
    return [one for one in found if one.run_id in visible]
