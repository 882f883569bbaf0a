"""Hands one run's records to the writer, one at a time, and tracks which are committed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from workflows.engine.errors import Superseded

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from workflows.audit.step_records import StageRow, StepRecord
    from workflows.execution.writer import Writer
    from workflows.infra.shared_result import SharedResult

    Submitted = tuple[SharedResult[int], "RunCursor"]
    from workflows.models import Run

FLUSH_DELAY_SECONDS = 0.2  # after which log lines of a long node appear


class Drained(Superseded):
    """The worker is being stopped: the run was released, another worker continues it."""


class RunCursor(NamedTuple):
    """The position of a run after a record."""

    sequence: int
    waiting_node: str
    wake_at: dt.datetime | None
    chain: bytes  # the head of its history
    fence: int  # Run.fence
    stage: StageRow | None = None  # the one that is being executed
    branches: tuple[StageRow, ...] = ()  # and the steps of its branches


class RecordPipeline:
    """Submits the records of one run, one at a time."""

    def __init__(
        self,
        run: Run,
        writer: Writer,
        take: Callable[[], tuple[StepRecord, RunCursor]],
        committed: RunCursor,
    ) -> None:
        """`take` returns the gathered record; `committed` is the position stored now."""
        self.committed = committed
        self._run = run
        self._writer = writer
        self._take = take
        self._timer: asyncio.TimerHandle | None = None
        self._submitted: Submitted | None = None

    def is_accepted(self) -> bool:
        """Return False if the event loop of the run was abandoned: nothing is written."""
        return self._writer.accepts(asyncio.get_running_loop())

    def schedule_flush(self) -> None:
        """Submit the gathered record after a delay, without anyone waiting for it."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(FLUSH_DELAY_SECONDS, self._flush_pending)

    async def flush(self) -> None:
        """Submit the gathered record; return once it and all before it are committed.

        Raises the writer's error for a record that it could not write.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._submitted is not None:  # perhaps by another task's flush
            await self._wait(self._submitted)
        self._submit()
        if self._submitted is not None:
            await self._wait(self._submitted)

    def _flush_pending(self) -> None:
        self._timer = None
        if self._submitted is not None:
            committed, cursor = self._submitted
            if not committed.is_set:
                self.schedule_flush()
                return
            if committed.error is not None:
                return  # flush will raise it
            self._move_to(cursor, committed.result)
        self._submit()

    def _submit(self) -> None:
        record, cursor = self._take()
        if not record.is_empty:
            self._submitted = (self._writer.submit(record), cursor)

    async def _wait(self, submitted: Submitted) -> None:
        """Return once a record is committed. Raises the writer's error."""
        committed, cursor = submitted
        try:
            await committed
        finally:
            # not set: this task was cancelled, and the next flush waits. Both may be true
            # at once, and the record is durable all the same.
            if committed.is_set and self._submitted is submitted:
                self._submitted = None
                if committed.error is None:
                    self._move_to(cursor, committed.result)

    def _move_to(self, cursor: RunCursor, version: int) -> None:
        """Note that a record is durable; the heartbeat's thread reads the fence."""
        self.committed = cursor
        self._run.version = version
        self._run.fence = cursor.fence
