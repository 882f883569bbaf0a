"""Child runs: their columns, how the parent continues, and the limit of depth."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pydantic import BaseModel

from tests.support.factories import make_approval, make_run, make_user
from tests.support.workers import SharedEvent, ended, reaches, working
from workflows.engine import State, Workflow, approval, node, sleep, subworkflow
from workflows.engine.testing import run_in_memory
from workflows.errors import InUse, InvalidStatus
from workflows.execution import queue
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    Approval,
    ApprovalStatus,
    AuditEvent,
    Retention,
    Run,
    Stage,
    Status,
    WaitKind,
)
from workflows.registry import Registry
from workflows.registry import registry as installed
from workflows.retention.purge import purge_due
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed", "quick")

LEVELS = 1_000  # far more than Python recurses


class Out(State):
    """State of all runs here."""

    n: int = 0
    calls: int = 0
    child: dict[str, Any] | None = None


class Switch:
    """Lets a node fail until it is repaired, and counts its calls."""

    def __init__(self) -> None:
        self.broken = True
        self.calls = 0


def leaf(switch: Switch, name: str = "leaf") -> Workflow[Any]:
    """Return a workflow of two steps, the second of which fails while broken."""

    @node
    async def first(state: Out) -> Out:
        switch.calls += 1
        return state.set(calls=switch.calls)

    @node
    async def second(state: Out) -> Out:
        if switch.broken:
            raise ValueError("the second step is broken")
        return state.set(n=state.n + 1)

    return Workflow(name, state=Out, start=first, routes={first: second})


def calling(child: str, name: str) -> Workflow[Any]:
    """Return a workflow that runs another one and ends with its result."""
    call = subworkflow(child, lambda _: {}, into="child", name="call")
    return Workflow(name, state=Out, start=call, routes={})


async def rows(query: Any) -> list[Any]:
    return await run_in_db(lambda: list(query))


async def child_of(run: Run) -> Run:
    child: Run
    (child,) = await rows(Run.objects.filter(parent=run))
    return child


def result_of(run: Run) -> dict[str, Any]:
    """Return the result of a run that must have one."""
    assert run.result is not None, run.error_message
    result: dict[str, Any] = run.result
    return result


# Columns of a child run ---------------------------------------------------------------


async def test_a_child_run_has_the_columns_of_a_launched_run(
    registry: Registry, person: User
) -> None:
    switch = Switch()
    switch.broken = False
    registry.register(leaf(switch))
    registry.register(calling("leaf", "top"))
    system = System(registry)
    launched = await run_in_db(system.execute, "leaf", {}, by=person)
    top = await run_in_db(system.execute, "top", {}, by=person, priority=3)
    async with working(registry):
        launched = await ended(launched.pk)
        await ended(top.pk)
    child = await child_of(top)
    of_its_own = {
        "id", "params", "result", "created_at", "updated_at", "started_at",
        "completed_at", "version", "fence", "worker", "history_chain_head", "audit_chain_head",
        "parent", "parent_sequence", "priority",
    }  # fmt: skip
    for field in Run._meta.concrete_fields:  # noqa: SLF001 - Django's documented API
        if field.name not in of_its_own:
            assert getattr(child, field.attname) == getattr(launched, field.attname), (
                field.name
            )
    assert child.graph["entry"] == "first"
    assert child.fingerprint
    assert (child.parent_id, child.parent_sequence, child.priority) == (top.pk, 1, 3)


async def test_a_child_whose_workflow_changed_while_it_waited_is_refused(
    registry: Registry, person: User
) -> None:
    pause = sleep(timedelta(hours=1), name="pause")
    registry.register(Workflow("leaf", state=Out, start=pause, routes={}))
    registry.register(calling("leaf", "top"))
    top = await run_in_db(System(registry).execute, "top", {}, by=person)
    async with working(registry):
        await reaches(top.pk, Status.WAITING)
        child = await child_of(top)
        await reaches(child.pk, Status.WAITING)
        registry.unregister("leaf")
        registry.register(leaf(Switch()))
        await run_in_db(lambda: Run.objects.filter(pk=child.pk).wake())
        child = await ended(child.pk)
        top = await ended(top.pk)
    assert child.status == top.status == Status.FAILED
    assert "leaf has changed since this run started" in child.error_message


# Resuming after a child that failed or was cancelled ----------------------------------


async def tree(
    registry: Registry, person: User, switch: Switch
) -> tuple[System, Run, Run, Run]:
    """Run three levels whose innermost fails; return them all failed."""
    registry.register(leaf(switch))
    registry.register(calling("leaf", "middle"))
    registry.register(calling("middle", "top"))
    system = System(registry)
    top = await run_in_db(system.execute, "top", {}, by=person)
    async with working(registry):
        await ended(top.pk)
    middle = await child_of(top)
    inner = await child_of(middle)
    top = await run_in_db(system.find_run, top.pk)
    assert {top.status, middle.status, inner.status} == {Status.FAILED}
    return system, top, middle, inner


async def test_resuming_a_parent_resumes_the_children_that_failed(
    registry: Registry, person: User
) -> None:
    """From the last step of the innermost one: nothing that ran runs again."""
    switch = Switch()
    system, top, middle, inner = await tree(registry, person, switch)
    switch.broken = False
    await run_in_db(system.resume, top.pk, by=person, reason="repaired")
    async with working(registry):
        top = await ended(top.pk)
    assert top.status == Status.COMPLETED, top.error_message
    assert result_of(top)["child"]["child"] == {"n": 1, "calls": 1, "child": None}
    assert switch.calls == 1
    assert await child_of(top) == middle, "no second child was launched"
    assert await child_of(middle) == inner
    resumed = AuditEvent.objects.filter(action="resume", reason="repaired")
    assert {one.run_id for one in await rows(resumed)} == {top.pk, middle.pk, inner.pk}


async def test_a_parent_continues_with_a_child_that_was_resumed_by_itself(
    registry: Registry, person: User
) -> None:
    switch = Switch()
    system, top, middle, inner = await tree(registry, person, switch)
    switch.broken = False
    async with working(registry):
        await run_in_db(system.resume, inner.pk, by=person, reason="repaired")
        await ended(inner.pk)
        await run_in_db(system.resume, top.pk, by=person, reason="go on")
        top = await ended(top.pk)
    assert top.status == Status.COMPLETED, top.error_message
    assert switch.calls == 1
    acts = await rows(AuditEvent.objects.filter(action="resume", run=inner.pk))
    assert len(acts) == 1, "the child that had completed was left alone"
    assert await child_of(middle) == inner


async def test_a_child_that_fails_again_fails_its_parent_with_the_new_error(
    registry: Registry, person: User
) -> None:
    switch = Switch()
    system, top, _, inner = await tree(registry, person, switch)
    await run_in_db(
        lambda: Run.objects.filter(pk=inner.pk).update(error_message="an old sentence")
    )
    await run_in_db(system.resume, top.pk, by=person, reason="again")
    async with working(registry):
        top = await ended(top.pk)
    assert top.status == Status.FAILED
    assert "the second step is broken" in top.error_message
    assert "an old sentence" not in top.error_message
    assert (await run_in_db(system.find_run, inner.pk)).attempt == 2


async def test_a_waiting_parent_cancelled_by_mistake_continues(
    registry: Registry, person: User
) -> None:
    class Yes(BaseModel):
        fine: bool = True

    class Asked(State):
        answer: Yes | None = None

    ask = approval("Is it fine?", answer=Yes, into="answer", name="ask")
    registry.register(Workflow("leaf", state=Asked, start=ask, routes={}))
    registry.register(calling("leaf", "top"))
    system = System(registry)
    top = await run_in_db(system.execute, "top", {}, by=person)
    async with working(registry):
        await reaches(top.pk, Status.WAITING)
        child = await child_of(top)
        await reaches(child.pk, Status.WAITING)
        await run_in_db(system.cancel, top.pk, by=person, reason="by mistake")
        assert (await ended(child.pk)).status == Status.CANCELLED
        await run_in_db(system.resume, top.pk, by=person, reason="it was a mistake")
        await reaches(child.pk, Status.WAITING)
        await run_in_db(
            system.respond, child.pk, {"fine": True}, by=person, comment="y"
        )
        top = await ended(top.pk)
    assert top.status == Status.COMPLETED, top.error_message
    assert await child_of(top) == child


async def test_a_child_that_cannot_continue_is_replaced_when_its_parent_is_resumed(
    registry: Registry, person: User
) -> None:
    """Its workflow has other steps now: the parent launches a new child run."""
    switch = Switch()
    system, top, middle, inner = await tree(registry, person, switch)

    @node
    async def only(state: Out) -> Out:
        return state.set(n=7)

    registry.unregister("leaf")
    registry.register(Workflow("leaf", state=Out, start=only, routes={}))
    await run_in_db(system.resume, top.pk, by=person, reason="put right")
    async with working(registry):
        top = await ended(top.pk)
    assert top.status == Status.COMPLETED, top.error_message
    old, new = await rows(Run.objects.filter(parent=middle).order_by("id"))
    assert (old.pk, old.status) == (inner.pk, Status.FAILED)
    assert (new.status, new.result["n"]) == (Status.COMPLETED, 7)


async def test_of_two_resumes_one_wins_and_no_child_is_launched_twice(
    registry: Registry, person: User
) -> None:
    """Two resumes of the parent and two of the child at once: each run continues once."""
    switch = Switch()
    system, top, middle, inner = await tree(registry, person, switch)
    switch.broken = False
    refused: list[Run] = []

    async def resume(run: Run) -> None:
        try:
            await run_in_db(system.resume, run.pk, by=person, reason="together")
        except InvalidStatus:
            refused.append(run)

    async with working(registry), asyncio.TaskGroup() as together:
        for run in (top, inner, middle, inner, top):
            together.create_task(resume(run))
    async with working(registry):
        with suppress(InvalidStatus):  # the parent may have read the failure again
            await run_in_db(system.resume, top.pk, by=person, reason="go on")
        top = await ended(top.pk)
    assert top.status == Status.COMPLETED, top.error_message
    assert refused.count(top) >= 1
    assert switch.calls == 1
    assert await child_of(top) == middle
    assert await child_of(middle) == inner


async def test_a_child_that_ended_before_its_parent_waits_for_it_is_not_launched_again(
    registry: Registry, person: User
) -> None:
    """The child completes between the parent's query for it and the record of the wait."""
    registry.register(leaf(Switch()))
    registry.register(calling("leaf", "top"))
    system = System(registry)
    top = await run_in_db(system.execute, "top", {}, by=person)
    child = await run_in_db(
        lambda: make_run(
            workflow_name="leaf",
            status=Status.COMPLETED,
            parent=top,
            parent_sequence=1,
            result={"n": 5},
        )
    )
    async with working(registry):
        top = await ended(top.pk)
    assert result_of(top)["child"] == {"n": 5}
    assert await child_of(top) == child


