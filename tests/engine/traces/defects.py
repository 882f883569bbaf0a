"""What should have been recorded where the reference is wrong: `correct_behaviour`, in code.

A defect is known by its case's id, else by what the case does: each family of defects has one
handler, which corrects the trace or finds the right one by replaying the case without its trap.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from workflows.engine import ConfigurationError

from .cases import Case
from .compare import assert_equal, assert_same, same, without_ours
from .ops import FRESH_RUN
from .replay import Replay, Step, replay

Handler = Callable[[Case, Replay], Awaitable[None]]


async def assert_corrected(case: Case, result: Replay) -> None:
    """The replay did what `correct_behaviour` asks for."""
    handlers = [BY_ID[case["id"]]] if case["id"] in BY_ID else _families(case)
    for handler in handlers:
        await handler(case, result)


def _families(case: Case) -> list[Handler]:
    """The handlers for what a case does; every one that fits."""
    if REFUSED_AT_CREATION.search(case.get("correct_behaviour", "")):
        return [is_refused_at_creation]
    ops = {op["op"] for op in _ops(case)}
    fits = {
        keeps_its_run: "fresh" in ops,
        changes_nothing_in_place: "mutate_nested" in ops,
        fails_at_the_node: "panic" in ops,
        keeps_types: case["store"]["kind"].startswith("json"),
        starts_at_the_entry: _lost_its_start(case),
        runs_nothing_after_an_exit: _resumes_at_exit(case),
        answers_without_a_crash: any(
            "panic" in step for step in case["expected"]["steps"]
        ),
    }
    return [handler for handler, fit in fits.items() if fit] or [ends_every_step]


REFUSED_AT_CREATION = re.compile(r"\bconfiguration error\b|\bgraph is created\b")


async def is_refused_at_creation(_case: Case, result: Replay) -> None:
    """There is no graph: nothing was built, told, stored or run, and the code says why."""
    assert result.build == []
    assert result.visits == {}
    for step in result.steps:
        assert isinstance(step.error, ConfigurationError)
        assert step.code.startswith("config.")
        assert (step.events, step.store_calls or []) == ([], [])


async def keeps_its_run(case: Case, result: Replay) -> None:
    """The trace with the run's own id wherever the brand-new state's stood."""
    if len(case["steps"]) > 1:
        await ends_every_step(case, result)
        return
    run_id = case["initial"]["run_id"]
    corrected = _renamed(case, FRESH_RUN, run_id)
    steps = corrected["expected"]["steps"]
    for step, original in zip(steps, case["expected"]["steps"], strict=True):
        step["checkpoints"] = _kept(step, original, run_id)
    assert_same(corrected, result)


def _kept(step: Case, original: Case, run_id: str) -> dict[str, Any]:
    """What is stored once both ids are one: the newest, or nothing once it was deleted."""
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


async def changes_nothing_in_place(case: Case, result: Replay) -> None:
    """The same as without the operation: initial state, snapshots and checkpoints stay."""
    await _like(case, result, lambda op: None if op["op"] == "mutate_nested" else op)


async def fails_at_the_node(case: Case, result: Replay) -> None:
    """The same as when the node had simply failed."""

    def failing(op: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**op, "op": "fail", "returns": "input"} if op["op"] == "panic" else op

    await _like(case, result, failing)
    failed = [step for step in result.steps if not step.ok]
    assert any(step.code == "node_failed" for step in failed)


async def keeps_types(case: Case, result: Replay) -> None:
    """The same as with a store that keeps the states themselves."""
    other = copy.deepcopy(case)
    other["store"]["kind"] = "memory"
    _assert_alike(await replay(other), result)
    await ends_every_step(case, result)


async def starts_at_the_entry(case: Case, result: Replay) -> None:
    """Resuming a run whose first node failed is executing it again, under its own id."""
    other = copy.deepcopy(case)
    for spec, wanted in zip(other["steps"], case["expected"]["steps"], strict=True):
        if (wanted.get("error") or {}).get("code") == "resume.not_found":
            spec["do"] = "execute"
    assert all(step.code != "resume.not_found" for step in result.steps)
    _assert_alike(await replay(other), result)


async def runs_nothing_after_an_exit(_case: Case, result: Replay) -> None:
    """The exit's checkpoint is the end: refused as complete, nothing run, nothing changed."""
    for before, step in itertools.pairwise(result.steps):
        if step.do == "resume" and before.ok:
            assert step.code == "resume.complete"
            assert [event.type for event in step.events] == ["checkpoint.load"]
            assert [call["call"] for call in step.store_calls or []] == ["load"]
            assert step.checkpoints == before.checkpoints


