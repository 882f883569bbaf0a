"""The assignment of tasks to the try of a node."""

from __future__ import annotations

import asyncio

from workflows.engine import Graph, State
from workflows.engine.context import (
    NodeContext,
    context_of_task,
    inherit_context,
)


def test_a_task_created_before_its_loop_runs_belongs_to_no_node() -> None:
    async def work() -> None:
        """Return at once."""

    loop = asyncio.new_event_loop()
    task = asyncio.Task(work(), loop=loop)
    inherit_context(task)
    assert context_of_task(task) is None
    loop.run_until_complete(task)
    loop.close()


async def test_a_task_belongs_to_its_node_until_the_node_has_ended() -> None:
    found: dict[asyncio.Task[object], NodeContext | None] = {}

    async def work(state: State) -> State:
        task = asyncio.current_task()
        assert task is not None
        found[task] = context_of_task(task)
        return state

    graph = Graph("g")
    for name in ("first", "second"):
        graph.add_node(name, work)
    graph.set_entry_point("first")
    graph.add_edge("first", "second")
    graph.set_exit_point("second")
    await graph.execute(State())
    assert [context and context.node for context in found.values()] == [
        "first",
        "second",
    ]
    assert [context_of_task(task) for task in found] == [None, None]
