"""A worker: claims runs, runs each as a task, keeps their leases, and goes in order.

Guarantee: a run that a worker holds is either going on, or its lease runs out and any
other worker takes it from its last checkpoint. The worker's own heartbeat finds out
when that happened to it, and then it drops the run without writing anything more.

Messages are nudges ("look at the queue", "stop that run"); each handler does little and
returns, since Channels delivers one message at a time. A sweep every few seconds finds
whatever a lost message left behind.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING
from uuid import UUID

from channels.consumer import AsyncConsumer
from channels.layers import get_channel_layer
from django.conf import settings
from django.utils import timezone

from workflows.engine import Cancellation
from workflows.execution import live, queue, workers
from workflows.execution.database import close_connections, in_database
from workflows.execution.executor import Executor
from workflows.execution.writer import Writer
from workflows.models import Run
from workflows.models import Worker as WorkerRow
from workflows.registry import Registry, registry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.2  # before trying again what failed; doubled up to the last
LAST_PAUSE_SECONDS = 10.0


@dataclass(slots=True)
class Held:
    """A run this worker holds."""

    run: Run
    cancellation: Cancellation
    task: asyncio.Task[None]


class Worker:
    """Runs up to `capacity` runs at once on the event loop it is started on."""

    def __init__(
        self,
        name: str | None = None,
        capacity: int | None = None,
        *,
        workflows: Registry = registry,
    ) -> None:
        """Take a name that no other living worker has (default: host and process)."""
        # a process id comes again after a restart; a name must not
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{token_hex(2)}"
        self.capacity = capacity or settings.WORKER_CAPACITY
        self.draining = False
        self._workflows = workflows
        self._held: dict[UUID, Held] = {}
        self._known = asyncio.Event()
        self._look = asyncio.Event()
        self._claiming = asyncio.Lock()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopped = asyncio.Event()
        self._announcer = live.Announcer()

    async def run(self) -> None:
        """Work until drained."""
        self._writer = Writer(asyncio.get_running_loop(), self._announcer.committed)
        self._writer.start()
        self._executor = Executor(
            self._writer, draining=lambda: self.draining, workflows=self._workflows
        )
        loops = [
            asyncio.create_task(self._forever(step), name=step.__name__)
            for step in (
                self._register,
                self._listen,
                self._claim,
                self._beat,
                self._sweep,
            )
        ]
        try:
            await self._stopped.wait()
        finally:
            for task in loops:
                task.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self._announcer.drain()
            await asyncio.to_thread(self._writer.stop)
            await in_database(self._say_goodbye)
            await asyncio.to_thread(close_connections)

    async def drain(self, grace_seconds: float | None = None) -> None:
        """Claim nothing more, let nodes finish within the grace period, give runs back.

        1. Runs stop at their next node boundary: they are checkpointed and released.
        2. What is still inside a node when the grace is over is interrupted there and
           released; that node runs again elsewhere.
        """
        grace = settings.DRAIN_SECONDS if grace_seconds is None else grace_seconds
        self.draining = True
        async with self._claiming:
            pass  # a claim that is under way may yet bring runs, to be drained as well
        logger.info("Worker %s drains %d runs.", self.name, len(self._held))
        try:
            await asyncio.wait_for(self._idle.wait(), grace)
        except TimeoutError:
            tasks = [held.task for held in self._held.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._stopped.set()

    # -- what messages ask ------------------------------------------------------------

    def look(self) -> None:
        """Look at the queue soon: a run is pending."""
        self._look.set()

    def cancel(self, run_id: UUID, reason: str = "") -> None:
        """Stop a run at its next await or node boundary, if it is here."""
        if held := self._held.get(run_id):
            held.cancellation.cancel(reason)

    # -- loops ------------------------------------------------------------------------

    async def _forever(self, step: Callable[[], Awaitable[None]]) -> None:
        """Repeat a step; what fails is logged once and tried again, ever more slowly."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await step()
                pause = FIRST_PAUSE_SECONDS
            except Exception:
                logger.exception(
                    "Worker %s: %s failed; again in %.1f s.",
                    self.name,
                    step.__name__.strip("_"),
                    pause,
                )
                await asyncio.sleep(pause)
                pause = min(pause * 2, LAST_PAUSE_SECONDS)

    async def _register(self) -> None:
        await in_database(self._say_hello)
        self._known.set()
        await asyncio.Event().wait()  # once is enough: the heartbeat keeps it fresh

    async def _listen(self) -> None:
        """Hear nudges on a channel of our own; the consumer's methods are the table."""
        layer = get_channel_layer()
        if layer is None:
            await asyncio.Event().wait()
            return
        channel = await layer.new_channel()
        await layer.group_add(live.WORKERS, channel)
        consumer = Nudges(self)
        try:
            while True:
                await consumer.dispatch(await layer.receive(channel))
        finally:
            await layer.group_discard(live.WORKERS, channel)

    async def _claim(self) -> None:
        """Take what is pending, then wait for a nudge, a free place or the sweep."""
        await self._known.wait()  # what an earlier process of this name held is let go
        self._look.clear()
        async with self._claiming:
            free = self.capacity - len(self._held)
            if free > 0 and not self.draining:
                runs = await in_database(queue.claim, self.name, free)
                for run in runs:
                    self._start(run)
                if len(runs) == free:
                    return  # there may be more, once there is room
        await self._look.wait()

    async def _beat(self) -> None:
        """Renew the leases; drop the runs that are no longer ours, hear of cancels."""
        held = dict(self._held)
        mine = await in_database(self._renew, list(held))
        for run_id, ours in held.items():
            attempt, reason = mine.get(run_id, (None, None))
            if attempt != ours.run.attempt:
                if self._held.get(run_id) is ours:
                    logger.error("Worker %s lost its lease on %s.", self.name, run_id)
                    ours.task.cancel()
            elif reason is not None:
                ours.cancellation.cancel(reason)
        await asyncio.sleep(settings.HEARTBEAT_SECONDS)

    async def _sweep(self) -> None:
        await asyncio.sleep(settings.SWEEP_SECONDS)
        await in_database(queue.sweep)
        self.look()

    # -- runs -------------------------------------------------------------------------

    def _start(self, run: Run) -> None:
        """Start a claimed run as a task and return at once."""
        cancellation = Cancellation()
        if run.cancel_requested_at is not None:
            cancellation.cancel(run.cancel_reason)
        if before := self._held.get(run.pk):
            before.task.cancel()  # an attempt of ours whose lease ran out
        task = asyncio.create_task(
            self._executor.run(run, cancellation), name=f"run {run.pk}"
        )
        self._held[run.pk] = Held(run, cancellation, task)
        self._idle.clear()
        task.add_done_callback(lambda done: self._ended(run, done))
        self._announcer.committed({run.pk: run.version})

    def _ended(self, run: Run, task: asyncio.Task[None]) -> None:
        held = self._held.get(run.pk)
        if held is not None and held.task is task:
            del self._held[run.pk]
        if not self._held:
            self._idle.set()
        self.look()
        if not task.cancelled() and (error := task.exception()):
            logger.error("Run %s ended its task: %r", run.pk, error, exc_info=error)

    # -- rows (called on database threads) --------------------------------------------

    def _say_hello(self) -> None:
        gone = [self.name, *workers.gone_from_this_host()]
        Run.objects.filter(worker__in=gone).expire()
        WorkerRow.objects.filter(name__in=gone).update(stopped_at=timezone.now())
        WorkerRow.objects.update_or_create(
            name=self.name,
            defaults={
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "capacity": self.capacity,
                "running": 0,
                "started_at": timezone.now(),
                "heartbeat_at": timezone.now(),
                "stopped_at": None,
            },
        )

    def _renew(self, held: list[UUID]) -> dict[UUID, tuple[int, str | None]]:
        WorkerRow.objects.filter(name=self.name).update(
            heartbeat_at=timezone.now(), running=len(held)
        )
        return queue.renew(self.name, held) if held else {}

    def _say_goodbye(self) -> None:
        WorkerRow.objects.filter(name=self.name).update(
            stopped_at=timezone.now(), running=0
        )


class Nudges(AsyncConsumer):
    """The worker's ear: a message's type names the method. Each returns at once."""

    def __init__(self, worker: Worker) -> None:
        """Take the worker that listens."""
        super().__init__()
        self._worker = worker

    async def runs_pending(self, _message: Mapping[str, str]) -> None:
        """Look at the queue."""
        self._worker.look()

    async def run_cancel(self, message: Mapping[str, str]) -> None:
        """Stop a run, if it is here; the reason is on its row."""
        run_id = UUID(message["run"])
        self._worker.cancel(run_id, await in_database(_cancel_reason, run_id))


def _cancel_reason(run_id: UUID) -> str:
    reason = Run.objects.filter(pk=run_id).values_list("cancel_reason", flat=True)
    return reason.first() or ""
