"""Graphs drawn by hypothesis, in the format of the golden cases, each of which ends."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.engine.traces.ops import World, build
from workflows.engine import (
    CheckpointConfig,
    Event,
    Graph,
    GraphConfig,
    MemoryStore,
    State,
    Superseded,
)

KEYS = ("x", "y", "z")
END = "end"

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    ),
    max_leaves=8,
)
keys = st.sampled_from(KEYS)

operations = st.one_of(
    st.builds(
        lambda key, value: {"op": "set", "key": key, "value": value}, keys, values
    ),
    st.builds(
        lambda key, value: {"op": "append", "key": f"list_{key}", "value": value},
        keys,
        values,
    ),
    st.builds(lambda key: {"op": "inc", "key": f"count_{key}"}, keys),
    st.builds(lambda key, value: {"op": "merge", "data": {key: value}}, keys, values),
)
predicates = st.recursive(
    st.one_of(
        st.builds(lambda key: {"p": "exists", "key": key}, keys),
        st.builds(
            lambda key, value: {"p": "equals", "key": key, "value": value}, keys, values
        ),
        st.builds(
            lambda key, value: {"p": "gte", "key": f"count_{key}", "value": value},
            keys,
            st.integers(0, 4),
        ),
        st.just({"p": "always"}),
    ),
    lambda inner: st.builds(
        lambda kind, parts: {"p": kind, "of": parts},
        st.sampled_from(["not", "and", "or"]),
        st.lists(inner, max_size=2),
    ),
    max_leaves=4,
)


@st.composite
def descriptions(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The builder calls of a graph that ends after a number of steps on every path."""
    names = [f"n{number}" for number in range(draw(st.integers(1, 4)))]
    steps = draw(st.integers(1, 8))
    calls: list[dict[str, Any]] = []
    for name in names:
        ops = [*draw(st.lists(operations, max_size=3)), {"op": "inc", "key": "steps"}]
        calls.append({"call": "add_node", "name": name, "ops": ops})
    calls.append(
        {"call": "add_node", "name": END, "ops": draw(st.lists(operations, max_size=1))}
    )
    enough = {"p": "gte", "key": "steps", "value": steps}
    for name in names:
        branches = draw(
            st.lists(st.tuples(st.sampled_from(names), predicates), max_size=2)
        )
        last = draw(st.sampled_from([*names, END]))
        for target, when in [(END, enough), *branches, (last, None)]:
            calls.append({"call": "add_edge", "from": name, "to": target, "when": when})
    calls.append({"call": "set_entry", "node": names[0]})
    calls.append({"call": "set_exit", "node": END})
    return calls


initials = st.dictionaries(keys, values, max_size=3)


class Story:
    """Stores every event, and ends the attempt after so many, like a crash."""

    def __init__(self, *, events: int | None = None) -> None:
        self.events: list[Event] = []
        self.left = events

    def on_event(self, event: Event) -> None:
        if self.left is not None:
            if self.left == 0:
                raise Superseded
            self.left -= 1
        self.events.append(event)


class EveryState(MemoryStore):
    """Stores every state that is saved."""

    def __init__(self) -> None:
        super().__init__()
        self.saved: list[State] = []

    def save(self, state: State) -> None:
        super().save(state)
        self.saved.append(state)


def graph_of(
    calls: list[dict[str, Any]],
    observer: Story,
    store: MemoryStore,
    *,
    interval: int = 1,
) -> Graph:
    """The described graph."""
    checkpoint = CheckpointConfig(interval=interval, preserve=True)
    graph = Graph("g", GraphConfig(name="g", checkpoint=checkpoint), observer, store)
    assert build(graph, calls, World()) == [None] * len(calls)
    return graph


def decisions(events: list[Event]) -> dict[tuple[int, int], tuple[Any, ...]]:
    """Every evaluation of an edge, by step and index."""
    return {
        (event.data["sequence"], event.data["edge_index"]): (
            event.data["from"],
            event.data["to"],
            event.data["predicate_result"],
            event.data["reason"],
            event.data["values"],
        )
        for event in events
        if event.type == "edge.evaluate"
    }
