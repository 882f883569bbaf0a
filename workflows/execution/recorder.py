"""The durable observer: what the engine reports becomes rows before the run goes on.

One recorder serves one attempt of one run. It is the engine's observer and checkpoint
store at once: events and states gather in a step record, and `settle`, which the engine
awaits before every node and at every end, hands the record to the writer and returns
when it is durable. What needs no waiting (log lines, items) goes out in between.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.utils import timezone

from workflows.audit.chain import head_of, seal_record
from workflows.audit.records import (
    CheckpointRow,
    Ending,
    ItemRow,
    LogRow,
    StageRow,
    StepRecord,
)
from workflows.engine.errors import CheckpointNotFound, Superseded, describe
from workflows.engine.events import EventType
from workflows.execution import launching, pauses
from workflows.execution.checkpoints import Encoder, dumps
from workflows.execution.masking import Masker
from workflows.execution.record_pipeline import Drained, RecordPipeline, RunCursor
from workflows.execution.routing_records import decision_of
from workflows.execution.state_migration import adopt
from workflows.execution.thread_waits import ALL, ThreadWaits
from workflows.execution.tries import Tries, retry_of, told
from workflows.infra import log_context
from workflows.infra.database_threads import run_in_db_retrying
from workflows.infra.text import clean
from workflows.models import Level, Outcome, StageStatus, Status, WaitKind
from workflows.registry import Registry, registry

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping

    from workflows.engine import Event, Paused, State
    from workflows.execution.pauses import Reply
    from workflows.execution.writer import Writer
    from workflows.models import Run
    from workflows.registry import AnyWorkflow

NOT_REQUESTED = (
    "The task of the run was cancelled by code that runs in its worker, which nobody"
    " requested."
)
PROGRESS_LOG_PARTS = 10  # of a parallel node's items: a log line at each tenth


class Recorder:
    """Observer and checkpoint store of one attempt of one run."""

    def __init__(
        self,
        run: Run,
        writer: Writer,
        *,
        draining: Callable[[], bool] = lambda: False,
        after_node: Callable[[], None] = lambda: None,
        workflows: Registry = registry,
    ) -> None:
        """Take the claimed run; call `restore` before the engine resumes it.

        `after_node` is called on the event loop whenever a node has ended.
        """
        self.run = run
        self.masker = Masker(())  # of the run's secrets, once they are known
        self._after_node = after_node
        self._workflows = workflows  # that its nodes may start
        self._child: Run | None = None  # that the next pause waits for
        self._draining = draining
        self._reply: Reply | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._encoder = Encoder()
        self._stored: State | None = None  # the last state given to save, or restored
        self._kept: dict[int, dict[int, Any]] = {}
        self._tries = Tries()
        self._stage: StageRow | None = None
        self._stage_began = 0.0
        self._waits = ThreadWaits()
        self._waiting_since: dt.datetime | None = None  # of the stage that paused
        self._migrated_to: AnyWorkflow | None = None
        # of the pause that this attempt continues from
        self._waiting_node, self._wake_at = run.waiting_node, run.wake_at
        self._sequence = run.sequence
        self._chain = head_of(run.history_chain_head, run.pk)
        self.step_limit = 0  # of one attempt; 0 = nobody asks
        self._ending = False
        self._is_over = False  # its last record was given: nothing is written any more
        self._notes: deque[tuple[int, Callable[[], str]]] = deque()
        self._log_number = 0
        self._has_progressed = False  # whether this attempt finished a step
        self._record = self._new_record()
        self._sender = RecordPipeline(run, writer, self._take_record, self._standing)

    # -- the engine's checkpoint store ------------------------------------------------

    def restore(self, state: State, kept: dict[int, dict[int, Any]]) -> None:
        """Give it the state to resume from and the items kept, by step and index."""
        self._stored, self._kept = state, kept
        self._encoder.before = state.data

    def go_on(
        self, reply: Reply | None, waiting_since: dt.datetime | None, tries: Tries
    ) -> None:
        """Take what ended the pause that this attempt goes on from, and earlier tries."""
        self._reply, self._waiting_since = reply, waiting_since
        self._tries = tries

    def migrate(self, workflow: AnyWorkflow) -> None:
        """Store the next state whole, as this workflow's: no change fits the old ones."""
        self._migrated_to = workflow

    def save(self, state: State) -> None:
        """Add the state after a step to the record."""
        if self._migrated_to is not None:
            self._encoder.before = None
            self._record.extra_writes.append(
                partial(adopt, self.run.pk, self._migrated_to)
            )
            self._migrated_to = None
        kind, text = self._encoder.encode(state.data)
        self._stored = state
        self._record.checkpoints.append(
            CheckpointRow(
                state.sequence, state.checkpoint_node, kind, text, timezone.now()
            )
        )
        if state.sequence:
            self._sequence = self._record.sequence = state.sequence
            self._record.progressed = self._has_progressed = True
            self._waiting_node = self._record.waiting_node = ""
            self._wake_at = self._record.wake_at = None
            self._count_steps()

    def _count_steps(self) -> None:
        """Log it when a run has taken as many steps as one attempt may, once more.

        A wait ends an attempt, so that a loop that waits goes on beyond the limit.
        """
        limit, goes_on = self.step_limit, self.run.attempt > 1
        if goes_on and limit and self._sequence % limit == 0:
            text = (
                f"This run has taken {self._sequence:,} steps in all. It may take at"
                f" most {limit:,} in one attempt, and each wait, resume or"
                " recovery begins another."
            )
            self.log(Level.WARNING, text)

    def load(self, run_id: str) -> State:
        """Return the restored state. Raises CheckpointNotFound."""
        if self._stored is None:
            raise CheckpointNotFound(run_id)
        return self._stored

    def delete(self, run_id: str) -> None:
        """Keep it: every step of a run stays readable."""

    def list(self) -> list[str]:
        """Return the one run it serves, if it has a state."""
        return [str(self.run.pk)] if self._stored is not None else []

    def keep_item(self, run_id: str, sequence: int, index: int, value: object) -> None:  # noqa: ARG002 - the engine's signature
        """Make one finished item of a parallel node durable, without waiting for it."""
        self._record.items.append(ItemRow(sequence, index, dumps(value)))
        self._count_item()
        self._sender.soon()

    def kept_items(self, run_id: str, sequence: int) -> dict[int, Any]:  # noqa: ARG002
        """Return the items of this step that finished in an earlier attempt."""
        return self._kept.get(sequence, {})

    def kept_tries(self, run_id: str, sequence: int) -> tuple[int, float]:  # noqa: ARG002
        """Return the tries of this step that failed in an interrupted attempt."""
        return self._tries.of(sequence)

    async def check_pause(self, pause: Paused) -> None:
        """Make the child run that a node is about to wait for, without inserting it.

        Raises what `launching.new_child` raises: the node fails with it.
        """
        if pause.kind == WaitKind.SUBWORKFLOW:
            self._child = await run_in_db_retrying(
                launching.new_child, self.run, pause, self._workflows
            )

    async def settle(self) -> None:
        """Return once everything observed so far is durable.

        1. At an end of the walk, leave it to `end` or `pause`, which follow at once.
        2. When the worker drains and a node is about to start, release the run instead.
        3. Hand the record to the writer and wait for the commit.

        Raises LeaseLost when another worker took over, Drained after a release, and
        whatever the database said when it refused the record.
        """
        if self._ending:
            return  # the executor records the end with these rows, in one transaction
        released = self._draining() and self._withdraw_unstarted_stage()
        if released:
            self._record.status = Status.PENDING
            self._record.ending = Ending(Outcome.RELEASED)
        await self._flush()
        if released:
            raise Drained("the worker drains, and gave it back to the queue")
        if self._stage is not None:
            self._stage_began = time.monotonic()

    # -- the engine's observer --------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """Turn an event into the rows it stands for."""
        handler = _HANDLERS.get(event.type)
        if handler is not None:
            handler(self, event.data)

    def _on_node_start(self, data: Mapping[str, Any]) -> None:
        self._stage = StageRow(
            data["sequence"],
            data["node"],
            data["iteration"],
            StageStatus.STARTED,
            self._waiting_since or timezone.now(),
            tries=self._tries.of(data["sequence"])[0] + 1,
        )
        self._waits = ThreadWaits()
        self._write_stage()
        log_context.NODE.set(data["node"])

    def _on_thread_wait(self, data: Mapping[str, Any]) -> None:
        self._waits.wait(data.get("item_index", ALL))
        self._show_wait()
        if data["leftover"]:
            text = "waits until the thread of an earlier try has ended: it still works."
            self.log(Level.WARNING, f"{data['node']} {text}")

    def _on_thread_begin(self, data: Mapping[str, Any]) -> None:
        self._waits.go_on(data.get("item_index", ALL))
        self._show_wait()

    def _on_worker_start(self, data: Mapping[str, Any]) -> None:
        self._waits.item_began(data["item_index"])
        self._show_wait()

    def _on_worker_complete(self, data: Mapping[str, Any]) -> None:
        self._waits.item_ended(data["item_index"])
        self._show_wait()

    def _show_wait(self) -> None:
        stage = self._stage
        if stage is not None and stage.waits_for_thread != self._waits.is_waiting:
            stage.waits_for_thread = self._waits.is_waiting
            self._write_stage()
            self._sender.soon()

    def _on_node_retry(self, data: Mapping[str, Any]) -> None:
        if self._stage is not None and "item_index" not in data:
            self._stage.tries = data["try"] + 1
            self._write_stage()
            self._record.retries.append(retry_of(data, self._stage.sequence))
        self.log(Level.WARNING, told(data))

    def _on_node_complete(self, data: Mapping[str, Any]) -> None:
        self._after_node()
        stage = self._stage
        if stage is None:
            return
        stage.status = _ended_as(data)
        if stage.status != StageStatus.CANCELLED:  # its reason is a person's: see `end`
            stage.error = clean(data.get("error_message") or "")
        stage.duration_ms = self._elapsed_ms(stage)
        self._write_stage()
        self._stage = None

    def _on_edge_evaluate(self, data: Mapping[str, Any]) -> None:
        follows = data["sequence"] == self.run.sequence + 1  # what was answered
        reply = self._reply if follows else None
        self._record.decisions.append(decision_of(data, reply))

    def _on_edge_transition(self, data: Mapping[str, Any]) -> None:
        for row in reversed(self._record.decisions):
            if row.edge_index == data["edge_index"]:
                row.taken = True
                return

    def _on_route_select(self, data: Mapping[str, Any]) -> None:
        node = self._stage.node if self._stage else "the node"
        self.log(Level.INFO, f"{node} chose the route “{data['route']}”.")

    def _on_end(self, _data: Mapping[str, Any]) -> None:
        self._ending = True

    def _on_parallel_start(self, data: Mapping[str, Any]) -> None:
        if self._stage is not None:
            self._stage.items_total = data["item_count"]
            self._stage.items_done = len(self._kept.get(self._stage.sequence, {}))
            self._write_stage()

    def _count_item(self) -> None:
        stage = self._stage
        if stage is None or stage.items_done is None or not stage.items_total:
            return
        stage.items_done += 1
        self._write_stage()
        done, total = stage.items_done, stage.items_total
        told = (
            done * PROGRESS_LOG_PARTS // total
            > (done - 1) * PROGRESS_LOG_PARTS // total
        )
        if told and total >= PROGRESS_LOG_PARTS:  # fewer can be counted on the page
            text = f"{stage.node}: {done} of {total} items"
            self._add_log(Level.DEBUG, text, timezone.now())

    # -- what the executor says -------------------------------------------------------

    def log(self, level: int, message: str) -> None:
        """Add a log line of the current stage; safe to call from any thread."""
        add = partial(self._add_log, level, clean(message), timezone.now())
        if threading.get_ident() == self._thread:
            add()
        else:  # in order: what tells the loop that the node has ended comes later
            self._loop.call_soon_threadsafe(add)

    def _add_log(self, level: int, message: str, now: Any) -> None:
        self._log_number += 1
        sequence = self._stage.sequence if self._stage else self._sequence
        line = LogRow(self._log_number, sequence, level, message, now)
        self._record.logs.append(line)
        self._sender.soon()

    def note(self, level: int, message: Callable[[], str]) -> None:
        """Add a log line from another thread while the event loop may be blocked.

        Its text is made when the loop goes on. It is in the next record, even if the
        node returns and the run ends before the loop does anything else.
        """
        self._notes.append((level, message))
        self._loop.call_soon_threadsafe(self._add_notes)

    def _add_notes(self) -> None:
        while self._notes and not self._is_over:
            level, message = self._notes.popleft()
            self._add_log(level, clean(message()), timezone.now())

    def beside(self, add: Callable[[], None]) -> None:
        """Let this write through the ORM with the record, perhaps more than once."""
        self._record.extra_writes.append(add)
        self._sender.soon()

    async def end(  # noqa: PLR0913 - one argument a column
        self,
        status: Status,
        *,
        result: str | None = None,
        message: str = "",
        code: str = "",
        node: str = "",
        traceback: str = "",
    ) -> None:
        """Record the end of the run and of this attempt, durably."""
        record = self._record
        record.status, record.completed_at = status, timezone.now()
        record.result = result
        record.error_message, record.error_code = clean(message), code
        record.error_node, record.waiting_node = node, self._waiting_node
        record.ending = Ending(
            Outcome(status.value), record.error_message, code, clean(traceback)
        )
        is_cancelled = status == Status.CANCELLED
        self._close_stage(
            StageStatus.CANCELLED if is_cancelled else StageStatus.INTERRUPTED
        )
        for stage in record.stages:
            if stage.status == StageStatus.CANCELLED:
                stage.error = record.error_message
        await self._flush()

    async def pause(self, paused: Paused) -> None:
        """Record that the run waits, with the question or the child run it waits for."""
        self.masker.pause(paused)
        record = self._record
        record.status = Status.WAITING
        record.waiting_for = paused.kind
        record.waiting_node = paused.node
        record.wake_at = paused.until
        record.ending = Ending(Outcome.WAITING)
        self._close_stage(StageStatus.WAITING)
        record.extra_writes.append(pauses.companion(self.run, paused, self._child))
        await self._flush()

    async def release(self, *, requested: bool = True) -> None:
        """Give the run back to the queue in the middle of a node.

        A release that nobody requested counts as a recovery, so that it cannot repeat for
        ever; the one that would be one too many fails the run.
        """
        if requested:
            await self._release(Ending(Outcome.RELEASED))
            return
        times = 1 + (0 if self._has_progressed else self.run.recoveries)
        if times < settings.MAX_RECOVERIES:
            self._record.recovered = True
            await self._release(Ending(Outcome.RELEASED, NOT_REQUESTED))
            return
        node = self._stage.node if self._stage else ""
        where = f"in “{node}”" if node else "before the first node"
        await self.end(
            Status.FAILED,
            message=f"{NOT_REQUESTED} This happened {times} times in a row without a"
            f" step being finished, the last time {where}. Correct the code that"
            " cancels it, then resume the run.",
            code="task_cancelled",
            node=node,
        )

    async def _release(self, ending: Ending) -> None:
        self._record.status = Status.PENDING
        self._record.ending = ending
        self._close_stage(StageStatus.INTERRUPTED)
        await self._flush()

    async def fail_without_record(self, error: Exception) -> None:
        """Fail the run without the rows that could not be written."""
        self._fall_back()
        await self.end(
            Status.FAILED,
            message=f"What the run recorded could not be stored: {describe(error)}. Its last"
            " stored step is kept; put the cause right, then resume.",
            code="checkpoint_save_failed",
        )

    # -- inside -----------------------------------------------------------------------

    def _new_record(self) -> StepRecord:
        return StepRecord(
            run_id=self.run.pk,
            worker=self.run.worker,
            attempt=self.run.attempt,
            workflow=self.run.workflow_name,
            sequence=self._sequence,
            waiting_node=self._waiting_node,
            wake_at=self._wake_at,
        )

    @property
    def _standing(self) -> RunCursor:
        return RunCursor(
            self._sequence, self._waiting_node, self._wake_at, self._chain, self._stage
        )

    def _take_record(self) -> tuple[StepRecord, RunCursor]:
        """Give the record that has gathered; the stage under way goes on as a copy."""
        self._add_notes()
        self.masker.record(self._record)
        self._is_over = self._record.ending is not None
        self._chain = self._record.history_chain_head = seal_record(
            self._record, self._chain
        )
        given = self._record, self._standing
        self._record = self._new_record()
        self._stage = self._stage.copy() if self._stage else None
        return given

    async def _flush(self) -> None:
        """Return once everything is durable; forget what the database refused."""
        try:
            await self._sender.flush()
        except Superseded:
            raise
        except Exception:
            self._fall_back()
            raise

    def _fall_back(self) -> None:
        """Stand where the last durable record left the run, as if nothing had followed."""
        durable = self._sender.durable
        self._sequence, stage = durable.sequence, durable.stage
        self._stage = stage.copy() if stage else None
        self._waiting_node, self._wake_at = durable.waiting_node, durable.wake_at
        self._chain = durable.chain
        self._record = self._new_record()

    def _close_stage(self, status: StageStatus) -> None:
        stage = self._stage
        if stage is None:
            return
        stage.status = status
        stage.duration_ms = self._elapsed_ms(stage)
        self._write_stage()
        self._stage = None

    def _write_stage(self) -> None:
        """See to it that the stage, as it will stand when the record goes, is in it."""
        stage, rows = cast("StageRow", self._stage), self._record.stages
        if not rows or rows[-1] is not stage:
            rows.append(stage)

    def _elapsed_ms(self, stage: StageRow) -> float:
        """Return how long the stage took; one that had paused counts from its start.

        Waiting for a thread is no time of the stage.
        """
        if self._waiting_since is None:
            spent = time.monotonic() - self._stage_began - self._waits.seconds
            return max(spent, 0) * 1_000
        self._waiting_since = None
        return (timezone.now() - stage.created_at).total_seconds() * 1_000

    def _withdraw_unstarted_stage(self) -> bool:
        """Take back the stage that was announced but not begun; False if none was."""
        stage, rows = self._stage, self._record.stages
        if stage is None or not rows or rows[-1].sequence != stage.sequence:
            return False
        rows.pop()
        self._stage = None
        return True


