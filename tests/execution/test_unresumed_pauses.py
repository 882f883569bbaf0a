"""A pause that no attempt continues ends with its run: no step stays open in the history."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pydantic import BaseModel

from tests.support.workers import ended, reaches, working
from workflows.audit.verifier import Checker
from workflows.engine import State, Workflow, approval, node
from workflows.execution import queue
from workflows.infra.database_threads import run_in_db
from workflows.models import Run, Stage, StageStatus, Status, Suspicion
from workflows.registry import Registry
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed")


class Response(BaseModel):
    """The response of a person."""

    ok: bool


class Case(State):
    """A state with the response."""

    response: Response | None = None


ask = approval("Continue?", answer=Response, into="response")


@node
async def finish(state: Case) -> Case:
    return state


asking = Workflow("asking", state=Case, start=ask, routes={ask: finish})


class Failing(Registry):
    """A registry whose workflow can no longer be built."""

    def get(self, name: str) -> Any:
        workflow = copy.copy(super().get(name))  # other tests use the original

        def broken(*_: object) -> Any:
            raise ValueError("no settings")

        workflow.factory = broken  # type: ignore[method-assign]
        return workflow


async def responded() -> tuple[System, Run, User]:
    """Return a run that is pending again after the response to its approval."""
    registry = Registry()
    registry.register(asking)
    system = System(registry)
    user = await run_in_db(User.objects.create_superuser, "ada")
    run = await run_in_db(system.execute, "asking", {})
    async with working(registry):
        await reaches(run.pk, Status.WAITING)
    await run_in_db(system.respond, run.pk, {"ok": True}, by=user, comment="fine")
    return system, run, user


def check(run: Run, status: Status, step: StageStatus, message: str) -> None:
    """Check the run's one step and its history."""
    run.refresh_from_db()
    assert run.status == status
    (stage,) = Stage.objects.filter(run=run)
    assert (stage.status, stage.error_message) == (step, message)
    assert stage.duration_ms is not None
    assert [*Checker().everything()] == []


async def test_a_cancel_between_the_response_and_the_claim_cancels_the_step() -> None:
    system, run, user = await responded()
    await run_in_db(system.cancel, run.pk, by=user, reason="not needed")
    await run_in_db(check, run, Status.CANCELLED, StageStatus.CANCELLED, "not needed")


def request_cancel(run: Run) -> None:
    """Request a cancel, as of a run that is being executed."""
    Run.objects.filter(pk=run.pk).update(
        cancel_requested_at=timezone.now(), cancel_reason="too late"
    )


async def test_a_cancel_requested_while_the_run_pauses_cancels_the_step() -> None:
    system, run, _ = await responded()
    await run_in_db(request_cancel, run)
    async with working(system._registry):  # noqa: SLF001 - the registry of this test
        await ended(run.pk)
    await run_in_db(check, run, Status.CANCELLED, StageStatus.CANCELLED, "too late")


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_a_worker_lost_before_the_pause_continues_ends_the_step_with_the_run(
    settings: Any, is_cancelled: bool
) -> None:
    settings.MAX_RECOVERIES = 1
    _, run, _ = await responded()
    await run_in_db(lose, run, request_cancel if is_cancelled else lambda _: None)
    run = await run_in_db(Run.objects.get, pk=run.pk)
    status = Status.CANCELLED if is_cancelled else Status.FAILED
    step = StageStatus.CANCELLED if is_cancelled else StageStatus.INTERRUPTED
    await run_in_db(check, run, status, step, run.error_message)


def lose(run: Run, prepare: Callable[[Run], None]) -> None:
    """Claim a run with a worker that stops without releasing it, then sweep."""
    queue.claim("gone", 1)
    prepare(run)
    # a run that was executed alone is the only one that may have ended its worker
    Run.objects.filter(pk=run.pk).update(suspicion=Suspicion.ALONE)
    Run.objects.filter(pk=run.pk).expire()
    queue.sweep()


async def test_a_run_that_fails_before_its_pause_continues_interrupts_the_step() -> (
    None
):
    _, run, _ = await responded()
    registry = Failing()
    registry.register(asking)
    async with working(registry):
        run = await ended(run.pk)
    await run_in_db(
        check, run, Status.FAILED, StageStatus.INTERRUPTED, run.error_message
    )
