"""Who does the work, what each has in hand, what waits, and what was lost lately."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Count, Min
from django.utils import timezone

from workflows.access import permissions
from workflows.execution import workers
from workflows.models import Attempt, Outcome, Run, Status, Worker
from workflows.pages.redaction import by_workflow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.contrib.auth.models import User

MAX_RUNS = 500  # running ones that are told apart by worker
SHOWN = 8  # runs of one worker
LOST = 10  # leases lost lately
RECENTLY = dt.timedelta(days=1)  # a worker that went is still told of
MAX_GONE_WORKERS = 10


@dataclass(slots=True)
class AtWork:
    """A worker and the runs it holds."""

    worker: Worker
    runs: list[Run] = field(default_factory=list)

    @property
    def shown(self) -> list[Run]:
        """Return the first few of its runs."""
        return self.runs[:SHOWN]

    @property
    def more(self) -> int:
        """Return how many more there are."""
        return max(len(self.runs) - SHOWN, 0)

    @property
    def is_full(self) -> bool:
        """Tell whether it takes nothing more for now."""
        return len(self.runs) >= self.worker.capacity


@dataclass(frozen=True, slots=True)
class Queued:
    """What waits for a worker, of one workflow."""

    workflow_name: str
    count: int
    since: dt.datetime  # the longest


@dataclass(frozen=True, slots=True)
class Workers:
    """The page of workers and queue."""

    alive: Sequence[AtWork]
    silent: Sequence[Worker]  # neither alive nor stopped: killed, or cut off
    stopped: Sequence[Worker]
    queue: Sequence[Queued]
    lost: Sequence[Attempt]

    @property
    def capacity(self) -> int:
        """Return how many runs fit at once."""
        return sum(one.worker.capacity for one in self.alive)

    @property
    def running(self) -> int:
        """Return how many runs are in hand."""
        return sum(len(one.runs) for one in self.alive)

    @property
    def pending(self) -> int:
        """Return how many runs wait."""
        return sum(one.count for one in self.queue)


def workers_for(person: User) -> Workers:
    """Return what a person may see of workers and queue."""
    now = timezone.now()
    alive = {row.name: AtWork(row) for row in workers.alive()}
    running = permissions.visible(person, Run.objects.filter(status=Status.RUNNING))
    light = running.order_by("pk").defer("params", "result", "graph", "secrets")
    read = permissions.permissions_for(person).read
    for run in by_workflow(read, light[:MAX_RUNS]):
        if run.worker in alive:
            alive[run.worker].runs.append(run)
    lately = Worker.objects.filter(heartbeat_at__gte=now - RECENTLY)
    fresh = now - dt.timedelta(seconds=settings.LEASE_SECONDS)
    silent = lately.filter(stopped_at=None, heartbeat_at__lt=fresh)
    stopped = lately.exclude(stopped_at=None).order_by("-stopped_at")
    return Workers(
        alive=list(alive.values()),
        silent=list(silent[:MAX_GONE_WORKERS]),
        stopped=list(stopped[:MAX_GONE_WORKERS]),
        queue=_queue(person),
        lost=_lost(person),
    )


def _queue(person: User) -> list[Queued]:
    pending = permissions.visible(person, Run.objects.filter(status=Status.PENDING))
    rows = pending.order_by().values("workflow_name")
    counted = rows.annotate(count=Count("pk"), since=Min("updated_at"))
    return [Queued(**row) for row in counted.order_by("since")]


def _lost(person: User) -> list[Attempt]:
    """Return the attempts whose worker was lost, newest first."""
    rows = Attempt.objects.filter(outcome=Outcome.LOST).order_by("-pk")
    found = list(
        rows.select_related("run").defer(
            "run__params", "run__result", "run__graph", "run__secrets", "traceback"
        )[:LOST]
    )
    runs = Run.objects.filter(pk__in=[one.run_id for one in found])
    seen = set(permissions.visible(person, runs).values_list("pk", flat=True))
    return [one for one in found if one.run_id in seen]