async def test_a_parent_is_not_resumed_while_its_child_is_being_cancelled(
    registry: Registry, person: User
) -> None:
    registry.register(leaf(Switch()))
    registry.register(calling("leaf", "top"))
    system = System(registry)
    parent, child = await run_in_db(stopping_child)
    with pytest.raises(
        InvalidStatus, match=f"{child.short_id}.*is still being cancelled"
    ):
        await run_in_db(system.resume, parent.pk, by=person, reason="too early")
    parent = await run_in_db(system.find_run, parent.pk)
    assert parent.status == Status.CANCELLED


def stopping_child() -> tuple[Run, Run]:

    parent = make_run(workflow_name="top", status=Status.CANCELLED, sequence=0)
    Run.objects.filter(pk=parent.pk).update(
        waiting_node="call", fingerprint="", error_code="cancelled"
    )
    child = make_run(
        workflow_name="leaf",
        status=Status.RUNNING,
        parent=parent,
        parent_sequence=1,
        cancel_requested_at=timezone.now(),
    )
    return parent, child


async def test_a_run_whose_child_was_stored_without_a_graph_can_be_resumed(
    registry: Registry, person: User
) -> None:
    switch = Switch()
    system, _, _, inner = await tree(registry, person, switch)
    switch.broken = False
    await run_in_db(
        lambda: Run.objects.filter(pk=inner.pk).update(graph={}, fingerprint="")
    )
    async with working(registry):
        await run_in_db(system.resume, inner.pk, by=person, reason="repaired")
        assert (await ended(inner.pk)).status == Status.COMPLETED


