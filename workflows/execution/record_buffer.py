"""The rows of one run's next record, and their commit.

Rows gather in a `StepRecord` until it is flushed: by someone who waits for the commit, or a
moment after rows that nothing waits for (log lines, items). A record that the database
refused is dropped, and the buffer falls back to the state after the last committed one.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from workflows.audit import keys
from workflows.audit.seal_rows import head_of, seal_record
from workflows.audit.step_records import LogRow, StepRecord
from workflows.engine.errors import Superseded
from workflows.execution.masking import Masker
from workflows.execution.record_pipeline import RecordPipeline, RunCursor
from workflows.execution.rewinds import Position
from workflows.infra import clock, log_context, process_metrics
from workflows.infra.text import clean

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

    from workflows.audit.step_records import StageRow
    from workflows.execution.writer import Writer
    from workflows.models import Run
    from workflows.runtime import Progress

PROGRESS_SECONDS = 0.5  # at least, between two writes of a step's progress


class RecordBuffer:
    """Gathers what one attempt of one run writes, and flushes it.

    It is also the handle that the services of a run get: `log`, `attach_write`, `flush`.
    """

    def __init__(self, run: Run, writer: Writer) -> None:
        """Start at the stored position of the run; call it on the event loop."""
        self.run = run
        self.masker = Masker(())  # of the run's secrets, once they are known
        self.sequence = run.sequence
        # of the pause that this attempt continues from
        self.waiting_node, self.wake_at = run.waiting_node, run.wake_at
        self.stage: StageRow | None = None  # the one that is being executed
        # steps of its branches that are being executed, by sequence
        self.branch_stages: dict[int, StageRow] = {}
        self.is_stage_new = False  # its code has not begun
        self.is_stage_claimed = False  # the claim recorded that it starts
        self._claimed_stage = _first_stage_of(run)
        self._seal_key = keys.sealing()
        self._chain = head_of(run.history_chain_head, run.pk)
        self._fence = run.fence  # that of the last record, committed or not
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._log_number = 0
        self._thread_lines: deque[tuple[int, Callable[[], str]]] = deque()
        self._progress_at = 0.0  # of the loop's clock, when progress was written last
        self._progress_timer: asyncio.TimerHandle | None = None
        self._is_closed = False  # the last record was taken: nothing more is written
        self.record = self._new_record()
        self._pipeline = RecordPipeline(run, writer, self._take, self._cursor())

    # -- the handle -------------------------------------------------------------------

    def log(self, level: int, message: str) -> None:
        """Add a log line of the current stage; safe to call from any thread."""
        step = log_context.STEP.get()
        add = partial(self.add_line, level, clean(message), clock.local_now(), step)
        if threading.get_ident() == self._thread:
            add()
        else:  # in order: the loop learns of the end of the node's thread later
            self._loop.call_soon_threadsafe(add)

    def report_progress(self, sequence: int, progress: Progress) -> None:
        """Show the progress of the step, if it is in progress; safe from any thread.

        That of a step of a branch is shown with its name, at the join.
        """
        if threading.get_ident() == self._thread:
            self._keep_progress(sequence, progress)
        else:
            with suppress(RuntimeError):  # the loop was closed
                self._loop.call_soon_threadsafe(self._keep_progress, sequence, progress)

    def _keep_progress(self, sequence: int, progress: Progress) -> None:
        stage, branch = self.stage, self.branch_stages.get(sequence)
        if stage is None or self._is_closed:
            return
        if branch is not None:
            progress = replace(progress, text=f"{branch.node}: {progress.text}")
        elif stage.sequence != sequence:
            return  # a thread that was left behind
        text = self.masker.text(clean(progress.text)) if progress.text else ""
        stage.progress = {"done": progress.done, "of": progress.of, "text": text}
        if self._progress_timer is None:
            wait = self._progress_at + PROGRESS_SECONDS - self._loop.time()
            self._progress_timer = self._loop.call_later(
                max(wait, 0), self._show_progress
            )

    def _show_progress(self) -> None:
        self._progress_timer = None
        self._progress_at = self._loop.time()
        if self.stage is not None and not self._is_closed:
            self.update_stage()
            self.schedule_flush()

    def masked(self, text: str) -> str:
        """Return a text without the secrets of the run."""
        return self.masker.text(text)

    def attach_write(self, write: Callable[[], None]) -> None:
        """Call this in the transaction of the next record, perhaps more than once."""
        self.record.extra_writes.append(write)
        self.schedule_flush()

    async def flush(self) -> None:
        """Return once everything is committed.

        Raises LeaseLost, and the database's error if it refused the record: its rows
        are dropped then.
        """
        try:
            await self._pipeline.flush()
        except Superseded:
            raise
        except Exception:
            self.fall_back()
            raise

    @property
    def position(self) -> Position:
        """The position after the last record known to be committed."""
        committed = self._pipeline.committed
        return Position(committed.sequence, committed.fence, self._fence)

    # -- for the recorder -------------------------------------------------------------

    def schedule_flush(self) -> None:
        """Schedule a flush without waiting for it."""
        self._pipeline.schedule_flush()

    def add_line(
        self, level: int, message: str, now: dt.datetime, step: int = 0
    ) -> None:
        """Add a log line whose text has been cleaned; `step` is 0 for the current stage."""
        self._log_number += 1
        sequence = step or (self.stage.sequence if self.stage else self.sequence)
        line = LogRow(self._log_number, sequence, level, message, now)
        self.record.logs.append(line)
        self.schedule_flush()

    def log_from_thread(self, level: int, message: Callable[[], str]) -> None:
        """Add a log line from another thread while the event loop may be blocked.

        The text is made when the loop continues, "" for no line. The line is in the next
        record, even if the node returns and the run ends before the loop does anything else.
        """
        self._thread_lines.append((level, message))
        with suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(self._add_thread_lines)

    def _add_thread_lines(self) -> None:
        while self._thread_lines and not self._is_closed:
            level, message = self._thread_lines.popleft()
            if text := message():
                self.add_line(level, clean(text), clock.local_now())

    def start_stage(self, stage: StageRow) -> None:
        """Make a stage the current one; the claim may have recorded that it starts."""
        self.stage = stage
        self.is_stage_new = True
        claimed, self._claimed_stage = self._claimed_stage, None
        self.is_stage_claimed = claimed is not None and claimed == (
            stage.sequence,
            stage.node,
            stage.iteration,
            stage.tries,
        )
        self.record.is_stage_changed = not self.is_stage_claimed

    def accept_claimed_stage(self) -> None:
        """Let the current stage start without a record: that of the claim is durable."""
        self.is_stage_new = self.is_stage_claimed = False
        stage = self.stage.copy() if self.stage else None
        self._pipeline.committed = self._pipeline.committed._replace(stage=stage)
        self.schedule_flush()  # of what nothing waits for: the initial state

    @property
    def can_wait(self) -> bool:
        """Whether the record has only an initial state, and will be accepted later."""
        record = self.record
        return self._pipeline.is_accepted() and not (
            record.extra_writes
            or record.stages
            or record.decisions
            or record.items
            or record.item_failures
            or record.retries
        )

    def update_stage(self, stage: StageRow | None = None) -> None:
        """Include a stage in progress, as it will be when the record is flushed.

        By default the current one, which is part of the run's row; the steps of branches are
        rows of their own.
        """
        if stage is None or stage is self.stage:
            self.record.is_stage_changed = True
        elif not any(row is stage for row in self.record.stages):
            self.record.stages.append(stage)

    def start_branch_stage(self, stage: StageRow) -> None:
        """Write the row of a step of a branch, which is executed beside others."""
        self.branch_stages[stage.sequence] = stage
        self.update_stage(stage)

    def end_branch_stage(self, stage: StageRow) -> None:
        """Write the row of a step of a branch again: it has ended."""
        process_metrics.BRANCH_STEPS.labels(str(stage.status)).inc()
        self.update_stage(stage)
        del self.branch_stages[stage.sequence]

    def withdraw_stage(self) -> bool:
        """Remove a current stage whose start is not committed; False if it is."""
        if self.stage is None or not self.is_stage_new:
            return False
        self.stage = None
        return True

    def end_stage(self) -> None:
        """Write the current stage as a row: it has ended, or pauses."""
        if self.stage is not None:
            self.record.stages.append(self.stage)
            self.stage = None

    def complete_step(self, sequence: int) -> None:
        """Move to the position after a step: a pause before it is over."""
        self.sequence = self.record.sequence = sequence
        self.record.progressed = True
        self.waiting_node = self.record.waiting_node = ""
        self.wake_at = self.record.wake_at = None

    def fall_back(self) -> None:
        """Drop the rows that are not committed, as if they had never been added."""
        committed = self._pipeline.committed
        self.sequence, stage = committed.sequence, committed.stage
        self.stage = stage.copy() if stage else None
        self.branch_stages = {row.sequence: row.copy() for row in committed.branches}
        self.waiting_node, self.wake_at = committed.waiting_node, committed.wake_at
        self._chain = committed.chain
        self.record = self._new_record()

    def _new_record(self) -> StepRecord:
        return StepRecord(
            run_id=self.run.pk,
            worker=self.run.worker,
            attempt=self.run.attempt,
            workflow=self.run.workflow_name,
            sequence=self.sequence,
            waiting_node=self.waiting_node,
            wake_at=self.wake_at,
            suspicion=self.run.suspicion,
        )

    def _cursor(self) -> RunCursor:
        return RunCursor(
            self.sequence,
            self.waiting_node,
            self.wake_at,
            self._chain,
            self._fence,
            self.stage,
            tuple(self.branch_stages.values()),
        )

    def _take(self) -> tuple[StepRecord, RunCursor]:
        """Return the gathered record; the current stage continues as a copy."""
        self._add_thread_lines()
        if self.stage is not None:
            self.record.current_stage = self.stage.as_current()
        self.is_stage_new = self.is_stage_claimed = False
        self.masker.record(self.record)
        self._is_closed = self.record.ending is not None
        self._chain = self.record.history_chain_head = seal_record(
            self.record, self._seal_key, self._chain
        )
        # a number of its own, even if the record before may be lost: nobody knows
        self._fence += 1
        self.record.fence = self._fence
        self.record.fence_before = self._pipeline.committed.fence
        taken = self.record, self._cursor()
        self.record = self._new_record()
        self.stage = self.stage.copy() if self.stage else None
        if self.branch_stages:
            rows = self.branch_stages.values()
            self.branch_stages = {row.sequence: row.copy() for row in rows}
        return taken


def _first_stage_of(run: Run) -> tuple[int, str, int, int] | None:
    """Return sequence, node, iteration and tries of the stage that the claim recorded."""
    stage = run.current_stage
    if stage is None:
        return None
    return stage["sequence"], stage["node"], stage["iteration"], stage["tries"]
