"""A worker that is stopped releases a run that it has just claimed."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.support.workers import TIMEOUT_SECONDS, ended, working
from workflows.engine import Graph, State
from workflows.execution import queue
from workflows.execution.sql import Claimed
from workflows.infra.database_threads import run_in_db
from workflows.models import Run
from workflows.registry import Registry
from workflows.system import System

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sealed"),
]


def one_node(graph: Graph, _runtime: object, _params: object) -> State:
    graph.add_node("only", lambda state: state)
    graph.set_entry_point("only")
    graph.set_exit_point("only")
    return State()


async def test_a_run_claimed_while_its_worker_drains_is_released(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.POLL_INTERVAL_SECONDS = 0.05
    loop, claimed, go_on = (
        asyncio.get_running_loop(),
        asyncio.Event(),
        threading.Event(),
    )
    claim = queue.claim

    def slow_claim(worker: str, limit: int) -> Claimed:
        taken = claim(worker, limit)
        if taken.runs and worker == "first":
            loop.call_soon_threadsafe(claimed.set)
            go_on.wait(TIMEOUT_SECONDS)
        return taken

    monkeypatch.setattr(queue, "claim", slow_claim)
    registry = Registry()
    registry.register_factory("one-node", one_node)
    launched = await run_in_db(System(registry).execute, "one-node", {})
    async with working(registry, name="first") as first:
        await claimed.wait()
        drained = asyncio.create_task(first.drain(grace_seconds=0))
        await asyncio.sleep(0)
        go_on.set()
        await drained
        run = await run_in_db(Run.objects.get, pk=launched.pk)
        assert run.status in {"pending", "completed"}, "it waits for its lease to end"
    async with working(registry, name="second"):
        assert (await ended(launched.pk)).status == "completed"
