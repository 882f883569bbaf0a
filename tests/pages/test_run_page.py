"""The page of a run in every status, with all sections."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.support.factories import (
    make_approval,
    make_attempt,
    make_audit_event,
    make_decision,
    make_document,
    make_line,
    make_run,
    make_stage,
    make_whole_run,
    make_worker,
)
from workflows.execution import rewinds
from workflows.models import Level, Outcome, Run, StageStatus, Status, WaitKind

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


@pytest.fixture
def page(alice: User, sign_in: SignIn) -> Client:
    """Return a client of Alice."""
    return sign_in(alice)


def text_of(page: Client, run: Run) -> str:
    answer = page.get(f"/runs/{run.pk}/")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


@pytest.mark.parametrize("status", Status.values)
def test_a_run_in_any_status_has_its_page(page: Client, status: str) -> None:
    text = text_of(page, make_run(status=status))
    assert f'data-status="{status}"' in text
    assert Status(status).label in text


def test_a_finished_run_shows_all_its_steps(page: Client, alice: User) -> None:
    text = text_of(page, make_whole_run(launched_by=alice))
    assert "Judge pages" in text
    assert "confidence 93%, threshold 80%" in text
    assert "Taken: <b>Publish</b>" in text
    assert "· condition met: confidence 93%, threshold 80%" in text
    assert "is confident: true" in text
    assert "because" not in text
    assert "weigh done" in text
    assert "0.93" in text  # the result
    assert "alice" in text
    assert "120 ms" in text


def test_the_graph_shows_states_and_the_path(page: Client) -> None:
    text = text_of(page, make_whole_run())
    assert 'data-kind="approval" data-state=""' in text
    assert text.count('data-state="completed"') == 4
    assert 'data-outcome="taken"' in text
    assert 'data-outcome="rejected"' in text


def test_progress_of_a_parallel_step_is_shown(page: Client) -> None:
    run = make_run(status=Status.RUNNING)
    make_stage(
        run,
        "judge_pages",
        status=StageStatus.STARTED,
        duration_ms=None,
        items_total=12,
        items_done=5,
    )
    text = text_of(page, run)
    assert '<progress max="12" value="5"' in text
    assert "Running · 5 of 12" in text


def run_that_reports(**progress: object) -> Run:
    """Return a running run whose node has reported progress."""
    run = make_run(status=Status.RUNNING)
    run.current_stage = {
        "sequence": 1, "node": "judge_pages", "iteration": 1, "tries": 1,
        "created_at": timezone.now().isoformat(), "progress": progress,
    }  # fmt: skip
    run.save()
    return run


def test_progress_that_a_node_reports_is_shown(page: Client) -> None:
    run = run_that_reports(done=412, of=1_000, text="rows of <b>")
    text = text_of(page, run)
    assert '<progress max="1000"' in text
    assert "412 of 1,000 · rows of &lt;b&gt;" in text
    assert "Running · 412 of 1,000" in text


def test_progress_may_be_words_or_an_amount_only(page: Client) -> None:
    assert "asks the bank" in text_of(page, run_that_reports(text="asks the bank"))
    assert "Running · 2.5" in text_of(page, run_that_reports(done=2.5))


def test_tries_and_the_error_of_a_step_are_shown(page: Client) -> None:
    run = make_run(status=Status.FAILED)
    make_stage(run, tries=3, status=StageStatus.FAILED, error_message="It is <broken>.")
    text = text_of(page, run)
    assert "3 attempts" in text
    assert "It is &lt;broken&gt;." in text
    assert "Failed in Read pages." in text
    assert "The document could not be opened." in text


def test_a_decision_names_the_person_and_their_reason(page: Client, bob: User) -> None:
    run = make_whole_run()
    make_decision(
        run, "review", "publish", sequence=9, decided_by=bob, comment="It is <fine>."
    )
    text = text_of(page, run)
    assert "Decided by <b>bob</b>" in text
    assert "It is &lt;fine&gt;." in text


def test_a_recovery_names_the_worker_and_the_step(page: Client) -> None:
    run = make_run(status=Status.RUNNING, attempt=2, worker="worker-2")
    make_attempt(run, number=1, worker="worker-1", outcome=Outcome.LOST)
    make_attempt(run, number=2, outcome="", ended_at=None)
    make_stage(run, "read_pages", attempt=1)
    make_stage(
        run, "judge_pages", sequence=2, attempt=1, status=StageStatus.INTERRUPTED
    )
    make_stage(run, "judge_pages", sequence=2, status=StageStatus.STARTED)
    text = text_of(page, run)
    assert "Worker worker-1 stopped responding." in text
    assert "Recovered as attempt 2, at step 2." in text


@pytest.mark.parametrize(
    ("outcome", "error_code", "error_message", "notice"),
    [
        (Outcome.RELEASED, "", "", "Worker worker-1 shut down.</strong> Resumed"),
        (
            Outcome.RELEASED,
            rewinds.ERROR_CODE,
            "The database went back from step 3 to step 1.",
            "The database went back from step 3 to step 1.</strong> Continued as attempt 2",
        ),
        (
            Outcome.RELEASED,
            "",
            "Code cancelled it.",
            "Worker worker-1 released the run.</strong> Code cancelled it. Recovered",
        ),
        (Outcome.WAITING, "", "", "Resumed after wait, at step 2."),
    ],
)
def test_a_later_attempt_names_its_cause(
    page: Client, outcome: str, error_code: str, error_message: str, notice: str
) -> None:
    run = make_run(status=Status.RUNNING, attempt=2, worker="worker-2")
    make_attempt(
        run,
        number=1,
        worker="worker-1",
        outcome=outcome,
        error_code=error_code,
        error_message=error_message,
    )
    make_attempt(run, number=2, outcome="", ended_at=None)
    make_stage(run, "read_pages", attempt=1)
    make_stage(run, "judge_pages", sequence=2, attempt=2, status=StageStatus.STARTED)
    assert notice in text_of(page, run)


def test_a_resume_names_the_person_and_the_reason(page: Client) -> None:
    run = make_run(status=Status.RUNNING, attempt=2)
    make_attempt(run, number=1, outcome=Outcome.FAILED)
    make_audit_event(run, action="resume", actor_name="bob", reason="disk is back")
    make_attempt(run, number=2, outcome="", ended_at=None, started_at=timezone.now())
    make_stage(run, "read_pages", attempt=2)
    assert "Resumed by bob, at step 1: “disk is back”." in text_of(page, run)


@pytest.mark.parametrize(
    ("workers", "notice"),
    [
        ([], "No worker is running."),
        ([{"running": 8}], "All workers are busy."),
        ([{"running": 1}], "A worker will start the run shortly."),
        ([{"stopped_at": timezone.now()}], "No worker is running."),
    ],
)
def test_a_pending_run_names_the_reason_for_waiting(
    page: Client, workers: list[dict[str, Any]], notice: str
) -> None:
    for number, fields in enumerate(workers):
        make_worker(f"worker-{number}", **fields)
    assert notice in text_of(page, make_run(status=Status.PENDING))


def test_a_pending_run_shows_its_queue_position(page: Client) -> None:
    make_worker(running=8)
    make_run(status=Status.PENDING)
    make_run(status=Status.PENDING, priority=5)
    assert "8 of 8 slots in use, 2 runs ahead." in text_of(
        page, make_run(status=Status.PENDING)
    )


def test_an_unresponsive_worker_is_named(page: Client) -> None:
    late = timezone.now() - dt.timedelta(seconds=5)
    run = make_run(status=Status.RUNNING, lease_expires_at=late)
    assert "Worker worker-1 has not responded for 35 s." in text_of(page, run)


def test_a_cancellation_names_the_person(page: Client, bob: User) -> None:
    run = make_run(
        status=Status.RUNNING,
        cancel_requested_at=timezone.now(),
        cancel_requested_by=bob,
        cancel_reason="too slow",
    )
    text = text_of(page, run)
    assert "Cancelling…" in text
    assert "Requested by bob" in text
    assert "Reason: “too slow”." in text
    assert "action-cancel" not in text


def test_a_wait_for_a_sub_workflow_links_to_its_run(page: Client) -> None:
    run = make_run(status=Status.WAITING, waiting_for=WaitKind.SUBWORKFLOW)
    child = make_run(status=Status.RUNNING, parent=run, parent_sequence=1)
    assert f'href="/runs/{child.pk}/"' in text_of(page, run)
    assert f'href="/runs/{run.pk}/"' in text_of(page, child)


def test_a_wait_for_a_timer_shows_its_end(page: Client) -> None:
    at = timezone.now() + dt.timedelta(hours=3, minutes=1)
    run = make_run(status=Status.WAITING, waiting_for=WaitKind.WAIT, wake_at=at)
    text = text_of(page, run)
    assert "Resumes <time" in text
    assert ">in 3 hours</time>" in text


def test_a_long_run_shows_its_newest_steps_and_links_to_the_rest(page: Client) -> None:
    run = make_run(status=Status.RUNNING, sequence=130)
    for sequence in range(1, 131):
        make_stage(run, f"step_{sequence}", sequence=sequence)
    text = text_of(page, run)
    assert text.count('class="step"') == 40
    assert "Step 130" in text
    assert "All steps" in text
    first = page.get(f"/runs/{run.pk}/steps/").content.decode()
    assert first.count('class="step"') == 100
    assert 'href="?after=100"' in first
    rest = page.get(f"/runs/{run.pk}/steps/", {"after": "100"}).content.decode()
    assert rest.count('class="step"') == 30


def test_the_log_can_be_filtered_by_minimum_level(page: Client) -> None:
    run = make_run()
    make_line(run, "a <detail>", level=Level.DEBUG)
    make_line(run, "a worry", level=Level.WARNING)
    everything = page.get(f"/runs/{run.pk}/log/").content.decode()
    assert "a &lt;detail&gt;" in everything
    warnings = page.get(f"/runs/{run.pk}/log/", {"level": "30"}).content.decode()
    assert "a worry" in warnings
    assert "a &lt;detail&gt;" not in warnings


@pytest.mark.parametrize("after", ["x", "-1", "9" * 40, "²", "1.5"])
def test_an_invalid_page_number_is_ignored(page: Client, after: str) -> None:
    run = make_run()
    for name in ("steps", "log"):
        answer = page.get(f"/runs/{run.pk}/{name}/", {"after": after, "level": after})
        assert answer.status_code == 200


def test_the_result_can_be_downloaded(page: Client) -> None:
    run = make_run(result={"label": "größer", "n": 2**60})
    answer = page.get(f"/runs/{run.pk}/result.json")
    assert answer.json() == {"label": "größer", "n": 2**60}
    assert "attachment" in answer.headers["Content-Disposition"]


def test_the_outcome_is_shown_first_and_the_full_state_is_collapsed(
    page: Client,
) -> None:
    run = make_run(result={"pages": [1], "result": {"label": "restricted"}})
    text = text_of(page, run)
    assert text.index("restricted") < text.index("Final state")


def test_hostile_texts_stay_text_everywhere(page: Client, alice: User) -> None:
    payload = '"><script>alert(1)</script>'
    graph = {
        "entry": payload,
        "exits": [payload],
        "nodes": [{"name": payload, "kind": payload, "doc": payload}],
        "edges": [
            {"source": payload, "target": payload, "index": 0, "predicate": payload}
        ],
    }
    run = make_run(
        status=Status.WAITING,
        workflow_name="classify-document",
        graph=graph,
        params={payload: [payload, {payload: payload}]},
        waiting_node=payload,
        worker=payload,
        error_message=payload,
        cancel_reason=payload,
    )
    make_attempt(run, worker=payload, outcome=Outcome.LOST, error_message=payload)
    make_attempt(run, number=2, worker=payload)
    make_stage(run, payload, error_message=payload, status=StageStatus.FAILED)
    make_stage(run, payload, sequence=2, attempt=2)
    make_decision(
        run,
        payload,
        payload,
        sequence=1,
        predicate_name=payload,
        reason=payload,
        values={payload: payload},
    )
    make_decision(
        run, payload, payload, sequence=1, index=1, comment=payload, decided_by=alice
    )
    make_line(run, payload)
    make_audit_event(run, actor_name=payload, reason=payload)
    make_approval(
        run,
        question=payload,
        form={"properties": {payload: {"title": payload, "enum": [payload]}}},
        evidence={payload: payload},
        groups=[],
    )
    assert "<script>alert" not in text_of(page, run)
    for address in ("/", "/runs/", "/approvals/"):
        assert "<script>alert" not in page.get(address).content.decode()
    for name in ("steps", "log"):
        content = page.get(f"/runs/{run.pk}/{name}/").content.decode()
        assert "<script>alert" not in content


# Evidence ----------------------------------------------------------------------------


def test_a_result_shows_its_evidence_with_links_to_the_pages(
    page: Client,
) -> None:
    document = make_document("memo.pdf")
    box = {"left": 0.1, "top": 0.02, "right": 0.5, "bottom": 0.05}
    shown = {"page": 2, "marks": [{"box": box, "text": "SECRET (header)"}]}
    result = {
        "label": "SECRET",
        "evidence": {"document": str(document.pk), "pages": [shown]},
        "markings": [{"label": "SECRET", "places": [{"page": 2, "box": box}]}],
    }
    run = make_run(
        status="completed",
        params={"document": str(document.pk)},
        result={"result": result},
    )
    text = page.get(f"/runs/{run.pk}/").content.decode()
    place = f'href="/documents/{document.pk}/pages/2/?box=0.1,0.02,0.5,0.05"'
    assert "Evidence" in text
    assert text.count(place) == 4, "image, mark, value and full state"
    assert "shown on page 2" in text
    assert '<rect x="92" y="15"' in text


def test_a_page_named_in_a_reason_is_linked_with_its_marks(
    page: Client,
) -> None:
    document = make_document("memo.pdf")
    run = make_run(status="waiting", params={"document": str(document.pk)})
    make_stage(run, "weigh", sequence=1)
    make_decision(run, sequence=1, reason="Page 2: <b> may be SECRET.")
    box = {"left": 0.1, "top": 0.02, "right": 0.5, "bottom": 0.05}
    shown = [{"page": 2, "marks": [{"box": box, "text": "SE RET"}]}]
    evidence = {"document": str(document.pk), "pages": shown}
    make_approval(run, evidence=evidence)
    address = f"/documents/{document.pk}/pages/2/?run={run.pk}"
    text = page.get(f"/runs/{run.pk}/").content.decode()
    assert f'<a href="{address}">Page 2</a>: &lt;b&gt; may be SECRET.' in text
    viewed = page.get(address).content.decode()
    assert '<rect x="92" y="15"' in viewed
    assert f"/pages/3/?run={run.pk}" in viewed
