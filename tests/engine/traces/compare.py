"""Compares a replay with the recorded trace, after taking out what is ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflows.engine import Event, ExecutionError

from .cases import Case
from .replay import Replay, Step, plain

OUR_EVENTS = frozenset({"node.retry", "graph.error", "graph.pause"})
OUR_FIELDS = {
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
PATTERNS = {  # by the first word of an event: the reference's source, and its field names of ours
    "chain": "workflows.ProcessChain",
    "step": "workflows.ProcessChain",
    "parallel": "workflows.ProcessParallel",
    "worker": "workflows.ProcessParallel",
    "route": "conditional",
}
UNSAID = {
    "require",
    "sleep",
}  # the format does not say which state these hand back when they fail

ReportedEvent = tuple[str, str, dict[str, Any]]  # source, type, data


def assert_same(case: Case, replay: Replay) -> None:
    """The replay did all that the reference did, in the same order."""
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
    """One execute or resume went as recorded."""
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
    """It failed the same way, at the same place, for the same reason."""
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
    """What the author of the case lets fail, in the author's words."""
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
    """The store was called the same way, and failed at the same calls."""

    def shown(call: dict[str, Any]) -> dict[str, Any]:
        return call | {"error": "error" in call}

    assert [shown(call) for call in calls] == [shown(call) for call in wanted], where


def assert_events(
    case: Case, wanted: list[dict[str, Any]], events: list[Event], where: str
) -> None:
    """The same events of graph and patterns, in the same order, with the same data."""
    graphs = {case["graph"]["name"]} | {
        step["graph"]["name"] for step in case["steps"] if "graph" in step
    }
    reported = without_ours(events)
    recorded = [
        (event["source"], event["type"], event["data"])
        for event in wanted
        if event["via"] in {"graph", "pattern"}
    ]
    names = f"{[kind for _, kind, _ in reported]}"
    assert [kind for _, kind, _ in reported] == [kind for _, kind, _ in recorded], (
        f"{where}: {names}"
    )
    for ours, theirs in zip(reported, recorded, strict=True):
        _assert_source(ours, theirs, graphs)
        if not _is_unreported(case, ours, theirs, reported):
            assert_equal(ours[2], theirs[2], f"{where}, {ours[1]}")


def without_ours(events: list[Event]) -> list[ReportedEvent]:
    """Events as the reference has them: ours, our fields and the edges of a jump left out."""
    reported: list[ReportedEvent] = []
    jumping = False
    for event in events:
        jumping = event.type == "checkpoint.load" or (
            jumping and event.type != "checkpoint.resume"
        )
        if event.type in OUR_EVENTS or (jumping and event.type.startswith("edge.")):
            continue
        ours = OUR_FIELDS.get(event.type, set())
        if event.type.partition(".")[0] in PATTERNS:
            ours = ours | {"node", "sequence"}
        data = {key: value for key, value in event.data.items() if key not in ours}
        reported.append((event.source, event.type, plain(data)))
    return reported


def _assert_source(
    ours: ReportedEvent, theirs: ReportedEvent, graphs: set[str]
) -> None:
    """Every event of ours comes from its graph; the reference's patterns name themselves."""
    assert ours[0] in graphs
    pattern = PATTERNS.get(theirs[1].partition(".")[0])
    assert theirs[0] == pattern if pattern else theirs[0] == ours[0]


def _is_unreported(
    case: Case,
    ours: ReportedEvent,
    theirs: ReportedEvent,
    reported: list[ReportedEvent],
) -> bool:
    """A failed node whose operations leave open which state it hands back."""
    _, kind, data = ours
    if kind != "node.complete" or not data["error"] or data == theirs[2]:
        return False
    kinds = {op["op"] for op in _operations(case, data["node"])}
    inputs = [
        start["input_snapshot"]
        for _, event, start in reported
        if event == "node.start" and start["node"] == data["node"]
    ]
    rest = data | {"output_snapshot": theirs[2]["output_snapshot"]}
    return (
        bool(kinds & UNSAID) and rest == theirs[2] and rest["output_snapshot"] in inputs
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


def assert_equal(ours: Any, theirs: Any, where: str) -> None:
    """The same JSON; numbers by value, for the trace writes 1.0 as 1, but no number is a bool."""
    assert same(ours, theirs), f"{where}: {ours!r} is not {theirs!r}"


def same(ours: Any, theirs: Any) -> bool:
    """Whether two JSON values are the same, numbers by value."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return ours.keys() == theirs.keys() and all(
            same(ours[k], theirs[k]) for k in ours
        )
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return isinstance(ours, bool) is isinstance(theirs, bool) and bool(ours == theirs)
