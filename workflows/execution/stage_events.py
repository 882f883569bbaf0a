"""The engine's events as rows: stages, decisions, tries, progress of parallel nodes."""

from __future__ import annotations

import datetime as dt
import time
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
        self._began = 0.0  # on the monotonic clock
        self._waits = ThreadWaits()
        self.has_started = False  # a node of this attempt

    def continue_from(self, history: History) -> None:
        """Continue the pause and the tries of earlier attempts."""
        self._history = history
        self._waiting_since = history.waiting_since

    def keep_items(self, kept: Mapping[int, Mapping[int, Any]]) -> None:
        """Count these items, by step and index, as done."""
        self._kept_items = kept

    def start_clock(self) -> None:
        """Measure the duration of the current stage from now on."""
        if self._buffer.stage is not None:
            self._began = time.monotonic()

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
        )
        self._waits = ThreadWaits()
        self.has_started = True
        self._buffer.start_stage(stage)
        log_context.NODE.set(data["node"])

    def _on_node_retry(self, data: Mapping[str, Any]) -> None:
        stage = self._buffer.stage
        if stage is not None and "item_index" not in data:
            stage.tries = data["try"] + 1
            stage.progress = None
            self._buffer.update_stage()
            self._buffer.record.retries.append(retry_of(data, stage.sequence))
        self._buffer.log(Level.WARNING, retry_message(data))

    def _on_node_complete(self, data: Mapping[str, Any]) -> None:
        self._after_node()
        stage = self._buffer.stage
        if stage is None:
            return
        status = _final_status(data)
        if status != StageStatus.CANCELLED:  # a person's reason follows: Recorder.end
            stage.error = clean(data.get("error_message") or "")
        self.close_stage(status)

    def close_stage(self, status: StageStatus) -> None:
        """End the current stage, if there is one, with this status."""
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
            spent = time.monotonic() - self._began - self._waits.seconds
            return max(spent, 0) * 1_000
        self._waiting_since = None
        return (clock.local_now() - stage.created_at).total_seconds() * 1_000

    # -- edges ------------------------------------------------------------------------

    def _on_edge_evaluate(self, data: Mapping[str, Any]) -> None:
        # only the first step of an attempt follows the response that ended the pause
        is_first = data["sequence"] == self._buffer.run.sequence + 1
        reply: Reply | None = self._history.reply if is_first else None
        self._buffer.record.decisions.append(decision_of(data, reply))

    def _on_edge_transition(self, data: Mapping[str, Any]) -> None:
        for row in reversed(self._buffer.record.decisions):
            if row.edge_index == data["edge_index"]:
                row.taken = True
                return

    def _on_route_select(self, data: Mapping[str, Any]) -> None:
        stage = self._buffer.stage
        node = stage.node if stage else "the node"
        self._buffer.log(Level.INFO, f"{node} chose the route “{data['route']}”.")

    def _on_end(self, _data: Mapping[str, Any]) -> None:
        self.is_ending = True

    # -- threads and items ------------------------------------------------------------

    def _on_thread_wait(self, data: Mapping[str, Any]) -> None:
        self._waits.wait(data.get("item_index", ALL))
        self._show_wait()
        if data["leftover"]:
            text = "waits until the thread of an earlier try has ended: it still works."
            self._buffer.log(Level.WARNING, f"{data['node']} {text}")

    def _on_thread_begin(self, data: Mapping[str, Any]) -> None:
        self._waits.end_wait(data.get("item_index", ALL))
        self._show_wait()

    def _on_item_start(self, data: Mapping[str, Any]) -> None:
        self._waits.start_item(data["item_index"])
        self._show_wait()

    def _on_item_complete(self, data: Mapping[str, Any]) -> None:
        self._waits.end_item(data["item_index"])
        self._show_wait()

    def _show_wait(self) -> None:
        stage = self._buffer.stage
        if stage is not None and stage.waits_for_thread != self._waits.is_waiting:
            stage.waits_for_thread = self._waits.is_waiting
            if not stage.waits_for_thread:
                self._move_start(stage)
            self._buffer.update_stage()
            self._buffer.schedule_flush()

    def _move_start(self, stage: StageRow) -> None:
        """Start a stage that waited for a thread before its work when it has one.

        The wait is not part of its duration, so that its bar in the timeline would begin
        and end too early. A stage that waited in the middle of its work keeps its start.
        """
        worked = time.monotonic() - self._began - self._waits.seconds
        first_try = self._history.tries.of(stage.sequence)[0] + 1
        if (
            stage.tries == first_try
            and worked < MAX_START_SECONDS
            and self._waiting_since is None
        ):
            stage.created_at = clock.local_now() - dt.timedelta(seconds=worked)

    def _on_parallel_start(self, data: Mapping[str, Any]) -> None:
        stage = self._buffer.stage
        if stage is not None:
            stage.items_total = data["item_count"]
            stage.items_done = len(self._kept_items.get(stage.sequence, {}))
            self._buffer.update_stage()

    def count_item(self) -> None:
        """Count one more finished item of the current parallel node."""
        stage = self._buffer.stage
        if stage is None or stage.items_done is None or not stage.items_total:
            return
        stage.items_done += 1
        self._buffer.update_stage()
        done, total = stage.items_done, stage.items_total
        parts_before = (done - 1) * PROGRESS_LOG_PARTS // total
        is_next_part = done * PROGRESS_LOG_PARTS // total > parts_before
        if is_next_part and total >= PROGRESS_LOG_PARTS:  # fewer: the page shows each
            text = f"{stage.node}: {done} of {total} items"
            self._buffer.add_line(Level.DEBUG, text, clock.local_now())


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
