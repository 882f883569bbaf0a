"""The runs that a worker holds, each with its task."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workflows.engine import Cancellation
from workflows.engine.errors import describe
from workflows.infra import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
    from typing import Any
    from uuid import UUID

    from workflows.models import Run

    Execute = Callable[[Run, Cancellation], Coroutine[Any, Any, None]]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class HeldRun:
    """A run, its task, and how to cancel it."""

    run: Run
    cancellation: Cancellation
    task: asyncio.Task[None]
    was_missed: bool = False  # at the last heartbeat; it may just have ended
    is_dropped: bool = False  # its lease is lost


class HeldRuns:
    """Starts the tasks of claimed runs, and cancels those whose lease is lost."""

    def __init__(
        self, worker: str, execute: Execute, on_ended: Callable[[], None]
    ) -> None:
        """`on_ended` is called on the event loop when a task has ended."""
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

    def start(self, run: Run) -> None:
        """Start a claimed run as a task and return at once."""
        cancellation = Cancellation()
        if run.cancel_requested_at is not None:
            cancellation.cancel(run.cancel_reason)
        if earlier := self._runs.get(run.pk):
            earlier.task.cancel()  # an earlier attempt here, whose lease expired
        task = asyncio.create_task(
            self._execute(run, cancellation), name=f"run {run.pk}"
        )
        self._runs[run.pk] = HeldRun(run, cancellation, task)
        self._idle.clear()
        task.add_done_callback(lambda done: self._remove(run, done))

    def cancel(self, run_id: UUID, reason: str) -> None:
        """Cancel a run at its next await or node boundary, if it is held."""
        if held := self._runs.get(run_id):
            held.cancellation.cancel(reason)

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
        item.is_dropped = True
        if not item.task.cancelling():
            logger.error("Worker %s lost its lease on %s.", self._worker, item.run.pk)
            metrics.LEASE_LOSSES.inc()
        item.task.cancel()

    def _remove(self, run: Run, task: asyncio.Task[None]) -> None:
        item = self._runs.get(run.pk)
        if item is not None and item.task is task:
            del self._runs[run.pk]
        if not self._runs:
            self._idle.set()
        self._on_ended()
        if not task.cancelled() and (error := task.exception()):
            logger.error(
                "Run %s ended its task: %s", run.pk, describe(error), exc_info=error
            )
