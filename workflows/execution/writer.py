"""Group commit: one thread commits the step records of all runs of a process.

Guarantee: the result of a record is set only after the transaction that holds it has been
committed. A record that the database refuses, or whose lease another worker took, fails
alone and the others of its batch are written. While the database is away the writer waits
and retries: nothing is dropped and, because every insert is an upsert, nothing doubled.

The first record that waits starts the next batch at once: there is no delay to tune. A
single run pays one commit per step; a thousand runs share one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING
from weakref import WeakSet

from django.db import connection, transaction

from workflows.engine.errors import Superseded
from workflows.execution import sql
from workflows.execution.record_rows import rows_of
from workflows.infra import outages, process_metrics
from workflows.infra.shared_result import SharedResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from workflows.audit.step_records import StepRecord

logger = logging.getLogger(__name__)

MAX_BATCH = 2_000  # records in one transaction


class LeaseLost(Superseded):
    """Another worker holds the run, it has ended, or the database went back.

    This attempt writes nothing more.
    """

    def __init__(self, record: StepRecord) -> None:
        super().__init__(
            f"worker {record.worker} lost its lease on run {record.run_id};"
            f" attempt {record.attempt} writes nothing more"
        )


class LoopAbandoned(Superseded):
    """The run was executed on an event loop that was replaced: it writes nothing more."""


class Writer:
    """A thread with its own connection that commits step records in batches."""

    def __init__(self, on_committed: Callable[[dict[UUID, int]], None]) -> None:
        """`on_committed` is called in the writer's thread with the new versions of runs."""
        self._on_committed = on_committed
        # in this iteration of each event loop that submits records
        self._gathered: dict[asyncio.AbstractEventLoop, list[StepRecord]] = {}
        self._refused: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
        self._waiting: deque[StepRecord] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._no_retries = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write the records that wait, then end the thread; blocks until then."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    def stop_retrying(self) -> None:
        """Wait no longer for a database that is away: a failed commit is final from now on."""
        self._no_retries.set()

    def accepts(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return False for a loop that was abandoned."""
        return loop not in self._refused

    def refuse(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take no more records from a loop that was abandoned; call it from any thread."""
        self._refused.add(loop)
        self._gathered.pop(loop, None)

    def submit(self, record: StepRecord) -> SharedResult[int]:
        """Queue a record; the result is the run's version once it is committed.

        Call it on the event loop of the run. Records submitted within one iteration of the
        loop are handed over at its end: runs that continued together after a commit are
        together in the next.
        """
        loop = asyncio.get_running_loop()
        record.committed = SharedResult(loop)
        if loop in self._refused:
            record.committed.fail(LoopAbandoned(f"run {record.run_id}"))
            return record.committed
        gathered = self._gathered.get(loop)
        if gathered is None:
            self._gathered[loop] = gathered = []
            loop.call_soon(self._hand_over, loop)
        gathered.append(record)
        return record.committed

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        records = self._gathered.pop(loop, None)
        if records is None:
            return  # the loop was abandoned
        with self._wake:
            self._waiting.extend(records)
            self._wake.notify()

    def _serve(self) -> None:
        try:
            while batch := self._take():
                self._write(batch)
        finally:
            connection.close()

    def _take(self) -> list[StepRecord]:
        """Wait for records; return a batch, an empty one once stopped and drained.

        A batch has one record per run. Two of them are those of two attempts, of which
        only one passes the fence.
        """
        with self._wake:
            while not self._waiting and not self._stopping:
                self._wake.wait()
            batch: dict[UUID, StepRecord] = {}
            while self._waiting and len(batch) < MAX_BATCH:
                if self._waiting[0].run_id in batch:
                    break
                record = self._waiting.popleft()
                batch[record.run_id] = record
            return [*batch.values()]

    def _write(self, batch: Sequence[StepRecord]) -> None:
        """Write a batch; halve one that the database refuses, until a single run is left."""
        try:
            versions = self._commit_when_possible(batch)
        except Exception as error:
            runs = list(dict.fromkeys(record.run_id for record in batch))
            if len(runs) > 1:
                first = set(runs[: len(runs) // 2])
                self._write([r for r in batch if r.run_id in first])
                self._write([r for r in batch if r.run_id not in first])
                return
            logger.exception("The database refused the records of run %s.", runs[0])
            self._report(batch, {}, error)
            return
        self._report(batch, versions, None)

    def _commit_when_possible(self, batch: Sequence[StepRecord]) -> dict[UUID, int]:
        backoff = outages.Backoff()
        while True:
            try:
                versions = self._commit(batch)
            except Exception as error:
                pause = backoff.next_delay(error)
                if pause is None:
                    raise
                if pause:
                    connection.close()
                    if self._no_retries.wait(pause):
                        raise
            else:
                outages.database.report_success()
                return versions

    def _commit(self, batch: Sequence[StepRecord]) -> dict[UUID, int]:
        started = time.monotonic()
        rows = rows_of(batch)
        driver = sql.driver()
        has_extra_writes = any(record.extra_writes for record in batch)
        with transaction.atomic() if has_extra_writes else driver.transaction():
            versions = driver.write_records(rows)
            for record in batch:
                if record.run_id in versions:
                    for write in record.extra_writes:
                        write()
        process_metrics.BATCH_RECORDS.observe(len(batch))
        process_metrics.COMMIT_SECONDS.observe(time.monotonic() - started)
        return versions

    def _report(
        self,
        batch: Sequence[StepRecord],
        versions: dict[UUID, int],
        error: Exception | None,
    ) -> None:
        """Set the results: one wake-up for the whole batch on each event loop."""
        if versions:
            self._on_committed(versions)
        by_loop: dict[asyncio.AbstractEventLoop, list[StepRecord]] = {}
        for record in batch:
            if record.committed is not None:
                by_loop.setdefault(record.committed.loop, []).append(record)
        for loop, records in by_loop.items():
            try:
                loop.call_soon_threadsafe(_set_results, records, versions, error)
            except RuntimeError:  # the loop was closed: none of its runs waits any more
                logger.info(
                    "The event loop ended before %d records were reported.",
                    len(records),
                )


def _set_results(
    records: Sequence[StepRecord],
    versions: dict[UUID, int],
    error: Exception | None,
) -> None:
    for record in records:
        committed = record.committed
        if committed is None or committed.is_set:
            continue
        if error is not None:
            committed.fail(error)
        elif record.run_id in versions:
            committed.set(versions[record.run_id])
        else:
            committed.fail(LeaseLost(record))
