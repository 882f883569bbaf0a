"""Forks: runs that share the history of another run up to a step."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from tests.support.orders import (
    Calls,
    asks,
    findings,
    forked,
    launched,
    ordering,
    rows,
    stages_of,
    state_of,
)
from tests.support.workers import ended, reaches, working
from workflows.errors import (
    ForkRefused,
    HistoryChanged,
    InvalidParams,
    InvalidStatus,
    KeyReused,
    PayloadRemoved,
    ReasonMissing,
    StepNotFound,
)
from workflows.infra.database_threads import run_in_db
from workflows.models import (
    Approval,
    Attempt,
    AuditEvent,
    Checkpoint,
    Decision,
    Fork,
    ForkKind,
    Outcome,
    Run,
    Stage,
    StageItem,
    StageKind,
    Status,
)
from workflows.registry import Registry
from workflows.services.fork_plans import ForkRequest
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed", "quick")


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def system(registry: Registry, calls: Calls, transactional_db: None) -> System:
    for workflow in ordering(calls):
        registry.register(workflow)
    return System(registry)


async def test_a_fork_runs_a_step_again_and_keeps_those_before_it(
    system: System, registry: Registry, calls: Calls
) -> None:
    async with working(registry):
        origin = await launched(system)
        calls.made.clear()
        fork = await forked(system, origin, 4, reason="once more")
    assert origin.status == fork.status == Status.COMPLETED
    assert calls.made == ["pay"]
    assert fork.forked_from_id == origin.pk
    assert fork.result == origin.result
    assert [row[1:] for row in await stages_of(fork)] == [
        row[1:] for row in await stages_of(origin)
    ]
    assert await findings() == []


async def test_each_state_of_the_shared_steps_is_that_of_the_origin(
    system: System, registry: Registry
) -> None:
    async with working(registry):
        origin = await launched(system)
        fork = await forked(system, origin, 4)
    for step in range(4):
        assert await state_of(fork, step) == await state_of(origin, step)
    items = await rows(StageItem.objects.filter(run=fork).order_by("index"))
    assert [item.data for item in items] == ["2", "4", "6"]


async def test_a_fork_is_complete_when_its_origin_is_deleted(
    system: System, registry: Registry
) -> None:
    async with working(registry):
        origin = await launched(system)
        fork = await forked(system, origin, 4)
    before = await stages_of(fork)
    await run_in_db(lambda: system.delete_run(origin.pk, by=None))
    left = await run_in_db(Run.objects.get, pk=fork.pk)
    assert left.forked_from_id is None
    assert await stages_of(fork) == before
    assert await state_of(fork, 2) == {**await state_of(fork, 2), "doubled": [2, 4, 6]}
    row = await run_in_db(Fork.objects.get, run=fork)
    assert row.origin_key == origin.pk
    assert await findings() == []


async def test_the_state_may_be_edited_before_the_step(
    system: System, registry: Registry, calls: Calls
) -> None:
    async with working(registry):
        origin = await launched(system)
        edited = {**await state_of(origin, 3), "total": 7}
        fork = await forked(system, origin, 4, state=edited)
    assert fork.result is not None
    assert (fork.result["total"], fork.result["end"]) == (7, "paid")
    kinds = await rows(
        Stage.objects.filter(run=fork)
        .values_list("sequence", "kind")
        .order_by("sequence")
    )
    assert kinds[3:] == [(4, StageKind.EDIT), (5, StageKind.NODE)]
    assert await state_of(fork, 3) == await state_of(origin, 3)
    assert await state_of(fork, 4) == edited
    assert await findings() == []


async def test_an_edited_state_that_does_not_fit_its_type_is_refused(
    system: System, registry: Registry
) -> None:
    async with working(registry):
        origin = await launched(system)
        wrong = {**await state_of(origin, 3), "total": "many"}
        with pytest.raises(InvalidParams, match="total"):
            await forked(system, origin, 4, state=wrong)
    assert await run_in_db(Run.objects.count) == 2  # the origin and its child


async def test_params_may_be_changed_with_those_in_the_state(
    system: System, registry: Registry, calls: Calls
) -> None:
    async with working(registry):
        origin = await launched(system)
        params = {"amount": 5, "limit": 3}
        fork = await run_in_db(
            lambda: system.fork(origin.pk, ForkRequest(3, params=params), by=None)
        )
        fork = await asks(fork)
    assert fork.params == params
    assert (await state_of(fork, 3))["params"] == params
    asked = await run_in_db(Approval.objects.get, run=fork)
    assert (asked.sequence, asked.inherited_from) == (5, None)


async def test_a_fork_of_a_resumed_run_has_its_failed_attempt(
    system: System, registry: Registry, calls: Calls
) -> None:
    calls.failing = "pay"
    async with working(registry):
        origin = await launched(system)
        assert origin.status == Status.FAILED
        calls.failing = ""
        await run_in_db(lambda: system.resume(origin.pk, by=None))
        origin = await ended(origin.pk)
        fork = await forked(system, origin, 4)
        again = await forked(system, fork, 4)
    assert origin.status == fork.status == again.status == Status.COMPLETED
    shared = [row for row in await stages_of(origin) if row[:2] < (3, 4)]
    assert (await stages_of(fork))[: len(shared)] == shared
    assert (4, "pay", "failed") in [row[1:] for row in await stages_of(again)]
    outcomes = await rows(
        Attempt.objects.filter(run=fork)
        .order_by("number")
        .values_list("outcome", flat=True)
    )
    assert outcomes[-2:] == [Outcome.FORKED, Outcome.COMPLETED]
    sources = await rows(
        Stage.objects.filter(run=again, sequence__lte=3).values_list(
            "inherited_from", flat=True
        )
    )
    assert set(sources) == {origin.pk}
    assert await findings() == []


async def test_a_run_is_forked_at_the_step_where_it_failed(
    system: System, registry: Registry, calls: Calls
) -> None:
    calls.failing = "pay"
    async with working(registry):
        origin = await launched(system)
        calls.failing = ""
        calls.made.clear()
        fork = await run_in_db(lambda: system.rerun_failed_step(origin.pk, by=None))
        fork = await ended(fork.pk)
    assert (origin.status, fork.status) == (Status.FAILED, Status.COMPLETED)
    assert calls.made == ["pay"]


async def test_another_edge_is_taken_and_recorded_as_a_decision_of_its_own_kind(
    system: System, registry: Registry, calls: Calls, person: User
) -> None:
    await run_in_db(lambda: User.objects.filter(pk=person.pk).update(is_superuser=True))
    async with working(registry):
        origin = await launched(system)
        boss = await run_in_db(User.objects.get, pk=person.pk)
        request = ForkRequest(3, ForkKind.OVERRIDE, edge=1)
        fork = await run_in_db(
            lambda: system.fork(origin.pk, request, by=boss, reason="Check this one.")
        )
        fork = await asks(fork)
    made = await rows(
        Decision.objects.filter(run=fork, sequence=3).order_by("attempt", "edge_index")
    )
    assert [(one.to_node, one.taken, one.kind) for one in made] == [
        ("pay", True, None),
        ("ask", True, "override"),
    ]
    assert made[-1].decided_by_id == person.pk
    assert made[-1].comment == "Check this one."
    assert fork.waiting_node == "ask"
    assert await findings() == []


async def test_the_edge_that_was_taken_cannot_be_an_override(
    system: System, registry: Registry
) -> None:
    async with working(registry):
        origin = await launched(system)
        with pytest.raises(ForkRefused, match="took the edge to “pay” itself"):
            await forked(system, origin, 3, kind=ForkKind.OVERRIDE, edge=0)
        with pytest.raises(ForkRefused, match="has no edge 9"):
            await forked(system, origin, 3, kind=ForkKind.OVERRIDE, edge=9)


async def answered(system: System, registry: Registry, person: User) -> Run:
    """Return a run whose approval was answered with “pay”."""
    await run_in_db(lambda: User.objects.filter(pk=person.pk).update(is_superuser=True))
    boss = await run_in_db(User.objects.get, pk=person.pk)
    run = await run_in_db(lambda: system.execute("order", {"amount": 50}))
    await asks(run)
    await run_in_db(
        lambda: system.respond(run.pk, {"outcome": "pay"}, by=boss, comment="fine")
    )
    return await ended(run.pk)


async def test_an_approval_response_is_changed_and_both_stay_on_record(
    system: System, registry: Registry, calls: Calls, person: User
) -> None:
    async with working(registry):
        origin = await answered(system, registry, person)
        boss = await run_in_db(User.objects.get, pk=person.pk)
        fork = await forked(
            system,
            origin,
            4,
            kind=ForkKind.RESPONSE,
            response={"outcome": "reject"},
            by=boss,
            reason="Too much.",
        )
    assert fork.result is not None
    assert fork.result["end"] == "rejected"
    responses = await rows(
        Approval.objects.order_by("id").values_list("run", "response", "comment")
    )
    assert responses == [
        (origin.pk, {"outcome": "pay"}, "fine"),
        (fork.pk, {"outcome": "reject"}, "Too much."),
    ]
    decided = await rows(Decision.objects.filter(run=fork, sequence=4, taken=True))
    assert [(one.to_node, one.decided_by_id) for one in decided] == [
        ("reject", person.pk)
    ]
    assert await findings() == []


async def test_a_fork_of_a_fork_after_an_approval_shares_its_response(
    system: System, registry: Registry, calls: Calls, person: User
) -> None:
    async with working(registry):
        origin = await answered(system, registry, person)
        first = await forked(system, origin, 5)
        second = await forked(system, first, 5)
    shared = await run_in_db(Approval.objects.get, run=second)
    assert (shared.response, shared.inherited_from) == ({"outcome": "pay"}, origin.pk)
    children = await rows(second.shared_children.values_list("child_id", flat=True))
    assert children == [child.pk for child in await rows(origin.children.all())]
    assert [row[1:] for row in await stages_of(second)] == [
        row[1:] for row in await stages_of(origin)
    ]
    assert await findings() == []


async def test_a_fork_is_made_once_for_its_idempotency_key(
    system: System, registry: Registry
) -> None:
    async with working(registry):
        origin = await launched(system)
        first = await forked(system, origin, 4, idempotency_key="once")
        second = await forked(system, origin, 4, idempotency_key="once")
        with pytest.raises(KeyReused):
            await forked(system, origin, 3, idempotency_key="once")
    assert first == second
    assert await run_in_db(Fork.objects.count) == 1


async def test_an_active_run_and_one_without_data_cannot_be_forked(
    system: System, registry: Registry, person: User
) -> None:
    async with working(registry):
        run = await run_in_db(lambda: system.execute("order", {"amount": 50}))
        await reaches(run.pk, Status.WAITING)
        with pytest.raises(InvalidStatus, match="cancel it first"):
            await forked(system, run, 1)
        origin = await launched(system)
        with pytest.raises(StepNotFound):
            await forked(system, origin, 99)
        with pytest.raises(ReasonMissing):
            await forked(system, origin, 4, by=person)
        await run_in_db(
            lambda: Run.objects.filter(pk=origin.pk).update(
                payload_removed_at=origin.completed_at
            )
        )
        with pytest.raises(PayloadRemoved):
            await forked(system, origin, 4)


async def test_a_history_that_was_tampered_with_is_not_shared(
    system: System, registry: Registry
) -> None:
    async with working(registry):
        origin = await launched(system)
        await run_in_db(
            lambda: Stage.objects.filter(run=origin, sequence=2).update(tries=7)
        )
        with pytest.raises(HistoryChanged, match="step 2"):
            await forked(system, origin, 4)
    assert await run_in_db(Fork.objects.count) == 0
    await run_in_db(lambda: Stage.objects.filter(run=origin).update(tries=1))


async def test_verification_finds_a_fork_whose_origin_was_changed(
    system: System, registry: Registry
) -> None:
    async with working(registry):
        origin = await launched(system)
        fork = await forked(system, origin, 4)
    row = await run_in_db(Fork.objects.get, run=fork)
    await run_in_db(lambda: Fork.objects.filter(run=fork).update(kept=1))
    assert any("shared steps" in one for one in await findings())
    await run_in_db(lambda: Fork.objects.filter(run=fork).delete())
    assert any("is a fork was changed" in one for one in await findings())
    await run_in_db(lambda: row.save(force_insert=True))


async def test_both_runs_have_an_audit_event_with_person_and_reason(
    system: System, registry: Registry, person: User
) -> None:
    await run_in_db(lambda: User.objects.filter(pk=person.pk).update(is_superuser=True))
    async with working(registry):
        origin = await launched(system)
        boss = await run_in_db(User.objects.get, pk=person.pk)
        fork = await forked(system, origin, 4, by=boss, reason="look again")
    events = await rows(
        AuditEvent.objects.filter(reason="look again").values_list(
            "run", "action", "actor_name"
        )
    )
    assert sorted(events) == sorted(
        [(fork.pk, "fork", "operator"), (origin.pk, "rerun", "operator")]
    )
    assert fork.launched_by_id == person.pk


async def test_a_fork_that_is_cancelled_before_its_first_step_resumes_there(
    system: System, registry: Registry, calls: Calls
) -> None:
    async with working(registry):
        origin = await launched(system)
    request = ForkRequest(3, ForkKind.OVERRIDE, edge=1)
    fork = await run_in_db(lambda: system.fork(origin.pk, request, by=None))
    await run_in_db(lambda: system.cancel(fork.pk, by=None))
    await run_in_db(lambda: system.resume(fork.pk, by=None))
    async with working(registry):
        fork = await asks(fork)
    assert fork.waiting_node == "ask"


async def test_checkpoints_of_a_fork_continue_those_it_shares(
    system: System, registry: Registry
) -> None:
    async with working(registry):
        origin = await launched(system)
        fork = await forked(system, origin, 2)
    found = await rows(
        Checkpoint.objects.filter(run=fork).values_list("sequence", flat=True)
    )
    assert found == [0, 1, 2, 3, 4]
