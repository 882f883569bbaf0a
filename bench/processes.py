"""W2 with separate worker processes: `python -m bench.processes [--workers 2] [--runs 500]`.

PostgreSQL holds the rows and Redis the notifications. Prints one JSON line; the CPU of the
workers, of the server and of this process, which launches the runs, are separate figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.__main__ import prepare
from bench.apart import worker
from bench.gauges import server_cpu, tree_cpu
from bench.servers import redis

STEPS = 10  # of the workflow “bench-steps”
WARM_UP = 20  # runs that are not measured
REQUESTS = 4  # threads that launch
LOST_SECONDS = 0.1  # without a message, after which the runs are counted
APPS = "bench.watched"


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.processes", description=__doc__
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=int, default=500)
    given = parser.parse_args()
    print(json.dumps(measured(given.workers, given.runs)))  # noqa: T201 - its output


def measured(workers: int, runs: int) -> dict[str, Any]:
    """Return the figures of so many runs with so many worker processes."""
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        url = stack.enter_context(redis(home))
        # together the workers hold all runs at once, as the one worker of W2 does
        slots = str(-(-runs // workers))
        settings = {"REDIS_URL": url, "WORKFLOW_APPS": APPS}
        prepare(Path(home), "pg", WORKER_CONCURRENCY=slots, **settings)
        pids = [
            stack.enter_context(worker(f"worker-{number}")) for number in range(workers)
        ]
        asyncio.run(many(WARM_UP * workers))
        return {"workload": "W2", "db": "pg", "workers": workers} | _cost(pids, runs)


def _cost(pids: list[int], runs: int) -> dict[str, Any]:
    def used() -> tuple[float, ...]:
        return sum(map(tree_cpu, pids)), server_cpu(), time.process_time()

    before, begin = used(), time.perf_counter()
    asyncio.run(many(runs))
    wall, steps = time.perf_counter() - begin, runs * STEPS
    spent = [after - earlier for after, earlier in zip(used(), before, strict=True)]
    names = ("process", "server", "launcher")
    return {
        "wall_s": round(wall, 3),
        "steps_per_s": round(steps / wall, 1),
        **{
            f"{name}_cpu_ms_per_step": round(seconds / steps * 1_000, 4)
            for name, seconds in zip(names, spent, strict=True)
        },
    }


async def many(runs: int) -> None:
    """Launch runs and return when all have completed; announcements say when to count."""
    from workflows.infra import notifications  # noqa: PLC0415 - Django is set up by now

    loop = asyncio.get_running_loop()
    pages = notifications.subscribe(notifications.PAGES, silence=LOST_SECONDS)
    with ThreadPoolExecutor(REQUESTS) as threads:
        async with pages as announcements:
            launches = [
                loop.run_in_executor(threads, _launch, number) for number in range(runs)
            ]
            ids = set(await asyncio.gather(*launches))
            while await loop.run_in_executor(threads, _is_any_left, ids):
                await announcements.next()
        hang_ups = [loop.run_in_executor(threads, _hang_up) for _ in range(REQUESTS)]
        await asyncio.gather(*hang_ups)


def _launch(_number: int) -> Any:
    from workflows.system import system  # noqa: PLC0415 - Django is set up by now

    return system.execute("bench-steps", {}).pk


def _is_any_left(ids: set[Any]) -> bool:
    """Return whether a run is not completed. Raises SystemExit if one failed."""
    from workflows.models import ENDED, Run, Status  # noqa: PLC0415

    runs = Run.objects.filter(workflow_name="bench-steps")
    wrong = runs.filter(status__in=ENDED).exclude(status=Status.COMPLETED).first()
    if wrong is not None:
        raise SystemExit(f"Run {wrong.pk} is {wrong.status}: nothing was measured.")
    left = runs.exclude(status=Status.COMPLETED).values_list("pk", flat=True)
    return not ids.isdisjoint(left)


def _hang_up() -> None:
    from django.db import connection  # noqa: PLC0415

    connection.close()


if __name__ == "__main__":
    main()
