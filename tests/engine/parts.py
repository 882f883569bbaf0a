"""Parts of graphs for the tests of the engine."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from workflows.engine import (
    CheckpointConfig,
    Event,
    Graph,
    GraphConfig,
    MemoryStore,
    Node,
    Retry,
    State,
    node,
)
from workflows.engine.testing import ManualClock


class Listener:
    """Stores every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

    def data(self, kind: str) -> list[dict[str, Any]]:
        """The data of the events of one type, in order."""
        return [dict(event.data) for event in self.events if event.type == kind]


class Runs:
    """A graph with the store, observer and clock that a test checks."""

    def __init__(
        self,
        *,
        interval: int = 1,
        preserve: bool = True,
        max_iterations: int = 1000,
        store: Any = None,
    ) -> None:
        self.listener = Listener()
        self.store = MemoryStore() if store is None else store
        self.clock = ManualClock()
        checkpoint = CheckpointConfig(interval=interval, preserve=preserve)
        config = GraphConfig(
            name="g", max_iterations=max_iterations, checkpoint=checkpoint
        )
        self.graph = Graph("g", config, self.listener, self.store, self.clock)

    def line(
        self, *nodes: Callable[..., Any] | Node[Any, Any], **options: Any
    ) -> Graph:
        """The graph with these nodes in a row; the last is the exit."""
        names = [getattr(each, "name", "") or each.__name__ for each in nodes]  # type: ignore[union-attr]
        for name, each in zip(names, nodes, strict=True):
            self.graph.add_node(name, each, **options)
        for source, target in itertools.pairwise(names):
            self.graph.add_edge(source, target)
        self.graph.set_entry_point(names[0])
        self.graph.set_exit_point(names[-1])
        return self.graph

    def branch(
        self, source: Node[Any, Any], target: Node[Any, Any], **edge: Any
    ) -> Graph:
        """The graph of two nodes with that edge between them."""
        self.graph.add_node(source.name, source)
        self.graph.add_node(target.name, target)
        self.graph.add_edge(source.name, target.name, **edge)
        self.graph.set_entry_point(source.name)
        self.graph.set_exit_point(target.name)
        return self.graph


def start(**values: Any) -> State:
    """An initial state of run r1."""
    return State(values).stamped(run_id="r1")


def sets(name: str, value: Any = True) -> Node[Any, Any]:
    """A node that sets the key of its name."""

    @node(name=name)
    async def run(state: State) -> State:
        return state.set(name, value)

    return run


class Flaky:
    """A node that fails so many times before it succeeds."""

    def __init__(
        self, name: str, failures: int, error: type[Exception] = ValueError
    ) -> None:
        self.name = name
        self.failures = failures
        self.error = error
        self.runs = 0

    def node(self, *, retry: Retry | None = None) -> Node[Any, Any]:
        @node(name=self.name, retry=retry)
        async def run(state: State) -> State:
            self.runs += 1
            if self.runs <= self.failures:
                raise self.error(f"failure {self.runs}")
            return state.set(self.name, self.runs)

        return run


class Gate:
    """A node that waits at a gate: `entered` reports that it waits, `opened` lets it continue."""

    def __init__(self, name: str = "gate") -> None:
        self.name = name
        self.entered = asyncio.Event()
        self.opened = asyncio.Event()
        self.interrupted = False

    def node(self, *, timeout: float | None = None) -> Node[Any, Any]:
        @node(name=self.name, timeout=timeout)
        async def run(state: State) -> State:
            self.entered.set()
            try:
                await self.opened.wait()
            except asyncio.CancelledError:
                self.interrupted = True
                raise
            return state.set(self.name, True)

        return run
