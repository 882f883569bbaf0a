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
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from uuid import UUID

from channels.consumer import get_handler_name
from django.conf import settings
from django.utils import timezone

from workflows.agents.upstream import pooled
from workflows.engine import Cancellation
from workflows.engine.errors import describe
from workflows.execution import background, queue, tally, workers
from workflows.execution.executor import Executor
from workflows.execution.heartbeat import Blocked, Heartbeat, LoopWatch
from workflows.execution.leases import Overdue
from workflows.execution.node_connections import CleaningThreads
from workflows.execution.writer import Writer
from workflows.infra import clock, metrics, notifications, outages
from workflows.infra.database_threads import close_connections, run_in_db
from workflows.models import Run
from workflows.models import Worker as WorkerRow
from workflows.registry import Registry, registry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.2  # before trying again what failed; doubled up to the last
LAST_PAUSE_SECONDS = 5.0
FIRST_WAKE_SECONDS = 0.01  # at least, between two looks for what is due
REJOIN_SECONDS = 15.0  # of silence, after which a channel layer may have been emptied
RELEASE_SECONDS = 5.0  # for giving runs back at the end, when the database is away


@dataclass(slots=True)
class Held:
    """A run this worker holds."""

    run: Run
    cancellation: Cancellation
    task: asyncio.Task[None]
    was_missed: bool = False  # at the last heartbeat; it may just have ended


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
        self.capacity = capacity or settings.WORKER_CONCURRENCY
        self.draining = False
        self._workflows = workflows
        self._held: dict[UUID, Held] = {}
        self._known = asyncio.Event()
        self._look = asyncio.Event()
        self._waits = asyncio.Event()  # a run of ours began to wait for a moment
        self._claiming = asyncio.Lock()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopped = asyncio.Event()
        self._overdue = Overdue()

    async def run(self) -> None:
        """Work until drained."""
        self._announcer = notifications.announcer()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(CleaningThreads())
        self._writer = Writer(loop, self._announcer.committed)
        self._writer.start()
        self._executor = Executor(
            self._writer,
            draining=lambda: self.draining,
            on_wait=self._waits.set,
            workflows=self._workflows,
        )
        heartbeat = Heartbeat(
            partial(self._beat, loop), partial(self._say_what_failed, "heartbeat")
        )
        watch = LoopWatch(loop, self._say_blocked)
        heartbeat.start()
        watch.start()
        loops = [
            asyncio.create_task(self._supervise(step), name=step.__name__)
            for step in (
                self._register,
                self._listen,
                self._claim,
                self._sweep,
                self._wake,
                self._count,
                self._help,
            )
        ]
        try:
            await self._stopped.wait()
        finally:
            for task in loops:
                task.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self._announcer.drain()
            await pooled().close()
            with ThreadPoolExecutor(
                1
            ) as own:  # nodes may hold all of the loop's threads
                watch.stop()
                await loop.run_in_executor(own, heartbeat.stop)
                await loop.run_in_executor(own, self._writer.stop)
                await self._leave()
                await loop.run_in_executor(own, close_connections)

    async def drain(self, grace_seconds: float | None = None) -> None:
        """Claim nothing more, let nodes finish within the grace period, give runs back.

        1. Runs stop at their next node boundary: they are checkpointed and released.
        2. What is still inside a node when the grace is over is interrupted there and
           released; that node runs again elsewhere.
        3. What cannot be released, because the database is away, is left to its lease.
        """
        grace = settings.DRAIN_SECONDS if grace_seconds is None else grace_seconds
        self.draining = True
        async with self._claiming:
            pass  # a claim that is under way may yet bring runs, to be drained as well
        logger.info("Worker %s drains %d runs.", self.name, len(self._held))
        try:
            await asyncio.wait_for(self._idle.wait(), grace)
        except TimeoutError:
            await self._give_back()
        self._stopped.set()

    async def _give_back(self) -> None:
        """Interrupt what is still inside a node, and release its run.

        A node that does not let itself be interrupted keeps its task for ever: its run is
        released without it, and the process ends without waiting for it.
        """
        held = {ours.task: ours.run for ours in self._held.values()}
        for task in held:
            task.cancel()
        if held:
            _, going = await asyncio.wait(held, timeout=RELEASE_SECONDS)
            self._writer.give_up()
            if going:
                _, going = await asyncio.wait(going, timeout=FIRST_PAUSE_SECONDS)
            releases = [self._executor.release(held[task]) for task in going]
            with suppress(TimeoutError):  # the database is away: their leases will end
                async with asyncio.timeout(RELEASE_SECONDS):
                    await asyncio.gather(*releases)

    # -- what messages ask ------------------------------------------------------------

    def look(self) -> None:
        """Look at the queue soon: a run is pending."""
        self._look.set()

    def cancel(self, run_id: UUID, reason: str = "") -> None:
        """Stop a run at its next await or node boundary, if it is here."""
        if held := self._held.get(run_id):
            held.cancellation.cancel(reason)

    # -- loops ------------------------------------------------------------------------

    async def _supervise(self, step: Callable[[], Awaitable[None]]) -> None:
        """Repeat a step; what fails is tried again, ever more slowly up to a limit."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await step()
                pause = FIRST_PAUSE_SECONDS
            except Exception as error:
                self._say_what_failed(step.__name__.strip("_"), error)
                await asyncio.sleep(pause)
                # never slower than the heartbeat, or others think it has stopped
                pause = min(pause * 2, LAST_PAUSE_SECONDS, settings.HEARTBEAT_SECONDS)

    def _say_what_failed(self, name: str, error: Exception) -> None:
        """Log an outage once, when it begins, and anything else as what it is."""
        if outages.is_crossed(error):
            logger.info("Worker %s: %s was in another's way.", self.name, name)
        elif outage := outages.of(error):
            outage.met(error)
        else:
            logger.error(
                "Worker %s: %s failed; trying again.", self.name, name, exc_info=error
            )

    async def _register(self) -> None:
        await run_in_db(self._register_row)
        self._known.set()
        await asyncio.Event().wait()  # once is enough: the heartbeat keeps it fresh

    async def _listen(self) -> None:
        """Hear nudges on a channel of our own."""
        nudges = WorkerMessages(self)
        async with notifications.subscribe(
            notifications.WORKERS, silence=REJOIN_SECONDS
        ) as ear:
            self.look()  # at what was announced while we did not hear
            while True:
                if message := await ear.next():
                    await nudges.hear(message)

    async def _claim(self) -> None:
        """Take what is pending, then wait for a nudge, a free place or the sweep."""
        await self._known.wait()  # what an earlier process of this name held is let go
        self._look.clear()
        async with self._claiming:
            free = self.capacity - len(self._held)
            if free > 0 and not self.draining:
                runs = await run_in_db(queue.claim, self.name, free)
                metrics.CLAIMS.inc(len(runs))
                for run in runs:
                    self._start(run)
                if len(runs) == free:
                    return  # there may be more, once there is room
        await self._look.wait()

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        """Renew the leases, on the heartbeat's thread; the loop hears what came of it."""
        held = dict(self._held)
        mine = self._renew([*held])
        outages.changes.over()
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self._renewed, held, mine)

    def _renewed(
        self, held: Mapping[UUID, Held], mine: Mapping[UUID, tuple[int, str | None]]
    ) -> None:
        """Drop the runs that are no longer ours, and cancel those that shall be."""
        for run_id, ours in held.items():
            attempt, reason = mine.get(run_id, (None, None))
            if attempt != ours.run.attempt:
                if self._held.get(run_id) is ours and ours.was_missed:
                    self._drop(ours)
                ours.was_missed = True
            elif reason is not None:
                ours.cancellation.cancel(reason)

    def _drop(self, ours: Held) -> None:
        """Stop a run that another worker has; again while its node ignores that."""
        if not ours.task.cancelling():
            logger.error("Worker %s lost its lease on %s.", self.name, ours.run.pk)
            metrics.LEASE_LOSSES.inc()
        ours.task.cancel()

    def _say_blocked(self, blocked: Blocked) -> None:
        """Say what blocks the event loop, here and in the log of each run it holds up."""
        node = f"node {blocked.node} of run {blocked.run_id}" if blocked.run_id else ""
        logger.error(
            "Worker %s: its event loop is blocked by %s, which holds up all runs of this"
            " worker: a node that computes or waits without `await` has to be a sync one.",
            self.name,
            node or "code outside of nodes",
        )
        self._executor.note_blocked(self.name, blocked)

    async def _sweep(self) -> None:
        await asyncio.sleep(settings.POLL_INTERVAL_SECONDS)
        await run_in_db(queue.sweep, self._lost)
        self.look()

    async def _wake(self) -> None:
        """Wake what is due, then wait until the next is, or a run begins to wait.

        What another worker's runs wait for is looked up as often as the sweep comes.
        """
        self._waits.clear()
        seconds = await run_in_db(queue.wake_due)
        self.look()
        until = settings.POLL_INTERVAL_SECONDS if seconds is None else seconds
        until = min(max(until, FIRST_WAKE_SECONDS), settings.POLL_INTERVAL_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._waits.wait(), until)

    async def _count(self) -> None:
        """Count the runs that ended, in turns with the other workers."""
        await asyncio.sleep(settings.POLL_INTERVAL_SECONDS)
        await run_in_db(tally.count_due)

    async def _help(self) -> None:
        """Do some of what was asked for beside runs: a deed on many of them."""
        if self.draining or not await run_in_db(background.do_some, self.name):
            await asyncio.sleep(settings.POLL_INTERVAL_SECONDS)

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
            said = describe(error)
            logger.error("Run %s ended its task: %s", run.pk, said, exc_info=error)

    async def _leave(self) -> None:
        """Say goodbye; a heartbeat that stops says it too, if the database is away."""
        try:
            await run_in_db(self._deregister_row)
        except Exception as error:
            if not outages.is_away(error):
                raise
            logger.warning("Worker %s left without a goodbye: %s", self.name, error)

    # -- rows (called on database threads) --------------------------------------------

    def _lost(self, expired: Iterable[Run]) -> Iterable[Run]:
        """Return the runs that nobody holds any more; what is held here is not lost."""
        held = {(run_id, ours.run.attempt) for run_id, ours in [*self._held.items()]}
        others = (run for run in expired if (run.pk, run.attempt) not in held)
        return self._overdue.lost(others)

    def _register_row(self) -> None:
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
                "heartbeat_at": clock.in_seconds(0),
                "stopped_at": None,
            },
        )

    def _renew(self, held: list[UUID]) -> dict[UUID, tuple[int, str | None]]:
        WorkerRow.objects.filter(name=self.name).update(
            heartbeat_at=clock.in_seconds(0), running=len(held)
        )
        return queue.renew(self.name, held) if held else {}

    def _deregister_row(self) -> None:
        WorkerRow.objects.filter(name=self.name).update(
            stopped_at=timezone.now(), running=0
        )


class WorkerMessages:
    """The worker's ear: a message's type names the method. Each returns at once.

    A consumer of Channels would look for old database connections before each message,
    on another thread; the ear has none.
    """

    def __init__(self, worker: Worker) -> None:
        """Take the worker that listens."""
        self._worker = worker

    async def hear(self, message: dict[str, Any]) -> None:
        """Do what a message asks. Raises ValueError for one of another type."""
        name = get_handler_name(message)
        if name not in {"runs_pending", "run_cancel"}:
            raise ValueError(f"Nobody here knows the message {message['type']!r}.")
        await getattr(self, name)(message)

    async def runs_pending(self, _message: Mapping[str, str]) -> None:
        """Look at the queue."""
        self._worker.look()

    async def run_cancel(self, message: Mapping[str, str]) -> None:
        """Stop a run, if it is here; the reason is on its row."""
        run_id = UUID(message["run"])
        self._worker.cancel(run_id, await run_in_db(_cancel_reason, run_id))


def _cancel_reason(run_id: UUID) -> str:
    reason = Run.objects.filter(pk=run_id).values_list("cancel_reason", flat=True)
    return reason.first() or ""
