"""The header of a run page at every position of the slider, through the life of a run."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pydantic import BaseModel

from tests.support.workers import reaches, until, working
from workflows.engine import State, Workflow, approval, node, sleep
from workflows.infra.database_threads import run_in_db
from workflows.models import Run
from workflows.pages.access import RunPermissions
from workflows.pages.run.page import RunPage
from workflows.pages.run.view_options import RunView
from workflows.system import System

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from workflows.registry import Registry

pytestmark = pytest.mark.usefixtures("sealed", "quick")
READER = RunPermissions(read=True, trace=True)


class Reply(BaseModel):
    """The response of a person."""

    outcome: Literal["yes", "no"]


class Journey(State):
    """State of the run."""

    count: int = 0
    reply: Reply | None = None


def journey(failures: list[int]) -> Workflow[Any]:
    """Return a workflow that waits for a timer, fails, waits for a person, and ends."""

    @node
    def begin(state: Journey) -> Journey:
        return state.set(count=1)

    @node
    def fragile(state: Journey) -> Journey:
        if failures:
            raise ValueError(f"broken {failures.pop()}")
        return state.set(count=2)

    @node
    def finish(state: Journey) -> Journey:
        return state.set(count=3)

    rest = sleep(timedelta(milliseconds=20), name="rest")
    question = approval("Is it right?", answer=Reply, into="reply", name="question")
    return Workflow(
        "journey",
        state=Journey,
        start=begin,
        routes={begin: rest, rest: fragile, fragile: question, question: finish},
    )


def assert_every_position_is_of_its_time(run_id: Any, now: str) -> None:
    """Check status, error, result and times at each position, and now."""
    run = Run.objects.get(pk=run_id)
    current = RunPage(run, READER)
    assert current.status_at.status == now
    assert (current.error is not None) == (now == "failed")
    assert current.icon == f"icons/{now}.svg"
    last = timedelta()
    for at in range(run.sequence + 1):
        page = RunPage(run, READER, view=RunView(at=at))
        is_end = now == "completed" and at == run.sequence
        assert page.status_at.status == ("completed" if is_end else "running"), at
        assert (page.error, page.notice, page.known_error) == (None, None, "")
        assert not page.has_open_approval
        elapsed = page.status_at.elapsed
        assert elapsed is not None
        assert current.status_at.elapsed is not None
        assert last <= elapsed <= current.status_at.elapsed
        last = elapsed
        assert page.status_at.attempt <= run.attempt
        assert page.timeline.active_since is None
        later = [one for one in page.step_list.entries if one.sequence > at]
        assert not later
        outcomes = [one.outcome for one in page.attempts_then]
        assert is_end or outcomes[-1] == ""
        state = page.state_section
        assert (state.step, state.is_shown) == (at, True)


def has_failed(message: str, run: Run) -> bool:
    return run.status == "failed" and message in run.error_message


async def test_status_result_and_times_are_those_of_each_position(
    registry: Registry, alice: User
) -> None:
    registry.register(journey([2, 1]))
    system = System(registry)
    run = await run_in_db(system.execute, "journey", {}, by=alice)
    check = assert_every_position_is_of_its_time

    async def resume() -> None:
        await run_in_db(system.resume, run.pk, by=alice, reason="fixed")

    async with working(registry):
        for message in ("broken 1", "broken 2"):
            await until(run.pk, partial(has_failed, message))
            await run_in_db(check, run.pk, "failed")
            await resume()
        await reaches(run.pk, "waiting")
        await until(run.pk, lambda r: r.waiting_for == "approval")
        await run_in_db(check, run.pk, "waiting")
        await run_in_db(system.cancel, run.pk, by=alice, reason="wrong")
        await reaches(run.pk, "cancelled")
        await run_in_db(check, run.pk, "cancelled")
        await resume()
        await until(run.pk, lambda r: r.status == "waiting")
        await run_in_db(
            system.respond, run.pk, {"outcome": "yes"}, by=alice, comment="fine"
        )
        await reaches(run.pk, "completed")
        await run_in_db(check, run.pk, "completed")
