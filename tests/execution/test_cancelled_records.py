"""What is recorded of a step that a cancel ends, while it runs or waits."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.execution.test_execution import PUBLISH, Gate, launch, rows, summing
from tests.support.workers import ended, reaches, until, working
from workflows.audit.verifier import Checker
from workflows.infra.database_threads import run_in_db
from workflows.models import Run, Stage
from workflows.registry import Registry
from workflows.system import System

pytestmark = pytest.mark.usefixtures("sealed")


@pytest.fixture
def registry(settings: Any) -> Registry:
    """Return an empty registry; shorten the intervals of sweeps and heartbeats."""
    settings.POLL_INTERVAL_SECONDS = 0.05
    settings.HEARTBEAT_SECONDS = 0.2
    return Registry()


async def steps(run: Run) -> list[tuple[int, str, str, str]]:
    """Return attempt, node, status and error of each stage, in the order of the rows."""
    found = await rows(Stage.objects.filter(run=run).order_by("id"))
    return [(s.attempt, s.node_name, s.status, s.error_message) for s in found]


async def findings(run: Run) -> list[str]:
    """Return the findings of the verification of a run's sealed history."""
    return await run_in_db(lambda: [str(one) for one in Checker().run(run.pk)])


async def test_a_node_that_is_interrupted_by_a_cancel_is_cancelled_with_the_reason(
    registry: Registry, alice: User
) -> None:
    gate = Gate()
    run = await launch(registry, summing(gate))
    async with working(registry):
        await gate.entered.wait()
        await run_in_db(System(registry).cancel, run.pk, by=alice, reason="wrong file")
        await ended(run.pk)
    assert await steps(run) == [
        (1, "doubles", "completed", ""),
        (1, "add", "cancelled", "wrong file"),
    ]
    stage = (await rows(Stage.objects.filter(run=run, status="cancelled")))[0]
    assert stage.duration_ms is not None
    assert await findings(run) == []


async def test_a_waiting_step_is_cancelled_and_waits_again_after_a_resume(
    registry: Registry, alice: User
) -> None:
    run, system = await launch(registry, summing(), numbers=[1]), System(registry)
    async with working(registry):
        await reaches(run.pk, "waiting")
        await run_in_db(system.cancel, run.pk, by=alice, reason="a test")
        *_, (_, node, status, error) = await steps(run)
        assert (status, error) == ("cancelled", "a test")
        assert await findings(run) == []
        await run_in_db(system.resume, run.pk, by=alice, reason="a test")
        await until(run.pk, lambda r: r.status == "waiting" and r.attempt == 2)
        await run_in_db(system.respond, run.pk, PUBLISH, by=alice, comment="x")
        await ended(run.pk)
    asked = [one for one in await steps(run) if one[1] == node]
    assert [one[2] for one in asked] == ["cancelled", "completed"]
    assert await findings(run) == []
