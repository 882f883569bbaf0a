"""A run that began under an older workflow continues under the new one."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from django.contrib.auth.models import User
from pydantic import BaseModel

from tests.support.workers import ended, reaches, until, working
from workflows.engine import State, Workflow, approval, node
from workflows.errors import FingerprintChanged
from workflows.execution.checkpoints import replay
from workflows.infra.database_threads import run_in_db
from workflows.models import Run
from workflows.registry import Registry
from workflows.system import System

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("sealed"),
]


class Review(BaseModel):
    """The response of a person."""

    outcome: Literal["yes", "no"]


class Before(State):
    """State of the older workflow."""

    sum: int = 0
    review: Review | None = None


class After(State):
    """State of the newer workflow, with another name for the sum."""

    total: int = 0
    review: Review | None = None


def older() -> Workflow[Before]:
    """Return the older workflow, whose second node fails."""

    @node
    def add(state: Before) -> Before:
        return state.set(sum=7)

    @node
    def check(state: Before) -> Before:
        raise ValueError("not written yet")

    ask = approval("Is {s.sum} right?", answer=Review, into="review", name="ask")

    @node
    def finish(state: Before) -> Before:
        return state

    return Workflow(
        "grows", state=Before, start=add, routes={add: check, check: ask, ask: finish}
    )


def newer(migrations: dict[str, Any]) -> Workflow[After]:
    """Return the newer workflow, whose second node succeeds."""

    @node
    def add(state: After) -> After:
        return state.set(total=7)

    @node
    def check(state: After) -> After:
        return state.set(total=state.total + 1)

    ask = approval("Is {s.total} right?", answer=Review, into="review", name="ask")

    @node
    def finish(state: After) -> After:
        return state.set(total=state.total + 1)

    return Workflow(
        "grows",
        state=After,
        start=add,
        routes={add: check, check: ask, ask: finish},
        migrations=migrations,
    )


def renamed(data: dict[str, Any]) -> dict[str, Any]:
    """Convert data of the older state to that of the newer."""
    return {"total": data["sum"], "review": data["review"]}


async def failed_under_the_older(registry: Registry) -> Run:
    """Return a run that failed in its second node."""
    registry.register(older())
    run = await run_in_db(System(registry).execute, "grows", {})
    async with working(registry):
        run = await ended(run.pk)
    assert (run.status, run.sequence) == ("failed", 1)
    registry.unregister("grows")
    return run


async def test_without_a_migration_a_resume_is_refused_with_the_differences(
    alice: User,
) -> None:
    registry = Registry()
    run = await failed_under_the_older(registry)
    registry.register(newer({}))
    with pytest.raises(FingerprintChanged, match="total"):
        await run_in_db(System(registry).resume, run.pk, by=alice, reason="x")
    assert (await run_in_db(Run.objects.get, pk=run.pk)).status == "failed"


async def test_a_migrated_run_continues_pauses_and_ends_as_one_of_the_new_workflow(
    alice: User,
) -> None:
    registry = Registry()
    run = await failed_under_the_older(registry)
    workflow = newer({run.fingerprint: renamed})
    registry.register(workflow)
    system = System(registry)
    async with working(registry):
        await run_in_db(system.resume, run.pk, by=alice, reason="a test")
        await reaches(run.pk, "waiting")
        await run_in_db(
            system.respond, run.pk, {"outcome": "yes"}, by=alice, comment="a test"
        )
        run = await until(run.pk, lambda r: r.status == "completed")
    assert run.result == {"total": 9, "review": {"outcome": "yes"}}
    assert run.fingerprint == workflow.fingerprint
    assert run.graph == workflow.shape.to_json()
    states = await run_in_db(lambda: [s.data for s in replay(run.pk)])
    assert [state["total"] for state in states] == [8, 8, 9]
    before = await run_in_db(lambda: [s.data["sum"] for s in replay(run.pk, 1)])
    assert before == [0, 7]
