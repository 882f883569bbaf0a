"""The steps of stored runs are undone, and their on_end node runs, for every kind of end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pydantic import BaseModel

from tests.support.factories import make_run
from tests.support.workers import ended, reaches, working
from workflows.access.permissions import permissions_for
from workflows.audit.verifier import Checker
from workflows.engine import Retry, State, Workflow, approval, node
from workflows.errors import InvalidStatus, StepsUndone
from workflows.execution import recovery
from workflows.execution.checkpoints import rebuild
from workflows.infra.database_threads import run_in_db
from workflows.models import Attempt, Outcome, Run, Stage
from workflows.pages.run.notices import notice
from workflows.registry import Registry
from workflows.runtime import Runtime
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed", "quick")


class Reply(BaseModel):
    text: str = ""


class Trip(State):
    at: str = "ask"  # the action after the bookings
    flight: str = ""
    hotel: str = ""
    reply: Reply | None = None


class World:
    """The calls of the nodes of a trip."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.errors: dict[str, Exception] = {}
        self.gate: asyncio.Event | None = None

    def note(self, runtime: Runtime, text: str) -> None:
        self.calls.append(f"{text} {runtime.key.partition('/')[2]}")
        if text in self.errors:
            raise self.errors[text]


def trip_of(world: World, name: str = "trip") -> Workflow[Any]:
    @node
    def cancel_flight(state: Trip, runtime: Runtime) -> Trip:
        world.note(runtime, f"cancel {state.flight}{state.hotel}")
        return state.set(flight="cancelled")

    @node(retry=Retry(attempts=2, wait=0))
    def cancel_hotel(state: Trip, runtime: Runtime) -> Trip:
        world.note(runtime, f"cancel {state.hotel}")
        return state.set(hotel="cancelled")

    @node(undo=cancel_flight)
    def book_flight(state: Trip, runtime: Runtime) -> Trip:
        world.note(runtime, "book flight")
        return state.set(flight="F1")

    @node
    def book_hotel(state: Trip, runtime: Runtime) -> Trip:
        world.note(runtime, "book hotel")
        return state.set(hotel="H1")

    @node
    def pay(state: Trip, runtime: Runtime) -> Trip:
        world.note(runtime, "pay")
        return state

    @node
    def notify(state: Trip, runtime: Runtime) -> Trip:
        outcome = runtime.outcome
        world.note(runtime, f"{outcome.status} {outcome.undo_text} {state.hotel}")
        return state.set(hotel="ignored")

    ask = approval("Pay?", answer=Reply, into="reply", name="ask")
    return Workflow(
        name,
        state=Trip,
        start=book_flight,
        routes={book_flight: book_hotel, book_hotel: ask, ask: pay},
        undo={book_hotel: cancel_hotel},
        on_end=notify,
    )


BOOKED = ["book flight book_flight/1", "book hotel book_hotel/2"]


async def launch(world: World) -> tuple[System, Registry, Run]:
    registry = Registry()
    registry.register(trip_of(world))
    system = System(registry)
    return system, registry, await run_in_db(lambda: system.execute("trip"))


def stages_of(run: Run) -> list[Any]:
    rows = Stage.objects.filter(run=run).order_by("sequence", "attempt")
    return [*rows.values_list("sequence", "node_name", "kind", "undoes", "status")]


FORWARD = [
    (1, "book_flight", "node", None, "completed"),
    (2, "book_hotel", "node", None, "completed"),
]
UNDONE = [
    (4, "cancel_hotel", "undo", 2, "completed"),
    (5, "cancel_flight", "undo", 1, "completed"),
    (6, "notify", "on_end", None, "completed"),
]


