"""Properties of any graph and state, and of any time at which a run may end.

HYPOTHESIS_PROFILE=thorough draws thousands of examples of each.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from tests.engine.drawn import (
    EveryState,
    Story,
    decisions,
    descriptions,
    graph_of,
    initials,
    values,
)
from tests.engine.traces.replay import plain
from tests.engine.traces.soundness import assert_grammar, identical
from workflows.engine import (
    Cancellation,
    ChainConfig,
    CheckpointConfig,
    ConditionalConfig,
    Event,
    ExecutionError,
    Graph,
    GraphConfig,
    MemoryStore,
    ParallelConfig,
    State,
    Superseded,
    node,
    parallel,
)
from workflows.engine.errors import ParallelError
from workflows.engine.json_patch import apply, diff
from workflows.engine.patterns import map as map_items


def start(data: dict[str, Any]) -> State:
    return State(data).stamped(run_id="r1")


def run(awaitable: Any) -> Any:
    return asyncio.run(awaitable)


# State as change


@given(descriptions(), initials)
def test_replaying_the_recorded_patches_gives_the_state_at_every_step(
    calls: list[dict[str, Any]], initial: dict[str, Any]
) -> None:
    story, store = Story(), EveryState()
    run(graph_of(calls, story, store).execute(start(initial)))
    shown = [event.data for event in story.events if event.type == "node.complete"]
    assert len(store.saved) == len(shown) + 1
    data = store.saved[0].data
    for before, after, reported in zip(
        store.saved, store.saved[1:], shown, strict=False
    ):
        recorded = json.loads(json.dumps(diff(before.data, after.data)))
        data = apply(recorded, data)
        assert identical(plain(data), plain(after.data))
        assert identical(plain(data), plain(reported["output_snapshot"]))


# Cut and resumed


@given(
    descriptions(),
    initials,
    st.integers(1, 3),
    st.lists(st.integers(0, 40), min_size=1, max_size=3),
)
def test_a_run_cut_anywhere_and_resumed_is_the_run_uncut(
    calls: list[dict[str, Any]], initial: dict[str, Any], interval: int, cuts: list[int]
) -> None:
    whole = Story()
    uncut = run(
        graph_of(calls, whole, MemoryStore(), interval=interval).execute(start(initial))
    )
    store, reported = MemoryStore(), dict[tuple[int, int], tuple[Any, ...]]()
    end = None
    for number, cut in enumerate([*cuts, None]):
        story = Story(events=cut)
        end = run(
            attempt(graph_of(calls, story, store, interval=interval), initial, number)
        )
        assert_grammar_of_a_cut(story.events)
        reported |= decisions(story.events)
        if end is not None:
            break
    assert end is not None
    assert identical(plain(end.data), plain(uncut.data))
    assert (end.sequence, end.checkpoint_node) == (
        uncut.sequence,
        uncut.checkpoint_node,
    )
    assert reported == decisions(whole.events)


async def attempt(graph: Graph, initial: dict[str, Any], number: int) -> State | None:
    """Execute at first and whenever nothing was stored, else resume; None when it was cut."""
    try:
        if number and graph.checkpoints is not None and graph.checkpoints.list():
            return await graph.resume("r1")
        return await graph.execute(start(initial))
    except Superseded:
        return None


def assert_grammar_of_a_cut(events: list[Event]) -> None:
    """An interrupted attempt emits a prefix of the events."""
    ended = any(event.type in {"graph.complete", "graph.error"} for event in events)
    if ended or not events:
        assert_grammar(events)


@given(descriptions(), initials, st.integers(0, 6))
def test_a_step_recorded_as_complete_never_runs_again(
    calls: list[dict[str, Any]], initial: dict[str, Any], cut: int
) -> None:
    store, ran = EveryState(), Counter[int]()

    class Counting(Story):
        def on_event(self, event: Event) -> None:
            super().on_event(event)
            if event.type == "node.start" and event.data["sequence"] in saved(store):
                ran[event.data["sequence"]] += 1

    for number, events in enumerate([cut * 4, cut * 3, None]):
        if run(
            attempt(graph_of(calls, Counting(events=events), store), initial, number)
        ):
            break
    assert not ran


def saved(store: EveryState) -> set[int]:
    return {state.sequence for state in store.saved}


# Nothing changes in place


def spoil(value: Any) -> None:
    """Try to change a value and its content by every operation that a node could use."""
    if isinstance(value, dict):
        for inner in list(value.values()):
            spoil(inner)
        for change in (
            lambda: value.update(spoilt=True),
            lambda: value.__setitem__("spoilt", True),
            lambda: value.pop(next(iter(value), "spoilt")),
            value.clear,
        ):
            tried(change)
    elif isinstance(value, list):
        for inner in list(value):
            spoil(inner)
        for change in (
            lambda: value.append("spoilt"),
            lambda: value.__setitem__(slice(None), ["spoilt"]),
            value.reverse,
            value.clear,
        ):
            tried(change)


def tried(change: Any) -> None:
    try:
        change()
    except (TypeError, AttributeError):
        return


class Typed(State):
    bag: dict[str, Any] = Field(default_factory=dict)
    items: list[Any] = Field(default_factory=list)


def hostile_graph(store: EveryState, story: Story) -> Graph:
    @node
    async def hostile(state: State) -> State:
        bag = plain(state.data["bag"])
        spoil(state.data)
        for key in state.data:
            spoil(state.get(key))
        tried(lambda: setattr(state, "run_id", "stolen"))
        tried(lambda: setattr(state, "data", {}))
        return state.set(bag={**bag, "seen": True})

    config = GraphConfig(
        name="g", checkpoint=CheckpointConfig(interval=1, preserve=True)
    )
    graph = Graph("g", config, story, store)
    graph.add_node("one", hostile)
    graph.add_node("two", hostile)
    graph.add_edge("one", "two")
    graph.set_entry_point("one")
    graph.set_exit_point("two")
    return graph


@given(
    st.dictionaries(st.sampled_from("abc"), values, max_size=3),
    st.lists(values, max_size=3),
    st.booleans(),
)
def test_a_hostile_node_affects_only_its_returned_state(
    bag: dict[str, Any], items: list[Any], typed: bool
) -> None:
    kind = Typed if typed else State
    initial = kind(bag=bag, items=items).stamped(run_id="r1")
    before = plain(initial.data)
    story, store = Story(), EveryState()
    end = run(hostile_graph(store, story).execute(initial))
    wanted = {"bag": {**plain(before["bag"]), "seen": True}, "items": before["items"]}
    assert identical(plain(initial.data), before)
    assert identical(plain(end.data), wanted)
    inputs = [e.data["input_snapshot"] for e in story.events if e.type == "node.start"]
    assert identical([plain(data) for data in inputs], [before, wanted])
    assert identical(
        [plain(state.data) for state in store.saved], [before, wanted, wanted]
    )
    assert end.run_id == "r1"


# Events


@given(descriptions(), initials, st.data())
def test_events_are_consistent_and_complete(
    calls: list[dict[str, Any]], initial: dict[str, Any], data: st.DataObject
) -> None:
    traps = [
        {"op": "fail", "message": "trap", "returns": "current"},
        {"op": "panic", "message": "trap"},
        {"op": "require", "key": "nothing"},
        {"op": "fresh"},
    ]
    nodes = [call for call in calls if call["call"] == "add_node"]
    for _ in range(data.draw(st.integers(0, 2))):
        trap = data.draw(st.sampled_from(traps))
        data.draw(st.sampled_from(nodes))["ops"].insert(0, trap)
    story, store = Story(), MemoryStore()
    graph = graph_of(calls, story, store, interval=data.draw(st.integers(0, 2)))
    code = run(ending(graph, initial))
    assert_grammar(story.events)
    types = Counter(event.type for event in story.events)
    assert types["graph.start"] == 1
    assert types["graph.error"] == (1 if code else 0)
    assert types["node.start"] == types["node.complete"]
    steps = [
        event.data["sequence"] for event in story.events if event.type == "node.start"
    ]
    assert steps == list(range(1, len(steps) + 1))
    assert {event.source for event in story.events} == {"g"}


async def ending(graph: Graph, initial: dict[str, Any]) -> str:
    try:
        await graph.execute(start(initial))
    except ExecutionError as error:
        return error.code
    return ""


# Merging


@given(initials, initials, initials)
def test_merging_states_is_associative_and_the_later_wins(
    one: dict[str, Any], two: dict[str, Any], three: dict[str, Any]
) -> None:
    a, b, c = State(one), State(two), State(three)
    assert a.merge(b).merge(c) == a.merge(b.merge(c))
    assert a.merge(a) == a
    assert a.merge(State()) == a
    assert State().merge(a) == a
    merged = a.stamped(run_id="mine", sequence=3).merge(
        b.stamped(run_id="other", sequence=9)
    )
    assert identical(plain(merged.data), {**plain(a.data), **plain(b.data)})
    assert (merged.run_id, merged.sequence) == ("mine", 3)


texts = st.sampled_from(["", "a", "b"])
switches = st.sampled_from([None, True, False])
checkpoint_configs = st.builds(
    CheckpointConfig, store=texts, interval=st.integers(0, 3), preserve=st.booleans()
)
configs = st.one_of(
    st.tuples(*[checkpoint_configs] * 3),
    st.tuples(
        *[
            st.builds(
                GraphConfig,
                name=texts,
                observer=texts,
                max_iterations=st.integers(0, 3),
                checkpoint=checkpoint_configs,
            )
        ]
        * 3
    ),
    st.tuples(
        *[st.builds(ChainConfig, capture_intermediate_states=switches, observer=texts)]
        * 3
    ),
    st.tuples(
        *[
            st.builds(
                ParallelConfig,
                max_workers=st.integers(0, 3),
                worker_cap=st.integers(0, 3),
                fail_fast=switches,
                observer=texts,
            )
        ]
        * 3
    ),
    st.tuples(*[st.builds(ConditionalConfig, observer=texts)] * 3),
)


@given(configs)
def test_merging_configurations_is_associative_and_preserves_unset_values(
    layers: Any,
) -> None:
    one, two, three = layers
    assert one.merge(two).merge(three) == one.merge(two.merge(three))
    assert one.merge(one) == one
    assert one.merge(type(one)()) == one


# Parallel


class Bench:
    """Items that take a few turns of the loop, and fail or cancel as configured."""

    def __init__(
        self, turns: list[int], failing: set[int], cancelling: int | None
    ) -> None:
        self.turns = turns
        self.failing = failing
        self.cancelling = cancelling
        self.cancellation = Cancellation()
        self.started: list[int] = []
        self.ended: list[int] = []
        self.stopped = False  # something has failed that stops the rest

    async def work(self, item: int) -> int:
        assert not self.stopped, "an item started after the first failure"
        self.started.append(item)
        for _ in range(self.turns[item]):
            await asyncio.sleep(0)
        if item == self.cancelling:
            self.cancellation.cancel()
        self.ended.append(item)
        if item in self.failing:
            raise ValueError(f"bad {item % 2}")
        return 10 * item


turns = st.lists(st.integers(0, 4), max_size=7)


@given(turns, st.sets(st.integers(0, 6)), st.integers(1, 4))
def test_collecting_all_runs_every_item_once(
    turns: list[int], failing: set[int], workers: int
) -> None:
    bench, story, progress = (
        Bench(turns, failing, None),
        Story(),
        list[tuple[int, int]](),
    )
    items = range(len(turns))
    bad = sorted(failing & set(items))
    good = [item for item in items if item not in failing]
    outcome = run(collected(bench, story, progress, workers))
    assert sorted(bench.started) == list(items)
    assert outcome.results == tuple(10 * item for item in good)
    assert [error.index for error in outcome.errors] == bad
    assert isinstance(outcome, ParallelError) is (bool(items) and not good)
    assert progress == [(count + 1, len(items)) for count in range(len(good))]
    assert_reported(story.events, len(items), len(good), len(bad))


async def collected(
    bench: Bench, story: Story, progress: list[tuple[int, int]], workers: int
) -> Any:
    try:
        return await map_items(
            range(len(bench.turns)),
            bench.work,
            lambda done, total, _: progress.append((done, total)),
            config=ParallelConfig(max_workers=workers, fail_fast=False),
            observer=story,
        )
    except ParallelError as error:
        return error


def assert_reported(events: list[Event], started: int, good: int, bad: int) -> None:
    """One start and one end of each item, between the start and the end of all."""
    types = Counter(event.type for event in events)
    assert types["worker.start"] == types["worker.complete"] == started
    assert events[0].type == "parallel.start"
    assert events[-1].type == "parallel.complete"
    assert (events[-1].data["items_processed"], events[-1].data["items_failed"]) == (
        good,
        bad,
    )


@given(turns, st.sets(st.integers(0, 6)), st.integers(1, 4))
def test_failing_fast_ends_at_the_first_failure(
    turns: list[int], failing: set[int], workers: int
) -> None:
    bench, story = Bench(turns, failing, None), Story()
    outcome = run(failing_fast(bench, story, workers))
    items = range(len(turns))
    if not failing & set(items):
        assert outcome.results == tuple(10 * item for item in items)
        return
    assert isinstance(outcome, ParallelError)
    (error,) = outcome.errors
    assert error.index in failing
    assert bench.started == list(items)[: len(bench.started)]
    good = [item for item in bench.ended if item not in failing]
    assert sorted(outcome.results) == [10 * item for item in sorted(good)]
    assert_reported(story.events, len(bench.started), len(good), 1)


async def failing_fast(bench: Bench, story: Story, workers: int) -> Any:
    async def watched(item: int) -> int:
        try:
            return await bench.work(item)
        except ValueError:
            bench.stopped = True
            raise

    try:
        return await map_items(
            range(len(bench.turns)),
            watched,
            config=ParallelConfig(max_workers=workers),
            observer=story,
        )
    except ParallelError as error:
        return error


@given(turns, st.integers(0, 6), st.sets(st.integers(0, 6)), st.integers(1, 4))
def test_an_item_that_finished_is_never_run_again(
    turns: list[int], cancelling: int, failing: set[int], workers: int
) -> None:
    bench = Bench(turns, failing, cancelling)
    data = run(until_complete(bench, workers))
    assert data["out"] == [10 * item for item in range(len(turns))]
    finished = Counter(item for item in bench.ended if item not in failing)
    assert all(count == 1 for count in finished.values())


async def until_complete(bench: Bench, workers: int) -> Any:
    """Resume until it completes; an item fails once, and the run is cancelled once."""
    failing = set(bench.failing)

    async def once(item: int) -> int:
        bench.failing = failing & {item}
        failing.discard(item)
        return await bench.work(item)

    config = GraphConfig(
        name="g", checkpoint=CheckpointConfig(interval=1, preserve=True)
    )
    graph = Graph("g", config, Story(), MemoryStore())
    graph.add_node("all", parallel(once, over="items", into="out", limit=workers))
    graph.set_entry_point("all")
    graph.set_exit_point("all")
    initial = start({"items": list(range(len(bench.turns)))})
    step: Any = graph.execute(initial, cancellation=bench.cancellation)
    for _ in range(len(bench.turns) + 3):
        try:
            return (await step).data
        except ExecutionError:
            bench.cancellation = Cancellation()
            bench.cancelling = None
            step = graph.resume("r1", cancellation=bench.cancellation)
    raise AssertionError("it never completed")
