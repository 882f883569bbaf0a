"""Group commit of launches, which a worker of the same process may take at once.

The first thread that launches a run commits it; threads that come meanwhile wait, and one of
them commits the runs of all: there is no delay to tune. Each caller gets its own result: an
idempotency key that is in use, or a row that the database refuses, affects no other launch.

Where a worker of this process has a free slot and no pending run needs it, the same commit
claims the run for that worker. If the process ends before the worker has it, its lease
expires, and another worker recovers it like any run of a lost worker.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db import InterfaceError, connection
from django.utils import timezone

from workflows.execution import queue, sql
from workflows.execution.local_workers import local_workers
from workflows.execution.sql.launches import claimed
from workflows.infra import notifications, outages
from workflows.models import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workflows.execution.local_workers import LocalWorker
    from workflows.models import AuditEvent, Run
    from workflows.registry import AnyWorkflow

MAX_BATCH = 500  # launches in one transaction


@dataclass(eq=False, slots=True)
class Launch:
    """One launch that waits for its commit."""

    workflow: AnyWorkflow
    new: sql.NewRun
    woken: threading.Event = field(default_factory=threading.Event)
    is_settled: bool = False  # else the launch that is woken commits the next batch
    status: str | None = None  # None: its idempotency key is in use
    error: BaseException | None = None
    is_refused: bool = False  # with its batch, perhaps because of another launch

    @property
    def order(self) -> tuple[str, str]:
        """The same order everywhere: concurrent batches might wait for each other's keys."""
        return self.new.run.workflow_name, self.new.run.idempotency_key or ""


class LaunchCommits:
    """Commits the launches of this process in batches."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Launch] = []
        self._is_committing = False  # by a thread that was or is to be woken

    def insert(self, workflow: AnyWorkflow, run: Run, event: AuditEvent) -> bool:
        """Insert a run and the audit event of its launch; notify on commit.

        False if its idempotency key is that of an earlier run; nothing is written then.
        An error of the database leaves open whether the run was accepted if the connection
        was lost; the caller can launch again with the same idempotency key.
        """
        if connection.in_atomic_block:
            inserted = queue.enqueue(run, event)
            if inserted:
                notifications.launched_on_commit()
            return inserted
        queue.seal(run, event)
        launch = Launch(workflow, sql.NewRun(run, event))
        self._commit(launch)
        if launch.error is not None:
            raise launch.error
        if launch.is_refused:
            launch.status = queue.insert([launch.new]).get(run.pk)
        if launch.status == Status.PENDING:  # else its worker has been given the run
            notifications.launched_on_commit()
        return launch.status is not None

    def _commit(self, launch: Launch) -> None:
        """Return when the launch is settled; commit a batch if no other thread does."""
        with self._lock:
            self._waiting.append(launch)
            is_next = not self._is_committing
            self._is_committing = True
        if not is_next:
            self._wait(launch)
        if not launch.is_settled:
            self._commit_batch(launch)

    def _wait(self, launch: Launch) -> None:
        try:
            launch.woken.wait()
        except BaseException:  # the thread is interrupted
            self._withdraw(launch)
            raise

    def _withdraw(self, launch: Launch) -> None:
        """Remove a launch whose commit has not begun; no thread commits it then."""
        with self._lock:
            if launch not in self._waiting:
                return
            self._waiting.remove(launch)
            if launch.woken.is_set():  # it was to commit the next batch
                self._wake_next()

    def _wake_next(self) -> None:
        """Let the first launch that waits commit the next batch; call it with the lock."""
        self._is_committing = bool(self._waiting)
        if self._waiting:
            self._waiting[0].woken.set()

    def _commit_batch(self, launch: Launch) -> None:
        """Commit what waits, then let a thread that came meanwhile do so."""
        with self._lock:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
        try:
            _write(sorted(batch, key=lambda one: one.order))
        finally:
            with self._lock:
                self._wake_next()
            for one in batch:
                one.is_settled = True
                if one is not launch:
                    one.woken.set()


def _write(batch: Sequence[Launch]) -> None:
    """Commit the launches of a batch; set the status or the error of each."""
    launches = [launch.new for launch in batch]
    worker, runs = None, []
    try:
        worker, offer = _offer(batch)
        runs = [claimed(new.run, offer) for new in launches] if offer else []
        statuses = queue.insert(launches, offer)
    except BaseException as error:
        is_unconfirmed = _fail(batch, error)
        if worker is not None:
            worker.end_reservation(len(batch))
            if is_unconfirmed:
                worker.release_unconfirmed(runs)
        if not isinstance(error, Exception):
            raise
        return
    for launch in batch:
        launch.status = statuses.get(launch.new.run.pk)
    if worker is not None:
        started = [run for run in runs if statuses.get(run.pk) == Status.RUNNING]
        worker.end_reservation(len(batch) - len(started))
        worker.start_launched(started)


def _offer(batch: Sequence[Launch]) -> tuple[LocalWorker | None, sql.Offer | None]:
    """Return a worker of this process with a slot for each launch, and its offer.

    None if there are too few slots: whose turn it is is then decided by the claim.
    """
    workflows = {launch.workflow.name: launch.workflow for launch in batch}
    for worker in local_workers.that_execute(workflows.values()):
        further_slots = worker.reserve(len(batch))
        if further_slots is not None:
            now = timezone.now()
            return worker, sql.Offer(worker.name, queue.new_fence(), now, further_slots)
    return None, None


def _fail(batch: Sequence[Launch], error: BaseException) -> bool:
    """Give each launch its own error; return whether the commit may have succeeded.

    If the database refused the batch, each caller inserts its own run again, alone.
    """
    if not isinstance(error, Exception):
        text = "The thread that committed this launch was interrupted."
        for launch in batch:
            launch.error = InterfaceError(text)
        return True
    if outages.is_unavailable(error):
        for launch in batch:
            launch.error = type(error)(*error.args)
            launch.error.__cause__ = error.__cause__
        return True
    for launch in batch:
        launch.is_refused = len(batch) > 1
        launch.error = None if launch.is_refused else error
    return False


launch_commits = LaunchCommits()
