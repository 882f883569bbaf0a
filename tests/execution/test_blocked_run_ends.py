"""The end of attempts whose event loop is blocked, as their worker records it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.factories import make_attempt, make_run, make_stage
from workflows.execution import blocked_run_ends
from workflows.models import Attempt, Outcome, Run, Stage, StageStatus, Status

pytestmark = pytest.mark.django_db


def held_run(**values: Any) -> Run:
    """Return a run that worker "one" executes as attempt 2."""
    run = make_run(status=Status.RUNNING, worker="one", attempt=2, **values)
    make_attempt(run, number=2, worker="one", ended_at=None, outcome="")
    make_stage(run, attempt=2, status=StageStatus.STARTED)
    return run


def stored(run: Run) -> tuple[str, int, str]:
    run.refresh_from_db()
    attempt = Attempt.objects.get(run=run, number=2)
    return run.status, run.recoveries, attempt.outcome


def test_a_released_run_is_pending_without_a_recovery_and_its_stage_interrupted() -> (
    None
):
    run = held_run()
    blocked_run_ends.release([run], "The loop was replaced.")
    assert stored(run) == (Status.PENDING, 0, Outcome.RELEASED)
    assert Stage.objects.get(run=run).status == StageStatus.INTERRUPTED


def test_a_run_that_may_have_blocked_the_loop_itself_is_charged(settings: Any) -> None:
    settings.MAX_RECOVERIES = 2
    first, last = held_run(), held_run(recoveries=1)
    blocked_run_ends.release([first, last], "The loop was replaced.", charged=True)
    assert stored(first) == (Status.PENDING, 1, Outcome.RELEASED)
    assert stored(last)[0] == Status.FAILED


def test_a_run_whose_cancel_was_requested_is_cancelled_instead() -> None:
    run = held_run()
    Run.objects.filter(pk=run.pk).request_cancel(by_id=None, reason="enough")
    blocked_run_ends.release([run], "The loop was replaced.")
    assert stored(run) == (Status.CANCELLED, 0, Outcome.CANCELLED)


def test_the_run_whose_node_blocked_the_loop_fails_with_its_node() -> None:
    run = held_run()
    blocked_run_ends.fail(
        run, blocked_run_ends.Failure("“load” held the loop.", "load")
    )
    assert stored(run) == (Status.FAILED, 0, Outcome.FAILED)
    assert (run.error_code, run.error_node) == ("event_loop_blocked", "load")


def test_a_run_that_has_left_the_attempt_is_not_changed() -> None:
    run = held_run()
    Run.objects.filter(pk=run.pk).update(attempt=3)
    blocked_run_ends.release([run], "The loop was replaced.")
    blocked_run_ends.fail(
        run, blocked_run_ends.Failure("“load” held the loop.", "load")
    )
    assert stored(run) == (Status.RUNNING, 0, "")
