"""The notice of a run names the cause for which it does not progress."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from tests.support.factories import (
    make_approval,
    make_attempt,
    make_run,
    make_stage,
    make_user,
    make_worker,
)
from workflows.access.permissions import EVERYTHING, NONE
from workflows.engine import Limits
from workflows.models import (
    PROCESS_DIED,
    LimitStart,
    Outcome,
    Retry,
    Run,
    StageStatus,
    Status,
    Suspicion,
    WaitKind,
    WorkflowPause,
)
from workflows.pages.run.notices import (
    PENDING_RECHECK_SECONDS,
    Notice,
    notice,
    recheck_after,
)
from workflows.registry import registry

pytestmark = pytest.mark.django_db


def shown_notice(run: Run, **options: Any) -> Notice:
    approval = run.approvals.order_by("-sequence").first()
    found = notice(run, approval, permissions=EVERYTHING, **options)
    assert found is not None
    return found


def ago(seconds: float) -> dt.datetime:
    return timezone.now() - dt.timedelta(seconds=seconds)


def test_no_worker_is_alive() -> None:
    make_worker(heartbeat_at=ago(3_600))
    found = shown_notice(make_run(status=Status.PENDING))
    assert found.title == "No worker is running."
    assert found.command == "make worker"


def test_a_pending_run_of_a_paused_workflow_names_the_pause() -> None:
    WorkflowPause.objects.create(
        workflow_name="summarize", reason="The bank is down.", paused_by_name="alice"
    )
    run = make_run(workflow_name="summarize", status=Status.PENDING)
    found = shown_notice(run)
    assert found.title == "The workflow is paused: “The bank is down.”."
    assert (found.lead, found.href) == ("Paused by alice", "/workflows/summarize/")
    hidden = replace(EVERYTHING, read=NONE)
    others = notice(run, None, permissions=hidden)
    assert others is not None
    assert others.title == "The workflow is paused."
    run.attempt = 1
    assert shown_notice(run).title == "No worker is running."


def test_a_pending_run_names_the_limit_and_the_runs_that_hold_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = Limits(at_once=2, per_minute=3, debounce=dt.timedelta(minutes=5))
    monkeypatch.setattr(registry.get("summarize"), "limits", limits)
    common = {"workflow_name": "summarize", "limit_key": "acme"}
    run = make_run(**common, status=Status.PENDING, created_at=ago(299))
    found = shown_notice(run)
    assert (
        found.title == "Waiting before its start: a later launch would replace the run."
    )
    assert found.until == run.created_at + dt.timedelta(minutes=5)
    Run.objects.filter(pk=run.pk).update(created_at=ago(301))
    run.refresh_from_db()
    assert shown_notice(run).title == "No worker is running."
    for _ in range(3):
        LimitStart.objects.create(**common, started_at=ago(20), run_id=run.pk)
    found = shown_notice(run)
    assert found.title == (
        "Waiting for a limit of the workflow: 3 starts per minute for “acme”."
    )
    assert found.until is not None
    holders = [make_run(**common, status=Status.RUNNING) for _ in range(2)]
    found = shown_notice(run)
    assert (
        found.title == "Waiting for a limit of the workflow: 2 runs at once for “acme”."
    )
    assert [one.pk for one in found.runs] == [one.pk for one in holders]
    others = notice(run, None, permissions=replace(EVERYTHING, read=NONE))
    assert others is not None
    assert others.title == "Waiting for a limit of the workflow: 2 runs at once."


def test_all_workers_are_busy_and_the_queue_position_is_shown() -> None:
    make_worker("one", running=8)
    make_worker("two", running=8)
    make_run(status=Status.PENDING)
    found = shown_notice(make_run(status=Status.PENDING))
    assert found.title == "All workers are busy."
    assert "16 of 16 slots in use, 1 run ahead." in found.text
    assert found.command == "make worker"


def held_by(kind: str, run: Run | None) -> None:
    since = ago(12).isoformat()
    of = str(run.pk) if run else "another"
    make_worker(
        "one", holds=[{"kind": kind, "run": of, "node": "load", "since": since}]
    )


def test_a_node_that_blocks_its_worker_is_named_on_the_page_of_its_run() -> None:
    run = make_run(status=Status.RUNNING, worker="one")
    held_by("loop", run)
    found = shown_notice(run)
    assert found.title == "Load blocks worker one."
    assert "Make the node a plain `def`" in found.text
    assert recheck_after(run, found) == PENDING_RECHECK_SECONDS


def test_a_run_blocked_by_a_node_of_another_run_shows_it_without_its_name() -> None:
    run = make_run(status=Status.RUNNING, worker="one")
    held_by("loop", None)
    found = shown_notice(run)
    assert found.title == "Worker one is blocked by code of another run."
    assert "load" not in found.text.lower()


def test_a_replaced_loop_blocks_no_other_run() -> None:
    run = make_run(status=Status.RUNNING, worker="one")
    held_by("abandoned", None)
    assert notice(run, None, permissions=EVERYTHING) is None


def test_a_thread_that_ignores_the_cancellation_of_its_run_is_named() -> None:
    run = make_run(
        status=Status.RUNNING, worker="one", cancel_requested_at=timezone.now()
    )
    held_by("thread", run)
    found = shown_notice(run)
    assert found.title == "Cancelling…"
    assert "Load ignores its timeout or cancellation." in found.text


@pytest.mark.parametrize("kind", ["thread", "abandoned"])
def test_a_failed_run_whose_code_still_runs_shows_the_node(kind: str) -> None:
    run = make_run(status=Status.FAILED, worker="one", error_message="Too slow.")
    held_by(kind, run)
    found = shown_notice(run)
    assert found.text.startswith("Too slow. Load still runs on worker one")


def test_a_wait_for_approval_names_its_start_and_the_approvers() -> None:
    run = make_run(status=Status.WAITING)
    approval = make_approval(run, groups=["editors", "lawyers"])
    found = shown_notice(run)
    assert found.title == "Waiting for approval."
    assert "Members of editors or lawyers can respond." in found.text
    assert found.at == approval.created_at
    assert (found.href, found.link) == ("#run-approval", "Respond")


def test_a_retry_backoff_names_the_next_try() -> None:
    run = make_run(status=Status.RUNNING, sequence=2)
    retry = Retry.objects.create(
        run=run, attempt=1, sequence=3, number=2, wait_seconds=12, error_message="busy"
    )
    found = shown_notice(run)
    assert found.title == "Try 2 failed: busy"
    assert found.at == retry.created_at + dt.timedelta(seconds=12)
    assert found.again == pytest.approx(12.5, abs=2)
    assert found.lead == "Retrying"


def test_a_running_retry_has_no_notice() -> None:
    run = make_run(status=Status.RUNNING, sequence=2)
    Retry.objects.create(
        run=run,
        attempt=1,
        sequence=3,
        number=2,
        wait_seconds=1,
        created_at=ago(5),
    )
    assert notice(run, None, permissions=EVERYTHING) is None


def test_an_unresponsive_worker_is_named() -> None:
    run = make_run(status=Status.RUNNING, lease_expires_at=ago(5))
    found = shown_notice(run)
    assert found.title == "Worker worker-1 has not responded for 35 s."
    assert "resume the run from its last step" in found.text
    assert found.again == PENDING_RECHECK_SECONDS


def requeued(outcome: str, error_message: str = "") -> Run:
    """Return a queued run whose last attempt on worker “one” had this outcome."""
    run = make_run(status=Status.PENDING, attempt=1, worker="one", recoveries=1)
    make_attempt(run, worker="one", outcome=outcome, error_message=error_message)
    return run


def test_a_recovered_run_names_the_unresponsive_worker() -> None:
    make_worker("two")
    found = shown_notice(requeued(Outcome.LOST))
    assert found.title == "Worker one stopped responding."
    assert found.text == "Another worker will resume the run shortly."


def test_a_recovered_run_without_workers_names_both_causes() -> None:
    title = shown_notice(requeued(Outcome.LOST)).title
    assert title == "Worker one stopped responding. No worker is running."


def test_an_unrequested_release_is_not_attributed_to_the_worker() -> None:
    make_worker("two")
    found = shown_notice(
        requeued(Outcome.RELEASED, "The task of the run was cancelled.")
    )
    assert found.title == (
        "Worker one released the run: code in the worker cancelled its task without a request."
    )
    assert found.tone == "warn"


def test_a_worker_that_shut_down_or_a_wait_is_no_recovery() -> None:
    make_worker("two")
    assert shown_notice(requeued(Outcome.RELEASED)).title == "Queued."
    assert shown_notice(requeued(Outcome.WAITING)).title == "Queued."


def test_a_wait_for_a_sub_workflow_names_why_it_does_not_progress() -> None:
    run = make_run(status=Status.WAITING, waiting_for=WaitKind.SUBWORKFLOW)
    child = make_run(status=Status.PENDING, parent=run, parent_sequence=1)
    found = shown_notice(run)
    assert found.title == "Waiting for a sub-workflow."
    assert found.text == "Child run: pending. No worker is running."
    assert found.href == f"/runs/{child.pk}/"
    assert found.command == "make worker"


def test_a_sub_workflow_that_waits_for_approval() -> None:
    run = make_run(status=Status.WAITING, waiting_for=WaitKind.SUBWORKFLOW)
    make_approval(make_run(status=Status.WAITING, parent=run, parent_sequence=1))
    assert shown_notice(run).text == "Child run: waiting. Waiting for approval."


def test_a_wait_for_a_timer_names_its_end() -> None:
    at = timezone.now() + dt.timedelta(hours=3)
    run = make_run(status=Status.WAITING, waiting_for=WaitKind.WAIT, wake_at=at)
    found = shown_notice(run)
    assert (found.lead, found.at) == ("Resumes", at)


def test_a_cancellation_names_the_person_and_the_reason() -> None:
    run = make_run(
        status=Status.RUNNING,
        cancel_requested_at=ago(3),
        cancel_requested_by=make_user("bob"),
        cancel_reason="wrong document",
    )
    found = shown_notice(run)
    assert found.title == "Cancelling…"
    assert found.lead == "Requested by bob"
    assert "Reason: “wrong document”." in found.text


def test_a_step_that_takes_longer_than_usual_is_shown() -> None:
    run = make_run(status=Status.RUNNING)
    make_stage(
        run,
        "weigh",
        status=StageStatus.STARTED,
        duration_ms=None,
        created_at=ago(60),
    )
    found = shown_notice(run, usual={"weigh": 2_000.0})
    assert found.title == "Weigh is taking longer than usual."
    assert "It usually takes 2.0 s." in found.text
    assert notice(run, None, {"weigh": 50_000.0}, permissions=EVERYTHING) is None


def test_a_running_run_without_a_problem_has_no_notice() -> None:
    assert notice(make_run(status=Status.RUNNING), None, permissions=EVERYTHING) is None


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_an_ended_run_is_not_checked_again(status: str) -> None:
    run = make_run(status=status)
    assert recheck_after(run, notice(run, None, permissions=EVERYTHING)) is None


def test_a_notice_that_can_change_without_a_message_is_checked_again() -> None:
    pending = make_run(status=Status.PENDING)
    shown = notice(pending, None, permissions=EVERYTHING)
    assert recheck_after(pending, shown) == PENDING_RECHECK_SECONDS
    running = make_run(status=Status.RUNNING)
    assert recheck_after(running, None) == pytest.approx(30, abs=5)


def test_a_suspect_names_the_failure_and_waits_for_a_child_process() -> None:
    make_worker("two")
    run = requeued(Outcome.LOST)
    run.suspicion, run.recoveries = Suspicion.SUSPECT, 0
    found = shown_notice(run)
    assert found.title == "Worker one stopped responding."
    assert "in a separate process, of which each worker starts up to 4" in found.text
    message = "The process that executed node “x” ended with exit code 3."
    run.attempts.update(error_code=PROCESS_DIED, error_message=message)
    run.suspicion = Suspicion.ALONE
    found = shown_notice(run)
    assert found.title == message
    assert "once no other run of that worker is in one" in found.text


def test_a_running_suspect_is_in_a_separate_process() -> None:
    run = make_run(status=Status.RUNNING, suspicion=Suspicion.SUSPECT)
    found = shown_notice(run)
    assert found.title == (
        "Running in a separate process because its last worker stopped unexpectedly."
    )
