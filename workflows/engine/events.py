"""The events that the engine sends to observers, in order.

Snapshots in an event are the frozen data of the state: they are not copied and can be stored.
Fields marked + are additions to the reference implementation.

| type | data |
| --- | --- |
| graph.start | entry_point, run_id, exit_points (count) |
| node.start | node, iteration, input_snapshot, + sequence, branch, steps of its branches |
| node.retry + | node, iteration, sequence, try, of, error, wait_seconds, item_index of an item |
| thread.wait + | node, sequence, leftover (of an earlier try), item_index of an item |
| thread.begin + | node, sequence, item_index of an item: the wait is over |
| node.complete | node, iteration, error, output_snapshot, + sequence, error_message, cancelled,
|   | branch |
| cycle.detected | node, visit_count, iteration, path_length |
| checkpoint.save | node, run_id |
| edge.evaluate | from, to, edge_index, has_predicate,
|   | + sequence, predicate_name, predicate_result, reason, values, branch |
| edge.transition | from, to, edge_index, predicate_name, predicate_result,
|   | + sequence, branch |
| graph.complete | exit_point, iterations, path_length |
| graph.error + | node, path, code, message |
| graph.pause + | node, iteration, sequence, kind, question |
| checkpoint.load | node, run_id |
| checkpoint.resume | checkpoint_node, resume_node, run_id |
| chain.start | item_count, has_progress_callback, capture_intermediate |
| step.start | step_index, total_steps |
| step.complete | step_index, total_steps, error |
| chain.complete | steps_completed, error, error_type on error (cancellation, processor) |
| parallel.start | item_count, worker_count, fail_fast, has_progress_callback, + kept if any are |
| worker.start | worker_id, item_index, total_items |
| worker.complete | worker_id, item_index, total_items, error |
| parallel.complete | items_processed, items_failed, error |
| route.evaluate | route_count |
| route.select | route, has_default |
| route.execute | route, error |

Within a graph the events of a pattern also have its node and sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple


class EventType:
    """The names of events."""

    GRAPH_START: Final = "graph.start"
    NODE_START: Final = "node.start"
    NODE_RETRY: Final = "node.retry"
    THREAD_WAIT: Final = "thread.wait"
    THREAD_BEGIN: Final = "thread.begin"
    NODE_COMPLETE: Final = "node.complete"
    CYCLE_DETECTED: Final = "cycle.detected"
    CHECKPOINT_SAVE: Final = "checkpoint.save"
    EDGE_EVALUATE: Final = "edge.evaluate"
    EDGE_TRANSITION: Final = "edge.transition"
    GRAPH_COMPLETE: Final = "graph.complete"
    GRAPH_ERROR: Final = "graph.error"
    GRAPH_PAUSE: Final = "graph.pause"
    CHECKPOINT_LOAD: Final = "checkpoint.load"
    CHECKPOINT_RESUME: Final = "checkpoint.resume"
    CHAIN_START: Final = "chain.start"
    STEP_START: Final = "step.start"
    STEP_COMPLETE: Final = "step.complete"
    CHAIN_COMPLETE: Final = "chain.complete"
    PARALLEL_START: Final = "parallel.start"
    WORKER_START: Final = "worker.start"
    WORKER_COMPLETE: Final = "worker.complete"
    PARALLEL_COMPLETE: Final = "parallel.complete"
    ROUTE_EVALUATE: Final = "route.evaluate"
    ROUTE_SELECT: Final = "route.select"
    ROUTE_EXECUTE: Final = "route.execute"


class Event(NamedTuple):
    """Something that happened in a run; immutable. Its repr has no data."""

    type: str  # one of EventType
    timestamp: datetime
    source: str  # the graph's name, or the pattern's
    data: Mapping[str, Any]

    def __repr__(self) -> str:
        """Return the event without content of the state, which must not be logged."""
        place = f"timestamp={self.timestamp!r}, source={self.source!r}"
        return f"Event(type={self.type!r}, {place})"


EVENT_TYPES: Final = tuple(
    value for name, value in vars(EventType).items() if name.isupper()
)
"""The names of all events."""
