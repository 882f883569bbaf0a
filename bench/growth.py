"""What a step costs as an installation grows: `python -m bench.growth [NAME …]`.

One JSON line per point: the milliseconds of CPU per step of the worker's process, launches
included, and of PostgreSQL. The names are

    concurrent   10 to 1,000 runs at once
    ended        0 to 1,000,000 ended runs in the tables
    pending      10,000 pending runs of which 1,000 are executed
    steps        the first and the last thousand of the 10,000 steps of one run
    workers      1 to 4 worker processes
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.__main__ import prepare
from bench.comparison.systems import own_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Point = dict[str, Any]

CONCURRENT = (10, 100, 1_000)
ENDED = (0, 10_000, 100_000, 1_000_000)
WORKERS = (1, 2, 4)
RUNS = 1_000  # of ten steps, per point


def main() -> None:
    """Measure the chosen sizes in turn, and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("names", nargs="*", default=list(MEASURES), metavar="NAME")
    parser.add_argument("--runs", type=int, default=RUNS, help="per point")
    parser.add_argument("--ended", type=int, default=max(ENDED), help="at most")
    given = parser.parse_args()
    if len(given.names) > 1:  # Django, with one database, is set up once per process
        options = [f"--runs={given.runs}", f"--ended={given.ended}"]
        for name in given.names:
            command = [sys.executable, "-m", "bench.growth", name, *options]
            subprocess.run(command, check=True)  # noqa: S603 - our own command
        return
    (name,) = given.names
    for point in MEASURES[name](given.runs, given.ended):
        print(json.dumps({"growth": name, **point}), flush=True)  # noqa: T201 - its output


def concurrent(runs: int, _ended: int) -> Iterator[Point]:
    """Yield the cost with different numbers of runs at once; their total is the same."""
    with tempfile.TemporaryDirectory(prefix="bench-growth-") as home:
        prepare(Path(home), "pg")
        for at_once in CONCURRENT:
            yield {"at": at_once, **_in_flight(runs, at_once)}


def ended(runs: int, most: int) -> Iterator[Point]:
    """Yield the cost with more and more ended runs in the tables."""
    with tempfile.TemporaryDirectory(prefix="bench-growth-") as home:
        prepare(Path(home), "pg")
        from bench.copied_runs import copy_runs  # noqa: PLC0415 - Django is set up by now

        present = 0
        for size in [size for size in ENDED if size <= most]:
            copy_runs("completed", size - present, workflow_name="copied")
            present = size
            yield {"at": size, **_in_flight(runs, 100)}


def pending(runs: int, _ended: int) -> Iterator[Point]:
    """Yield the cost without other pending runs, and with ten times as many."""
    with tempfile.TemporaryDirectory(prefix="bench-growth-") as home:
        prepare(Path(home), "pg")
        from bench.in_flight import FromQueue  # noqa: PLC0415

        for queued in (runs, 10 * runs):
            point = asyncio.run(FromQueue(runs, 100, queued).run())
            yield {"at": queued, **point}


def steps(_runs: int, _ended: int) -> Iterator[Point]:
    """Yield the cost of early and of late steps of one run."""
    with tempfile.TemporaryDirectory(prefix="bench-growth-") as home:
        prepare(Path(home), "pg")
        from bench.in_flight import LongRun  # noqa: PLC0415

        yield from asyncio.run(LongRun().run())["points"]


def workers(runs: int, _ended: int) -> Iterator[Point]:
    """Yield the total cost with different numbers of worker processes."""
    for count in WORKERS:
        options = f"--workers={count}", f"--runs={runs}"
        (figures,) = own_lines("bench.processes", *options)
        yield {"at": count, **_costs(figures)}


def _in_flight(runs: int, at_once: int) -> Point:
    from bench.in_flight import InFlight  # noqa: PLC0415 - Django is set up by now

    return _costs(asyncio.run(InFlight(runs, at_once).run()))


def _costs(figures: Point) -> Point:
    return {
        "process_ms": figures["process_cpu_ms_per_step"],
        "server_ms": figures["server_cpu_ms_per_step"],
        "steps_per_s": figures["steps_per_s"],
    }


MEASURES: dict[str, Callable[[int, int], Iterator[Point]]] = {
    "concurrent": concurrent,
    "ended": ended,
    "pending": pending,
    "steps": steps,
    "workers": workers,
}

if __name__ == "__main__":
    main()
