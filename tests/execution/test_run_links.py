"""Runs that a step launches without waiting for them, and runs that continue another one."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from pydantic import BaseModel

from tests.support.factories import make_user
from tests.support.workers import ended, working
from workflows.audit.bundle_export import pieces
from workflows.audit.verifier import Checker
from workflows.engine import (
    State,
    Workflow,
    continue_as_new,
    launch,
    node,
    otherwise,
    predicate,
    subworkflow,
    when,
)
from workflows.errors import AgentUnavailable
from workflows.execution import run_links
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    AuditEvent,
    LinkKind,
    Run,
    RunLink,
    Status,
    WorkflowPermission,
)
from workflows.registry import Registry
from workflows.runtime import Runtime
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed", "quick")


class Start(BaseModel):
    """Params of all runs here."""

    n: int = 0


class Count(State):
    """State of all runs here."""

    n: int = 0
    run: str = ""
    found: dict[str, Any] | None = None
    token: str = ""


@node
async def count(state: Count, runtime: Runtime) -> Count:
    return state.set(n=state.n + 1)


@node
async def stop(state: Count) -> Count:
    return state


@predicate("{s.n}")
def below_three(state: Count) -> bool:
    return state.n < 3


def leaf() -> Workflow[Any]:
    return Workflow("leaf", state=Count, params=Start, start=count, routes={})


def looping(**options: Any) -> Workflow[Any]:
    """Return a workflow that continues as a new run until it has counted to three."""
    again = continue_as_new(lambda s: {"n": s.n}, name="again")
    return Workflow(
        "looping",
        state=Count,
        params=Start,
        start=count,
        routes={count: [when(below_three, again), otherwise(stop)]},
        **options,
    )


async def rows(query: Any) -> list[Any]:
    return await run_in_db(lambda: list(query))


async def all_runs(name: str) -> list[Run]:
    return await rows(Run.objects.filter(workflow_name=name).order_by("id"))


async def findings() -> list[str]:
    return await run_in_db(lambda: [str(one) for one in Checker().everything()])


# Launch ---------------------------------------------------------------------------------


def launching(into: Any = "run") -> Workflow[Any]:
    start = launch(leaf(), lambda s: {"n": s.n + 5}, into, name="start")
    return Workflow(
        "launching", state=Count, params=Start, start=start, routes={start: stop}
    )


async def test_a_step_launches_a_run_and_continues_with_its_id(
    registry: Registry, person: User
) -> None:
    registry.register(launching())
    run = await run_in_db(
        System(registry).execute, "launching", {}, by=person, priority=4
    )
    async with working(registry):
        run = await ended(run.pk)
        (launched,) = await all_runs("leaf")
        launched = await ended(launched.pk)
    assert run.result is not None, run.error_message
    assert run.result["run"] == str(launched.pk)
    assert (launched.status, launched.result and launched.result["n"]) == (
        "completed",
        6,
    )
    assert (launched.launched_by_id, launched.priority) == (person.pk, 4)
    assert launched.parent_id is None, "it is not a child: a cancel does not reach it"
    link = await run_in_db(RunLink.objects.get)
    assert (link.run_id, link.origin_id, link.kind, link.sequence) == (
        launched.pk,
        run.pk,
        LinkKind.LAUNCH,
        1,
    )
    event = await run_in_db(AuditEvent.objects.get, run=launched)
    assert (event.action, event.reason) == (
        "launch",
        f"Launched by step 1 of run {run.pk}.",
    )
    assert await findings() == []


async def test_a_step_that_fails_after_its_launch_launches_no_second_run(
    registry: Registry, person: User
) -> None:
    is_broken = [True]

    def store(state: Count, run_id: str) -> Count:
        if is_broken:
            raise OSError("the result cannot be stored")
        return state.set(run=run_id)

    registry.register(launching(store))
    system = System(registry)
    run = await run_in_db(system.execute, "launching", {}, by=person)
    async with working(registry):
        run = await ended(run.pk)
        assert (run.status, run.error_node) == (Status.FAILED, "start")
        is_broken.clear()
        await run_in_db(system.resume, run.pk, by=person, reason="repaired")
        run = await ended(run.pk)
    assert run.result is not None, run.error_message
    (launched,) = await all_runs("leaf")
    assert run.result["run"] == str(launched.pk)


async def test_a_run_that_cannot_be_launched_fails_the_node(
    registry: Registry, person: User
) -> None:
    start = launch("leaf", lambda _: {"n": "many"}, name="start")
    registry.register(leaf())
    registry.register(Workflow("launching", state=Count, start=start, routes={}))
    run = await run_in_db(System(registry).execute, "launching", {}, by=person)
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, run.error_node) == (Status.FAILED, "start")
    assert "“leaf” was not launched: n: Input should be" in run.error_message
    assert await all_runs("leaf") == []


@pytest.mark.django_db(transaction=True)
def test_the_database_refuses_a_second_run_of_a_step(registry: Registry) -> None:
    registry.register(leaf())
    origin = System(registry).execute("leaf", {})
    for _ in range(2):
        new = run_links.new_run(origin, "leaf", {}, registry, "")
        run_links.insert(new, origin, 1)
    assert Run.objects.count() == 2
    assert run_links.launched_at(origin, 1) != str(new.pk)


# Continue as new ------------------------------------------------------------------------


async def test_a_run_continues_as_new_ones_linked_to_one_another(
    registry: Registry, person: User
) -> None:
    registry.register(looping())
    system = System(registry)
    first = await run_in_db(
        partial(
            system.execute, "looping", {}, by=person, priority=2, token="a-secret-key"
        )
    )
    async with working(registry):
        await ended(first.pk)
        while len(runs := await all_runs("looping")) < 3:
            await ended(runs[-1].pk)
        await ended(runs[-1].pk)
    runs = await all_runs("looping")
    assert [run.status for run in runs] == ["completed"] * 3
    assert [run.params for run in runs] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert {(run.launched_by_id, run.priority) for run in runs} == {(person.pk, 2)}
    links = await rows(RunLink.objects.order_by("run_id"))
    assert [(one.origin_id, one.run_id, one.kind) for one in links] == [
        (runs[0].pk, runs[1].pk, "continue"),
        (runs[1].pk, runs[2].pk, "continue"),
    ]
    assert {run.error_node for run in runs} == {""}
    assert await findings() == []


async def test_the_next_run_has_the_token_of_the_one_it_continues(
    registry: Registry, person: User
) -> None:
    @node
    async def read(state: Count) -> Count:
        return state.set(n=state.n + 1, token=(state.secret("token") or "")[:3])

    again = continue_as_new(lambda s: {"n": s.n}, name="again")
    registry.register(
        Workflow(
            "looping",
            state=Count,
            params=Start,
            start=read,
            routes={read: [when(below_three, again), otherwise(stop)]},
        )
    )
    first = await run_in_db(
        partial(System(registry).execute, "looping", {}, by=person, token="abc-secret")
    )
    async with working(registry):
        await ended(first.pk)
        while len(runs := await all_runs("looping")) < 3:
            await ended(runs[-1].pk)
        last = await ended(runs[-1].pk)
    assert last.result is not None
    assert last.result["token"] == "abc"
    assert {run.secrets for run in await all_runs("looping")} == {None}


async def test_a_parent_waits_for_the_last_of_the_runs_that_continue_its_child(
    registry: Registry, person: User
) -> None:
    call = subworkflow(looping(), {}, into="found", name="call")
    registry.register(Workflow("top", state=Count, start=call, routes={}))
    top = await run_in_db(System(registry).execute, "top", {}, by=person)
    async with working(registry):
        top = await ended(top.pk)
    assert top.result is not None, top.error_message
    assert top.result["found"]["n"] == 3
    runs = await all_runs("looping")
    assert [run.parent_sequence for run in runs] == [None, None, 1]
    assert {run.parent_id for run in runs} == {top.pk}
    assert top.attempt == 2, "it was woken once"


async def test_a_run_with_closing_nodes_continues_after_them(
    registry: Registry, person: User
) -> None:
    seen: list[int] = []

    @node
    async def close(state: Count, runtime: Runtime) -> Count:
        seen.append(len(await all_runs("looping")))
        return state

    registry.register(looping(on_end=close))
    first = await run_in_db(System(registry).execute, "looping", {}, by=person)
    async with working(registry):
        await ended(first.pk)
        while len(runs := await all_runs("looping")) < 3:
            await ended(runs[-1].pk)
        await ended(runs[-1].pk)
    assert seen == [1, 2, 3], "each run starts after the end of the one before"


async def test_a_cancel_that_comes_at_the_end_prevents_the_next_run(
    registry: Registry, person: User
) -> None:
    """It is requested after the last node, and before the end is committed."""

    def params(state: Count) -> dict[str, Any]:
        return {"n": state.n}

    again = continue_as_new(params, name="again")
    registry.register(
        Workflow("looping", state=Count, params=Start, start=again, routes={})
    )
    run = await run_in_db(System(registry).execute, "looping", {}, by=person)
    original = run_links.insert_successor

    def cancel_first(new: Run, origin: Run, sequence: int) -> None:
        Run.objects.filter(pk=origin.pk).update(
            cancel_requested_at=timezone.now(), cancel_reason="enough"
        )
        original(new, origin, sequence)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_links, "insert_successor", cancel_first)
        async with working(registry):
            await ended(run.pk)
    assert len(await all_runs("looping")) == 1
    assert not await run_in_db(RunLink.objects.exists)


async def test_a_cancelled_run_is_not_continued(
    registry: Registry, person: User
) -> None:
    system = System(registry)

    @node
    def cancel_itself(state: Count, runtime: Runtime) -> Count:
        system.cancel(runtime.key.partition("/")[0], by=person, reason="enough")
        while not runtime.cancelled:  # until the request has reached its worker
            time.sleep(0.001)
        return state

    again = continue_as_new({}, name="again")
    registry.register(
        Workflow(
            "looping",
            state=Count,
            params=Start,
            start=cancel_itself,
            routes={cancel_itself: again},
        )
    )
    run = await run_in_db(system.execute, "looping", {}, by=person)
    async with working(registry):
        run = await ended(run.pk)
    assert run.status == "cancelled"
    assert len(await all_runs("looping")) == 1


async def test_params_are_computed_again_if_the_last_step_is_all_that_was_stored(
    registry: Registry, person: User
) -> None:
    """A worker was lost between the record of the last step and that of the end."""
    registry.register(looping())
    system = System(registry)
    run = await run_in_db(system.execute, "looping", {"n": 1}, by=person)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_links, "insert_successor", _refuse)
        async with working(registry):
            run = await ended(run.pk)
    assert run.status == "failed"
    await run_in_db(system.resume, run.pk, by=person, reason="again")
    async with working(registry):
        await ended(run.pk)
        runs = await all_runs("looping")
        assert [one.params for one in runs] == [{"n": 1}, {"n": 2}]
        await ended(runs[-1].pk)


def _refuse(*_: object) -> None:
    raise ValueError("the database refused it")


async def test_a_next_run_that_cannot_be_made_fails_the_run_which_can_be_resumed(
    registry: Registry, person: User
) -> None:
    registry.register(looping())
    system = System(registry)
    original, calls = run_links.new_successor, []

    def refuse_at_the_end(*given: Any) -> Run:
        calls.append(given)
        if len(calls) == 2:  # the node has made one to check that it can be
            raise AgentUnavailable("judge", "it is switched off.")
        return original(*given)

    run = await run_in_db(system.execute, "looping", {"n": 1}, by=person)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_links, "new_successor", refuse_at_the_end)
        async with working(registry):
            run = await ended(run.pk)
            assert (run.status, run.error_code, run.error_node) == (
                "failed",
                "node_failed",
                "again",
            )
            assert "cannot continue as a new one: Not launched." in run.error_message
            await run_in_db(system.resume, run.pk, by=person, reason="again")
            run = await ended(run.pk)
            (_, last) = await all_runs("looping")
            await ended(last.pk)
    assert run.status == "completed"


async def test_a_cancel_of_the_parent_reaches_the_run_that_continues_its_child(
    registry: Registry, person: User
) -> None:
    """The child completes between the query for the runs below and their cancellation."""
    registry.register(looping())
    registry.register(
        Workflow(
            "top",
            state=Count,
            start=(call := subworkflow("looping", {}, into="found", name="call")),
            routes={},
        )
    )
    system = System(registry)

    def prepare() -> tuple[Run, Run, Run]:
        top = system.execute("top", {}, by=person)
        Run.objects.filter(pk=top.pk).update(
            status="waiting", waiting_for="subworkflow", waiting_node=call.name
        )
        child = system.execute("looping", {}, by=person)
        Run.objects.filter(pk=child.pk).update(parent=top, parent_sequence=1)
        child.refresh_from_db()
        return top, child, run_links.new_successor(child, {"n": 1}, registry, "")

    def cancel(top: Run, child: Run, successor: Run) -> None:
        from workflows.execution import run_cancellation

        original = run_cancellation._cancel_some  # noqa: SLF001 - the step between two looks

        def complete_child(ids: Any, **given: Any) -> int:
            if child.pk in ids and not RunLink.objects.exists():
                run_links.insert_successor(successor, child, 2)
                Run.objects.filter(pk=child.pk).update(
                    status="completed", completed_at=timezone.now()
                )
            return original(ids, **given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run_cancellation, "_cancel_some", complete_child)
            system.cancel(top.pk, by=person, reason="enough")

    top, child, successor = await run_in_db(prepare)
    await run_in_db(cancel, top, child, successor)
    found = await rows(Run.objects.order_by("id").values_list("status", flat=True))
    assert found == ["cancelled", "completed", "cancelled"]


# Pages ----------------------------------------------------------------------------------


def linked_runs(registry: Registry, by: User) -> tuple[Run, Run, Run]:
    """Return a run, the one that continues it, and one that it launched."""
    registry.register(leaf())
    registry.register(looping())
    system = System(registry)
    origin = system.execute("looping", {}, by=by)
    launched = run_links.new_run(origin, "leaf", {}, registry, "")
    run_links.insert(launched, origin, 1)
    successor = run_links.new_successor(origin, {"n": 1}, registry, "")
    run_links.insert_successor(successor, origin, 2)
    return origin, successor, launched


@pytest.mark.django_db(transaction=True)
def test_pages_api_and_exports_link_the_runs_both_ways(
    registry: Registry, admin: User, client: Client
) -> None:
    origin, successor, launched = linked_runs(registry, admin)
    client.force_login(admin)
    pages = {
        run: client.get(f"/runs/{run.pk}/").content.decode()
        for run in (origin, successor, launched)
    }
    for run, label, other in (
        (origin, "Continued by run", successor),
        (origin, "Launched runs", launched),
        (successor, "Continues run", origin),
        (launched, "Launched by run", origin),
    ):
        assert label in pages[run]
        assert f'href="/runs/{other.pk}/"' in pages[run]
    found = {
        run: client.get(f"/api/v1/runs/{run.pk}").json()
        for run in (origin, successor, launched)
    }
    assert found[origin]["continued_by"] == str(successor.pk)
    assert found[origin]["launched_runs"] == [str(launched.pk)]
    assert found[successor]["continues"] == str(origin.pk)
    assert found[successor]["launched_by_run"] is None
    assert found[launched]["launched_by_run"] == str(origin.pk)
    answer = client.get("/api/v1/exports/runs?workflow=looping&format=jsonl")
    body = b"".join(answer)
    rows = {row["id"]: row for row in map(json.loads, body.decode().splitlines())}
    assert rows[str(origin.pk)]["continued_by"] == str(successor.pk)
    assert rows[str(successor.pk)]["continues"] == str(origin.pk)
    about = json.loads("".join(pieces(successor)))["run"]
    assert about["continues"] == str(origin.pk)
    assert json.loads("".join(pieces(origin)))["run"]["continued_by"] == str(
        successor.pk
    )


@pytest.mark.django_db(transaction=True)
def test_a_link_to_a_run_that_the_viewer_may_not_see_is_hidden(
    registry: Registry, admin: User, client: Client
) -> None:
    others = Group.objects.create(name="those who may see the loop")
    WorkflowPermission.objects.create(
        group=others, workflow_name="looping", can_view=True
    )
    origin, _, launched = linked_runs(registry, admin)
    client.force_login(make_user("viewer"))
    page = client.get(f"/runs/{launched.pk}/").content.decode()
    assert client.get(f"/runs/{launched.pk}/").status_code == 200
    assert f"/runs/{origin.pk}/" not in page
    found = client.get(f"/api/v1/runs/{launched.pk}").json()
    assert found["launched_by_run"] is None


@pytest.mark.django_db(transaction=True)
def test_a_deleted_origin_leaves_the_run_that_continued_it(
    registry: Registry, admin: User, client: Client
) -> None:
    origin, successor, _ = linked_runs(registry, admin)
    system = System(registry)
    system.cancel(origin.pk, by=admin, reason="enough")
    system.delete_run(origin.pk, by=admin, reason="tidy")
    client.force_login(admin)
    assert client.get(f"/runs/{successor.pk}/").status_code == 200
    assert client.get(f"/api/v1/runs/{successor.pk}").json()["continues"] is None
