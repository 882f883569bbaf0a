"""Suspects: runs whose worker was lost, each executed in a child process of a worker.

The worker holds them like its other runs, and their rows have its name. The child writes
the records and, as soon as it is ready, renews the lease. When the child ends without an end of
the attempt, the run has ended it, and is charged (`recovery.py`).

Suspicion is lifted when a step was completed: the child gives the run back to the queue,
and any worker continues it in its own process. A run whose processes were lost more than
once stays in the child until it ends or waits.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

from django.conf import settings

from workflows.execution import child_groups, limited_claims, recovery
from workflows.execution.child_process import ChildProcess
from workflows.infra import process_metrics
from workflows.infra.database_threads import run_in_db, run_in_db_retrying
from workflows.models import Run, Status, Suspicion
from workflows.registry import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from workflows.engine import Cancellation
    from workflows.engine.process_limits import ProcessEnd
    from workflows.execution.run_tasks import HeldRun, HeldRuns
    from workflows.registry import Registry

    OnVersions = Callable[[dict[UUID, int]], None]

logger = logging.getLogger(__name__)

CANCEL_SECONDS = 10.0  # for a node to end after a cancel, before its process is ended
START_PAUSE_SECONDS = 5.0  # after a child that could not start


class SuspectProcesses:
    """Claims suspects for a worker, and executes each in a child process."""

    def __init__(
        self, worker: str, held: HeldRuns, workflows: Registry, *, is_used: bool = True
    ) -> None:
        """`is_used` is False for workflows that a child process does not have."""
        self._workflows = workflows
        self.is_used = is_used
        self._worker = worker
        self._held = held
        self._children: set[ChildProcess] = set()
        self.is_due = False  # a suspect may be pending
        self._is_draining = False

    def claim(self, free: int) -> list[Run]:
        """Claim suspects for at most so many free slots; call it on a database thread.

        A suspect that has to be alone is claimed when no other is held here, and until
        then no further one.
        """
        pending = Run.objects.filter(status=Status.PENDING, suspicion__gt=0)
        found = set(pending.order_by().values_list("suspicion", flat=True).distinct())
        self.is_due = bool(found)
        suspicion, slots = self._next_claim(found)
        slots = min(free, slots)
        if slots <= 0:
            return []
        return limited_claims.claim(
            self._worker, slots, self._workflows, suspicion
        ).runs

    def _next_claim(self, pending: set[int]) -> tuple[Suspicion, int]:
        """Return which suspects to claim next, and how many."""
        held = [run.suspicion for run in self._held_suspects()]
        if Suspicion.ALONE in held:
            return Suspicion.ALONE, 0
        if Suspicion.ALONE in pending:
            return Suspicion.ALONE, 0 if held else 1
        slots = settings.SUSPECT_PROCESSES - len(held) if pending else 0
        return Suspicion.SUSPECT, slots

    def renewed_here(self, held: Mapping[UUID, HeldRun]) -> dict[UUID, HeldRun]:
        """Return the held runs whose leases no child renews; call it from any thread."""
        children = {child.run.pk for child in [*self._children] if child.is_ready}
        return {run_id: item for run_id, item in held.items() if run_id not in children}

    def drain(self) -> None:
        """Let all children release their runs before the next node."""
        self._is_draining = True
        for child in [*self._children]:
            child.drain()

    async def execute(
        self, run: Run, cancellation: Cancellation, on_versions: OnVersions
    ) -> None:
        """Execute a claimed suspect in a child process until its attempt has an end.

        `on_versions` is called in another thread. If the task is cancelled, the child is
        ended and the run released.
        """
        child = ChildProcess(run, lambda version: on_versions({run.pk: version}))
        process_metrics.SUSPECTS.inc()
        self._children.add(child)
        try:
            child.start()
            if self._is_draining:
                child.drain()
            end = await _wait_for(child, cancellation)
            await self._settle(run, child, end)
        except asyncio.CancelledError:
            child.kill()
            await asyncio.shield(_requeue_killed(run, child))
            raise
        finally:
            self._children.discard(child)
            self.is_due = True

    async def _settle(
        self, run: Run, child: ChildProcess, end: ProcessEnd | OSError
    ) -> None:
        if isinstance(end, OSError) or not child.is_ready:
            if await run_in_db_retrying(recovery.requeue_stopped, run):
                logger.error(
                    "Run %s goes back to the queue: its process did not start (%s).",
                    run.pk,
                    end,
                )
                await asyncio.sleep(START_PAUSE_SECONDS)
        elif await run_in_db_retrying(recovery.settle_child, run, end):
            process_metrics.SUSPECT_DEATHS.inc()
            logger.error("The process of run %s ended with %s.", run.pk, end)
        if run.parent_id is not None:
            await run_in_db_retrying(child_groups.child_ended, run.pk, registry)

    def _held_suspects(self) -> list[Run]:
        held = self._held.snapshot().values()
        return [item.run for item in held if item.run.suspicion]


async def _wait_for(
    child: ChildProcess, cancellation: Cancellation
) -> ProcessEnd | OSError:
    """Return how the child ended, or why it could not start; end it after a cancel."""
    timers: list[threading.Timer] = []

    def cancel(cancelled: Cancellation) -> None:
        child.cancel(cancelled.reason)
        timers.append(threading.Timer(CANCEL_SECONDS, child.kill))
        timers[-1].daemon = True
        timers[-1].start()

    try:
        with cancellation.subscribed(cancel):
            # shielded: a cancelled task must not cancel what the thread will set
            return await asyncio.shield(asyncio.wrap_future(child.ended))
    except OSError as error:
        return error
    finally:
        for timer in timers:
            timer.cancel()


async def _requeue_killed(run: Run, child: ChildProcess) -> None:
    """Return the run to the queue once its child, which was killed, has ended."""
    try:
        await asyncio.wrap_future(child.ended)
    except OSError as error:
        logger.warning("The process of run %s did not start: %s", run.pk, error)
    try:
        await run_in_db(recovery.requeue_stopped, run)
    except Exception as error:
        logger.warning(
            "Run %s was not released (%s): its lease will expire.", run.pk, error
        )
