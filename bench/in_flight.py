"""Workloads whose runs at once are limited, and one long run."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from bench.copied_runs import copy_runs
from bench.gauges import server_cpu
from bench.workloads import Bench, Workload
from workflows.engine import (
    GraphConfig,
    State,
    Workflow,
    node,
    otherwise,
    predicate,
    when,
)
from workflows.infra.database_threads import run_in_db
from workflows.models import Run, Status

STEPS = 10  # of each run
LONG_RUN_STEPS = 10_000
WINDOW = 1_000  # steps whose cost is compared


class InFlight(Bench):
    """So many runs of ten steps, of which a limited number is launched at once."""

    def __init__(self, runs: int, at_once: int) -> None:
        super().__init__(Workload(runs, STEPS))
        self._capacity = at_once

    async def _execute_all(self) -> None:
        gate = asyncio.Semaphore(self._capacity)

        async def one() -> None:
            async with gate:
                await self._all_ended([await self._from_outside()])

        await asyncio.gather(*[one() for _ in range(self.workload.runs)])

    async def _warm(self) -> None:
        """Warm up without deleting the runs that are there."""
        await self._all_ended([await self._from_outside() for _ in range(20)])

    async def _check(self) -> None:
        """Copied runs are not completed by this worker."""


class FromQueue(InFlight):
    """So many runs of a queue that holds more; the worker claims as many as it may."""

    def __init__(self, runs: int, at_once: int, queued: int) -> None:
        super().__init__(runs, at_once)
        self._queued = queued
        self._counted = 0  # ended runs
        self._marks: list[
            tuple[float, float]
        ] = []  # CPU seconds at the first and the last
        self._enough = asyncio.Event()

    def _on_run_ended(self, run: Run) -> None:
        super()._on_run_ended(run)
        self._counted += 1
        if self._counted in {self._capacity, self.workload.runs}:
            self._marks.append((time.process_time(), server_cpu()))
        if self._counted == self.workload.runs:
            self._enough.set()

    async def _throughput(self) -> dict[str, Any]:
        await run_in_db(self._fill)
        self._counted, self._marks = 0, []
        await self._from_outside()  # its message makes the worker look at the queue
        await self._enough.wait()
        steps = (self.workload.runs - self._capacity) * STEPS
        return _cost(self._marks[0], self._marks[1], steps)

    def _fill(self) -> None:
        known = Run.objects.filter(workflow_name="bench").values("graph", "fingerprint")
        copy_runs(Status.PENDING, self._queued, workflow_name="bench", **known[0])


class LongRun(Bench):
    """One run of ten thousand steps of one node."""

    def __init__(self) -> None:
        self._marks: dict[
            int, tuple[float, float]
        ] = {}  # step → CPU seconds until then
        super().__init__(Workload(1, LONG_RUN_STEPS))

    def _workflow(self) -> Workflow[State]:
        marks = (10, 10 + WINDOW, LONG_RUN_STEPS - WINDOW, LONG_RUN_STEPS)

        @node(name="again")
        async def again(state: State) -> State:
            count = state.get("count", 0) + 1
            if count in marks:
                self._marks[count] = (time.process_time(), server_cpu())
            return state.set(count=count)

        @node(name="end")
        async def end(state: State) -> State:
            return state

        @predicate("step {s.count}")
        def has_more(state: State) -> bool:
            return int(state.get("count")) < LONG_RUN_STEPS

        return Workflow(
            "bench",
            state=State,
            start=again,
            routes={again: [when(has_more, again), otherwise(end)]},
            config=GraphConfig(name="bench", max_iterations=2 * LONG_RUN_STEPS),
        )

    async def _warm(self) -> None:
        """The first ten steps are the warm-up."""

    async def _throughput(self) -> dict[str, Any]:
        await self._execute_all()
        marks = sorted(self._marks)
        pairs = [(marks[0], marks[1]), (marks[2], marks[3])]
        return {"points": [self._point(*pair) for pair in pairs]}

    def _point(self, first: int, last: int) -> dict[str, Any]:
        cost = _cost(self._marks[first], self._marks[last], last - first)
        return {"at": last, **cost}


def _cost(
    before: tuple[float, float], after: tuple[float, float], steps: int
) -> dict[str, float]:
    """Return the milliseconds of CPU per step of the process and of the server."""
    names = ("process_ms", "server_ms")
    return {
        name: round((late - early) / steps * 1_000, 4)
        for name, early, late in zip(names, before, after, strict=True)
    }
