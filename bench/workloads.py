"""The workloads of `python -m bench`, everything through the public way.

System.execute → queue → worker → executor → recorder, full rows, durable commits.

    W1  one run of 100 empty steps
    W2  500 runs of 10 empty steps, one worker process
    W3  200 steps, each appending 5 kB to the state
    W4  1,000 runs that sleep 5 s in an async node at once, one process
    W5  launch → the first node starts, on an idle system
"""

from __future__ import annotations

import asyncio
import base64
import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from threading import Barrier
from typing import TYPE_CHECKING, Any

from django.db import connection

from bench.gauges import server_cpu
from workflows.engine import Node, State, Workflow, node
from workflows.execution.worker import Worker
from workflows.infra.database_threads import run_in_db
from workflows.models import Checkpoint, Run, Status
from workflows.registry import Registry
from workflows.system import System

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Workload:
    """How many runs of how many steps, and what a step does."""

    runs: int
    steps: int
    grow: int = 0  # characters a step appends
    sleep: float = 0.0  # seconds a step sleeps


WORKLOADS = {
    "W1": Workload(1, 100),
    "W2": Workload(500, 10),
    "W3": Workload(1, 200, grow=5_000),
    "W4": Workload(1_000, 1, sleep=5.0),
    "W5": Workload(100, 1),
}

REQUESTS = 4  # threads that launch, each with its connection
WARM_UP = 20  # runs that are not measured

_random = random.Random(20240229)  # noqa: S311 - a payload, not a secret


def payload(size: int) -> str:
    """Return text that no database compresses by luck."""
    return base64.b64encode(_random.randbytes(size)).decode()[:size]


class Bench:
    """One worker and the workflow it runs, for one workload."""

    def __init__(self, workload: Workload) -> None:
        """Register the workflow of the workload."""
        self.workload = workload
        self._capacity = max(workload.runs, 8)  # runs at once
        self.started: dict[str, float] = {}  # run id → when its first node began
        self.at: list[float] = []  # when each step of the last run began
        self._ends: dict[str, asyncio.Event] = {}  # run id → set at its end
        self._payloads = [payload(workload.grow) for _ in range(workload.steps)]
        self._requests = ThreadPoolExecutor(REQUESTS, thread_name_prefix="request")
        self._all_here = Barrier(REQUESTS)
        self.registry = Registry()
        self.registry.register(self._workflow())
        self.system = System(self.registry)

    def _workflow(self) -> Workflow[State]:
        nodes = [self._node(number) for number in range(self.workload.steps)]
        return Workflow(
            "bench",
            state=State,
            start=nodes[0],
            routes=dict(pairwise(nodes)),
        )

    def _node(self, number: int) -> Node[State, State]:
        grow, sleep = self.workload.grow, self.workload.sleep

        @node(name=f"n{number}")
        async def step(state: State) -> State:
            now = time.perf_counter()
            self.at.append(now)
            self.started.setdefault(state.run_id, now)
            if sleep:
                await asyncio.sleep(sleep)
            return state.append("log", self._payloads[number]) if grow else state

        return step

    async def run(self) -> dict[str, Any]:
        """Run the workload once on a fresh worker; return what was measured."""
        worker = Worker(
            "bench",
            self._capacity,
            workflows=self.registry,
            on_run_ended=self._on_run_ended,
        )
        working = asyncio.create_task(worker.run())
        try:
            await self._warm()
            if self.workload == WORKLOADS["W5"]:
                return await self._latency()
            return await self._throughput()
        finally:
            await worker.drain()
            await working
            for _ in range(REQUESTS):
                self._requests.submit(self._hang_up)
            await asyncio.to_thread(self._requests.shutdown)

    def _on_run_ended(self, run: Run) -> None:
        self._end_of(str(run.pk)).set()

    def _end_of(self, run_id: str) -> asyncio.Event:
        return self._ends.setdefault(run_id, asyncio.Event())

    async def _all_ended(self, run_ids: Iterable[str]) -> None:
        """Return when the worker holds none of these runs any more.

        The worker notifies: polling the database would be charged to what is measured.
        """
        for run_id in run_ids:
            await self._end_of(run_id).wait()

    async def _warm(self) -> None:
        runs = await asyncio.gather(*[self._from_outside() for _ in range(WARM_UP)])
        await self._all_ended(runs)
        await run_in_db(_require_completed)
        await run_in_db(Run.objects.all().delete)
        self._ends.clear()
        self.started.clear()
        self.at.clear()

    async def _throughput(self) -> dict[str, Any]:
        server = server_cpu()
        cpu, begin = time.process_time(), time.perf_counter()
        await self._execute_all()
        wall = time.perf_counter() - begin
        used = time.process_time() - cpu
        server = server_cpu() - server
        await self._check()
        steps = self.workload.runs * self.workload.steps
        return {
            "wall_s": round(wall, 3),
            "steps_per_s": round(steps / wall, 1),
            "process_cpu_ms_per_step": round(used / steps * 1_000, 4),
            "server_cpu_ms_per_step": round(server / steps * 1_000, 4),
            "stored_bytes": await run_in_db(_stored),
            **self._flatness(),
        }

    async def _check(self) -> None:
        await run_in_db(_require_completed)

    async def _execute_all(self) -> None:
        """Launch all runs on a few threads, as requests would come; return at their end."""
        launches = [self._from_outside() for _ in range(self.workload.runs)]
        await self._all_ended(await asyncio.gather(*launches))

    def _flatness(self) -> dict[str, float]:
        """How a late step of one run compares with an early one; 1.0 is flat."""
        if self.workload.runs > 1 or self.workload.steps < 50:  # noqa: PLR2004
            return {}
        gaps = [
            after - before for before, after in zip(self.at, self.at[1:], strict=False)
        ]
        early, late = sorted(gaps[10:40]), sorted(gaps[-30:])
        return {"late_to_early": round(late[15] / early[15], 2)}

    async def _latency(self) -> dict[str, Any]:
        waits = []
        for _ in range(self.workload.runs):
            begin = time.perf_counter()
            run_id = await self._from_outside()
            await self._all_ended([run_id])
            waits.append((self.started[run_id] - begin) * 1_000)
        waits.sort()
        return {
            "p50_ms": round(waits[len(waits) // 2], 2),
            "p95_ms": round(waits[int(len(waits) * 0.95)], 2),
        }

    async def _from_outside(self) -> str:
        """Launch on a thread that the worker has nothing to do with, as a view does."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._requests, self._launch)

    def _launch(self) -> str:
        return str(self.system.execute("bench", {}).pk)

    def _hang_up(self) -> None:
        self._all_here.wait()  # so that each thread closes its own connection
        connection.close()


def _require_completed() -> None:
    """Raise SystemExit unless every run completed: a failed run would look fast."""
    wrong = Run.objects.exclude(status=Status.COMPLETED).first()
    if wrong is not None:
        raise SystemExit(
            f"Run {wrong.pk} is {wrong.status} instead of completed"
            f" ({wrong.error_message or 'no message'}): nothing was measured."
        )


def _stored() -> int:
    return sum(Checkpoint.objects.values_list("bytes", flat=True))
