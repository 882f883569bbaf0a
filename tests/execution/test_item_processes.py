"""Stored runs whose items run in processes: what is kept, and the end of a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.engine import sent_items as items
from tests.engine.test_isolation import is_gone, until
from tests.support.workers import ended, working
from workflows.engine import Workflow, kept_processes, node, parallel
from workflows.infra.database_threads import run_in_db
from workflows.models import Run, StageItem
from workflows.registry import Registry
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed", "quick")


@node
def finish(state: items.Numbers) -> items.Numbers:
    return state


async def launch(item: Any, directory: Path) -> tuple[System, Registry, Run]:
    step = parallel(item, items.tasks, "results", on="processes", name="work", limit=1)
    workflow = Workflow("work", state=items.Numbers, start=step, routes={step: finish})
    registry = Registry()
    registry.register(workflow)
    system = System(registry)
    params = {"numbers": [1, 2], "directory": str(directory)}
    run = await run_in_db(lambda: system.execute("work", params))
    return system, registry, run


async def test_a_run_whose_item_ended_its_process_is_resumed_without_the_finished_ones(
    tmp_path: Path, admin: User
) -> None:
    system, registry, run = await launch(items.dies_until_mended, tmp_path)
    async with working(registry):
        run = await ended(run.pk)
        assert run.status == "failed"
        assert (
            "The process of item 1 of node “work” ended with exit code 7"
            in run.error_message
        )
        saved = await run_in_db(list, StageItem.objects.filter(run=run))
        assert [item.index for item in saved] == [0]
        (tmp_path / "live").touch()
        await run_in_db(lambda: system.resume(run.pk, by=admin, reason="mended"))
        run = await ended(run.pk)
        assert run.status == "completed"
        pids = kept_processes.processes.pids
    names = [path.name for path in tmp_path.glob("call-*")]  # noqa: ASYNC240
    assert sorted(names) == [
        "call-1-1",
        "call-2-1",
        "call-2-2",
    ]
    assert pids
    assert all(map(is_gone, pids)), "the worker has drained"


async def test_a_worker_that_drains_kills_the_process_of_an_item_that_hangs(
    tmp_path: Path,
) -> None:
    _, registry, run = await launch(items.hangs, tmp_path)
    async with working(registry):
        await until((tmp_path / "pids-1").exists)
    run = await run_in_db(Run.objects.get, pk=run.pk)
    assert run.status == "pending"
    pids = (tmp_path / "pids-1").read_text().split()
    assert all(is_gone(int(pid)) for pid in pids)
