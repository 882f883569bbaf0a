"""The workers of this process, which may take a run in the commit of its launch."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from workflows.models import Run
    from workflows.registry import AnyWorkflow


class LocalWorker(Protocol):
    """What a launch asks of a worker of its process; safe to call from any thread."""

    @property
    def name(self) -> str:
        """The name in the rows of the runs that it holds."""

    def executes(self, workflow: AnyWorkflow) -> bool:
        """Return whether it would execute the runs of exactly this workflow."""

    def reserve(self, count: int) -> int | None:
        """Reserve so many slots; return how many more are free, None if there are too few.

        None while it drains.
        """

    def end_reservation(self, count: int) -> None:
        """End the reservation of slots for which no run was claimed."""

    def start_launched(self, runs: Sequence[Run]) -> None:
        """Execute runs that were inserted as claimed by it, each with a reserved slot."""

    def release_unconfirmed(self, runs: Sequence[Run]) -> None:
        """Release runs whose commit may have failed, once the database responds again."""


class LocalWorkers:
    """The workers of this process that take runs; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._workers: tuple[LocalWorker, ...] = ()

    def add(self, worker: LocalWorker) -> None:
        """Let launches be taken by a worker."""
        with self._lock:
            self._workers = (*self._workers, worker)

    def remove(self, worker: LocalWorker) -> None:
        """Let a worker take no further launches."""
        with self._lock:
            self._workers = tuple(one for one in self._workers if one is not worker)

    def that_execute(self, workflows: Iterable[AnyWorkflow]) -> list[LocalWorker]:
        """Return the workers that would execute the runs of all these workflows."""
        known = [*workflows]
        return [
            worker
            for worker in self._workers
            if all(worker.executes(workflow) for workflow in known)
        ]


local_workers = LocalWorkers()
