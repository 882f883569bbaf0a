"""A worker: claims runs, executes each as a task, renews their leases, and drains.

Guarantee: a run that a worker holds either makes progress, or its lease expires and any
other worker continues it from its last checkpoint. The worker's own heartbeat notices when
that happened, and then the worker drops the run without writing anything more.

A message may be lost: a sweep every few seconds finds what it would have announced.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import suppress
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING

from django.conf import settings

from workflows.engine import item_places
from workflows.execution import (
    background_tasks,
    blocked_run_ends,
    child_groups,
    hourly_counts,
    queue,
    workers,
)
from workflows.execution.claims import Claims
from workflows.execution.executor import Executor
from workflows.execution.heartbeat import Heartbeat
from workflows.execution.leases import Overdue
from workflows.execution.local_workers import local_workers
from workflows.execution.run_tasks import HeldRuns
from workflows.execution.suspects import SuspectProcesses
from workflows.execution.worker_loops import NodeLoops
from workflows.execution.worker_messages import WorkerMessages
from workflows.execution.worker_slots import Slots
from workflows.execution.writer import Writer
from workflows.infra import notifications, outages
from workflows.infra.database_threads import (
    close_connections,
    run_in_db,
    run_in_db_retrying,
)
from workflows.registry import Registry, registry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from uuid import UUID

    from workflows.engine import Cancellation
    from workflows.execution.run_tasks import HeldRun
    from workflows.models import Run

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.2  # before a failed step is repeated; doubled up to the last
LAST_PAUSE_SECONDS = 5.0
MIN_WAKE_SECONDS = 0.01  # between two checks for runs that are due
REJOIN_SECONDS = 15.0  # without a message: the channel layer may have been emptied
RELEASE_SECONDS = 5.0  # for the release of runs at the end, when the database is away


class Worker:
    """Executes up to `capacity` runs at once, on a node loop in a thread of its own.

    Its methods are called on the event loop it is started on, which executes no author code.
    """

    def __init__(
        self,
        name: str | None = None,
        capacity: int | None = None,
        *,
        workflows: Registry = registry,
        on_run_ended: Callable[[Run], None] = lambda _run: None,
    ) -> None:
        """Take a name that no other living worker has (default: host and process).

        `on_run_ended` is called on the worker's event loop when it holds a run no longer:
        its last record is committed, or its lease is lost.
        """
        # a process id is reused after a restart; a name must not be
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{token_hex(2)}"
        self.capacity = capacity or settings.WORKER_CONCURRENCY
        self.draining = False
        self._workflows = workflows
        self._on_run_ended = on_run_ended
        self._held = HeldRuns(self.name, self._execute, on_ended=self._end)
        self._overdue = Overdue()
        # a child process has the workflows of the installed apps only
        self._suspects = SuspectProcesses(
            self.name, self._held, workflows, is_used=workflows is registry
        )
        slots = Slots(self.capacity, self._slots_in_use)
        self._claims = Claims(self.name, slots, self._suspects, workflows, self._start)
        self._registered = asyncio.Event()
        self._waits = asyncio.Event()  # a run held here began to wait for a time
        self._stopped = asyncio.Event()
        self._is_full = False  # of code whose runs have ended

    async def run(self) -> None:
        """Work until drained."""
        self._announcer = notifications.announcer()
        loop = asyncio.get_running_loop()
        self._announce = partial(self._announcer.committed_in_thread, loop)
        self._writer = Writer(self._announce)
        self._writer.start()
        self._executor = Executor(
            self._writer,
            draining=lambda: self.draining,
            on_wait=partial(self._check_waits, loop),
            workflows=self._workflows,
        )
        self._nodes = NodeLoops(
            self.name,
            self._held,
            self._executor,
            self._writer,
            partial(self._announce_hold, loop),
        )
        heartbeat = Heartbeat(
            partial(self._heartbeat, loop), partial(self._log_failure, "heartbeat")
        )
        heartbeat.start()
        steps = (
            self._register,
            self._listen,
            self._claim,
            self._sweep,
            self._wake_due,
            self._housekeep,
            self._run_background,
        )
        loops = [
            asyncio.create_task(self._supervise(step), name=step.__name__)
            for step in steps
        ]
        try:
            await self._stopped.wait()
        finally:
            local_workers.remove(self._claims)
            for task in loops:
                task.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self._nodes.stop()
            await asyncio.to_thread(item_places.close)
            await asyncio.to_thread(heartbeat.stop)
            await asyncio.to_thread(self._writer.stop)
            await self._announcer.drain()
            await self._deregister()
            await asyncio.to_thread(close_connections)

    async def drain(self, grace_seconds: float | None = None) -> None:
        """Claim nothing more, let nodes finish within the grace period, release the runs.

        1. Runs stop at their next node boundary: they are checkpointed and released.
        2. A node that still works after the grace period is interrupted and its run
           released; another worker executes that node again.
        3. Runs that cannot be released, because the database is away, are left to the
           expiry of their leases.
        """
        grace = settings.DRAIN_SECONDS if grace_seconds is None else grace_seconds
        self.draining = True
        await self._claims.close()  # what it claims meanwhile is drained as well
        logger.info("Worker %s drains %d runs.", self.name, len(self._held))
        self._suspects.drain()
        try:
            await asyncio.wait_for(self._held.wait_until_idle(), grace)
        except TimeoutError:
            await self._interrupt()
        self._stopped.set()

    async def _interrupt(self) -> None:
        """Interrupt the nodes that still work, and release their runs.

        The task of a node that ignores its cancellation never ends, and that of a blocked
        loop is not reached: their runs are released without them, and the process ends
        without waiting for them.
        """
        held = [*self._held.snapshot().values()]
        for item in held:
            item.interrupt()
        if held:
            pending = await self._wait_for_ends(held, RELEASE_SECONDS)
            self._writer.stop_retrying()
            pending = await self._wait_for_ends(pending, FIRST_PAUSE_SECONDS)
            with suppress(TimeoutError):  # the database is away: the leases will expire
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._release(pending)

    async def _wait_for_ends(
        self, items: Sequence[HeldRun], seconds: float
    ) -> list[HeldRun]:
        """Return the runs whose task has not ended after that time."""
        if items:
            await asyncio.wait([item.ended for item in items], timeout=seconds)
        return [item for item in items if not item.ended.done()]

    async def _release(self, items: Sequence[HeldRun]) -> None:
        for item in items:
            logger.error(
                "Run %s is released although its node still works: it ignores that it is"
                " cancelled, or its event loop is blocked.",
                item.run.pk,
            )
        if items:
            runs = [item.run for item in items]
            await run_in_db_retrying(blocked_run_ends.release, runs, "")

    def wake(self) -> None:
        """Check the queue now: a run may be pending."""
        self._claims.wake()

    def _end(self, run: Run) -> None:
        self._on_run_ended(run)
        self._claims.free_slot()

    def cancel(self, run_id: UUID, reason: str = "") -> None:
        """Cancel a run at its next await or node boundary, if it is held here."""
        self._held.cancel(run_id, reason)

    # -- loops ------------------------------------------------------------------------

    async def _supervise(self, step: Callable[[], Awaitable[None]]) -> None:
        """Repeat a step; pause after failures, longer each time up to a limit."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await step()
                pause = FIRST_PAUSE_SECONDS
            except Exception as error:
                self._log_failure(step.__name__.strip("_"), error)
                await asyncio.sleep(pause)
                # at most a heartbeat, or other workers believe this one has stopped
                pause = min(pause * 2, LAST_PAUSE_SECONDS, settings.HEARTBEAT_SECONDS)

    def _log_failure(self, name: str, error: Exception) -> None:
        """Log an outage once, when it begins, and any other error each time."""
        if outages.is_conflict(error):
            logger.info(
                "Worker %s: %s conflicted with another transaction.", self.name, name
            )
        elif outage := outages.of(error):
            outage.report_failure(error)
        else:
            logger.error(
                "Worker %s: %s failed; retrying.", self.name, name, exc_info=error
            )

    async def _register(self) -> None:
        await run_in_db(workers.register, self.name, self.capacity)
        self._registered.set()
        self._claims.open()
        await asyncio.Event().wait()  # once is enough: the heartbeat keeps it fresh

    async def _listen(self) -> None:
        """Handle the messages to workers, on an own channel."""
        messages = WorkerMessages(self)
        async with notifications.subscribe(
            notifications.WORKERS, silence=REJOIN_SECONDS
        ) as subscription:
            self.wake()  # for what was announced before the subscription
            while True:
                if message := await subscription.next():
                    await messages.handle_message(message)

    async def _claim(self) -> None:
        """Claim pending runs, then wait for a message, a free slot or the sweep."""
        # the leases of an earlier process of this name have to be expired first
        await self._registered.wait()
        self._check_for_lost_slots()
        await self._claims.claim()

    def _start(self, runs: Sequence[Run]) -> None:
        for run in runs:
            self._held.start(run, self._nodes.current)
            self._announcer.committed({run.pk: None})

    def _slots_in_use(self) -> int:
        """Return the slots of runs, and of code without one; call it from any thread.

        Code that ignores its timeout or blocks its loop takes the slot of its run for as
        long as it works.
        """
        return len(self._held) + self._nodes.occupied_slots()

    def _check_for_lost_slots(self) -> None:
        """Log when code without a run takes all slots."""
        is_full = self._nodes.occupied_slots() >= self.capacity
        if is_full and not self._is_full:
            logger.error(
                "Worker %s claims no more runs: all of its %d slots are taken by nodes that"
                " ignore their timeout or cancellation. Restart it.",
                self.name,
                self.capacity,
            )
        self._is_full = is_full

    async def _sweep(self) -> None:
        await asyncio.sleep(settings.POLL_INTERVAL_SECONDS)
        await run_in_db(queue.sweep, self._lost)
        await run_in_db(child_groups.sweep, self._workflows)
        self.wake()

    async def _wake_due(self) -> None:
        """Wake the runs that are due, then wait until the next is, or a run begins to wait.

        The waits of other workers' runs are read as often as the sweep runs.
        """
        self._waits.clear()
        woken, seconds = await run_in_db(queue.wake_due)
        if woken:
            self.wake()
        delay = settings.POLL_INTERVAL_SECONDS if seconds is None else seconds
        delay = min(max(delay, MIN_WAKE_SECONDS), settings.POLL_INTERVAL_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._waits.wait(), delay)

    async def _housekeep(self) -> None:
        """Count the runs that ended; one worker at a time does."""
        await asyncio.sleep(settings.POLL_INTERVAL_SECONDS)
        await run_in_db(hourly_counts.count_due)

    async def _run_background(self) -> None:
        """Run a part of each background task, such as a bulk operation."""
        if self.draining or not await run_in_db(background_tasks.run_tasks, self.name):
            await asyncio.sleep(settings.POLL_INTERVAL_SECONDS)

    def _check_waits(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read again when the next run is due; called on a node loop."""
        with suppress(RuntimeError):  # the worker has ended
            loop.call_soon_threadsafe(self._waits.set)

    # -- runs -------------------------------------------------------------------------

    async def _execute(self, run: Run, cancellation: Cancellation) -> None:
        has_ended = False
        try:
            if run.suspicion and self._suspects.is_used:
                await self._suspects.execute(run, cancellation, self._announce)
            else:
                has_ended = await self._executor.run(run, cancellation)
        finally:
            # the run, or a child of it, may be pending, or its slot within a limit is free
            if not has_ended or run.limit_key is not None:
                self._claims.expect()

    def _lost(self, expired: Iterable[Run]) -> Iterable[Run]:
        """Return the runs that no worker holds any more; called on a database thread."""
        return self._overdue.lost(self._held.not_held(expired))

    def _heartbeat(self, loop: asyncio.AbstractEventLoop) -> None:
        """Renew the leases, on the heartbeat's thread; the loop applies the result."""
        held = self._held.snapshot()
        holds, changed = self._nodes.refresh()
        in_use = len(held) + self._nodes.occupied_slots()
        workers.record_heartbeat(self.name, in_use, self.capacity, holds)
        if changed:
            self._announcer.committed_in_thread(loop, dict.fromkeys(changed))
        held = self._suspects.renewed_here(held)
        fences = {run_id: item.run.fence for run_id, item in held.items()}
        renewed = queue.renew(self.name, fences) if held else {}
        outages.changes.report_success()
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self._held.apply_renewal, held, renewed)
            if changed:
                loop.call_soon_threadsafe(self._claims.free_slot)

    def _announce_hold(
        self, loop: asyncio.AbstractEventLoop, run_ids: Iterable[UUID]
    ) -> None:
        """Store now what holds the worker up, then have the pages of these runs show it."""

        async def announce() -> None:
            await run_in_db(workers.record_holds, self.name, self._nodes.holds())
            self._announcer.committed(dict.fromkeys(run_ids))

        with suppress(RuntimeError):  # the worker has ended
            asyncio.run_coroutine_threadsafe(announce(), loop)

    async def _deregister(self) -> None:
        """Store that the worker has stopped; without a database its heartbeat shows it."""
        try:
            await run_in_db(workers.deregister, self.name)
        except Exception as error:
            if not outages.is_unavailable(error):
                raise
            logger.warning(
                "Worker %s stopped without deregistering: %s", self.name, error
            )
