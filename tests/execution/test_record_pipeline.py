"""The records of a run reach the writer one at a time, regardless of flushes and cancellations."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from workflows.audit.step_records import LogRow, StepRecord
from workflows.execution.record_pipeline import RecordPipeline, RunCursor
from workflows.infra.shared_result import SharedResult
from workflows.models import Run


class Records:
    """Gathers one line per record and keeps what was submitted, as buffer and writer do."""

    def __init__(self) -> None:
        self.run = cast("Run", SimpleNamespace(version=0, fence=0))
        self.submitted: list[tuple[int, SharedResult[int]]] = []  # fence expected
        self.fence = 0
        self.pipeline = RecordPipeline(
            self.run, cast("Any", self), self.take, self.cursor()
        )

    def cursor(self) -> RunCursor:
        return RunCursor(0, "", None, b"", self.fence)

    def take(self) -> tuple[StepRecord, RunCursor]:
        record = StepRecord(uuid4(), "worker", 1, "workflow")
        record.logs.append(cast("LogRow", "a line"))
        record.fence_before = self.pipeline.committed.fence
        self.fence += 1
        return record, self.cursor()

    def submit(self, record: StepRecord) -> SharedResult[int]:
        result: SharedResult[int] = SharedResult(asyncio.get_running_loop())
        self.submitted.append((record.fence_before, result))
        return result


async def turns(count: int = 5) -> None:
    """Let all other tasks of the loop run until they wait."""
    for _ in range(count):
        await asyncio.sleep(0)


def started(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work)


async def test_flushes_at_the_same_time_submit_one_record_after_the_other() -> None:
    records = Records()
    flushes = [started(records.pipeline.flush()) for _ in range(3)]
    for number in range(3):
        await turns()
        assert len(records.submitted) == number + 1
        records.submitted[number][1].set(number + 1)
    await asyncio.gather(*flushes)
    # each record continues from the one before it
    assert [expected for expected, _ in records.submitted] == [0, 1, 2]
    assert records.run.version == 3


async def test_a_record_committed_while_its_task_is_cancelled_counts() -> None:
    records = Records()
    flush = started(records.pipeline.flush())
    await turns()
    records.submitted[0][1].set(1)
    flush.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flush
    assert records.pipeline.committed.fence == 1
    assert (records.run.version, records.run.fence) == (1, 1)


async def test_a_cancelled_flush_leaves_its_record_to_the_next() -> None:
    records = Records()
    flush = started(records.pipeline.flush())
    await turns()
    flush.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flush
    again = started(records.pipeline.flush())
    await turns()
    assert len(records.submitted) == 1
    records.submitted[0][1].set(1)
    await turns()
    assert records.submitted[1][0] == 1
    records.submitted[1][1].fail(ValueError("planted"))
    with pytest.raises(ValueError, match="planted"):
        await again
    assert records.pipeline.committed.fence == 1
