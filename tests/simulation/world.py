"""The random numbers, the network and the processes of one schedule."""

from __future__ import annotations

import asyncio
import contextvars
import datetime as dt
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from tests.simulation.database import Database
from tests.simulation.loop import EPOCH, PROCESS, Process, SimulatedLoop

MAX_LATENCY = 0.02  # seconds of a statement or a message, mostly
SLOW_LATENCY = 1.5  # sometimes


class World:
    """A schedule; all its random values come from its seed."""

    def __init__(self, seed: int, faults: Mapping[str, float]) -> None:
        """`faults` gives the probability of each kind of fault per opportunity."""
        self.seed = seed
        self.random = Random(seed)  # noqa: S311 - a repeatable schedule
        self.faults = faults
        self.counts: Counter[str] = Counter()  # of faults that happened
        self.loop = SimulatedLoop()
        self.database = Database(self)
        self.is_calm = False  # no fault happens any more
        self._groups: dict[str, list[tuple[Process | None, asyncio.Queue[Any]]]] = {}
        self._ids = 0
        self.tasks: set[asyncio.Task[Any]] = set()

    def happens(self, fault: str) -> bool:
        """Return whether a fault happens now, and count it."""
        probability = 0.0 if self.is_calm else self.faults.get(fault, 0.0)
        if self.random.random() >= probability:
            return False
        self.counts[fault] += 1
        return True

    def latency(self) -> float:
        """Return the seconds that a message or statement takes."""
        slow = self.happens("slow")
        return self.random.random() * (SLOW_LATENCY if slow else MAX_LATENCY)

    # -- time -------------------------------------------------------------------------

    def timestamp(self) -> float:
        """Return the simulated Unix time."""
        return EPOCH + self.loop.elapsed

    def now(self) -> dt.datetime:
        """Return the simulated time."""
        return dt.datetime.fromtimestamp(self.timestamp(), dt.UTC)

    def next_id(self) -> uuid.UUID:
        """Return a version 7 UUID of the simulated time."""
        self._ids += 1
        high = int(self.timestamp() * 1_000) << 80
        return uuid.UUID(int=high | 7 << 76 | 2 << 62 | self._ids)

    # -- processes --------------------------------------------------------------------

    def start(
        self, process: Process, work: Callable[[], Coroutine[Any, Any, Any]]
    ) -> asyncio.Task[Any]:
        """Start a task of a process."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, process)
        task = self.loop.create_task(work(), context=context)
        self.tasks.add(task)
        return task

    def crash(self, process: Process) -> None:
        """Crash a process: none of its callbacks executes any more."""
        process.is_alive = False
        self.counts["crash"] += 1
        for child in process.children:  # it notices that its pipe is closed
            if child.is_alive:
                self.loop.call_later(
                    self.latency(), child.on_crash, context=contextvars.Context()
                )

    async def stop_for(self, process: Process, seconds: float) -> None:
        """Execute nothing of a process for some seconds, as between SIGSTOP and SIGCONT."""
        self.counts["stop"] += 1
        process.is_stopped = True
        await asyncio.sleep(seconds)
        process.is_stopped = False
        waiting, process.waiting = process.waiting, []
        for callback, args, context in waiting:
            self.loop.call_soon(callback, *args, context=context)

    # -- network ----------------------------------------------------------------------

    async def send(self, group: str, message: Mapping[str, object]) -> bool:
        """Deliver a message to each member of a group, later or never."""
        for process, queue in self._groups.get(group, []):
            if (process is None or process.is_alive) and not self.happens("message"):
                delay = self.latency()
                free = contextvars.Context()  # a message survives its sender
                self.loop.call_later(delay, queue.put_nowait, message, context=free)
        return True

    @asynccontextmanager
    async def subscribe(self, group: str, **_: object) -> AsyncIterator[Subscription]:
        """Subscribe to the messages of a group."""
        member = (PROCESS.get(), asyncio.Queue[Any]())
        self._groups.setdefault(group, []).append(member)
        yield Subscription(member[1])
        self._groups[group].remove(member)


class Subscription:
    """The messages of a group, without an end."""

    def __init__(self, queue: asyncio.Queue[Any]) -> None:
        self._queue = queue

    async def next(self) -> Mapping[str, Any]:
        """Return the next message."""
        return await self._queue.get()  # type: ignore[no-any-return]
