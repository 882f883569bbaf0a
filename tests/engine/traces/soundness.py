"""What holds for every replay of a graph, whatever its trace shows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from workflows.engine import Event

from .cases import Case
from .ops import FRESH_RUN
from .replay import Replay, Step, content

# What may follow what within one attempt; patterns' events stand between start and complete.
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
    """Every attempt keeps to the grammar, to its run, and to what its predicates say."""
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
    """The events of one attempt come in an order that can be read as a story."""
    types = [event.type for event in events if event.type in FOLLOWS]
    for one, next_one in itertools.pairwise(types):
        assert next_one in FOLLOWS[one], f"{next_one} after {one} in {types}"
    if "graph.start" in types:
        assert types[0] in {"graph.start", "checkpoint.load"}
        assert types[-1] in LAST, types


def _run_ids(step: Step) -> set[str]:
    reported = {event.data["run_id"] for event in step.events if "run_id" in event.data}
    asked = {call["run_id"] for call in step.store_calls or []}
    stored = {content["run_id"] for content in (step.checkpoints or {}).values()}
    assert FRESH_RUN not in reported | asked | stored
    return (
        reported | asked | stored | set(step.checkpoints or {}) | {step.state["run_id"]}
    )


def _assert_predicates(graph: Mapping[str, Any], events: list[Event]) -> None:
    """Each edge was judged as its description says, on the state its node left."""
    edges: dict[str, list[Mapping[str, Any]]] = {}
    for call in graph["build"]:
        if call["call"] == "add_edge":
            edges.setdefault(call["from"], []).append(call)
    for event, data in _judged(events):
        described = edges[event["from"]]
        edge = [call for call in described if call["to"] in _names(graph)][
            event["edge_index"]
        ]
        assert event["predicate_result"] is holds(edge["when"], data), event


def _names(graph: Mapping[str, Any]) -> set[str]:
    return {call["name"] for call in graph["build"] if call["call"] == "add_node"}


def _judged(
    events: list[Event],
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Evaluations of edges, with the data they were made on."""
    data: Mapping[str, Any] | None = None
    for event in events:
        if event.type == "node.complete":
            data = event.data["output_snapshot"]
        elif event.type == "edge.evaluate" and data is not None:
            yield event.data, data


def holds(spec: Mapping[str, Any] | None, data: Mapping[str, Any]) -> bool:
    """What a described predicate says of data, worked out without the engine."""
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
    """Whether two JSON values are equal, types and all."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(
            identical(one[k], other[k]) for k in one
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(identical, one, other))
    return type(one) is type(other) and bool(one == other)
