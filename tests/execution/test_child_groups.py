"""Steps that launch a child run for each element of a list, and wait for them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pydantic import BaseModel

from tests.support.factories import make_user
from tests.support.workers import ended, until, working
from workflows.audit.verifier import Checker
from workflows.engine import (
    State,
    Workflow,
    approval,
    node,
    otherwise,
    subworkflows,
    when,
)
from workflows.errors import InvalidStatus
from workflows.execution import child_groups
from workflows.execution.child_group_rows import counts_of
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    ENDED,
    ChildGroup,
    ChildItem,
    Run,
    Status,
    WorkflowPermission,
)
from workflows.registry import Registry
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed", "quick")


class One(BaseModel):
    """Params of a child."""

    n: int


class Yes(BaseModel):
    fine: bool = True


class Child(State):
    """State of a child."""

    params: One
    result: int = 0
    answer: Yes | None = None


class Many(State):
    """State of the parent."""

    numbers: tuple[int, ...] = ()
    found: tuple[dict[str, Any] | None, ...] = ()


class World:
    """Which numbers fail, and how many children ran at once."""

    def __init__(self) -> None:
        self.bad: set[int] = set()
        self.calls: list[int] = []
        self.most = 0


def child_of(world: World) -> Workflow[Any]:
    @node
    async def double(state: Child) -> Child:
        world.calls.append(state.params.n)
        running = Run.objects.filter(parent__isnull=False).exclude(status__in=ENDED)
        world.most = max(world.most, await run_in_db(running.count))
        if state.params.n in world.bad:
            raise ValueError(f"{state.params.n} is bad")
        return state.set(result=state.params.n * 2)

    return Workflow("child", state=Child, start=double, routes={})


def with_approval() -> Workflow[Any]:
    """Return a workflow that waits for a person."""
    ask = approval("Is it fine?", answer=Yes, into="answer", name="ask")
    return Workflow("child", state=Child, start=ask, routes={})


def parent(child: Any, **options: Any) -> Workflow[Any]:
    each = subworkflows(
        child,
        over="numbers",
        params=lambda n: {"n": n},
        into="found",
        name="each",
        **options,
    )
    return Workflow("top", state=Many, start=each, routes={})


async def launch(
    registry: Registry, workflow: Any, numbers: list[int], by: User
) -> tuple[System, Run]:
    registry.register(workflow)
    system = System(registry)
    run = await run_in_db(
        partial(system.execute, "top", {"numbers": numbers}, by=by, priority=2)
    )
    return system, run


async def rows(query: Any) -> list[Any]:
    return await run_in_db(lambda: list(query))


def children_of(run: Run) -> Any:
    return Run.objects.filter(parent=run.pk).order_by("child_item__position")


def results(run: Run) -> list[int | None]:
    assert run.result is not None, run.error_message
    return [one and one["result"] for one in run.result["found"]]


async def test_there_is_one_run_per_element_with_results_in_order(
    registry: Registry, person: User
) -> None:
    world = World()
    _, top = await launch(
        registry, parent(child_of(world), limit=2), [5, 3, 8, 1, 9], person
    )
    async with working(registry):
        top = await ended(top.pk)
    assert results(top) == [10, 6, 16, 2, 18]
    assert world.most <= 2, "the limit holds"
    assert sorted(world.calls) == [1, 3, 5, 8, 9]
    children = await rows(children_of(top))
    assert [child.params["n"] for child in children] == [5, 3, 8, 1, 9]
    assert {(c.launched_by_id, c.priority, c.parent_sequence) for c in children} == {
        (person.pk, 2, 1)
    }
    assert all(child.fingerprint and child.graph for child in children)
    assert top.attempt == 2, "the parent is woken once"
    assert await run_in_db(lambda: [str(one) for one in Checker().everything()]) == []


async def test_without_elements_nothing_is_launched(
    registry: Registry, person: User
) -> None:
    _, top = await launch(registry, parent(child_of(World())), [], person)
    async with working(registry):
        top = await ended(top.pk)
    assert results(top) == []
    assert top.attempt == 1


async def test_failed_children_fail_the_parent_whose_resume_resumes_only_them(
    registry: Registry, person: User
) -> None:
    world = World()
    world.bad = {3, 8}
    system, top = await launch(
        registry, parent(child_of(world), limit=2), [5, 3, 8, 1], person
    )
    async with working(registry):
        top = await ended(top.pk)
        assert (top.status, top.error_node) == (Status.FAILED, "each")
        assert "2 of 4 did not complete. The first: run" in top.error_message
        assert "3 is bad" in top.error_message
        before = await rows(children_of(top).values_list("pk", flat=True))
        world.bad, world.calls, world.most = set(), [], 0
        await run_in_db(system.resume, top.pk, by=person, reason="repaired")
        top = await ended(top.pk)
    assert results(top) == [10, 6, 16, 2]
    assert sorted(world.calls) == [3, 8], "what had completed does not run again"
    assert await rows(children_of(top).values_list("pk", flat=True)) == before


async def test_a_child_that_cannot_be_resumed_is_launched_again(
    registry: Registry, person: User
) -> None:
    world = World()
    world.bad = {3}
    registry.register(child_of(world))
    system, top = await launch(registry, parent("child"), [5, 3], person)
    async with working(registry):
        top = await ended(top.pk)
        registry.unregister("child")

        @node
        async def triple(state: Child) -> Child:
            return state.set(result=state.params.n * 3)

        registry.register(Workflow("child", state=Child, start=triple, routes={}))
        await run_in_db(system.resume, top.pk, by=person, reason="put right")
        top = await ended(top.pk)
    assert results(top) == [10, 9]
    old = await rows(Run.objects.filter(parent=top, parent_sequence=None))
    assert [(run.params["n"], run.status) for run in old] == [(3, Status.FAILED)]


async def test_with_need_the_rest_is_cancelled_or_not_launched(
    registry: Registry, person: User
) -> None:
    """Two of five: one waits for a person, one was not launched yet."""
    world = World()

    @node
    async def double(state: Child) -> Child:
        world.calls.append(state.params.n)
        return state.set(result=state.params.n * 2)

    @node
    async def begin(state: Child) -> Child:
        return state

    ask = approval("Is it fine?", answer=Yes, into="answer", name="ask")
    mixed = Workflow(
        "child",
        state=Child,
        start=begin,
        routes={begin: [when(lambda s: s.params.n == 1, ask), otherwise(double)]},
    )
    _, top = await launch(
        registry, parent(mixed, need=2, limit=2), [1, 2, 3, 4, 5], person
    )
    async with working(registry):
        top = await ended(top.pk)
        (child,) = await rows(Run.objects.filter(parent=top, params__n=1))
        child = await ended(child.pk)
    assert results(top) == [None, 4, 6, None, None]
    assert (child.status, child.error_message) == (
        Status.CANCELLED,
        "The parent run does not need this run any more.",
    )
    items = await rows(ChildItem.objects.order_by("position"))
    assert [item.status for item in items] == [*["launched"] * 3, *["withdrawn"] * 2]


async def test_with_fail_fast_the_first_failure_cancels_the_rest(
    registry: Registry, person: User
) -> None:
    world = World()
    world.bad = {1}
    _, top = await launch(
        registry, parent(child_of(world), fail_fast=True, limit=1), [1, 2, 3], person
    )
    async with working(registry):
        top = await ended(top.pk)
    assert "1 of 3 did not complete" in top.error_message
    assert world.calls == [1]


async def test_a_cancel_of_the_parent_cancels_its_children_and_a_resume_resumes_them(
    registry: Registry, person: User
) -> None:
    system, top = await launch(
        registry, parent(with_approval(), limit=2), [1, 2, 3], person
    )
    async with working(registry):
        await until(top.pk, lambda run: _waiting(run) == 2)
        await run_in_db(system.cancel, top.pk, by=person, reason="by mistake")
        children = await rows(children_of(top))
        assert [child.status for child in children] == [Status.CANCELLED] * 2
        await run_in_db(system.resume, top.pk, by=person, reason="it was a mistake")
        for _ in range(3):
            await until(top.pk, lambda run: _waiting(run) >= 1)
            waiting = await rows(children_of(top).filter(status=Status.WAITING))
            await run_in_db(
                partial(
                    system.respond,
                    waiting[0].pk,
                    {"fine": True},
                    by=person,
                    comment="y",
                )
            )
            await ended(waiting[0].pk)
        top = await ended(top.pk)
    assert top.status == Status.COMPLETED, top.error_message
    assert len(await rows(children_of(top))) == 3


def _waiting(run: Run) -> int:
    count: int = children_of(run).filter(status=Status.WAITING).count()
    return count


@pytest.mark.django_db(transaction=True)
def test_a_parent_is_not_resumed_while_a_child_is_still_being_cancelled(
    registry: Registry,
) -> None:
    top, _ = waiting_parent(registry, [1, 2])
    child_groups.advance(top.pk, registry)
    child = children_of(top).first()
    Run.objects.filter(pk=child.pk).update(
        status="running",
        lease_expires_at=timezone.now(),
        cancel_requested_at=timezone.now(),
    )
    Run.objects.filter(pk=top.pk).update(
        status="cancelled", completed_at=timezone.now(), waiting_for=""
    )
    with pytest.raises(InvalidStatus, match="is still being cancelled"):
        System(registry).resume(top.pk, by=None, reason="too early")


# Over crashes ---------------------------------------------------------------------------


def waiting_parent(
    registry: Registry, numbers: list[int], **options: Any
) -> tuple[Run, ChildGroup]:
    """Return a parent that waits, none of whose children has been launched."""
    registry.register(parent(child_of(World()), **options))
    top = System(registry).execute("top", {"numbers": numbers})
    Run.objects.filter(pk=top.pk).update(
        status="waiting", waiting_for="subworkflow", waiting_node="each"
    )
    group = ChildGroup.objects.create(
        parent=top,
        sequence=1,
        workflow_name="child",
        total=len(numbers),
        limit=options.get("limit", 5),
        need=options.get("need"),
    )
    ChildItem.objects.bulk_create(
        ChildItem(group=group, position=n, params={"n": one})
        for n, one in enumerate(numbers)
    )
    return top, group


@pytest.mark.django_db(transaction=True)
def test_the_sweep_launches_the_children_that_a_lost_worker_did_not(
    registry: Registry,
) -> None:
    top, group = waiting_parent(registry, [1, 2, 3], limit=2)
    child_groups.sweep(registry)
    child_groups.sweep(registry)
    assert [child.params["n"] for child in children_of(top)] == [1, 2]
    assert counts_of(group).active == 2


@pytest.mark.django_db(transaction=True)
def test_the_sweep_wakes_a_parent_all_of_whose_children_have_ended(
    registry: Registry,
) -> None:
    top, _ = waiting_parent(registry, [1, 2])
    child_groups.advance(top.pk, registry)
    children_of(top).order_by().update(
        status="completed", result={}, completed_at=timezone.now()
    )
    child_groups.sweep(registry)
    top.refresh_from_db()
    assert top.status == Status.PENDING


@pytest.mark.django_db(transaction=True)
def test_a_child_that_cannot_be_launched_any_more_is_a_failed_run(
    registry: Registry,
) -> None:
    top, group = waiting_parent(registry, [1])
    registry.unregister("child")
    child_groups.advance(top.pk, registry)
    (child,) = children_of(top)
    assert (child.status, child.error_code) == (Status.FAILED, "not_started")
    assert "Workflow “child” not found" in child.error_message
    assert counts_of(group).failed == 1


@pytest.mark.django_db(transaction=True)
def test_a_thousand_children_take_a_bounded_number_of_queries_each(
    registry: Registry,
) -> None:
    top, group = waiting_parent(registry, list(range(1_000)), limit=10)
    child_groups.advance(top.pk, registry)
    child = children_of(top).first()
    Run.objects.filter(pk=child.pk).update(
        status="completed", result={}, completed_at=timezone.now()
    )
    with CaptureQueriesContext(connection) as captured:
        child_groups.child_ended(child.pk, registry)
    assert len(captured) < 25
    assert counts_of(group).active == 10


# Pages ----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_page_of_the_parent_shows_progress_and_the_children(
    registry: Registry, admin: User, client: Client
) -> None:
    top, _ = waiting_parent(registry, [1, 2, 3, 4], limit=3)
    child_groups.advance(top.pk, registry)
    first, second, third = children_of(top)
    for child, status in ((first, "completed"), (second, "failed")):
        Run.objects.filter(pk=child.pk).update(
            status=status, completed_at=timezone.now()
        )
    client.force_login(admin)
    page = client.get(f"/runs/{top.pk}/").content.decode()
    for text in (
        "2 of 4 child runs have ended.",
        "2 of 4 ended",
        "1 completed",
        "1 failed or cancelled",
        "1 active",
        "1 not launched",
        'value="2"',
    ):
        assert text in page
    table = page.partition('id="run-children"')[2].partition("</section>")[0]
    order = [table.index(str(run.pk)) for run in (second, third, first)]
    assert order == sorted(order), "those that failed are first"


@pytest.mark.django_db(transaction=True)
def test_children_are_hidden_from_those_who_may_not_see_their_workflow(
    registry: Registry, client: Client
) -> None:
    top, _ = waiting_parent(registry, [1, 2])
    child_groups.advance(top.pk, registry)
    others = Group.objects.create(name="those who may see the children")
    WorkflowPermission.objects.create(
        group=others, workflow_name="child", can_view=True
    )
    client.force_login(make_user("viewer"))
    page = client.get(f"/runs/{top.pk}/").content.decode()
    assert "have ended" not in page
    assert "Runs of child" not in page
