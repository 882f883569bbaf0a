"""Which try of a node a task belongs to."""

from __future__ import annotations

import asyncio

from workflows.engine.context import context_of_task, inherit_context


def test_a_task_created_before_its_loop_runs_belongs_to_no_node() -> None:
    async def work() -> None:
        """Return at once."""

    loop = asyncio.new_event_loop()
    task = asyncio.Task(work(), loop=loop)
    inherit_context(task)
    assert context_of_task(task) is None
    loop.run_until_complete(task)
    loop.close()
