"""With a worker: an exception of author code fails its run at once, and affects no other run."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.engine.hostile_code import EXITS, PLACES, Case, end
from tests.support.servers import manage
from tests.support.workers import SharedEvent, ended, working
from workflows.engine import Graph, State, Workflow, node
from workflows.infra.database_threads import run_in_db
from workflows.models import Attempt, Run
from workflows.registry import ModuleRefused, Registry, _imported
from workflows.system import System

WITH_A_WORKER = ("sync", "async", "item sync", "item async", "predicate", "show")


pytestmark = pytest.mark.usefixtures("quick")


async def launch(registry: Registry, name: str, **params: Any) -> Run:
    """Launch a registered workflow."""
    return await run_in_db(System(registry).execute, name, params)


def innocent(gate: SharedEvent) -> Workflow[Case]:
    """Return a workflow that waits at a gate in its first node."""

    @node
    async def begin(state: Case) -> Case:
        await gate.wait()
        return state

    return Workflow("innocent", state=Case, start=begin, routes={begin: end})


@pytest.mark.usefixtures("sealed")
async def test_any_exception_fails_its_run_immediately_and_no_other_run(
    registry: Registry,
) -> None:
    gate = SharedEvent()
    registry.register(innocent(gate))
    message = {}
    for place in WITH_A_WORKER:
        for number, (name, (exits, text)) in enumerate(EXITS.items()):
            workflow = PLACES[place](exits)
            workflow.name = f"{place} {number}"
            registry.register(workflow)
            message[workflow.name] = (name, text)
    other_run = await launch(registry, "innocent")
    runs = [await launch(registry, name) for name in message]
    async with working(registry, capacity=50):
        for run in runs:
            failed = await ended(run.pk)
            name, text = message[failed.workflow_name]
            assert failed.status == "failed", name
            assert text in failed.error_message, (name, failed.error_message)
            assert (failed.error_node, failed.attempt) == ("culprit", 1), name
            assert failed.recoveries == 0
            assert "lost its worker" not in failed.error_message
        gate.set()
        other_run = await ended(other_run.pk)
    assert (other_run.status, other_run.attempt) == ("completed", 1)


class Later(State):
    """A state that older runs did not have."""

    total: int = 0


@pytest.mark.usefixtures("sealed")
async def test_a_factory_that_raises_fails_its_run(registry: Registry) -> None:
    armed: list[bool] = []

    def made(name: str) -> Any:
        def factory(graph: Graph, runtime: Any, params: Any) -> State:
            if armed:
                EXITS[name][0]()
            graph.add_node("end", end)
            graph.set_entry_point("end")
            graph.set_exit_point("end")
            return Case()

        return factory

    for name in EXITS:
        registry.register_factory(name, made(name))
    runs = [await launch(registry, name) for name in EXITS]
    armed.append(True)
    async with working(registry, capacity=50):
        for run in runs:
            failed = await ended(run.pk)
            name = failed.workflow_name
            assert (failed.status, failed.attempt) == ("failed", 1), name
            assert failed.error_code == "not_started", name
            assert EXITS[name][1] in failed.error_message, failed.error_message
    tracebacks = await run_in_db(
        lambda: list(Attempt.objects.values_list("traceback", flat=True))
    )
    assert all(tracebacks)


@pytest.mark.usefixtures("sealed")
async def test_a_migration_that_raises_fails_its_run(
    registry: Registry, alice: User
) -> None:
    @node
    def begin(state: Case) -> Case:
        raise ValueError("not yet")

    @node
    def last(state: Later) -> Later:
        return state

    older = Workflow("moves", state=Case, start=begin, routes={begin: end})
    registry.register(older)
    run = await launch(registry, "moves")
    async with working(registry):
        await ended(run.pk)
    registry.unregister("moves")
    newer = Workflow(
        "moves",
        state=Later,
        start=last,
        routes={},
        migrations={older.fingerprint: lambda _data: sys.exit(3)},
    )
    registry.register(newer)
    await run_in_db(System(registry).resume, run.pk, by=alice, reason="migrated")
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, run.error_code, run.attempt) == ("failed", "not_started", 2)
    assert "SystemExit: 3" in run.error_message


@pytest.mark.usefixtures("sealed")
async def test_a_factory_that_returns_no_state_is_reported(registry: Registry) -> None:
    def factory(graph: Graph, runtime: Any, params: Any) -> Any:
        graph.add_node("end", end)
        graph.set_entry_point("end")
        graph.set_exit_point("end")

    registry.register_factory("made", factory)
    run = await launch(registry, "made")
    async with working(registry):
        run = await ended(run.pk)
    assert "The factory of made returned NoneType" in run.error_message


def _cancel_all_runs() -> None:
    """Cancel every task of a run on this loop, as code that cancels all tasks does."""
    for task in asyncio.all_tasks():
        if task.get_name().startswith("run "):
            task.cancel()


@pytest.mark.usefixtures("sealed")
async def test_a_release_that_no_one_requested_is_a_recovery_and_ends(
    registry: Registry, settings: Any
) -> None:
    settings.MAX_RECOVERIES = 3
    steps: list[str] = []

    @node
    async def first(state: Case) -> Case:
        steps.append("first")
        return state

    @node
    async def culprit(state: Case) -> Case:
        steps.append("culprit")
        _cancel_all_runs()
        await asyncio.Event().wait()
        return state

    flow = Workflow(
        "cancels", state=Case, start=first, routes={first: culprit, culprit: end}
    )
    registry.register(flow)
    run = await launch(registry, "cancels")
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, run.error_code) == ("failed", "task_cancelled")
    assert (run.error_node, run.attempt, run.recoveries) == ("culprit", 3, 2)
    assert "3 times in a row" in run.error_message
    assert "in “culprit”" in run.error_message
    assert steps == ["first", *["culprit"] * 3]
    attempts = await run_in_db(lambda: list(Attempt.objects.filter(run=run)))
    assert [attempt.outcome for attempt in attempts] == ["released"] * 2 + ["failed"]
    assert all("without a request" in attempt.error_message for attempt in attempts)


@pytest.mark.usefixtures("sealed")
async def test_finished_steps_reset_the_count_of_unrequested_releases(
    registry: Registry, settings: Any
) -> None:
    settings.MAX_RECOVERIES = 2
    left = {"one": 1, "two": 1, "three": 1}

    def step(name: str) -> Any:
        @node(name=name)
        async def run(state: Case) -> Case:
            if left[name]:
                left[name] -= 1
                _cancel_all_runs()
                await asyncio.Event().wait()
            return state

        return run

    one, two, three = map(step, left)
    flow = Workflow(
        "cancels", state=Case, start=one, routes={one: two, two: three, three: end}
    )
    registry.register(flow)
    run = await launch(registry, "cancels")
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, run.attempt, run.recoveries) == ("completed", 4, 0)


@pytest.mark.usefixtures("sealed")
async def test_a_node_that_cancels_its_own_task_has_failed(registry: Registry) -> None:
    @node
    async def culprit(state: Case) -> Case:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.Event().wait()
        return state

    registry.register(
        Workflow("cancels", state=Case, start=culprit, routes={culprit: end})
    )
    run = await launch(registry, "cancels")
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, run.error_code, run.attempt) == ("failed", "node_failed", 1)


@pytest.mark.usefixtures("sealed")
async def test_a_group_of_tasks_that_fails_fails_the_run_once(
    registry: Registry,
) -> None:
    async def raises() -> None:
        raise ValueError("inner")

    @node
    async def culprit(state: Case) -> Case:
        async with asyncio.TaskGroup() as group:
            group.create_task(raises())
            group.create_task(asyncio.Event().wait())
        return state

    @node
    async def catches(state: Case) -> Case:
        try:
            return await culprit(state)
        except* ValueError:
            pass
        return state

    for name, first in (("fails", culprit), ("goes on", catches)):
        registry.register(Workflow(name, state=Case, start=first, routes={first: end}))
    fails, continues = [await launch(registry, name) for name in ("fails", "goes on")]
    async with working(registry):
        fails, continues = await ended(fails.pk), await ended(continues.pk)
    assert (fails.status, fails.error_code, fails.attempt) == (
        "failed", "node_failed", 1,
    )  # fmt: skip
    assert (continues.status, continues.attempt) == ("completed", 1)


# At import --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["exit", "interrupt", "generator exit", "foreign"])
def test_a_module_that_would_end_the_process_at_import_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    module = f"raises_{name.replace(' ', '_')}"
    source = f"from tests.engine.hostile_code import EXITS\nEXITS[{name!r}][0]()\n"
    (tmp_path / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleRefused, match=f"the module {module} raised") as caught:
        _imported(module)
    assert EXITS[name][1] in str(caught.value)


def test_a_module_that_ends_the_process_leaves_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "__init__.py").write_text("")
    (tmp_path / "team" / "workflows.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = manage("check", data_dir=tmp_path, WORKFLOW_APPS="team")
    assert done.returncode == 1
    assert "the module team.workflows raised SystemExit: 0 while it was" in done.stderr
    assert "workflows.py, line 2" in done.stderr
    assert "Traceback" not in done.stderr
