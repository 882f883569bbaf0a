"""Executes and checks a chain, parallel or conditional outside of a graph."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workflows.engine import (
    Cancellation,
    ChainConfig,
    ConditionalConfig,
    ConfigurationError,
    Event,
    ParallelConfig,
    State,
)
from workflows.engine.errors import (
    ChainError,
    ConditionalError,
    ParallelError,
    PatternError,
)
from workflows.engine.patterns import ParallelResult, fold, route
from workflows.engine.patterns import map as map_items

from .cases import Case
from .compare import assert_equal
from .ops import choose_by, config_of, fail_if_specified, failures
from .replay import plain

DEFAULT_HANDLER = "<default>"  # name of a default handler


@dataclass(slots=True)
class Listener:
    """Records events and progress."""

    events: list[Event] = field(default_factory=list)
    progress: list[dict[str, Any]] = field(default_factory=list)

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def note(self, completed: int, total: int, value: Any, name: str) -> None:
        self.progress.append(
            {"completed": completed, "total": total, name: plain(value)}
        )


@dataclass(slots=True)
class PatternRun:
    """The result of a pattern."""

    result: Any = None
    error: Exception | None = None
    code: str = ""
    listener: Listener = field(default_factory=Listener)


async def run_pattern(case: Case) -> PatternRun:
    """Execute the pattern of a case with its cancellations."""
    spec = case[case["kind"]]
    run = PatternRun()
    cancellation = Cancellation()
    if spec.get("cancel_before"):
        cancellation.cancel()
    timer = None
    if "deadline_ms" in spec:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(spec["deadline_ms"] / 1000, cancellation.expire)
    try:
        run.result = await PATTERNS[case["kind"]](
            case, spec, run.listener, cancellation
        )
    except (PatternError, ConfigurationError) as error:
        run.error, run.code = error, error.code
    finally:
        if timer is not None:
            timer.cancel()
    return run


def _before_item(
    spec: Mapping[str, Any], cancellation: Cancellation
) -> Callable[[Any], Awaitable[None]]:
    """What happens before an item is worked on: its time passes, the run is cancelled."""

    async def prepare(item: Any) -> None:
        await asyncio.sleep((spec.get("sleep_ms") or {}).get(str(item), 0) / 1000)
        if "cancel_on_item" in spec and spec["cancel_on_item"] == item:
            cancellation.cancel()

    return prepare


async def _chain(
    _case: Case, spec: Mapping[str, Any], listener: Listener, cancellation: Cancellation
) -> Any:
    prepare = _before_item(spec, cancellation)

    async def step(done: list[Any], item: Any) -> list[Any]:
        await prepare(item)
        fail_if_specified(spec, item)
        return [*done, item]

    def progress(completed: int, total: int, value: Any) -> None:
        listener.note(completed, total, value, "state")

    return await fold(
        spec["items"],
        spec["initial"],
        step,
        progress if spec.get("progress") else None,
        config=ChainConfig(**config_of(spec)),
        observer=listener,
        cancellation=cancellation,
    )


async def _parallel(
    case: Case, spec: Mapping[str, Any], listener: Listener, cancellation: Cancellation
) -> Any:
    prepare = _before_item(spec, cancellation)

    async def double(item: int) -> int:
        await prepare(item)
        fail_if_specified(spec, item)
        return 2 * item

    def progress(completed: int, total: int, value: Any) -> None:
        listener.note(completed, total, value, "result")

    return await map_items(
        spec["items"],
        double,
        progress if spec.get("progress") else None,
        config=ParallelConfig(**config_of(spec)),
        observer=listener,
        cancellation=cancellation,
        cpus=case["expected"].get("num_cpu"),
    )


async def _conditional(
    _case: Case, spec: Mapping[str, Any], listener: Listener, cancellation: Cancellation
) -> Any:
    choose = choose_by(spec["route_key"])
    cancels = {value for key, value in spec.items() if key.startswith("cancel_")}
    breaks = [
        value for key, value in spec.items() if "error" in key or "predicate" in key
    ]

    async def choosing(state: State) -> str:
        if cancels & {"predicate", "choose"} or spec.get("cancel_in_predicate"):
            cancellation.cancel()
        if breaks and isinstance(breaks[0], str):
            raise ValueError(breaks[0])
        return await choose(state)

    def handler(name: str) -> Callable[[State], Awaitable[State]]:
        async def handle(state: State) -> State:
            if name in cancels or spec.get("cancel_in_handler") is True:
                cancellation.cancel()
            fail_if_specified(spec, name)
            return state.set("handled_by", name)

        return handle

    return await route(
        State(spec["initial"]),
        choosing,
        {name: handler(name) for name in spec["handlers"]},
        handler(DEFAULT_HANDLER) if spec.get("default") else None,
        config=ConditionalConfig(**config_of(spec)),
        observer=listener,
        cancellation=cancellation,
    )


PATTERNS = {"chain": _chain, "parallel": _parallel, "conditional": _conditional}
SOURCES = {
    "chain": "workflows.ProcessChain",
    "parallel": "workflows.ProcessParallel",
    "conditional": "conditional",
}


def assert_same(case: Case, run: PatternRun) -> None:
    """Assert that the pattern matches the trace."""
    wanted = case["expected"]
    assert (run.error is None) is wanted["ok"], repr(run.error)
    _assert_error(wanted.get("error"), run)
    _assert_events(case, run.listener.events)
    _assert_progress(case, run.listener.progress)
    _assert_result(case, run)


def _assert_error(wanted: Mapping[str, Any] | None, run: PatternRun) -> None:
    if wanted is None:
        return
    error = run.error
    # A cancelled parallel of the reference returns the plain error of its context.
    assert run.code in {wanted["code"], f"parallel.{wanted['code']}"}
    assert ("cancelled" in run.code) is wanted["is_cancelled"]
    if isinstance(error, ChainError):
        assert error.step_index == wanted["step_index"]
        assert_equal(error.item, wanted["item"], "item")
        assert_equal(error.state, wanted["state"], "state")
    elif isinstance(error, ConditionalError) and "route" in wanted:
        assert error.route == wanted["route"]
        assert_equal(plain(error.state.data), wanted["state"], "state")
    elif isinstance(error, ParallelError) and "errors" in wanted:
        assert_equal(_failed(error.errors), wanted["errors"], "errors")


def _failed(errors: Any) -> list[dict[str, Any]]:
    return [{"index": e.index, "item": e.item, "message": e.message} for e in errors]


def _assert_events(case: Case, events: list[Event]) -> None:
    wanted = case["expected"]
    reported = [{"type": event.type, "data": dict(event.data)} for event in events]
    assert {event.source for event in events} <= {case["kind"]}
    if "events" in wanted:
        assert {event["source"] for event in wanted["events"]} <= {
            SOURCES[case["kind"]]
        }
        recorded = [
            {"type": event["type"], "data": event["data"]} for event in wanted["events"]
        ]
        assert_equal(reported, recorded, "events")
    if "event_counts" in wanted:
        assert Counter(event.type for event in events) == wanted["event_counts"]
    for name, place in (("first_event", 0), ("last_event", -1)):
        if name in wanted:
            edge = {"type": wanted[name]["type"], "data": wanted[name]["data"]}
            assert_equal(reported[place], edge, name)


def _assert_progress(case: Case, progress: list[dict[str, Any]]) -> None:
    """Compare progress; a trace with undefined order has only the counters."""
    wanted = case["expected"].get("progress")
    if wanted is None:
        return
    if wanted and not isinstance(wanted[0], Mapping):
        assert [note["completed"] for note in progress] == wanted
        return
    names = wanted[0].keys() if wanted else set()
    shown = [{name: note[name] for name in names} for note in progress]
    assert_equal(shown if wanted else progress, wanted, "progress")


def _assert_result(case: Case, run: PatternRun) -> None:
    wanted = case["expected"].get("result")
    if case["kind"] == "chain":
        _assert_chain(wanted, run)
    elif case["kind"] == "parallel" and wanted is not None:
        outcome = run.error if isinstance(run.error, ParallelError) else run.result
        outcome = outcome or ParallelResult(())  # refused before the first item
        shown = {"errors": _failed(outcome.errors), "results": list(outcome.results)}
        assert_equal(
            shown, {name: value or [] for name, value in wanted.items()}, "result"
        )
    elif wanted is not None and run.error is None:
        assert_equal(plain(run.result.data), wanted, "result")


def _assert_chain(wanted: Any, run: PatternRun) -> None:
    """Compare the result; a failed chain has its completed steps, unlike the reference."""
    if run.error is None:
        captured = run.result.intermediates
        shown = {
            "final": run.result.final,
            "steps": run.result.steps,
            "intermediate": None if captured is None else list(captured),
        }
        if run.result.steps == 0 and wanted["intermediate"] is None:
            shown["intermediate"] = None  # null in the reference if there are no items
        assert_equal(shown, wanted, "result")
    elif isinstance(run.error, ChainError):
        finished = [e for e in run.listener.events if e.type == "step.complete"]
        steps = sum(not event.data["error"] for event in finished)
        assert run.error.result.steps == steps == run.error.step_index
        assert_equal(run.error.result.final, run.error.state, "accumulator")


def assert_invariants(case: Case, run: PatternRun) -> None:
    """Assert the invariants of a case."""
    for sentence in case["expected"]["invariants"]:
        for part in sentence.split(","):
            _assert_invariant(part.strip(), case, run)
    _assert_interrupted_ones_do_not_count(case, run)


def _assert_invariant(sentence: str, case: Case, run: PatternRun) -> None:
    for pattern, check in INVARIANTS:
        if found := re.search(pattern, sentence):
            check(run, *found.groups())


def _outcome(run: PatternRun) -> Any:
    return run.error or run.result


def _errors(run: PatternRun) -> list[dict[str, Any]]:
    return _failed(_outcome(run).errors)


def _check(run: PatternRun, condition: bool) -> None:
    assert condition, repr(run.error or run.result)


def _event(run: PatternRun, place: int, kind: str) -> None:
    _check(run, run.listener.events[place].type == kind)


def _complete(run: PatternRun, one: str, other: str) -> None:
    counts = Counter(event.type for event in run.listener.events)
    assert counts[one] == counts[other]


INVARIANTS: list[tuple[str, Callable[..., None]]] = [
    (r"^not ok$", lambda run: _check(run, run.error is not None)),
    (r"^ok$", lambda run: _check(run, run.error is None)),
    (
        r"error code ([\w.]+)",
        lambda run, code: _check(run, run.code in {code, f"parallel.{code}"}),
    ),
    (
        r'error list has item (\d+) with message "(.*)"',
        lambda run, index, message: _check(
            run,
            (int(index), message) in [(e["index"], e["message"]) for e in _errors(run)],
        ),
    ),
    (
        r"results is empty",
        lambda run: _check(run, not _outcome(run).results),
    ),
    (r"first event ([\w.]+)", lambda run, kind: _event(run, 0, kind)),
    (r"last (?:event )?(\w+\.\w+)", lambda run, kind: _event(run, -1, kind)),
    (
        r"worker_count (\d+)",
        lambda run, count: _check(
            run, run.listener.events[0].data["worker_count"] == int(count)
        ),
    ),
    (
        r"with error (true|false)",
        lambda run, error: _check(
            run, run.listener.events[-1].data["error"] is (error == "true")
        ),
    ),
    (r"one ([\w.]+) per ([\w.]+)", _complete),
]


def _assert_interrupted_ones_do_not_count(case: Case, run: PatternRun) -> None:
    """Errors contain failures only, not interrupted items as in the reference."""
    failing = {message for _, message in failures(case[case["kind"]])}
    if failing and case["kind"] == "parallel":
        assert {error["message"] for error in _errors(run)} <= failing


async def assert_corrected(case: Case, run: PatternRun) -> None:
    """Assert what `correct_behaviour` requires, derived from the operations of the case."""
    if case["kind"] == "parallel":
        _assert_parallel(case, run)
    else:
        assert run.error is None or (run.code and str(run.error))


def _assert_parallel(case: Case, run: PatternRun) -> None:
    """Every completed item is in the outcome; if all completed, it is a result."""
    spec = case["parallel"]
    failing = dict(failures(spec))
    ended = [event for event in run.listener.events if event.type == "worker.complete"]
    whole = {event.data["item_index"] for event in ended if not event.data["error"]}
    outcome: Any = run.error or run.result
    assert list(outcome.results) == [
        2 * spec["items"][index] for index in sorted(whole)
    ]
    assert {error.message for error in outcome.errors} <= set(failing.values())
    if len(whole) == len(spec["items"]):
        assert run.error is None
    last = run.listener.events[-1].data
    assert last["items_processed"] == len(whole)
    assert last["items_failed"] == len(outcome.errors)
    assert last["error"] is (run.error is not None)
