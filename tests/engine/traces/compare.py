"""Compares a replay with the recorded trace, without additions to the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflows.engine import Event, ExecutionError

from .cases import Case
from .replay import Replay, Step, plain

ADDED_EVENTS = frozenset({"node.retry", "graph.error", "graph.pause"})
ADDED_FIELDS = {
    "node.start": {"sequence"},
    "node.complete": {"sequence", "error_message", "cancelled"},
    "edge.evaluate": {
        "sequence",
        "predicate_name",
        "predicate_result",
        "reason",
        "values",
    },
    "edge.transition": {"sequence"},
    "parallel.start": {"kept"},
}
PATTERNS = {  # by prefix of the event: source and field names of the reference
    "chain": "workflows.ProcessChain",
    "step": "workflows.ProcessChain",
    "parallel": "workflows.ProcessParallel",
    "worker": "workflows.ProcessParallel",
    "route": "conditional",
}
UNDEFINED_ON_FAILURE = {
    "require",
    "sleep",
}  # the format does not define the state that these return on failure

ReportedEvent = tuple[str, str, dict[str, Any]]  # source, type, data


def assert_same(case: Case, replay: Replay) -> None:
    """Assert that the replay matches the trace, in the same order."""
    expected = case["expected"]
    codes = [
        None if refusal is None else refusal["code"] for refusal in expected["build"]
    ]
    assert replay.build == codes
    for number, (wanted, step) in enumerate(
        zip(expected["steps"], replay.steps, strict=True)
    ):
        assert_step(case, wanted, step, f"step {number + 1}")
    assert replay.visits == expected["visits"]


def assert_step(case: Case, wanted: Mapping[str, Any], step: Step, where: str) -> None:
    """Assert that an execute or resume matches the trace."""
    assert step.ok is wanted["ok"], f"{where}: {step.error!r}"
    assert_equal(step.state, wanted["state"], f"{where}, state")
    assert_error(case, wanted.get("error"), step, where)
    if "initial_after" in wanted:
        assert_equal(
            step.initial_after, wanted["initial_after"], f"{where}, initial state"
        )
    assert_events(case, wanted["events"], step.events, where)
    if "store_calls" in wanted:
        assert_calls(wanted["store_calls"], step.store_calls or [], where)
    if "checkpoints" in wanted:
        assert_equal(step.checkpoints, wanted["checkpoints"], f"{where}, checkpoints")


def assert_error(
    case: Case, wanted: Mapping[str, Any] | None, step: Step, where: str
) -> None:
    """Assert equal code, node, path and cause of an error."""
    if wanted is None:
        assert step.error is None, where
        return
    error = step.error
    code = "cancelled" if step.code == "deadline" else step.code
    assert code == wanted["code"], f"{where}: {error!r}"
    assert isinstance(error, ExecutionError) is (wanted["kind"] == "execution"), where
    if isinstance(error, ExecutionError):
        assert error.node == wanted["node"], where
        assert list(error.path) == wanted["path"], where
        assert_equal(step.state, wanted["state"], f"{where}, state of the error")
        assert error.is_cancelled is wanted["is_cancelled"], where
        assert error.is_deadline is wanted["is_deadline"], where
    root = (wanted.get("causes") or [""])[-1]
    if root in _messages(case):
        assert root in f"{error} {error.__cause__ if error else ''}", where


def _messages(value: Any) -> set[str]:
    """Return the error messages that a case defines."""
    if isinstance(value, Mapping):
        own = (
            {value["message"]}
            if {"op", "item"} & value.keys() and "message" in value
            else set()
        )
        return own.union(*map(_messages, value.values()))
    if isinstance(value, list):
        return set().union(*map(_messages, value))
    return set()


def assert_calls(
    wanted: list[dict[str, Any]], calls: list[dict[str, Any]], where: str
) -> None:
    """Assert equal calls of the store, including failures."""

    def shown(call: dict[str, Any]) -> dict[str, Any]:
        return call | {"error": "error" in call}

    assert [shown(call) for call in calls] == [shown(call) for call in wanted], where


def assert_events(
    case: Case, wanted: list[dict[str, Any]], events: list[Event], where: str
) -> None:
    """Assert equal events of graph and patterns, in the same order with the same data."""
    graphs = {case["graph"]["name"]} | {
        step["graph"]["name"] for step in case["steps"] if "graph" in step
    }
    reported = comparable_events(events)
    recorded = [
        (event["source"], event["type"], event["data"])
        for event in wanted
        if event["via"] in {"graph", "pattern"}
    ]
    names = f"{[kind for _, kind, _ in reported]}"
    assert [kind for _, kind, _ in reported] == [kind for _, kind, _ in recorded], (
        f"{where}: {names}"
    )
    for ours, traced in zip(reported, recorded, strict=True):
        _assert_source(ours, traced, graphs)
        if not _is_unreported(case, ours, traced, reported):
            assert_equal(ours[2], traced[2], f"{where}, {ours[1]}")


def comparable_events(events: list[Event]) -> list[ReportedEvent]:
    """Return the events without those, and fields, that the reference does not have."""
    reported: list[ReportedEvent] = []
    jumping = False
    for event in events:
        jumping = event.type == "checkpoint.load" or (
            jumping and event.type != "checkpoint.resume"
        )
        if event.type in ADDED_EVENTS or (jumping and event.type.startswith("edge.")):
            continue
        ours = ADDED_FIELDS.get(event.type, set())
        if event.type.partition(".")[0] in PATTERNS:
            ours = ours | {"node", "sequence"}
        data = {key: value for key, value in event.data.items() if key not in ours}
        reported.append((event.source, event.type, plain(data)))
    return reported


def _assert_source(
    ours: ReportedEvent, traced: ReportedEvent, graphs: set[str]
) -> None:
    """Assert the source: here the graph, in the reference the pattern for its events."""
    assert ours[0] in graphs
    pattern = PATTERNS.get(traced[1].partition(".")[0])
    assert traced[0] == pattern if pattern else traced[0] == ours[0]


def _is_unreported(
    case: Case,
    ours: ReportedEvent,
    traced: ReportedEvent,
    reported: list[ReportedEvent],
) -> bool:
    """Return whether a failed node's returned state is undefined in the format."""
    _, kind, data = ours
    if kind != "node.complete" or not data["error"] or data == traced[2]:
        return False
    kinds = {op["op"] for op in _operations(case, data["node"])}
    inputs = [
        start["input_snapshot"]
        for _, event, start in reported
        if event == "node.start" and start["node"] == data["node"]
    ]
    rest = data | {"output_snapshot": traced[2]["output_snapshot"]}
    return (
        bool(kinds & UNDEFINED_ON_FAILURE)
        and rest == traced[2]
        and rest["output_snapshot"] in inputs
    )


def _operations(case: Case, name: str) -> list[Mapping[str, Any]]:
    graphs = [
        case["graph"],
        *(step["graph"] for step in case["steps"] if "graph" in step),
    ]
    return [
        op
        for graph in graphs
        for call in graph["build"]
        if call["call"] == "add_node" and call["name"] == name
        for op in call.get("ops", [])
    ]


def assert_equal(ours: Any, traced: Any, where: str) -> None:
    """Assert equal JSON; numbers by value, because the trace has 1 for 1.0, but not bools."""
    assert same(ours, traced), f"{where}: {ours!r} is not {traced!r}"


def same(ours: Any, traced: Any) -> bool:
    """Return whether two JSON values are equal, numbers by value."""
    if isinstance(ours, Mapping) and isinstance(traced, Mapping):
        return ours.keys() == traced.keys() and all(
            same(ours[k], traced[k]) for k in ours
        )
    if isinstance(ours, list | tuple) and isinstance(traced, list | tuple):
        return len(ours) == len(traced) and all(map(same, ours, traced))
    return isinstance(ours, bool) is isinstance(traced, bool) and bool(ours == traced)