async def answers_without_a_crash(case: Case, result: Replay) -> None:
    """Where the reference crashed we continue: to an end, or to an error that says where."""
    for wanted, step in zip(case["expected"]["steps"], result.steps, strict=True):
        if "panic" in wanted:
            reported = [[kind, data] for _, kind, data in without_ours(step.events)]
            recorded = [
                [event["type"], event["data"]]
                for event in wanted["events"]
                if event["via"] == "graph"
            ]
            assert same(reported[: len(recorded)], recorded)
    await ends_every_step(case, result)


async def follows_the_trace(case: Case, result: Replay) -> None:
    """The trace is right; what is wrong with the reference is elsewhere."""
    assert_same(case, result)


async def ends_every_step(case: Case, result: Replay) -> None:
    """Each step completed, or failed with a code and a sentence of its own."""
    assert len(result.steps) == len(case["steps"])
    for step in result.steps:
        assert step.ok or (step.code and str(step.error))


async def takes_the_structural_edge(_case: Case, result: Replay) -> None:
    (step,) = result.steps
    assert step.ok
    assert_equal(step.state["data"], {"k": [1], "r": "yes"}, "state")
    assert result.visits == {"s": 1, "yes": 1}


async def resumes_on_the_same_edge(case: Case, result: Replay) -> None:
    first, second = result.steps
    assert first.code == "node_failed"
    assert second.ok
    assert second.state["checkpoint_node"] == "y"
    assert_equal(second.state["data"], {"k": 2, "t": "y"}, "state")
    assert result.visits == {"s": 1, "y": 2}
    await keeps_types(case, result)


BY_ID: dict[str, Handler] = {
    "e04_first_node_failed_no_checkpoint": starts_at_the_entry,
    "e09_resume_exit_with_edges": runs_nothing_after_an_exit,
    "g01_fresh_state_loses_run": keeps_its_run,
    "g04_equals_on_list": takes_the_structural_edge,
    "g06_json_store_int_to_float": resumes_on_the_same_edge,
    "g09_resume_loop_iteration_collision": follows_the_trace,
}


async def _like(
    case: Case,
    result: Replay,
    change: Callable[[Mapping[str, Any]], Mapping[str, Any] | None],
) -> None:
    """The replay went as that of the case with its operations changed."""
    other = copy.deepcopy(case)
    for call in _calls(other):
        if "ops" in call:
            call["ops"] = [new for op in call["ops"] if (new := change(op)) is not None]
    _assert_alike(await replay(other), result)


def _assert_alike(wanted: Replay, result: Replay) -> None:
    """Two replays went the same way; entering from a checkpoint has an event first."""
    assert wanted.visits == result.visits
    for ours, theirs in zip(result.steps, wanted.steps, strict=True):
        assert (ours.ok, ours.code) == (theirs.ok, theirs.code)
        assert_equal(ours.state, theirs.state, "state")
        assert_equal(ours.checkpoints, theirs.checkpoints, "checkpoints")
        assert _story(ours) == _story(theirs)


def _story(step: Step) -> list[Any]:
    entering = {"checkpoint.load", "checkpoint.resume"}
    return [
        reported
        for reported in without_ours(step.events)
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
    """Whether the reference finds nothing to resume of a run that ended before."""
    errors = [step.get("error") or {} for step in case["expected"]["steps"]]
    return any(error.get("code") == "resume.not_found" for error in errors[1:])


def _resumes_at_exit(case: Case) -> bool:
    """Whether a step resumes a run that the step before it completed."""
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
    """What a case says of its last step holds, however its timing falls out."""
    await ends_every_step(case, result)
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
