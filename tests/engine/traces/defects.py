"""Checks the cases whose trace is wrong in the reference against `correct_behaviour`.

A handler is selected by the id of a case, else by its operations. It corrects the trace, or
obtains the expected one by replaying the case without the operation that causes the defect.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from workflows.engine import ConfigurationError

from .cases import Case
from .compare import assert_equal, assert_same, comparable_events, same
from .ops import FRESH_RUN
from .replay import Replay, Step, replay

Handler = Callable[[Case, Replay], Awaitable[None]]


async def assert_corrected(case: Case, result: Replay) -> None:
    """Assert what `correct_behaviour` requires."""
    handlers = [BY_ID[case["id"]]] if case["id"] in BY_ID else _matching_handlers(case)
    for handler in handlers:
        await handler(case, result)


def _matching_handlers(case: Case) -> list[Handler]:
    """Return all handlers that match the operations of a case."""
    if REFUSED_AT_CREATION.search(case.get("correct_behaviour", "")):
        return [expect_refusal_at_creation]
    ops = {op["op"] for op in _ops(case)}
    fits = {
        expect_own_run_id: "fresh" in ops,
        expect_no_mutation: "mutate_nested" in ops,
        expect_node_failure: "panic" in ops,
        expect_preserved_types: case["store"]["kind"].startswith("json"),
        expect_start_at_entry: _lost_its_start(case),
        expect_refusal_at_exit: _resumes_at_exit(case),
        expect_no_crash: any("panic" in step for step in case["expected"]["steps"]),
    }
    return [handler for handler, fit in fits.items() if fit] or [expect_ended_steps]


REFUSED_AT_CREATION = re.compile(r"\bconfiguration error\b|\bgraph is created\b")


async def expect_refusal_at_creation(_case: Case, result: Replay) -> None:
    """The graph is rejected with a code; nothing is built, emitted, stored or executed."""
    assert result.build == []
    assert result.visits == {}
    for step in result.steps:
        assert isinstance(step.error, ConfigurationError)
        assert step.code.startswith("config.")
        assert (step.events, step.store_calls or []) == ([], [])


async def expect_own_run_id(case: Case, result: Replay) -> None:
    """Expect the trace with the id of the run in place of that of the new state."""
    if len(case["steps"]) > 1:
        await expect_ended_steps(case, result)
        return
    run_id = case["initial"]["run_id"]
    corrected = _renamed(case, FRESH_RUN, run_id)
    steps = corrected["expected"]["steps"]
    for step, original in zip(steps, case["expected"]["steps"], strict=True):
        step["checkpoints"] = _kept(step, original, run_id)
    assert_same(corrected, result)


def _kept(step: Case, original: Case, run_id: str) -> dict[str, Any]:
    """Return the stored checkpoints after merging both ids: the newest, if any."""
    if any(
        call["call"] == "delete" and "error" not in call for call in step["store_calls"]
    ):
        return {}
    stored = original["checkpoints"]
    newest = stored.get(FRESH_RUN) or stored.get(run_id)
    return {} if newest is None else {run_id: newest | {"run_id": run_id}}


def _renamed(value: Any, old: str, new: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _renamed(item, old, new) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, old, new) for item in value]
    return new if value == old else value


async def expect_no_mutation(case: Case, result: Replay) -> None:
    """Expect the trace without the operation: states and checkpoints are not mutated."""
    await _like(case, result, lambda op: None if op["op"] == "mutate_nested" else op)


async def expect_node_failure(case: Case, result: Replay) -> None:
    """Expect the trace of a node that fails with an ordinary error."""

    def failing(op: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**op, "op": "fail", "returns": "input"} if op["op"] == "panic" else op

    await _like(case, result, failing)
    failed = [step for step in result.steps if not step.ok]
    assert any(step.code == "node_failed" for step in failed)


async def expect_preserved_types(case: Case, result: Replay) -> None:
    """Expect the trace with a store that does not serialise."""
    other = copy.deepcopy(case)
    other["store"]["kind"] = "memory"
    _assert_alike(await replay(other), result)
    await expect_ended_steps(case, result)


async def expect_start_at_entry(case: Case, result: Replay) -> None:
    """A resume of a run whose first node failed executes it from the entry."""
    other = copy.deepcopy(case)
    for spec, wanted in zip(other["steps"], case["expected"]["steps"], strict=True):
        if (wanted.get("error") or {}).get("code") == "resume.not_found":
            spec["do"] = "execute"
    assert all(step.code != "resume.not_found" for step in result.steps)
    _assert_alike(await replay(other), result)


async def expect_refusal_at_exit(_case: Case, result: Replay) -> None:
    """A resume at an exit is refused as complete and executes nothing."""
    for before, step in itertools.pairwise(result.steps):
        if step.do == "resume" and before.ok:
            assert step.code == "resume.complete"
            assert [event.type for event in step.events] == ["checkpoint.load"]
            assert [call["call"] for call in step.store_calls or []] == ["load"]
            assert step.checkpoints == before.checkpoints


async def expect_no_crash(case: Case, result: Replay) -> None:
    """Where the reference crashes, the run ends or fails with an error that has a position."""
    for wanted, step in zip(case["expected"]["steps"], result.steps, strict=True):
        if "panic" in wanted:
            reported = [
                [kind, data] for _, kind, data in comparable_events(step.events)
            ]
            recorded = [
                [event["type"], event["data"]]
                for event in wanted["events"]
                if event["via"] == "graph"
            ]
            assert same(reported[: len(recorded)], recorded)
    await expect_ended_steps(case, result)


async def expect_recorded_trace(case: Case, result: Replay) -> None:
    """Expect the recorded trace; the defect is not visible in it."""
    assert_same(case, result)


async def expect_ended_steps(case: Case, result: Replay) -> None:
    """Each step completed, or failed with a code and a message."""
    assert len(result.steps) == len(case["steps"])
    for step in result.steps:
        assert step.ok or (step.code and str(step.error))


async def expect_structural_edge(_case: Case, result: Replay) -> None:
    (step,) = result.steps
    assert step.ok
    assert_equal(step.state["data"], {"k": [1], "r": "yes"}, "state")
    assert result.visits == {"s": 1, "yes": 1}


async def expect_same_edge(case: Case, result: Replay) -> None:
    first, second = result.steps
    assert first.code == "node_failed"
    assert second.ok
    assert second.state["checkpoint_node"] == "y"
    assert_equal(second.state["data"], {"k": 2, "t": "y"}, "state")
    assert result.visits == {"s": 1, "y": 2}
    await expect_preserved_types(case, result)


BY_ID: dict[str, Handler] = {
    "e04_first_node_failed_no_checkpoint": expect_start_at_entry,
    "e09_resume_exit_with_edges": expect_refusal_at_exit,
    "g01_fresh_state_loses_run": expect_own_run_id,
    "g04_equals_on_list": expect_structural_edge,
    "g06_json_store_int_to_float": expect_same_edge,
    "g09_resume_loop_iteration_collision": expect_recorded_trace,
}


async def _like(
    case: Case,
    result: Replay,
    change: Callable[[Mapping[str, Any]], Mapping[str, Any] | None],
) -> None:
    """Assert that the replay equals that of the case with changed operations."""
    other = copy.deepcopy(case)
    for call in _calls(other):
        if "ops" in call:
            call["ops"] = [new for op in call["ops"] if (new := change(op)) is not None]
    _assert_alike(await replay(other), result)


def _assert_alike(wanted: Replay, result: Replay) -> None:
    """Assert equal replays, without the first event of a resume."""
    assert wanted.visits == result.visits
    for ours, theirs in zip(result.steps, wanted.steps, strict=True):
        assert (ours.ok, ours.code) == (theirs.ok, theirs.code)
        assert_equal(ours.state, theirs.state, "state")
        assert_equal(ours.checkpoints, theirs.checkpoints, "checkpoints")
        assert _outline(ours) == _outline(theirs)


def _outline(step: Step) -> list[Any]:
    entering = {"checkpoint.load", "checkpoint.resume"}
    return [
        reported
        for reported in comparable_events(step.events)
        if reported[1] not in entering
    ]


def _calls(case: Case) -> list[dict[str, Any]]:
    graphs = [
        case["graph"],
        *(step["graph"] for step in case["steps"] if "graph" in step),
    ]
    return [call for graph in graphs for call in graph["build"]]


def _ops(case: Case) -> list[Mapping[str, Any]]:
    handlers = [
        ops
        for call in _calls(case)
        for ops in (call.get("conditional") or {}).get("handlers", {}).values()
    ]
    return [
        op
        for ops in (*handlers, *(call.get("ops", []) for call in _calls(case)))
        for op in ops
    ]


def _lost_its_start(case: Case) -> bool:
    """Return whether the reference finds no checkpoint of a run that ended before."""
    errors = [step.get("error") or {} for step in case["expected"]["steps"]]
    return any(error.get("code") == "resume.not_found" for error in errors[1:])


def _resumes_at_exit(case: Case) -> bool:
    """Return whether a step resumes a run that the previous step completed."""
    exits = {call["node"] for call in _calls(case) if call["call"] == "set_exit"}
    steps = list(zip(case["steps"], case["expected"]["steps"], strict=True))
    return any(
        before["ok"]
        and before["state"]["checkpoint_node"] in exits
        and spec["do"] == "resume"
        for (_, before), (spec, _) in itertools.pairwise(steps)
        if "ok" in before
    )


async def assert_invariants(case: Case, result: Replay) -> None:
    """Assert the invariants of a case for its last step."""
    await expect_ended_steps(case, result)
    step = result.steps[-1]
    for sentence in case["expected"].get("invariants", []):
        for pattern, reported in INVARIANTS:
            if found := re.search(pattern, sentence):
                assert reported(step) == found.group(1), f"{sentence}: {step.error!r}"


INVARIANTS: list[tuple[str, Callable[[Step], str]]] = [
    (
        r"error code ([\w.]+)",
        lambda step: "cancelled" if step.code == "deadline" else step.code,
    ),
    (r"^((?:not )?ok)\b", lambda step: "ok" if step.ok else "not ok"),
    (
        r"is_deadline (?:is )?(true|false)",
        lambda step: _message_part(step, "is_deadline"),
    ),
    (
        r"is_cancelled (?:is )?(true|false)",
        lambda step: _message_part(step, "is_cancelled"),
    ),
]


def _message_part(step: Step, name: str) -> str:
    return str(getattr(step.error, name)).lower()