async def test_a_cancelled_wait_is_undone_in_reverse_order_and_cannot_be_resumed(
    admin: User, client: Client
) -> None:
    world = World()
    system, registry, run = await launch(world)
    async with working(registry):
        await reaches(run.pk, "waiting")
        cancelled = await run_in_db(
            lambda: system.cancel(run.pk, by=admin, reason="enough")
        )
        assert cancelled.status != "cancelled", "a worker undoes the steps first"
        await run_in_db(lambda: client.force_login(admin))
        run = await ended(run.pk)
    assert (run.status, run.error_message, run.undo_text) == (
        "cancelled",
        "enough",
        "2 of 2 undone",
    )
    assert run.closing is None
    assert world.calls == [
        *BOOKED,
        "cancel H1 cancel_hotel/4",
        "cancel F1 cancel_flight/5",
        "cancelled 2 of 2 undone H1 notify/6",
    ]
    assert await run_in_db(stages_of, run) == [
        *FORWARD,
        (3, "ask", "node", None, "cancelled"),
        *UNDONE,
    ]
    state = await run_in_db(rebuild, run.pk, at=4)
    assert state is not None
    assert state.data["hotel"] == "cancelled"
    with pytest.raises(StepsUndone, match="2 of 2 undone"):
        await run_in_db(lambda: system.resume(run.pk, by=None))
    assert not run.is_resumable
    page = (await run_in_db(lambda: client.get(f"/runs/{run.pk}/"))).content.decode()
    for text in ("2 of 2 undone", "undoes step 2", "Cancel hotel undoes Book hotel"):
        assert text in page
    assert "at the end of the run" in page
    answer = await run_in_db(lambda: client.get(f"/api/v1/runs/{run.pk}/stages"))
    assert [(s["kind"], s["undoes"]) for s in answer.json()["items"]] == [
        ("node", None),
        ("node", None),
        ("node", None),
        ("undo", 2),
        ("undo", 1),
        ("on_end", None),
    ]


async def test_a_failed_undo_is_retried_and_recorded_and_the_others_continue(
    admin: User,
) -> None:
    world = World()
    world.errors = {"pay": ValueError("no cover"), "cancel H1": ValueError("closed")}
    system, registry, run = await launch(world)
    async with working(registry):
        await reaches(run.pk, "waiting")
        await run_in_db(
            lambda: system.respond(run.pk, {"text": ""}, by=admin, comment="yes")
        )
        run = await ended(run.pk)
    assert (run.status, run.error_code, run.error_node, run.undo_text) == (
        "failed",
        "node_failed",
        "pay",
        "1 of 2 undone",
    )
    assert world.calls[2:] == [
        "pay pay/4",
        "cancel H1 cancel_hotel/5",
        "cancel H1 cancel_hotel/5",
        "cancel F1 cancel_flight/6",
        "failed 1 of 2 undone H1 notify/7",
    ]
    stages = await run_in_db(stages_of, run)
    assert stages[3:5] == [
        (4, "pay", "node", None, "failed"),
        (5, "cancel_hotel", "undo", 2, "failed"),
    ]
    attempt = await run_in_db(Attempt.objects.get, run=run, number=run.attempt)
    assert "no cover" in attempt.traceback


async def test_a_completed_run_runs_its_on_end_node_only_which_changes_nothing(
    admin: User,
) -> None:
    world = World()
    world.errors = {"completed  H1": ValueError("no mail")}
    system, registry, run = await launch(world)
    async with working(registry):
        await reaches(run.pk, "waiting")
        await run_in_db(
            lambda: system.respond(run.pk, {"text": ""}, by=admin, comment="yes")
        )
        run = await ended(run.pk)
    assert (run.status, run.sequence, run.steps_to_undo) == ("completed", 4, 0)
    assert run.result is not None
    assert run.result["hotel"] == "H1"
    assert world.calls[3:] == ["completed  H1 notify/5"]
    assert (await run_in_db(stages_of, run))[-1] == (
        (5, "notify", "on_end", None, "failed")
    )


