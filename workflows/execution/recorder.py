"""The durable observer: what the engine reports is committed before the run continues.

One recorder serves one attempt of one run. It is the engine's observer and its checkpoint
store: events and states gather in a record, and `settle`, which the engine awaits before
every node and at every end, hands the record to the writer and returns after the commit.
Rows that nothing waits for (log lines, items) are flushed in between.

    RecordBuffer   the rows of the next record, and their commit
    StageEvents    events as rows
    Recorder       states, pauses and the end of the attempt
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.conf import settings

from workflows.audit import seal_rows
from workflows.audit.step_records import (
    CheckpointRow,
    Ending,
    ItemFailureRow,
    ItemRow,
)
from workflows.engine.errors import (
    CheckpointNotFound,
    Superseded,
    class_name,
    describe,
)
from workflows.execution import (
    callback_waits,
    launching,
    pause_records,
    run_links,
    undo_and_end_records,
)
from workflows.execution.checkpoints import Encoder, dumps
from workflows.execution.earlier_attempts import NO_HISTORY
from workflows.execution.record_buffer import RecordBuffer
from workflows.execution.record_pipeline import Drained
from workflows.execution.run_launcher import RunLauncher
from workflows.execution.stage_events import RECORDED, StageEvents
from workflows.execution.state_migration import adopt
from workflows.infra import clock, tracing
from workflows.infra.database_threads import run_in_db_retrying
from workflows.infra.text import clean
from workflows.models import (
    SUSPICION_LIFTED,
    ChildGroup,
    Level,
    Outcome,
    StageStatus,
    Status,
    Suspicion,
    WaitKind,
)
from workflows.registry import Registry, registry

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping

    from workflows.engine import Event, NodeContext, Paused, State
    from workflows.execution.earlier_attempts import History
    from workflows.execution.loop_monitor import Blocked
    from workflows.execution.run_spans import RunSpans
    from workflows.execution.writer import Writer
    from workflows.models import Run
    from workflows.registry import AnyWorkflow

AWAITS_EVENT = (WaitKind.EVENT, WaitKind.FIRST_OF)
NOT_REQUESTED = (
    "The task of the run was cancelled by code in its worker, without a request of"
    " a person or a shutdown."
)
MASKED_PARAMS = (
    "The params of the subworkflow “{}” contained a secret of this run. It was replaced"
    " by “•••”, because params are stored as plain text."
)
RELEASED = "the worker drains and has released the run"
EVENT_KEY_REFUSED = (
    "The key of the event “{}” contains a secret of this run, and keys are stored as plain"
    " text. Use another value."
)


class Recorder:
    """Observer and checkpoint store of one attempt of one run."""

    event_types = RECORDED

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

        `after_node` is called on the event loop whenever a node has ended; `workflows`
        are those that nodes may start as child runs.
        """
        self.run = run
        self.buffer = RecordBuffer(run, writer)
        self.step_limit = 0  # of one attempt; 0 = no warning
        self.has_fixed_start = False  # the params decide the initial state
        self.stages = StageEvents(self.buffer, after_node)
        self._workflows = workflows
        self._draining = draining
        self._history = NO_HISTORY
        self._items: Mapping[int, Mapping[int, Any]] = {}  # kept by earlier attempts
        self.launcher = RunLauncher(run, self.buffer, workflows)
        self.has_launched = False  # a run that continues this one
        self._child: Run | ChildGroup | None = None  # for which the next pause waits
        self._encoder = Encoder()
        self._state: State | None = None  # the last one saved or restored
        self._migrated_to: AnyWorkflow | None = None
        self.has_progressed = False  # this attempt finished a step
        self.has_ended = False  # the end of the run is committed
        self.awaits_event = False  # it is committed that the run waits for one
        self.spans: RunSpans | None = None  # if tracing is on
        self._holds: dict[
            str, float
        ] = {}  # node → longest hold of the loop, in seconds

    def continue_from(self, history: History) -> None:
        """Continue the pause and the tries of earlier attempts."""
        self._history = history
        self.stages.continue_from(history)

    def restore(self, state: State, migrated_to: AnyWorkflow | None = None) -> None:
        """Set the state to resume from, and use the items of the history.

        After a migration the next state is stored whole, as that of `migrated_to`: no
        patch fits the old ones.
        """
        self._state, self._migrated_to = state, migrated_to
        self._encoder.before = state.data
        self._items = self._history.items
        self.stages.keep_items(self._items)

    # -- the engine's observer and checkpoint store -----------------------------------

    def on_event(self, event: Event) -> None:
        """Add the rows of an event to the record, and its spans if tracing is on."""
        if self.spans is not None:
            self.spans.on_event(event)
        self.stages.on_event(event)

    def save(self, state: State) -> None:
        """Add the state after a step to the record. Raises StateTooLarge."""
        record = self.buffer.record
        if self._migrated_to is not None:
            self._encoder.before = None
            record.extra_writes.append(partial(adopt, self.run.pk, self._migrated_to))
            self._migrated_to = None
        kind, text = self._encoder.encode(state.data)
        self._state = state
        failure = state.step_failure
        if failure is not None and failure.is_deadline:
            self.run.deadline_at = None
            undo_and_end_records.set_columns(self, deadline_at=None)
        record.checkpoints.append(
            CheckpointRow(
                state.sequence,
                state.checkpoint_node,
                kind,
                text,
                clock.local_now(),
                None if failure is None else dumps(failure.to_json()),
            )
        )
        if state.sequence:
            self.buffer.complete_step(state.sequence)
            self.has_progressed = True
            self._warn_of_many_steps()

    def _warn_of_many_steps(self) -> None:
        """Log each multiple of the step limit that a run with several attempts reaches.

        A wait ends an attempt, so that a loop that waits continues beyond the limit.
        """
        limit, sequence = self.step_limit, self.buffer.sequence
        if self.run.attempt > 1 and limit and sequence % limit == 0:
            text = (
                f"This run has taken {sequence:,} steps in all. It may take at"
                f" most {limit:,} in one attempt, and each wait, resume or"
                " recovery begins another."
            )
            self.buffer.log(Level.WARNING, text)

    def load(self, run_id: str) -> State:
        """Return the restored state. Raises CheckpointNotFound."""
        if self._state is None:
            raise CheckpointNotFound(run_id)
        return self._state

    @property
    def last_state(self) -> State | None:
        """The state that was saved or restored last."""
        return self._state

    def delete(self, run_id: str) -> None:
        """Do nothing: every step of a run stays readable."""

    def list(self) -> list[str]:
        """Return the id of the run if it has a state."""
        return [str(self.run.pk)] if self._state is not None else []

    def save_item(self, run_id: str, sequence: int, index: int, value: object) -> None:  # noqa: ARG002 - the engine's signature
        """Store one finished item of a parallel node, or step of a branch.

        Nothing waits for the commit.
        """
        tries, duration = self.stages.end_item(sequence, index)
        row = ItemRow(sequence, index, dumps(value), tries, duration)
        self.buffer.record.items.append(row)
        self.stages.count_item(sequence)
        self.buffer.schedule_flush()

    def fail_item(
        self,
        run_id: str,  # noqa: ARG002 - the engine's signature
        sequence: int,
        index: int,
        error: BaseException,
    ) -> None:
        """Record why one item of a parallel node failed. Nothing waits for the commit."""
        tries, duration = self.stages.end_item(sequence, index)
        self.buffer.record.item_failures[sequence, index] = ItemFailureRow(
            sequence,
            index,
            tries or 1,
            duration or 0.0,
            clean(class_name(error)),
            clean(describe(error)),
        )
        self.buffer.schedule_flush()

    def saved_items(self, run_id: str, sequence: int) -> dict[int, Any]:  # noqa: ARG002
        """Return the items of this step that finished in an earlier attempt, by index."""
        return dict(self._items.get(sequence, {}))

    def saved_tries(self, run_id: str, sequence: int) -> tuple[int, float]:  # noqa: ARG002
        """Return the failed tries of this step in earlier attempts, and the wait left."""
        return self._history.tries.of(sequence)

    async def check_pause(self, pause: Paused) -> None:
        """Make the child run that a node is about to wait for, without inserting it.

        Raises ValueError for a key that contains a secret, and the errors of
        `launching.new_child`: the node fails with them.
        """
        for one in (pause, *pause.parts):
            if one.key and self.buffer.masker.text(one.key) != one.key:
                raise ValueError(EVENT_KEY_REFUSED.format(one.event))
        if pause.kind == WaitKind.SUBWORKFLOW:
            if self.buffer.masker.child(pause):
                self.buffer.log(Level.WARNING, MASKED_PARAMS.format(pause.workflow))
            traceparent = tracing.traceparent()  # the thread has another context
            given = self._workflows, traceparent
            if pause.children is None:
                self._child = await run_in_db_retrying(
                    launching.new_child, self.run, pause, *given
                )
            else:
                self._child = await run_in_db_retrying(
                    launching.new_group, self.run, pause, pause.children, *given
                )

    async def open_callback(
        self, context: NodeContext, until: dt.datetime | None
    ) -> str:
        """Return the address of a callback, "" if a message has arrived at it already.

        The address is masked in everything that is recorded from now on. Raises
        callback_waits.NotHeld if the run is no longer this worker's.
        """
        address_id = await run_in_db_retrying(
            callback_waits.open_wait, self.run, context, until
        )
        if address_id is None:
            return ""
        token = callback_waits.token_of(address_id)
        self.buffer.masker.add(token)
        return callback_waits.url_of(token)

    async def flush(self) -> None:
        """Return once everything observed so far is committed.

        1. At an end of the graph, leave it to `end` or `pause`, which follow directly.
        2. When the worker drains and a node is about to start, release the run instead.
        3. If the claim recorded that this node starts, there is nothing to wait for.
        4. Hand the record to the writer and wait for the commit.

        Raises LeaseLost when another worker took over, Drained after a release, and the
        database's error when it refused the record.
        """
        if self.stages.is_ending:
            return  # the executor records the end with these rows, in one transaction
        is_released = self._draining() and self.buffer.withdraw_stage()
        if is_released:
            code = SUSPICION_LIFTED if self._lift_suspicion_after_progress() else ""
            self.buffer.record.status = Status.PENDING
            self.buffer.record.ending = Ending(Outcome.RELEASED, error_code=code)
        if self._is_start_recorded():
            self.buffer.accept_claimed_stage()
        else:
            await self.buffer.flush()
        if is_released:
            raise Drained(RELEASED)
        self.stages.start_clock()

    def _is_start_recorded(self) -> bool:
        """Return whether the first node may begin before the record: the claim has its start.

        The initial state follows with a later record, since the stored params decide it. A
        claim that is not recent is confirmed by a record: the lease may be lost, and so is
        whatever an abandoned loop would begin.
        """
        buffer, run = self.buffer, self.run
        if not (self.has_fixed_start and buffer.is_stage_claimed and buffer.can_wait):
            return False
        if run.started_at is None or buffer.record.ending is not None:
            return False
        age = (clock.local_now() - run.started_at).total_seconds()
        return 0 <= age < settings.HEARTBEAT_SECONDS

    def describe_hold(self, blocked: Blocked) -> str:
        """Return the log line of a node that holds the event loop until now.

        "" if it was named before and did not take twice as long this time.
        """
        seconds = blocked.seconds
        if seconds < 2 * self._holds.get(blocked.node, 0.0):
            return ""
        self._holds[blocked.node] = seconds
        duration = f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}"  # noqa: PLR2004
        return (
            f"{blocked.node} held the event loop for {duration} s: make it a plain `def`, or"
            " await its blocking calls. Other runs of the worker had to wait."
        )

    # -- the end of the attempt -------------------------------------------------------

    async def end(  # noqa: PLR0913 - one argument per column
        self,
        status: Status,
        *,
        result: str | None = None,
        message: str = "",
        code: str = "",
        node: str = "",
        traceback: str = "",
        successor: Run | None = None,
    ) -> None:
        """Commit the end of the run and of this attempt, with the run that continues it."""
        record = self.buffer.record
        record.status, record.completed_at = status, clock.local_now()
        if self.spans is not None:
            self.spans.ended(status, code)
        record.suspicion = Suspicion.NONE
        record.result = result
        record.error_message, record.error_code = clean(message), code
        record.error_node, record.waiting_node = node, self.buffer.waiting_node
        record.ending = Ending(
            Outcome(status.value), record.error_message, code, clean(traceback)
        )
        is_cancelled = status == Status.CANCELLED
        self.stages.close_stage(
            StageStatus.CANCELLED if is_cancelled else StageStatus.INTERRUPTED
        )
        for stage in record.stages:
            if stage.status == StageStatus.CANCELLED and not stage.error:
                stage.error = record.error_message
        if self.run.waiting_node and not self.stages.has_started:
            # the pause of an earlier attempt, which this one did not continue
            record.extra_writes.append(partial(seal_rows.interrupt, self.run.pk))
        if successor is not None:
            self.has_launched = True
            place = self.run, self.buffer.sequence
            write = partial(run_links.insert_successor, successor, *place)
            record.extra_writes.append(write)
        await self.buffer.flush()
        self.has_ended = True

    async def pause(self, paused: Paused) -> None:
        """Commit that the run waits, with the approval or the child run it waits for."""
        self.buffer.masker.pause(paused)
        record = self.buffer.record
        record.status = Status.WAITING
        if self.spans is not None:
            self.spans.ended(Status.WAITING)
        record.suspicion = Suspicion.NONE
        record.waiting_for = paused.kind
        record.waiting_node = paused.node
        record.wake_at = paused.until
        record.ending = Ending(Outcome.WAITING)
        self.stages.close_stage(StageStatus.WAITING)
        record.extra_writes.append(
            pause_records.pause_write(self.run, paused, self._child)
        )
        await self.buffer.flush()
        self.awaits_event = paused.kind in AWAITS_EVENT

    @property
    def has_children_to_launch(self) -> bool:
        """Whether the run waits for child runs that are to be launched one after another."""
        return isinstance(self._child, ChildGroup)

    async def release(self, *, requested: bool = True) -> None:
        """Return the run to the queue in the middle of a node.

        A release without a request counts as a recovery, so that it cannot repeat
        without end; at MAX_RECOVERIES it fails the run.
        """
        if requested:
            await self._release(Ending(Outcome.RELEASED))
            return
        times = 1 + (0 if self.has_progressed else self.run.recoveries)
        if times < settings.MAX_RECOVERIES:
            self.buffer.record.recovered = True
            await self._release(Ending(Outcome.RELEASED, NOT_REQUESTED))
            return
        node = self.buffer.stage.node if self.buffer.stage else ""
        where = f"in “{node}”" if node else "before the first node"
        await self.end(
            Status.FAILED,
            message=f"{NOT_REQUESTED} This happened {times} times in a row without a"
            f" step being finished, the last time {where}. Correct the code that"
            " cancels it, then resume the run.",
            code="task_cancelled",
            node=node,
        )

    def is_draining(self) -> bool:
        """Return whether the run has to be released before the next step of a branch."""
        return self._draining()

    async def release_step(self) -> None:
        """Release the run between the steps of its branches. Raises Drained."""
        await self.release()
        raise Drained(RELEASED)

    async def _release(self, ending: Ending) -> None:
        self._lift_suspicion_after_progress()
        self.buffer.record.status = Status.PENDING
        self.buffer.record.ending = ending
        self.stages.close_stage(StageStatus.INTERRUPTED)
        await self.buffer.flush()

    def _lift_suspicion_after_progress(self) -> bool:
        """Clear the suspicion of a released run if the suspected step is completed."""
        if not (self.run.suspicion and self.has_progressed):
            return False
        self.buffer.record.suspicion = Suspicion.NONE
        return True

    async def fail_without_record(self, error: Exception) -> None:
        """Fail the run without the rows that could not be written.

        If the row of the stage in progress is refused as well, it is left out.
        """
        self.buffer.fall_back()
        try:
            await self._end_unrecorded(error)
        except Superseded:
            raise
        except Exception:
            if self.buffer.stage is None:
                raise
            self.buffer.stage = None
            await self._end_unrecorded(error)

    async def _end_unrecorded(self, error: Exception) -> None:
        await self.end(
            Status.FAILED,
            message=f"What the run recorded could not be stored: {describe(error)}. The last"
            " stored step is kept; correct the cause, then resume the run.",
            code="checkpoint_save_failed",
        )
