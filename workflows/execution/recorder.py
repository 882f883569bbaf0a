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
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from django.utils import timezone

from workflows.engine.errors import CheckpointNotFound, Superseded
from workflows.engine.events import EventType
from workflows.execution import pauses, whereabouts
from workflows.execution.checkpoints import Encoder, dumps
from workflows.execution.decided import decision_of
from workflows.execution.migrated import adopt
from workflows.execution.records import (
    CheckpointRow,
    Ending,
    ItemRow,
    LogRow,
    StageRow,
    StepRecord,
)
from workflows.execution.sender import Drained, Sender, Standing
from workflows.execution.texts import clean
from workflows.execution.tries import retry_of, told
from workflows.history.chains import head_of, seal_record
from workflows.models import Level, Outcome, StageStatus, Status

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping

    from workflows.engine import Event, Paused, State
    from workflows.execution.pauses import Reply
    from workflows.execution.writer import Writer
    from workflows.models import Run
    from workflows.registry import Known

TOLD_PARTS = 10  # of a parallel node's items: a log line at each tenth


class Recorder:
    """Observer and checkpoint store of one attempt of one run."""

    def __init__(
        self,
        run: Run,
        writer: Writer,
        *,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take the claimed run; call `restore` before the engine resumes it."""
        self.run = run
        self._draining = draining
        self._reply: Reply | None = None
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._encoder = Encoder()
        self._stored: State | None = None  # the last state given to save, or restored
        self._kept: dict[int, dict[int, Any]] = {}
        self._stage: StageRow | None = None
        self._stage_began = 0.0
        self._waiting_since: dt.datetime | None = None  # of the stage that paused
        self._migrated_to: Known | None = None
        self._waiting_node = run.waiting_node
        self._wake_at = run.wake_at  # of the pause that is being gone on from
        self._sequence = run.sequence
        self._chain = head_of(run.chain, run.pk)
        self._ending = False
        self._log_number = 0
        self._record = self._new_record()
        self._sender = Sender(run, writer, self._take_record, self._standing)

    # -- the engine's checkpoint store ------------------------------------------------

    def restore(self, state: State, kept: dict[int, dict[int, Any]]) -> None:
        """Give it the state to resume from and the items kept, by step and index."""
        self._stored, self._kept = state, kept
        self._encoder.before = state.data

    def go_on(self, reply: Reply | None, waiting_since: dt.datetime | None) -> None:
        """Take what ended the pause that this attempt goes on from, if it does."""
        self._reply, self._waiting_since = reply, waiting_since

    def migrate(self, workflow: Known) -> None:
        """Store the next state whole, as this workflow's: no change fits the old ones."""
        self._migrated_to = workflow

    def save(self, state: State) -> None:
        """Add the state after a step to the record."""
        if self._migrated_to is not None:
            self._encoder.before = None
            self._record.companions.append(
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
            self._record.progressed = True
            self._waiting_node = self._record.waiting_node = ""
            self._wake_at = self._record.wake_at = None

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
        )
        self._write_stage()
        whereabouts.NODE.set(data["node"])

    def _on_node_retry(self, data: Mapping[str, Any]) -> None:
        if self._stage is not None and "item_index" not in data:
            self._stage.tries = data["try"] + 1
            self._write_stage()
            self._record.retries.append(retry_of(data, self._stage.sequence))
        self.log(Level.WARNING, told(data))

    def _on_node_complete(self, data: Mapping[str, Any]) -> None:
        stage = self._stage
        if stage is None:
            return
        stage.status = _ended_as(data)
        if stage.status != StageStatus.CANCELLED:  # its reason is a person's: see `end`
            stage.error = clean(data.get("error_message") or "")
        stage.duration_ms = self._spent_ms(stage)
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
        told = done * TOLD_PARTS // total > (done - 1) * TOLD_PARTS // total
        if told and total >= TOLD_PARTS:  # fewer can be counted on the page
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

    def beside(self, add: Callable[[], None]) -> None:
        """Let this write through the ORM with the record, perhaps more than once."""
        self._record.companions.append(add)
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
        record = self._record
        record.status = Status.WAITING
        record.waiting_for = paused.kind
        record.waiting_node = paused.node
        record.wake_at = paused.until
        record.ending = Ending(Outcome.WAITING)
        self._close_stage(StageStatus.WAITING)
        if companion := pauses.companion(self.run, paused):
            record.companions.append(companion)
        await self._flush()

    async def release(self) -> None:
        """Give the run back to the queue in the middle of a node."""
        self._record.status = Status.PENDING
        self._record.ending = Ending(Outcome.RELEASED)
        self._close_stage(StageStatus.INTERRUPTED)
        await self._flush()

    async def fail_plainly(self, error: Exception) -> None:
        """Fail the run without the rows that could not be written."""
        self._fall_back()
        await self.end(
            Status.FAILED,
            message=f"What the run recorded could not be stored: {error}. Its last"
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
    def _standing(self) -> Standing:
        return Standing(
            self._sequence, self._waiting_node, self._wake_at, self._chain, self._stage
        )

    def _take_record(self) -> tuple[StepRecord, Standing]:
        """Give the record that has gathered; the stage under way goes on as a copy."""
        self._chain = self._record.chain = seal_record(self._record, self._chain)
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
        stage.duration_ms = self._spent_ms(stage)
        self._write_stage()
        self._stage = None

    def _write_stage(self) -> None:
        """See to it that the stage, as it will stand when the record goes, is in it."""
        stage, rows = cast("StageRow", self._stage), self._record.stages
        if not rows or rows[-1] is not stage:
            rows.append(stage)

    def _spent_ms(self, stage: StageRow) -> float:
        """Return how long the stage took; one that had paused counts from its start."""
        if self._waiting_since is None:
            return (time.monotonic() - self._stage_began) * 1_000
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
    EventType.PARALLEL_START: Recorder._on_parallel_start,  # noqa: SLF001
}
