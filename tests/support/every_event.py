"""Small runs that emit every kind of event, with all fields that an event can have."""

from __future__ import annotations

import asyncio
import contextlib
import time

from pydantic import BaseModel

from workflows.engine import (
    CheckpointConfig,
    Event,
    ExecutionError,
    Graph,
    GraphConfig,
    MemoryStore,
    Retry,
    State,
    Workflow,
    approval,
    branches,
    chain,
    conditional,
    key,
    node,
    otherwise,
    parallel,
    when,
)
from workflows.engine.testing import run_in_memory

RETRY_ONCE = Retry(attempts=2, wait=0)
CHECKPOINTS = GraphConfig(checkpoint=CheckpointConfig(interval=1, preserve=True))
ITEMS = {"items": [1, 2]}


class Answer(BaseModel):
    """The response of a person."""

    ok: bool


class Observer:
    """Records events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)


class FailsOnce:
    """Fails on the first call with a value, and succeeds afterwards."""

    def __init__(self, value: int) -> None:
        self.remaining = [value]

    def on(self, value: int) -> int:
        """Return the value, or raise ConnectionError on the first call with it."""
        if value in self.remaining:
            self.remaining.remove(value)
            raise ConnectionError("the line is dead")
        return value


def events() -> list[Event]:
    """Return the events of all runs."""
    return [
        *run_in_memory(_a_loop_with_retries(), ITEMS).events,
        *run_in_memory(_all_patterns(), ITEMS).events,
        *run_in_memory(_a_chain_that_breaks(), ITEMS).events,
        *run_in_memory(_branches(), ITEMS).events,
        *run_in_memory(_tries_that_wait_for_a_thread(), ITEMS).events,
        *_a_resume_with_kept_items(),
    ]


def _a_loop_with_retries() -> Workflow[State]:
    """Return a workflow that retries a node and an item, loops, and has an approval."""
    step, item = FailsOnce(0), FailsOnce(1)

    @node(retry=RETRY_ONCE)
    def count(state: State) -> State:
        step.on(0)
        return state.set(count=state.get("count", 0) + 1)

    @node(retry=RETRY_ONCE)
    def check(value: int) -> int:
        return item.on(value)

    checks = parallel(check, over="items", into="seen")
    ask = approval("Is it?", answer=Answer, into="answer")
    return Workflow(
        "loop",
        state=State,
        start=count,
        routes={
            count: [when(key("count").above(1), checks), otherwise(count)],
            checks: ask,
        },
    )


def _all_patterns() -> Workflow[State]:
    def step(state: State, item: int) -> State:
        return state.set(last=item)

    def same(state: State) -> State:
        return state

    steps = chain(step, over="items")
    choice = conditional(lambda _: "same", {"same": same})
    return Workflow("patterns", state=State, start=steps, routes={steps: choice})


def _branches() -> Workflow[State]:
    """Return a workflow with two branches, of which the first one is enough."""
    second = FailsOnce(2)

    @node
    def same(state: State) -> State:
        return state

    @node
    def fail(state: State) -> State:
        second.on(2)
        return state

    both = branches({"same": same, "fail": fail}, into="found", need=1)
    return Workflow("branches", state=State, start=both, routes={})


def _a_chain_that_breaks() -> Workflow[State]:
    second = FailsOnce(2)

    def step(state: State, item: int) -> State:
        return state.set(last=second.on(item))

    steps = chain(step, over="items")
    return Workflow("broken", state=State, start=steps, routes={})


def _tries_that_wait_for_a_thread() -> Workflow[State]:
    """Return a workflow whose node and item time out; the next try waits for their threads."""
    step, item = FailsOnce(0), FailsOnce(1)

    def outlive_the_timeout(fails: FailsOnce, value: int) -> int:
        with contextlib.suppress(ConnectionError):
            return fails.on(value)
        time.sleep(0.2)
        return value

    @node(timeout=0.05, retry=RETRY_ONCE)
    def late(state: State) -> State:
        outlive_the_timeout(step, 0)
        return state

    @node(timeout=0.05, retry=RETRY_ONCE)
    def late_item(value: int) -> int:
        return outlive_the_timeout(item, value)

    items = parallel(late_item, over="items", into="seen")
    return Workflow("late", state=State, start=late, routes={late: items})


def _a_resume_with_kept_items() -> list[Event]:
    second = FailsOnce(2)

    @node
    def same(state: State) -> State:
        return state

    checks = parallel(second.on, over="items", into="seen", limit=1)
    workflow = Workflow("kept", state=State, start=same, routes={same: checks})
    observer = Observer()
    graph = Graph("kept", CHECKPOINTS, observer, MemoryStore())
    start = workflow.factory(graph, None, ITEMS).stamped(run_id="kept")
    with contextlib.suppress(ExecutionError):
        asyncio.run(graph.execute(start))
    asyncio.run(graph.resume("kept"))
    return observer.events
