"""The runs that a worker holds, each with its task."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workflows.engine import Cancellation
from workflows.infra import process_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
    from typing import Any
    from uuid import UUID

    from workflows.execution.node_loop import Execution, NodeLoop
    from workflows.models import Run

    Execute = Callable[[Run, Cancellation], Coroutine[Any, Any, None]]

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class HeldRun:
    """A run, its task on a node loop, and how to cancel it."""

    run: Run
    cancellation: Cancellation
    nodes: NodeLoop
    execution: Execution
    ended: asyncio.Future[None]  # resolved after the end of the task
    was_missed: bool = False  # at the last heartbeat; it may just have ended
    is_dropped: bool = False  # its lease is lost

    def interrupt(self) -> None:
        """Cancel the task; its run is released."""
        self.nodes.cancel(self.execution)


class HeldRuns:
    """Starts the tasks of claimed runs, and cancels those whose lease is lost.

    All methods are called on the worker's event loop unless they say otherwise.
    """

    def __init__(
        self, worker: str, execute: Execute, on_ended: Callable[[Run], None]
    ) -> None:
        """`on_ended` is called when a run is held no longer."""
        self._worker = worker
        self._execute = execute
        self._on_ended = on_ended
        self._runs: dict[UUID, HeldRun] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._runs)

    def snapshot(self) -> dict[UUID, HeldRun]:
        """Return a copy; safe to call from any thread."""
        return self._runs.copy()

    async def wait_until_idle(self) -> None:
        """Return once no run is held."""
        await self._idle.wait()

    def start(self, run: Run, nodes: NodeLoop) -> None:
        """Start a claimed run as a task of a node loop and return at once."""
        cancellation = Cancellation()
        if run.cancel_requested_at is not None:
            cancellation.cancel(run.cancel_reason)
        if earlier := self._runs.get(run.pk):
            earlier.interrupt()  # an earlier attempt here, whose lease expired
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def end() -> None:  # on the node loop
            with suppress(RuntimeError):  # the worker has ended
                loop.call_soon_threadsafe(lambda: self.remove(item))

        work = self._execute(run, cancellation)
        execution = nodes.execute(work, str(run.pk), end)
        item = HeldRun(run, cancellation, nodes, execution, ended)
        self._runs[run.pk] = item
        self._idle.clear()

    def cancel(self, run_id: UUID, reason: str) -> None:
        """Cancel a run at its next await or node boundary, if it is held."""
        if held := self._runs.get(run_id):
            held.cancellation.cancel(reason)

    def of(self, nodes: NodeLoop) -> list[HeldRun]:
        """Return the runs that a node loop executes."""
        return [item for item in self._runs.values() if item.nodes is nodes]

    def remove(self, item: HeldRun) -> None:
        """Hold a run no longer: its task has ended, or its loop was abandoned."""
        if self._runs.get(item.run.pk) is item:
            del self._runs[item.run.pk]
        if not item.ended.done():
            item.ended.set_result(None)
        if not self._runs:
            self._idle.set()
        self._on_ended(item.run)

    def apply_renewal(
        self,
        held: Mapping[UUID, HeldRun],
        renewed: Mapping[UUID, tuple[int, str | None]],
    ) -> None:
        """Drop the runs whose lease was not renewed; cancel those with a cancel reason.

        `held` are the runs at the time of the heartbeat, `renewed` their attempts and
        cancel reasons.
        """
        for run_id, item in held.items():
            attempt, reason = renewed.get(run_id, (None, None))
            if attempt != item.run.attempt:
                if self._runs.get(run_id) is item and item.was_missed:
                    self._drop(item)
                item.was_missed = True
            elif reason is not None:
                item.cancellation.cancel(reason)

    def not_held(self, runs: Iterable[Run]) -> Iterator[Run]:
        """Yield the runs whose attempt is not held here; safe to call from any thread.

        A node may ignore that its run was dropped: that run is held by nobody.
        """
        held = {
            (run_id, item.run.attempt)
            for run_id, item in self.snapshot().items()
            if not item.is_dropped
        }
        return (run for run in runs if (run.pk, run.attempt) not in held)

    def _drop(self, item: HeldRun) -> None:
        """Cancel the task of a run that is lost; again if its node ignores it."""
        if not item.is_dropped:
            logger.error("Worker %s lost its lease on %s.", self._worker, item.run.pk)
            process_metrics.LEASE_LOSSES.inc()
        item.is_dropped = True
        item.interrupt()
