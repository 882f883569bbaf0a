"""Why a pending run does not start yet: the limit that is full, and the runs that hold it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from workflows.execution.limited_claims import MINUTE, running_of, starts_of
from workflows.infra import clock
from workflows.models import Run

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from django.db.models import QuerySet

    from workflows.engine import Limits

MAX_HOLDERS: Final = 10


@dataclass(frozen=True, slots=True)
class LimitState:
    """A limit that keeps a run from starting."""

    text: str  # such as "5 runs at once"; "" for the time of the debounce
    holders: Sequence[Run] = field(default_factory=tuple)  # the first of them
    until: dt.datetime | None = None  # when it may permit a start


def limit_state(run: Run, limits: Limits | None) -> LimitState | None:
    """Return the limit for which a pending run waits, None if there is none."""
    if run.limit_key is None or limits is None:
        return None
    now = clock.now()
    found = _full(run, limits)
    if not run.attempt:  # its first start
        found = _debounced(run, limits, now) or found or _started(run, limits, now)
    return found


def _debounced(run: Run, limits: Limits, now: dt.datetime) -> LimitState | None:
    if limits.debounce is None or run.created_at + limits.debounce <= now:
        return None
    return LimitState("", until=run.created_at + limits.debounce)


def _full(run: Run, limits: Limits) -> LimitState | None:
    if limits.at_once is None:
        return None
    running = running_of((run.workflow_name, run.limit_key or "")).order_by("pk")
    if running[: limits.at_once].count() < limits.at_once:
        return None
    runs = "1 run" if limits.at_once == 1 else f"{limits.at_once} runs"
    return LimitState(f"{runs} at once", [*_light(running)])


def _started(run: Run, limits: Limits, now: dt.datetime) -> LimitState | None:
    if limits.per_minute is None:
        return None
    recent = starts_of((run.workflow_name, run.limit_key or ""), now)
    starts = [*recent.order_by("-started_at")[: limits.per_minute]]
    if len(starts) < limits.per_minute:
        return None
    ids = [start.run_id for start in starts[:MAX_HOLDERS]]
    count = limits.per_minute
    text = "1 start per minute" if count == 1 else f"{count} starts per minute"
    holders = [*_light(Run.objects.filter(pk__in=ids).order_by("pk"))]
    return LimitState(text, holders, starts[-1].started_at + MINUTE)


def _light(runs: QuerySet[Run]) -> QuerySet[Run]:
    return runs.only("pk", "workflow_name")[:MAX_HOLDERS]