async def test_a_run_that_closes_cannot_be_cancelled_and_continues_elsewhere(
    admin: User,
) -> None:
    """The worker drains between two undos; the next one continues after the first."""
    world = World()
    system, registry, run = await launch(world)
    entered, opened = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    workflow = registry.get("trip")
    undo = workflow.graph.undo["book_hotel"]
    original = undo.function  # type: ignore[attr-defined]

    def held(state: Trip, runtime: Runtime) -> Trip:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(opened.wait(), loop).result()
        result: Trip = original(state, runtime)
        return result

    undo.function = held  # type: ignore[attr-defined]
    async with working(registry) as worker:
        await reaches(run.pk, "waiting")
        await run_in_db(lambda: system.cancel(run.pk, by=admin, reason="enough"))
        await entered.wait()
        with pytest.raises(InvalidStatus):
            await run_in_db(lambda: system.cancel(run.pk, by=admin, reason="again"))
        draining = asyncio.create_task(worker.drain(grace_seconds=10))
        await asyncio.sleep(0)
        opened.set()
        await draining
    run = await run_in_db(Run.objects.get, pk=run.pk)
    assert (run.status, run.sequence) == ("pending", 4)
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, run.undo_text) == ("cancelled", "2 of 2 undone")
    assert world.calls[2:] == [
        "cancel H1 cancel_hotel/4",
        "cancel F1 cancel_flight/5",
        "cancelled 2 of 2 undone H1 notify/6",
    ]


@pytest.mark.parametrize("is_charged", [False, True])
async def test_a_run_failed_by_recovery_is_undone(is_charged: bool) -> None:
    world = World()
    _system, registry, run = await launch(world)
    async with working(registry):
        await reaches(run.pk, "waiting")
    await run_in_db(_fail_from_outside, run)
    run = await run_in_db(Run.objects.get, pk=run.pk)
    assert run.closing is not None
    if is_charged:  # the worker of the closing is lost repeatedly
        await run_in_db(_fail_from_outside, run)
        run = await run_in_db(Run.objects.get, pk=run.pk)
        assert (run.status, run.closing) == ("failed", None)
        assert "was not finished: lost" in run.error_message
        return
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, run.error_code) == ("failed", "worker_lost")
    assert run.undo_text == "2 of 2 undone"


def _fail_from_outside(run: Run) -> None:
    """End a run as if its worker had been lost too often."""
    from django.utils import timezone

    held = Run.objects.filter(pk=run.pk)
    held.update(
        status="running", lease_expires_at=timezone.now(), waiting_for="", worker="w"
    )
    run = held.get()
    recovery.fail(run, held, message="lost", code="worker_lost", node="ask")
    recovery.close_attempt(run, Outcome.LOST)


async def test_without_its_workflow_a_closing_ends_as_decided(admin: User) -> None:
    world = World()
    system, registry, run = await launch(world)
    async with working(registry):
        await reaches(run.pk, "waiting")
    await run_in_db(lambda: system.cancel(run.pk, by=admin, reason="enough"))
    registry.unregister("trip")
    async with working(registry):
        run = await ended(run.pk)
    assert run.status == "cancelled"
    assert run.error_message.startswith(
        "enough What follows the end of the run was not"
    )
    assert world.calls == BOOKED


@pytest.mark.parametrize("status", ["running", "pending"])
def test_the_page_shows_what_is_left_before_a_run_ends(
    status: str, admin: User
) -> None:
    end = {"status": "cancelled", "attempt": 1, "sequence": 2}
    run = make_run(status=status, closing=end, steps_to_undo=2, steps_undone=1)
    shown = notice(run, None, permissions=permissions_for(admin))
    assert shown is not None
    assert shown.title.startswith("Undoing the completed steps: 1 of 2 undone.")
    if status == "running":
        assert shown.text.startswith("Then the run is cancelled.")
    run.delete()


async def test_the_history_is_sound_while_the_nodes_after_the_end_are_executed() -> (
    None
):
    found: list[str] = []
    called: list[str] = []

    @node
    def check(state: Trip, runtime: Runtime) -> Trip:
        called.append(runtime.key.partition("/")[2])
        found.extend(str(finding) for finding in Checker().everything())
        return state

    @node
    def fail(state: Trip) -> Trip:
        raise ValueError("no cover")

    @node(name="check_undo", undo=check)
    def book(state: Trip) -> Trip:
        return state

    undone = Workflow("undone", state=Trip, start=book, routes={book: fail})
    closed = Workflow("closed", state=Trip, start=fail, routes={}, on_end=check)
    registry = Registry()
    for workflow in (undone, closed):
        registry.register(workflow)
        run = await run_in_db(System(registry).execute, workflow.name)
        async with working(registry):
            run = await ended(run.pk)
        assert run.status == "failed"
    assert called == ["check/3", "check/2"]
    assert found == []
