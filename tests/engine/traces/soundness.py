"""Invariants of every replay of a graph, independent of its trace."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from workflows.engine import Event

from .cases import Case
from .ops import FRESH_RUN
from .replay import Replay, Step, content

# Permitted successors of events within an attempt, without events of patterns.
FOLLOWS: dict[str, set[str]] = {
    "graph.start": {"node.start", "graph.error"},
    "node.start": {"node.complete", "graph.error", "graph.pause"},
    "node.complete": {
        "checkpoint.save",
        "edge.evaluate",
        "graph.complete",
        "graph.error",
    },
    "checkpoint.save": {"edge.evaluate", "graph.complete", "graph.error"},
    "edge.evaluate": {
        "edge.evaluate",
        "edge.transition",
        "graph.error",
        "checkpoint.resume",
    },
    "edge.transition": {
        "node.start",
        "cycle.detected",
        "graph.error",
        "checkpoint.resume",
    },
    "cycle.detected": {"node.start"},
    "checkpoint.load": {"edge.evaluate", "checkpoint.resume"},
    "checkpoint.resume": {"graph.start"},
    "graph.complete": {"graph.error"},
    "graph.error": set(),
    "graph.pause": set(),
}
LAST = {"graph.complete", "graph.error", "graph.pause"}


def assert_sound(case: Case, replay: Replay) -> None:
    """Assert the order of events, the run ids, and the results of predicates."""
    assert content(replay.initial) == {
        "checkpoint_node": "",
        "data": dict(case["initial"]["set"]),
        "run_id": case["initial"]["run_id"],
    }
    run_ids = {
        case["initial"]["run_id"],
        *(spec.get("run_id") for spec in case["steps"]),
    }
    for spec, step in zip(case["steps"], replay.steps, strict=True):
        assert_grammar(step.events)
        assert _run_ids(step) <= run_ids | {""}
        _assert_predicates(spec.get("graph", case["graph"]), step.events)


def assert_grammar(events: list[Event]) -> None:
    """Assert that the events of an attempt are in a permitted order."""
    types = [event.type for event in events if event.type in FOLLOWS]
    for one, next_one in itertools.pairwise(types):
        assert next_one in FOLLOWS[one], f"{next_one} after {one} in {types}"
    if "graph.start" in types:
        assert types[0] in {"graph.start", "checkpoint.load"}
        assert types[-1] in LAST, types


def _run_ids(step: Step) -> set[str]:
    reported = {event.data["run_id"] for event in step.events if "run_id" in event.data}
    requested = {call["run_id"] for call in step.store_calls or []}
    stored = {content["run_id"] for content in (step.checkpoints or {}).values()}
    assert FRESH_RUN not in reported | requested | stored
    return (
        reported
        | requested
        | stored
        | set(step.checkpoints or {})
        | {step.state["run_id"]}
    )


def _assert_predicates(graph: Mapping[str, Any], events: list[Event]) -> None:
    """Assert that each edge was evaluated as described, on the state after its node."""
    edges: dict[str, list[Mapping[str, Any]]] = {}
    for call in graph["build"]:
        if call["call"] == "add_edge":
            edges.setdefault(call["from"], []).append(call)
    for event, data in _evaluated(events):
        described = edges[event["from"]]
        edge = [call for call in described if call["to"] in _names(graph)][
            event["edge_index"]
        ]
        assert event["predicate_result"] is holds(edge["when"], data), event


def _names(graph: Mapping[str, Any]) -> set[str]:
    return {call["name"] for call in graph["build"] if call["call"] == "add_node"}


def _evaluated(
    events: list[Event],
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Yield the evaluations of edges with their data."""
    data: Mapping[str, Any] | None = None
    for event in events:
        if event.type == "node.complete":
            data = event.data["output_snapshot"]
        elif event.type == "edge.evaluate" and data is not None:
            yield event.data, data


def holds(spec: Mapping[str, Any] | None, data: Mapping[str, Any]) -> bool:
    """Return the result of a described predicate, computed without the engine."""
    if spec is None:
        return True
    found = data.get(spec.get("key", ""))
    parts = spec.get("of") or []
    parts = [parts] if isinstance(parts, Mapping) else parts
    answers: dict[str, Callable[[], bool]] = {
        "always": lambda: True,
        "exists": lambda: spec["key"] in data,
        "equals": lambda: spec["key"] in data and identical(found, spec.get("value")),
        "gte": lambda: type(found) in {int, float} and found >= spec["value"],
        "not": lambda: not all(holds(part, data) for part in parts),
        "and": lambda: all(holds(part, data) for part in parts),
        "or": lambda: any(holds(part, data) for part in parts),
    }
    return answers[spec["p"]]()


def identical(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal, including types."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(
            identical(one[k], other[k]) for k in one
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(identical, one, other))
    return type(one) is type(other) and bool(one == other)