def _ended_as(data: Mapping[str, Any]) -> StageStatus:
    """Return the status of a stage whose node has returned or raised."""
    if not data["error"]:
        return StageStatus.COMPLETED
    return StageStatus.CANCELLED if data.get("cancelled") else StageStatus.FAILED


_HANDLERS: dict[str, Callable[[Recorder, Mapping[str, Any]], None]] = {
    EventType.NODE_START: Recorder._on_node_start,  # noqa: SLF001 - a table of methods
    EventType.NODE_RETRY: Recorder._on_node_retry,  # noqa: SLF001
    EventType.NODE_COMPLETE: Recorder._on_node_complete,  # noqa: SLF001
    EventType.EDGE_EVALUATE: Recorder._on_edge_evaluate,  # noqa: SLF001
    EventType.EDGE_TRANSITION: Recorder._on_edge_transition,  # noqa: SLF001
    EventType.GRAPH_COMPLETE: Recorder._on_end,  # noqa: SLF001
    EventType.GRAPH_ERROR: Recorder._on_end,  # noqa: SLF001
    EventType.GRAPH_PAUSE: Recorder._on_end,  # noqa: SLF001
    EventType.ROUTE_SELECT: Recorder._on_route_select,  # noqa: SLF001
    EventType.THREAD_WAIT: Recorder._on_thread_wait,  # noqa: SLF001
    EventType.THREAD_BEGIN: Recorder._on_thread_begin,  # noqa: SLF001
    EventType.WORKER_START: Recorder._on_worker_start,  # noqa: SLF001
    EventType.WORKER_COMPLETE: Recorder._on_worker_complete,  # noqa: SLF001
    EventType.PARALLEL_START: Recorder._on_parallel_start,  # noqa: SLF001
}
