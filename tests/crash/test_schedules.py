"""Workers that are killed while they launch due moments of schedules."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.crash.processes import Installation, kill, wait_for

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(600)]

SCHEDULES, MOMENTS = 20, 20  # all due at once
KILLED_AT = (1, 100, 250)  # launched runs at which every worker is killed


def launched(installation: Installation) -> int:
    """Return the number of moments with a run."""
    query = "SELECT COUNT(*) FROM workflows_schedulemoment WHERE run_id IS NOT NULL"
    return int(installation.ask(query)[0][0])


def has_launched(installation: Installation, count: int) -> bool:
    """Return whether a number of moments have a run."""
    return launched(installation) >= count


def all_have_launched(installation: Installation) -> bool:
    """Return whether each schedule has launched its moments."""
    query = (
        "SELECT COUNT(*) FROM workflows_schedulemoment WHERE run_id IS NOT NULL"
        " GROUP BY schedule_id"
    )
    counts = [int(count) for (count,) in installation.ask(query)]
    return len(counts) == SCHEDULES and min(counts) >= MOMENTS


def test_each_moment_has_exactly_one_run_although_workers_are_killed(
    migrated_url: str, redis_url: str, tmp_path: Path
) -> None:
    installation = Installation(
        tmp_path, database=migrated_url, redis=redis_url, MAX_RECOVERIES="1000"
    )
    params = {"trace": str(installation.trace), "rounds": 1}
    installation.drive("add_schedules", count=SCHEDULES, params=params, moments=MOMENTS)
    interrupted = []
    for number, target in enumerate(KILLED_AT):
        with ExitStack() as stack:
            names = (f"first-{number}", f"second-{number}")
            workers = [
                stack.enter_context(installation.worker(name, capacity=1))
                for name in names
            ]
            wait_for(partial(has_launched, installation, target), what="launches")
            for worker in workers:
                kill(worker)
            interrupted.append(launched(installation))
    with ExitStack() as stack:
        for name in ("last-1", "last-2"):
            stack.enter_context(installation.worker(name))
        # of each: a minute later, more moments are due, which count as well
        wait_for(partial(all_have_launched, installation), what="all launches")
    assert interrupted[0] < SCHEDULES * MOMENTS, (
        "no worker was killed during the launches"
    )
    moments = installation.ask(
        "SELECT schedule_id::text, moment, result, run_id FROM workflows_schedulemoment"
    )
    runs = installation.ask("SELECT id, scheduled_for FROM workflows_run")
    assert {result for _, _, result, _ in moments} == {"launched"}
    per_schedule = Counter(schedule for schedule, _, _, _ in moments)
    assert len(per_schedule) == SCHEDULES
    assert min(per_schedule.values()) >= MOMENTS
    by_id = dict(runs)
    assert len(by_id) == len(moments), "a run without a moment, or two runs of a moment"
    assert {run: moment for _, moment, _, run in moments} == by_id