async def test_a_child_is_not_purged_while_its_parent_can_read_it(
    registry: Registry, person: User
) -> None:
    def delete() -> None:
        parent = make_run(status=Status.PENDING, sequence=0)
        child = make_run(parent=parent, parent_sequence=1)
        with pytest.raises(InUse, match=parent.short_id):
            System(registry).delete_run(child.pk, by=person, reason="tidy")
        Run.objects.filter(pk=parent.pk).update(
            sequence=1
        )  # the parent has read the outcome
        System(registry).delete_run(child.pk, by=person, reason="tidy")

    await run_in_db(delete)


# Depth --------------------------------------------------------------------------------


def endless() -> Workflow[Any]:
    """Return a workflow that starts itself."""
    call = subworkflow("endless", lambda s: {"n": s.n + 1}, "child", name="call")
    return Workflow("endless", state=Out, start=call, routes={})


async def test_a_workflow_that_starts_itself_fails_at_the_limit_of_depth(
    registry: Registry, person: User, settings: Any
) -> None:
    settings.MAX_SUBWORKFLOW_DEPTH = 3
    registry.register(endless())
    run = await run_in_db(System(registry).execute, "endless", {}, by=person)
    async with working(registry):
        run = await ended(run.pk)
    assert run.status == Status.FAILED
    runs = await rows(Run.objects.order_by("id"))
    assert len(runs) == 4, "the first one, and three levels below it"
    deepest = runs[-1]
    assert (deepest.error_code, deepest.error_node) == ("node_failed", "call")
    assert "3 levels below the run that was launched" in deepest.error_message
    assert "3 levels below the run that was launched" in run.error_message
    assert run.error_message.count("did not complete") == 1, "no sentence a level"
    (stage,) = await rows(Stage.objects.filter(run=deepest))
    assert (stage.status, stage.node_name) == ("failed", "call")


