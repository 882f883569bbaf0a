"""Runs for the free slots of a worker: claimed from the queue, or in their launch.

The queue is asked only when it may have a run: after a message, after the sweep, and when
a slot is free again and the claim before it left something, or a run of this worker ended
its attempt without an end of the run.

A launch in a thread of this process may insert its run as claimed by this worker
(`launch_commits.py`). It reserves a slot first, and gives the run to the worker's event loop
after the commit.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from workflows.execution import blocked_run_ends, limited_claims, queue
from workflows.execution.local_workers import local_workers
from workflows.execution.worker_slots import Slots
from workflows.infra import process_metrics
from workflows.infra.database_threads import run_in_db, run_in_db_retrying

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workflows.execution import sql
    from workflows.execution.suspects import SuspectProcesses
    from workflows.models import Run
    from workflows.registry import AnyWorkflow, Registry

CLOCK_SECONDS = 0.005  # a timer may ring that much before the clock of the time
RECHECK_SECONDS = 0.05  # before limits that were due are checked again
UNCONFIRMED = "The connection to the database was lost while the run was launched."


class Claims:
    """Takes runs for one worker. Called on its event loop, unless a method says otherwise."""

    def __init__(
        self,
        worker: str,
        slots: Slots,
        suspects: SuspectProcesses,
        workflows: Registry,
        start: Callable[[Sequence[Run]], None],
    ) -> None:
        """`start` executes claimed runs: it returns when they are held."""
        self.name = worker
        self._slots = slots
        self._suspects = suspects
        self._workflows = workflows
        self._start_runs = start
        self._woken = asyncio.Event()  # the queue has to be checked
        self._is_due = True  # it may have runs for free slots
        self._limits_due_at: float | None = None  # Unix time; of runs with limits
        self._limits_timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Accept launches of this process from now on."""
        self._loop = asyncio.get_running_loop()
        local_workers.add(self)

    async def close(self) -> None:
        """Take no more runs; return when those that are being claimed are held."""
        local_workers.remove(self)
        self._expect_limits(None)
        await self._slots.close()

    def wake(self) -> None:
        """Check the queue now: a run may be pending."""
        self._is_due = True
        self._woken.set()

    def expect(self) -> None:
        """Check the queue when a slot is free: a run may be pending. Thread-safe."""
        self._is_due = True

    def free_slot(self) -> None:
        """Check the queue if it may have a run for the slot that is free now."""
        if self._is_due or self._suspects.is_due:
            self._woken.set()

    async def claim(self) -> None:
        """Claim pending runs, then wait for a message, a free slot or the sweep."""
        self._woken.clear()
        free = self._slots.reserve_for_claim()
        try:
            if free and await self._claim(free):
                return
        finally:
            self._slots.end_reservation(free)
        await self._woken.wait()

    async def _claim(self, free: int) -> bool:
        """Claim and start up to `free` runs; return whether another claim may bring more.

        Suspects go first once a claim has seen some. A claim that brought nothing is not
        repeated at once: other workers have locked the runs, which are probably theirs.
        """
        suspects: list[Run] = []
        if self._suspects.is_due:
            suspects = await run_in_db(self._suspects.claim, free)
            self._start(suspects)
        if len(suspects) == free:
            return True
        self._is_due = False  # a message in the meantime sets it again
        has_limits = self._are_limits_due()
        try:
            claimed = await run_in_db(
                self._claim_next, free - len(suspects), has_limits
            )
        except BaseException:
            self._is_due = True
            raise
        self._start(claimed.runs)
        self._expect_limits(claimed.limits_due_at)
        if claimed.has_more:
            self._is_due = True
        if self._are_limits_due():
            self._is_due = True
            if not has_limits or claimed.runs:
                return True
        if claimed.has_suspects and not self._suspects.is_due:
            self._suspects.is_due = True
            return True
        return claimed.has_more and bool(claimed.runs)

    def _claim_next(self, limit: int, has_limits: bool) -> sql.Claimed:
        """Claim runs on a database thread; those with limits once a claim has seen some."""
        if has_limits:
            return limited_claims.claim(self.name, limit, self._workflows)
        return queue.claim(self.name, limit)

    def _are_limits_due(self) -> bool:
        return self._limits_due_at is not None and self._limits_due_at <= time.time()

    def _expect_limits(self, due_at: float | None) -> None:
        """Check the queue at this time: the limits of a run may permit it to start."""
        self._limits_due_at = due_at
        if self._limits_timer is not None:
            self._limits_timer.cancel()
            self._limits_timer = None
        if due_at is not None:
            # due already: the clock of the database is late, or there is no slot
            delay = max(due_at - time.time() + CLOCK_SECONDS, RECHECK_SECONDS)
            loop = asyncio.get_running_loop()
            self._limits_timer = loop.call_later(delay, self.wake)

    def _start(self, runs: Sequence[Run]) -> None:
        process_metrics.CLAIMS.inc(len(runs))
        self._start_runs(runs)

    # -- launches, in their threads --------------------------------------------------------

    def executes(self, workflow: AnyWorkflow) -> bool:
        """Return whether the worker would execute the runs of exactly this workflow."""
        return self._workflows.find(workflow.name) is workflow

    def reserve(self, count: int) -> int | None:
        """Reserve so many slots; return how many more are free, None if there are too few."""
        return self._slots.reserve_for_launches(count)

    def end_reservation(self, count: int) -> None:
        """End the reservation of slots for which no run was claimed."""
        if count:
            self._slots.end_reservation(count)
            with suppress(RuntimeError):  # the worker has ended
                self._loop.call_soon_threadsafe(self.free_slot)

    def start_launched(self, runs: Sequence[Run]) -> None:
        """Execute runs that were inserted as claimed by the worker, each with a slot."""
        if runs:
            with suppress(
                RuntimeError
            ):  # the worker has ended: their leases will expire
                self._loop.call_soon_threadsafe(self._start_launched, runs)

    def _start_launched(self, runs: Sequence[Run]) -> None:
        self._start(runs)
        self._slots.end_reservation(len(runs))

    def release_unconfirmed(self, runs: Sequence[Run]) -> None:
        """Release runs whose commit may have failed, once the database responds again.

        Otherwise their leases would expire first, and they would become suspects.
        """
        releasing = run_in_db_retrying(blocked_run_ends.withdraw, runs, UNCONFIRMED)
        try:
            asyncio.run_coroutine_threadsafe(releasing, self._loop)
        except RuntimeError:  # the worker has ended: the leases will expire
            releasing.close()
