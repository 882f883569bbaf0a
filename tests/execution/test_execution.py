"""A run from System.execute through queue, worker, engine and recorder to its end."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Literal

import pytest
from django.contrib.auth.models import User
from pydantic import BaseModel

from tests.support.workers import SharedEvent, ended, reaches, until, working
from workflows.engine import (
    Retry,
    State,
    Workflow,
    approval,
    key,
    node,
    otherwise,
    parallel,
    predicate,
    sleep,
    subworkflow,
    when,
)
from workflows.errors import AlreadyAnswered, InvalidParams, InvalidStatus
from workflows.execution.checkpoints import rebuild, replay
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    Approval,
    Attempt,
    AuditEvent,
    Checkpoint,
    Decision,
    LogLine,
    Run,
    Stage,
    StageItem,
)
from workflows.models import Retry as RetryRow
from workflows.registry import Registry
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed", "quick")


PUBLISH, REJECT = {"outcome": "publish"}, {"outcome": "reject"}


class Params(BaseModel):
    """Params of the runs."""

    numbers: tuple[int, ...] = (1, 2, 3)
    threshold: int = 4


class Review(BaseModel):
    """The response of a person."""

    outcome: Literal["publish", "reject"]


class Sum(State):
    """State of the runs."""

    params: Params
    doubled: tuple[int, ...] = ()
    total: int = 0
    review: Review | None = None
    child: dict[str, Any] | None = None


class Gate:
    """Blocks a node until the test opens it."""

    def __init__(self) -> None:
        """Start closed."""
        self.entered = SharedEvent()
        self.open = SharedEvent()

    async def pass_through(self) -> None:
        """Set `entered`, and wait until the gate is opened."""
        self.entered.set()
        await self.open.wait()


def summing(
    gate: Gate | None = None, *, failures: int = 0, name: str = "sum"
) -> Workflow[Any]:
    """Return a workflow: double each number, add them up, ask a person about small sums."""
    left = [failures]

    @node
    async def double(number: int, runtime: Any) -> int:
        runtime.logger.info("doubling %d", number)
        return number * 2

    @node
    async def add(state: Sum) -> Sum:
        if gate:
            await gate.pass_through()
        if left[0]:
            left[0] -= 1
            raise ValueError("the adder is out of order")
        return state.set(total=sum(state.doubled))

    @node
    def publish(state: Sum) -> Sum:
        return state

    @node
    def reject(state: Sum) -> Sum:
        return state.set(total=0)

    doubles = parallel(
        double, over=lambda s: s.params.numbers, into="doubled", name="doubles"
    )
    review = approval(
        "Is {s.total} right?", answer=Review, into="review", name="review"
    )
    large = key("total").above(4)
    return Workflow(
        name,
        state=Sum,
        start=doubles,
        routes={
            doubles: add,
            add: [when(large, publish), otherwise(review)],
            review: [when(_was_published, publish), otherwise(reject)],
        },
    )


def _was_published(state: Sum) -> bool:
    return state.review is not None and state.review.outcome == "publish"


async def launch(registry: Registry, workflow: Workflow[Any], **params: Any) -> Run:
    """Register and launch a workflow."""
    registry.register(workflow)
    return await run_in_db(System(registry).execute, workflow.name, params)


def result_of(run: Run) -> dict[str, Any]:
    """Return the result of a run that must have one."""
    assert run.result is not None, run.error_message
    result: dict[str, Any] = run.result
    return result


async def rows(queryset: Any) -> list[Any]:
    """Return the rows of a query set, read off the event loop."""
    return await run_in_db(lambda: list(queryset))


async def test_a_run_completes_with_a_row_for_all_that_happened(
    registry: Registry,
) -> None:
    run = await launch(registry, summing())
    assert run.status == "pending"
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, result_of(run)["total"]) == ("completed", 12)
    assert (run.sequence, run.attempt, run.lease_expires_at) == (3, 1, None)
    stages = await rows(Stage.objects.filter(run=run))
    assert [(s.sequence, s.node_name, s.status) for s in stages] == [
        (1, "doubles", "completed"),
        (2, "add", "completed"),
        (3, "publish", "completed"),
    ]
    assert (stages[0].items_done, stages[0].items_total) == (3, 3)
    decisions = await rows(Decision.objects.filter(run=run))
    assert [(d.from_node, d.to_node, d.taken, d.reason) for d in decisions] == [
        ("doubles", "add", True, "always"),
        ("add", "publish", True, "total 12, needs above 4"),
    ]
    assert decisions[1].values == {"total": 12}
    lines = await rows(
        LogLine.objects.filter(run=run).values_list("message", flat=True)
    )
    assert sorted(lines) == ["doubling 1", "doubling 2", "doubling 3"]
    (attempt,) = await rows(Attempt.objects.filter(run=run))
    assert (attempt.number, attempt.outcome) == (1, "completed")


async def test_every_state_of_a_run_can_be_rebuilt(registry: Registry) -> None:
    run = await launch(registry, summing())
    async with working(registry):
        await ended(run.pk)
    states = await run_in_db(lambda: [s.data["total"] for s in replay(run.pk)])
    assert states == [0, 0, 12, 12]
    before = await run_in_db(rebuild, run.pk, 1)
    assert before is not None
    assert (before.node, before.data["doubled"], before.data["total"]) == (
        "doubles",
        [2, 4, 6],
        0,
    )


async def test_a_condition_that_is_not_met_is_recorded_too(
    registry: Registry,
) -> None:
    run = await launch(registry, summing(), numbers=[1])
    async with working(registry):
        await reaches(run.pk, "waiting")
    decisions = await rows(Decision.objects.filter(run=run, from_node="add"))
    assert [(d.to_node, d.predicate_result, d.taken) for d in decisions] == [
        ("publish", False, False),
        ("review", True, True),
    ]


async def test_a_response_resumes_a_waiting_run_as_one_step(
    registry: Registry, alice: User
) -> None:
    run = await launch(registry, summing(), numbers=[1])
    async with working(registry):
        run = await reaches(run.pk, "waiting")
        assert run.waiting_for == "approval"
        approval_row = await run_in_db(Approval.objects.get, run=run)
        assert approval_row.question == "Is 2 right?"
        await run_in_db(
            System(registry).respond,
            run.pk,
            {"outcome": "publish"},
            by=alice,
            comment="I counted",
        )
        run = await ended(run.pk)
    assert run.status == "completed"
    stages = await rows(Stage.objects.filter(run=run, node_name="review"))
    assert [(s.status, s.attempt) for s in stages] == [("completed", 2)]
    taken = await rows(
        Decision.objects.filter(run=run, from_node="review", taken=True).select_related(
            "decided_by"
        )
    )
    assert [(d.to_node, d.decided_by.username, d.comment) for d in taken] == [
        ("publish", alice.username, "I counted")
    ]
    assert not await rows(
        Decision.objects.filter(run=run, attempt=2).exclude(from_node="review")
    )


async def test_a_second_response_names_the_first_person(
    registry: Registry, alice: User, bob: User
) -> None:
    run = await launch(registry, summing(), numbers=[1])
    system = System(registry)
    async with working(registry):
        await reaches(run.pk, "waiting")
        await run_in_db(system.respond, run.pk, REJECT, by=alice, comment="x")
        with pytest.raises(AlreadyAnswered, match=alice.username):
            await run_in_db(system.respond, run.pk, PUBLISH, by=bob, comment="x")
        assert result_of(await ended(run.pk))["total"] == 0


async def test_an_invalid_response_changes_nothing(
    registry: Registry, alice: User
) -> None:
    run = await launch(registry, summing(), numbers=[1])
    async with working(registry):
        await reaches(run.pk, "waiting")
        with pytest.raises(InvalidParams) as refused:
            await run_in_db(
                System(registry).respond, run.pk, {"outcome": "eat"}, by=alice
            )
    assert list(refused.value.errors) == ["outcome"]
    assert (await run_in_db(Approval.objects.get, run=run)).status == "open"


async def test_params_that_do_not_fit_launch_no_run(registry: Registry) -> None:
    with pytest.raises(InvalidParams) as refused:
        await launch(registry, summing(), threshold="high")
    assert list(refused.value.errors) == ["threshold"]
    assert not await rows(Run.objects.all())
    assert not await rows(AuditEvent.objects.all())


async def test_a_failed_run_resumes_where_it_failed(
    registry: Registry, alice: User
) -> None:
    run = await launch(registry, summing(failures=1))
    async with working(registry):
        run = await ended(run.pk)
        assert (run.status, run.error_code, run.error_node) == (
            "failed",
            "node_failed",
            "add",
        )
        assert "the adder is out of order" in run.error_message
        await run_in_db(System(registry).resume, run.pk, by=alice, reason="fixed")
        run = await until(run.pk, lambda r: r.status == "completed")
    stages = await rows(Stage.objects.filter(run=run).order_by("id"))
    assert [(s.attempt, s.sequence, s.node_name, s.status) for s in stages] == [
        (1, 1, "doubles", "completed"),
        (1, 2, "add", "failed"),
        (2, 2, "add", "completed"),
        (2, 3, "publish", "completed"),
    ]
    attempts = await rows(Attempt.objects.filter(run=run))
    assert [a.outcome for a in attempts] == ["failed", "completed"]
    assert "ValueError" in attempts[0].traceback
    assert run.error_message == ""


async def test_cancel_interrupts_a_running_node_with_its_reason(
    registry: Registry, alice: User
) -> None:
    gate = Gate()
    run = await launch(registry, summing(gate))
    async with working(registry):
        await gate.entered.wait()
        await run_in_db(System(registry).cancel, run.pk, by=alice, reason="wrong file")
        run = await ended(run.pk)
    assert (run.status, run.error_message, run.cancel_reason) == (
        "cancelled",
        "wrong file",
        "wrong file",
    )
    text = await rows(AuditEvent.objects.filter(run=run, action="cancel"))
    assert [(i.actor_name, i.reason, i.status_before) for i in text] == [
        (alice.username, "wrong file", "running")
    ]


async def test_cancel_of_a_pending_run_needs_no_worker(
    registry: Registry, alice: User
) -> None:
    run = await launch(registry, summing())
    run = await run_in_db(System(registry).cancel, run.pk, by=alice, reason="no")
    assert run.status == "cancelled"
    with pytest.raises(InvalidStatus, match="is cancelled and cannot be cancelled"):
        await run_in_db(System(registry).cancel, run.pk, by=alice, reason="no")


async def test_an_approval_of_a_cancelled_run_is_withdrawn_and_created_again_after_a_resume(
    registry: Registry, alice: User
) -> None:
    run = await launch(registry, summing(), numbers=[1])
    system = System(registry)
    async with working(registry):
        await reaches(run.pk, "waiting")
        await run_in_db(system.cancel, run.pk, by=alice, reason="a test")
        assert (await run_in_db(Approval.objects.get, run=run)).status == "withdrawn"
        await run_in_db(system.resume, run.pk, by=alice, reason="a test")
        await until(run.pk, lambda r: r.status == "waiting" and r.attempt == 2)
        await run_in_db(system.respond, run.pk, PUBLISH, by=alice, comment="x")
        assert (await ended(run.pk)).status == "completed"


async def test_a_drained_worker_releases_its_run_and_another_worker_continues(
    registry: Registry,
) -> None:
    gate = Gate()
    run = await launch(registry, summing(gate))
    async with working(registry, name="first") as first:
        await gate.entered.wait()
        await first.drain(grace_seconds=0)
        run = await run_in_db(Run.objects.get, pk=run.pk)
        assert (run.status, run.recoveries) == ("pending", 0)
    gate.open.set()
    async with working(registry, name="second"):
        run = await ended(run.pk)
    assert run.status == "completed"
    stages = await rows(Stage.objects.filter(run=run).order_by("id"))
    assert [(s.attempt, s.node_name, s.status) for s in stages] == [
        (1, "doubles", "completed"),
        (1, "add", "interrupted"),
        (2, "add", "completed"),
        (2, "publish", "completed"),
    ]
    attempts = await rows(Attempt.objects.filter(run=run))
    assert [(a.worker, a.outcome) for a in attempts] == [
        ("first", "released"),
        ("second", "completed"),
    ]


async def test_a_draining_worker_stops_runs_between_nodes(registry: Registry) -> None:
    gate = Gate()
    run = await launch(registry, summing(gate))
    async with working(registry) as worker:
        await gate.entered.wait()
        drained = asyncio.create_task(worker.drain(grace_seconds=20))
        await asyncio.sleep(0)
        gate.open.set()
        await drained
    run = await run_in_db(Run.objects.get, pk=run.pk)
    assert (run.status, run.sequence) == ("pending", 2)
    stages = await rows(Stage.objects.filter(run=run))
    assert [(s.node_name, s.status) for s in stages] == [
        ("doubles", "completed"),
        ("add", "completed"),
    ]


async def test_finished_items_of_a_parallel_node_are_stored(registry: Registry) -> None:
    ran: list[int] = []
    broken = [True]

    @node
    async def visit(number: int) -> int:
        ran.append(number)
        if number == 3 and broken[0]:
            raise ValueError("three")
        return number * 10

    @node
    def stop(state: Sum) -> Sum:
        return state

    visits = parallel(
        visit, over=lambda s: s.params.numbers, into="doubled", limit=1, name="visits"
    )
    workflow = Workflow("visits", state=Sum, start=visits, routes={visits: stop})
    run = await launch(registry, workflow, numbers=[1, 2, 3, 4])
    async with working(registry):
        run = await ended(run.pk)
        assert run.status == "failed"
        assert len(await rows(StageItem.objects.filter(run=run))) == 2
        broken[0] = False
        await run_in_db(System(registry).resume, run.pk, by=None)
        run = await until(run.pk, lambda r: r.status == "completed")
    assert ran == [1, 2, 3, 3, 4]
    assert result_of(run)["doubled"] == [10, 20, 30, 40]
    (stage,) = await rows(Stage.objects.filter(run=run, node_name="visits", attempt=2))
    assert (stage.items_done, stage.items_total) == (4, 4)


async def test_the_log_reports_progress_of_parallel_nodes(registry: Registry) -> None:
    run = await launch(registry, summing(), numbers=list(range(20)))
    async with working(registry):
        await ended(run.pk)
    message = await rows(
        LogLine.objects.filter(run=run, level=10).values_list("message", flat=True)
    )
    assert len(message) == 10
    assert (message[0], message[-1]) == (
        "doubles: 2 of 20 items",
        "doubles: 20 of 20 items",
    )


async def test_a_sleeping_run_uses_no_slot_and_wakes_on_time(
    registry: Registry,
) -> None:
    @node
    def begin(state: Sum) -> Sum:
        return state

    @node
    def finish(state: Sum) -> Sum:
        return state.set(total=1)

    nap = sleep(timedelta(milliseconds=50), name="nap")
    workflow = Workflow("nap", state=Sum, start=begin, routes={begin: nap, nap: finish})
    run = await launch(registry, workflow)
    async with working(registry, capacity=1):
        run = await ended(run.pk)
    assert (run.status, result_of(run)["total"]) == ("completed", 1)


async def test_a_parent_uses_no_slot_during_its_wait(registry: Registry) -> None:
    @node
    def report(state: Sum) -> Sum:
        return state.set(total=(state.child or {})["total"])

    registry.register(summing(name="child"))
    call = subworkflow(
        "child",
        params=lambda s: {"numbers": s.params.numbers},
        into="child",
        name="call",
    )
    workflow = Workflow("parent", state=Sum, start=call, routes={call: report})
    run = await launch(registry, workflow, numbers=[5, 5])
    async with working(registry, capacity=1):
        run = await ended(run.pk)
    assert (run.status, result_of(run)["total"]) == ("completed", 20)
    (child,) = await rows(Run.objects.filter(parent=run))
    assert (child.workflow_name, child.status) == ("child", "completed")


async def test_cancelling_a_parent_cancels_its_child(
    registry: Registry, alice: User
) -> None:
    gate = Gate()
    registry.register(summing(gate, name="child"))
    call = subworkflow("child", params=lambda _: {}, into="child", name="call")

    @node
    def report(state: Sum) -> Sum:
        return state

    run = await launch(
        registry, Workflow("parent", state=Sum, start=call, routes={call: report})
    )
    async with working(registry):
        await gate.entered.wait()
        await run_in_db(System(registry).cancel, run.pk, by=alice, reason="enough")
        (child,) = await rows(Run.objects.filter(parent=run))
        child = await ended(child.pk)
    assert child.status == "cancelled"
    assert (await run_in_db(Run.objects.get, pk=run.pk)).status == "cancelled"


async def test_retries_are_counted_and_logged(registry: Registry) -> None:
    left = [2]

    @node(retry=Retry(attempts=3, on=ValueError, wait=0.001))
    async def flaky(state: Sum) -> Sum:
        if left[0]:
            left[0] -= 1
            raise ValueError("Not yet.")
        return state

    @node
    def stop(state: Sum) -> Sum:
        return state

    run = await launch(
        registry, Workflow("flaky", state=Sum, start=flaky, routes={flaky: stop})
    )
    async with working(registry):
        run = await ended(run.pk)
    assert run.status == "completed"
    (stage,) = await rows(Stage.objects.filter(run=run, node_name="flaky"))
    assert stage.tries == 3
    lines = await rows(
        LogLine.objects.filter(run=run).values_list("message", flat=True)
    )
    assert [line.partition(" Next try in")[0] for line in lines] == [
        "Try 1 of 3 of flaky failed: Not yet.",
        "Try 2 of 3 of flaky failed: Not yet.",
    ]
    tries = await rows(RetryRow.objects.filter(run=run, sequence=stage.sequence))
    assert [(one.number, one.attempt, one.error_message) for one in tries] == [
        (1, 1, "Not yet."),
        (2, 1, "Not yet."),
    ]
    assert all(one.wait_seconds > 0 for one in tries)


async def test_a_run_of_a_removed_workflow_fails_with_a_readable_message(
    registry: Registry,
) -> None:
    run = await launch(registry, summing())
    registry.unregister("sum")
    async with working(registry):
        run = await ended(run.pk)
    assert run.status == "failed"
    assert "Workflow “sum” not found" in run.error_message


async def test_storage_grows_with_what_changed(registry: Registry) -> None:
    @node
    async def grow(state: State) -> State:
        return state.append("log", "x" * 5_000)

    @predicate
    def has_forty(state: State) -> bool:
        return len(state.get("log") or ()) >= 40

    def build(graph: Any, *_: Any) -> State:
        graph.add_node("grow", grow)
        graph.add_node("stop", lambda state: state)
        graph.add_edge("grow", "stop", when=has_forty)
        graph.add_edge("grow", "grow")
        graph.set_entry_point("grow")
        graph.set_exit_point("stop")
        return State()

    registry.register_factory("grow", build)
    run = await run_in_db(System(registry).execute, "grow", {})
    async with working(registry):
        run = await ended(run.pk)
    assert run.status == "completed"
    states = await rows(Checkpoint.objects.filter(run=run))
    assert sum(state.bytes for state in states) < 3 * 40 * 5_100
