"""The engine's events as rows: stages, decisions, tries, progress of parallel nodes."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from workflows.audit.step_records import StageRow
from workflows.engine.events import EventType
from workflows.execution.decision_records import decision_of
from workflows.execution.earlier_attempts import NO_HISTORY
from workflows.execution.retry_records import retry_message, retry_of
from workflows.execution.thread_waits import ALL, ThreadWaits
from workflows.infra import clock, log_context
from workflows.infra.text import clean
from workflows.models import Level, StageKind, StageStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workflows.engine import Event
    from workflows.execution.earlier_attempts import History
    from workflows.execution.pause_records import Reply
    from workflows.execution.record_buffer import RecordBuffer

MAX_START_SECONDS = 0.5  # of work, within which a wait for a thread counts as before it
PROGRESS_LOG_PARTS = 10  # of a parallel node's items: a log line at each tenth


@dataclass(slots=True)
class Timing:
    """How long a stage has worked; waiting for a thread does not count."""

    began: float = 0.0  # on the monotonic clock; 0 = its start is not recorded yet
    waits: ThreadWaits = field(default_factory=ThreadWaits)

    def start(self) -> None:
        """Measure from now on, unless the stage has begun."""
        self.began = self.began or time.monotonic()

    @property
    def seconds(self) -> float:
        """The seconds of work so far."""
        if not self.began:
            return 0.0
        return time.monotonic() - self.began - self.waits.seconds

    @property
    def elapsed_ms(self) -> float:
        """The duration in milliseconds."""
        return max(self.seconds, 0) * 1_000


class StageEvents:
    """Turns events of one attempt into rows of its record; follows the current stage."""

    def __init__(self, buffer: RecordBuffer, after_node: Callable[[], None]) -> None:
        """`after_node` is called on the event loop whenever a node has ended."""
        self.is_ending = False  # the graph has ended: only the end is still to record
        self._buffer = buffer
        self._after_node = after_node
        self._history = NO_HISTORY
        self._kept_items: Mapping[int, Mapping[int, Any]] = {}
        self._waiting_since: dt.datetime | None = None  # of the stage that paused
        self._timing = Timing()  # of the current stage
        self._branch_timings: dict[int, Timing] = {}  # by sequence
        # of items in progress, by step and index: start on the monotonic clock, tries
        self._items: dict[tuple[int, int], tuple[float, int]] = {}
        self.has_started = False  # a node of this attempt

    def continue_from(self, history: History) -> None:
        """Continue the pause and the tries of earlier attempts."""
        self._history = history
        self._waiting_since = history.waiting_since

    def keep_items(self, kept: Mapping[int, Mapping[int, Any]]) -> None:
        """Count these items, by step and index, as done."""
        self._kept_items = kept

    def start_clock(self) -> None:
        """Measure the duration of stages whose start has been recorded from now on."""
        for timing in (self._timing, *self._branch_timings.values()):
            timing.start()

    def on_event(self, event: Event) -> None:
        """Add the rows of an event to the record."""
        handler = _HANDLERS.get(event.type)
        if handler is not None:
            handler(self, event.data)

    # -- nodes ------------------------------------------------------------------------

    def _on_node_start(self, data: Mapping[str, Any]) -> None:
        stage = StageRow(
            data["sequence"],
            data["node"],
            data["iteration"],
            StageStatus.STARTED,
            self._waiting_since or clock.local_now(),
            tries=self._history.tries.of(data["sequence"])[0] + 1,
            kind=data.get("kind", StageKind.NODE),
            undoes=data.get("undoes"),
            branch=data.get("branch"),
        )
        log_context.NODE.set(data["node"])
        if stage.branch is not None:
            stage.created_at = clock.local_now()
            log_context.STEP.set(stage.sequence)
            self._branch_timings[stage.sequence] = Timing()
            self._buffer.start_branch_stage(stage)
            return
        self._timing = Timing()
        self.has_started = True
        if steps := data.get("steps"):
            stage.items_total = steps
            stage.items_done = len(self._kept_items.get(stage.sequence, {}))
        self._buffer.start_stage(stage)

    def _on_node_retry(self, data: Mapping[str, Any]) -> None:
        stage, _ = self._in_progress(data)
        if stage is not None and "item_index" not in data:
            stage.tries = data["try"] + 1
            stage.progress = None
            self._buffer.update_stage(stage)
            self._buffer.record.retries.append(retry_of(data, stage.sequence))
        place = data["sequence"], data.get("item_index", -1)
        if place in self._items:
            self._items[place] = (self._items[place][0], data["try"] + 1)
        self._buffer.log(Level.WARNING, retry_message(data))

    def _on_node_complete(self, data: Mapping[str, Any]) -> None:
        stage, timing = self._in_progress(data)
        status = _final_status(data)
        if stage is not None and stage.branch is not None:
            stage.error = clean(data.get("error_message") or "")
            self._close_branch_stage(stage, timing, status)
            return
        self._after_node()  # not of a branch: others use the run's connections
        if stage is None:
            return
        if status != StageStatus.CANCELLED:  # a person's reason follows: Recorder.end
            stage.error = clean(data.get("error_message") or "")
        self.close_stage(status)

    def _in_progress(self, data: Mapping[str, Any]) -> tuple[StageRow | None, Timing]:
        """Return the stage that an event is about: that of a branch, or the current one."""
        sequence = data.get("sequence")
        stage = self._buffer.branch_stages.get(sequence) if sequence else None
        if stage is None:
            return self._buffer.stage, self._timing
        return stage, self._branch_timings.setdefault(stage.sequence, Timing())

    def _close_branch_stage(
        self, stage: StageRow, timing: Timing, status: StageStatus
    ) -> None:
        stage.status = status
        stage.duration_ms = timing.elapsed_ms
        self._branch_timings.pop(stage.sequence, None)
        self._buffer.end_branch_stage(stage)

    def close_stage(self, status: StageStatus) -> None:
        """End the current stage, if there is one, with this status.

        The steps of its branches that are in progress were interrupted.
        """
        for row in [*self._buffer.branch_stages.values()]:
            _, timing = self._in_progress({"sequence": row.sequence})
            is_cancelled = status == StageStatus.CANCELLED
            ended = status if is_cancelled else StageStatus.INTERRUPTED
            self._close_branch_stage(row, timing, ended)
        stage = self._buffer.stage
        if stage is None:
            return
        stage.status = status
        stage.duration_ms = self._elapsed_ms(stage)
        self._buffer.end_stage()

    def _elapsed_ms(self, stage: StageRow) -> float:
        """Return the duration of the stage; one that had paused counts from its start.

        Waiting for a thread is not part of the duration.
        """
        if self._waiting_since is None:
            return self._timing.elapsed_ms
        self._waiting_since = None
        return (clock.local_now() - stage.created_at).total_seconds() * 1_000

    # -- edges ------------------------------------------------------------------------

    def _on_edge_evaluate(self, data: Mapping[str, Any]) -> None:
        # only the first step of an attempt follows the response that ended the pause
        is_first = (
            data["sequence"] == self._buffer.run.sequence + 1 and "branch" not in data
        )
        reply: Reply | None = self._history.reply if is_first else None
        self._buffer.record.decisions.append(decision_of(data, reply))

    def _on_edge_transition(self, data: Mapping[str, Any]) -> None:
        place = data["sequence"], data["edge_index"]
        for row in reversed(self._buffer.record.decisions):
            if (row.sequence, row.edge_index) == place:
                row.taken = True
                return

    def _on_route_select(self, data: Mapping[str, Any]) -> None:
        stage, _ = self._in_progress(data)
        node = stage.node if stage else "the node"
        self._buffer.log(Level.INFO, f"{node} chose the route “{data['route']}”.")

    def _on_end(self, _data: Mapping[str, Any]) -> None:
        self.is_ending = True

    # -- threads and items ------------------------------------------------------------

    def _on_thread_wait(self, data: Mapping[str, Any]) -> None:
        _, timing = self._in_progress(data)
        timing.waits.wait(data.get("item_index", ALL))
        self._show_wait(data)
        if data["leftover"]:
            text = "waits until the thread of an earlier try has ended: it still works."
            self._buffer.log(Level.WARNING, f"{data['node']} {text}")

    def _on_thread_begin(self, data: Mapping[str, Any]) -> None:
        _, timing = self._in_progress(data)
        timing.waits.end_wait(data.get("item_index", ALL))
        self._show_wait(data)

    def _on_item_start(self, data: Mapping[str, Any]) -> None:
        _, timing = self._in_progress(data)
        timing.waits.start_item(data["item_index"])
        self._items[data["sequence"], data["item_index"]] = (time.monotonic(), 1)
        self._show_wait(data)

    def _on_item_complete(self, data: Mapping[str, Any]) -> None:
        _, timing = self._in_progress(data)
        timing.waits.end_item(data["item_index"])
        self._show_wait(data)

    def _show_wait(self, data: Mapping[str, Any]) -> None:
        stage, timing = self._in_progress(data)
        if stage is not None and stage.waits_for_thread != timing.waits.is_waiting:
            stage.waits_for_thread = timing.waits.is_waiting
            if not stage.waits_for_thread:
                self._move_start(stage, timing)
            self._buffer.update_stage(stage)
            self._buffer.schedule_flush()

    def _move_start(self, stage: StageRow, timing: Timing) -> None:
        """Start a stage that waited for a thread before its work when it has one.

        The wait is not part of its duration, so that its bar in the timeline would begin
        and end too early. A stage that waited in the middle of its work keeps its start.
        """
        worked = timing.seconds
        first_try = self._history.tries.of(stage.sequence)[0] + 1
        if (
            stage.tries == first_try
            and worked < MAX_START_SECONDS
            and (self._waiting_since is None or stage.branch is not None)
        ):
            stage.created_at = clock.local_now() - dt.timedelta(seconds=worked)

    def _on_parallel_start(self, data: Mapping[str, Any]) -> None:
        stage, _ = self._in_progress(data)
        if stage is not None:
            stage.items_total = data["item_count"]
            stage.items_done = len(self._kept_items.get(stage.sequence, {}))
            self._buffer.update_stage(stage)

    def end_item(self, sequence: int, index: int) -> tuple[int | None, float | None]:
        """Return tries and milliseconds of an item that ends, None for a step of a branch.

        The time includes that between tries, and that in which the item waits for a thread.
        """
        started, tries = self._items.pop((sequence, index), (None, None))
        if started is None:
            return None, None
        return tries, (time.monotonic() - started) * 1_000

    def count_item(self, sequence: int) -> None:
        """Count one more finished item of a parallel node, or step of the branches."""
        stage, _ = self._in_progress({"sequence": sequence})
        if stage is None or stage.items_done is None or not stage.items_total:
            return
        stage.items_done += 1
        self._buffer.update_stage(stage)
        done, total = stage.items_done, stage.items_total
        parts_before = (done - 1) * PROGRESS_LOG_PARTS // total
        is_next_part = done * PROGRESS_LOG_PARTS // total > parts_before
        if is_next_part and total >= PROGRESS_LOG_PARTS:  # fewer: the page shows each
            text = f"{stage.node}: {done} of {total} items"
            now, step = clock.local_now(), log_context.STEP.get()
            self._buffer.add_line(Level.DEBUG, text, now, step)


def _final_status(data: Mapping[str, Any]) -> StageStatus:
    """Return the status of a stage whose node has returned or raised."""
    if not data["error"]:
        return StageStatus.COMPLETED
    return StageStatus.CANCELLED if data.get("cancelled") else StageStatus.FAILED


_HANDLERS: dict[str, Callable[[StageEvents, Mapping[str, Any]], None]] = {
    EventType.NODE_START: StageEvents._on_node_start,  # noqa: SLF001 - a table of methods
    EventType.NODE_RETRY: StageEvents._on_node_retry,  # noqa: SLF001
    EventType.NODE_COMPLETE: StageEvents._on_node_complete,  # noqa: SLF001
    EventType.EDGE_EVALUATE: StageEvents._on_edge_evaluate,  # noqa: SLF001
    EventType.EDGE_TRANSITION: StageEvents._on_edge_transition,  # noqa: SLF001
    EventType.GRAPH_COMPLETE: StageEvents._on_end,  # noqa: SLF001
    EventType.GRAPH_ERROR: StageEvents._on_end,  # noqa: SLF001
    EventType.GRAPH_PAUSE: StageEvents._on_end,  # noqa: SLF001
    EventType.ROUTE_SELECT: StageEvents._on_route_select,  # noqa: SLF001
    EventType.THREAD_WAIT: StageEvents._on_thread_wait,  # noqa: SLF001
    EventType.THREAD_BEGIN: StageEvents._on_thread_begin,  # noqa: SLF001
    EventType.WORKER_START: StageEvents._on_item_start,  # noqa: SLF001
    EventType.WORKER_COMPLETE: StageEvents._on_item_complete,  # noqa: SLF001
    EventType.PARALLEL_START: StageEvents._on_parallel_start,  # noqa: SLF001
}

RECORDED: Final = frozenset(_HANDLERS)  # types of events
