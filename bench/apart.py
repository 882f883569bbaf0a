"""W5 with the worker in a separate process: `python -m bench.apart [--runs 100]`.

PostgreSQL holds the rows and Redis the notifications, as in production. Prints one JSON
line: the milliseconds from `System.execute` in this process until the first node starts
in the worker's, which says when in the run's result. Both read one machine's clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.__main__ import prepare
from bench.live import ROOT, percentiles
from bench.servers import redis

if TYPE_CHECKING:
    from workflows.infra.notifications import Subscription

LOST_SECONDS = 5.0  # without a message, after which the run is looked up
WARM_UP = 20  # runs that are not counted


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m bench.apart", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as home, redis(home) as url:
        prepare(Path(home), "pg", REDIS_URL=url, WORKFLOW_APPS="bench.watched")
        with worker():
            waits = asyncio.run(latencies(given.runs + WARM_UP))[WARM_UP:]
    figures = percentiles(waits)
    print(json.dumps({"workload": "W5", "db": "pg", "apart": True, **figures}))  # noqa: T201 - its output


@contextmanager
def worker(name: str = "apart") -> Iterator[int]:
    """Give the process id of a worker that waits for runs."""
    command = [sys.executable, "manage.py", "worker", "--name", name]
    with subprocess.Popen(  # noqa: S603 - our own command
        command, cwd=ROOT, env=os.environ.copy(), stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - a pipe was requested
            process.stdout.readline()  # the worker reports that it is ready
            yield process.pid
        finally:
            process.kill()


async def latencies(runs: int) -> list[float]:
    """Return the milliseconds from each launch to its first node, one after another.

    The worker's announcements of changed runs say when to look up a result: no polling takes
    CPU from what is measured.
    """
    from asgiref.sync import sync_to_async  # noqa: PLC0415

    from workflows.infra import notifications  # noqa: PLC0415 - Django has to be set up

    launch = sync_to_async(_launch, thread_sensitive=False)
    result = sync_to_async(_result, thread_sensitive=False)
    waits = []
    pages = notifications.subscribe(notifications.PAGES, silence=LOST_SECONDS)
    async with pages as announcements:
        for _ in range(runs):
            began = time.monotonic()
            run_id = await launch()
            found = None
            while found is None:
                await _announced(announcements, str(run_id))
                found = await result(run_id)
            waits.append((found["at"] - began) * 1_000)
    return waits


async def _announced(announcements: Subscription, run_id: str) -> None:
    """Return once a change of the run is announced, or nothing was for LOST_SECONDS."""
    while message := await announcements.next():
        if run_id in message.get("versions", ()):
            return


def _launch() -> Any:
    from workflows.system import system  # noqa: PLC0415 - Django has to be set up

    return system.execute("bench-moment", {}).pk


def _result(run_id: Any) -> Any:
    from workflows.models import Run  # noqa: PLC0415

    return Run.objects.values_list("result", flat=True).get(pk=run_id)


if __name__ == "__main__":
    main()
