"""The way of one run's records to the writer: in order, and which of them are durable.

A record is either waited for, or goes out by itself a moment after something came that
needs no waiting.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workflows.engine.errors import Superseded

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from workflows.audit.records import StageRow, StepRecord
    from workflows.execution.writer import Writer
    from workflows.models import Run

DRIP_SECONDS = 0.2  # log lines of a node that takes long appear after this


class Drained(Superseded):
    """The worker is being stopped: the run was released and goes on elsewhere."""


@dataclass(frozen=True, slots=True)
class RunCursor:
    """Where a run stands after a record."""

    sequence: int
    waiting_node: str
    wake_at: dt.datetime | None
    chain: bytes  # the head of its history
    stage: StageRow | None = None  # the one that is under way


class RecordPipeline:
    """Sends the records of one run, one at a time; knows where the last one left it."""

    def __init__(
        self,
        run: Run,
        writer: Writer,
        take: Callable[[], tuple[StepRecord, RunCursor]],
        durable: RunCursor,
    ) -> None:
        """Take what gives the record that has gathered, and where the run stands now."""
        self.durable = durable
        self._run = run
        self._writer = writer
        self._take = take
        self._timer: asyncio.TimerHandle | None = None
        self._sent: tuple[asyncio.Future[int], RunCursor] | None = None

    def soon(self) -> None:
        """Send what gathers in the next moment, without anyone waiting for it."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(DRIP_SECONDS, self._drip)

    async def flush(self) -> None:
        """Send what has gathered and return once it and all before it is durable.

        Raises what the writer says of a record that it could not write.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._arrival()
        self._send()
        await self._arrival()

    def _drip(self) -> None:
        self._timer = None
        if self._sent is not None:
            future, standing = self._sent
            if not future.done():
                self.soon()
                return
            if future.exception() is not None:
                return  # flush will raise it
            self.durable = standing
        self._send()

    def _send(self) -> None:
        record, standing = self._take()
        if not record.is_empty:
            self._sent = (self._writer.submit(record), standing)

    async def _arrival(self) -> None:
        if self._sent is None:
            return
        future, standing = self._sent
        try:
            self._run.version = await asyncio.shield(future)
            self.durable = standing
        finally:
            if future.done():  # else this task was stopped, and the next flush waits
                self._sent = None