def test_in_memory_a_workflow_that_starts_itself_fails_at_the_limit_of_depth() -> None:
    workflow = endless()
    outcome = run_in_memory(workflow, subworkflows={"endless": workflow})
    assert outcome.status == "failed"
    assert "50 levels below the run that was launched" in str(outcome.error)


def deep_tree() -> list[Run]:
    """Create a thousand runs, each the child for which the one before waits."""
    runs: list[Run] = []
    for _ in range(LEVELS):
        parent = runs[-1] if runs else None
        runs.append(
            Run(
                workflow_name="classify-document",
                status=Status.WAITING,
                waiting_for=WaitKind.SUBWORKFLOW,
                waiting_node="call",
                parent=parent,
                parent_sequence=1 if parent else None,
            )
        )
    runs[-1].waiting_for = WaitKind.APPROVAL
    Run.objects.bulk_create(runs)
    make_approval(runs[-1])
    return runs


@pytest.mark.django_db(transaction=True)
def test_a_deep_tree_can_be_shown_cancelled_compared_and_deleted(
    client: Client, django_assert_max_num_queries: Any
) -> None:
    runs = deep_tree()
    person = make_user("operator")
    client.force_login(person)
    for run in (runs[0], runs[LEVELS // 2], runs[-1]):
        assert client.get(f"/runs/{run.pk}/").status_code == 200
    page = client.get(f"/runs/{runs[0].pk}/").content.decode()
    assert "Waiting for a sub-workflow." in page
    with django_assert_max_num_queries(LEVELS // 4):
        System(installed).cancel(runs[0].pk, by=person, reason="it started itself")
    ends = Run.objects.order_by().values_list("status", "cancel_reason").distinct()
    assert list(ends) == [(Status.CANCELLED, "it started itself")]
    assert Approval.objects.get().status == ApprovalStatus.WITHDRAWN
    assert AuditEvent.objects.filter(action="cancel").count() == LEVELS
    for address in (f"runs/{runs[-1].pk}/", f"compare/?a={runs[0].pk}&b={runs[-1].pk}"):
        assert client.get(f"/{address}").status_code == 200
    System(installed).delete_run(runs[0].pk, by=person, reason="tidy")
    assert Run.objects.count() == LEVELS - 1
    left = [run.pk for run in runs[-40:]]
    Run.objects.exclude(pk__in=left).delete()
    Retention.objects.create(workflow_name="", run_days=1)
    Run.objects.update(completed_at=timezone.now() - timedelta(days=2))
    assert purge_due().runs == len(left)
    assert not Run.objects.exists()


async def test_a_run_that_pauses_after_a_cancel_request_launches_no_child(
    registry: Registry, person: User
) -> None:
    """The cancel comes while a node is about to wait: the run stops and launches nothing."""
    entered, go_on = SharedEvent(), SharedEvent()

    def params(_: Out) -> dict[str, Any]:
        return {}

    @node
    async def before(state: Out) -> Out:
        entered.set()
        await go_on.wait()
        return state

    call = subworkflow("leaf", params, into="child", name="call")
    registry.register(leaf(Switch()))
    registry.register(Workflow("top", state=Out, start=before, routes={before: call}))
    system = System(registry)
    top = await run_in_db(system.execute, "top", {}, by=person)

    def cancel_without_notification() -> None:
        Run.objects.filter(pk=top.pk).request_cancel(by_id=person.pk, reason="stop")

    async with working(registry) as worker:
        await entered.wait()
        worker.cancel = lambda *_: None  # type: ignore[method-assign]  # the message is lost
        await run_in_db(cancel_without_notification)
        go_on.set()
        top = await ended(top.pk)
    assert top.status == Status.CANCELLED
    assert await rows(Run.objects.filter(parent=top)) == []


def test_the_sweep_wakes_a_parent_whose_child_ended(db: None) -> None:
    parent = make_run(
        status=Status.WAITING, waiting_for=WaitKind.SUBWORKFLOW, sequence=0
    )
    make_run(status=Status.FAILED, parent=parent, parent_sequence=1)
    assert queue.sweep() == [parent.pk]
