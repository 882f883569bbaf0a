"""The pages of runs: the list, one run in every status, and what people do to it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.factories import (
    make_approval,
    make_attempt,
    make_decision,
    make_intervention,
    make_line,
    make_run,
    make_stage,
    make_whole_run,
    make_worker,
)
from workflows.models import (
    Intervention,
    Level,
    Outcome,
    Run,
    StageStatus,
    Status,
    WaitKind,
)

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
HTMX = {"HX-Request": "true"}


@pytest.fixture
def page(alice: User, sign_in: SignIn) -> Client:
    """Return Alice's browser."""
    return sign_in(alice)


def text_of(page: Client, run: Run) -> str:
    answer = page.get(f"/runs/{run.pk}/")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


# One run ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", Status.values)
def test_a_run_in_any_status_has_its_page(page: Client, status: str) -> None:
    text = text_of(page, make_run(status=status))
    assert f'data-status="{status}"' in text
    assert Status(status).label in text


def test_a_finished_run_tells_the_whole_way(page: Client, alice: User) -> None:
    text = text_of(page, make_whole_run(launched_by=alice))
    assert "Judge pages" in text
    assert "confidence 93%, threshold 80%" in text
    assert "took" in text
    assert "rejected" in text or "not taken" in text
    assert "weigh done" in text
    assert "0.93" in text  # the result
    assert "alice" in text
    assert "120 ms" in text


def test_the_graph_tells_states_and_the_way(page: Client) -> None:
    text = text_of(page, make_whole_run())
    assert 'data-kind="approval" data-state=""' in text
    assert text.count('data-state="completed"') == 4
    assert 'data-outcome="taken"' in text
    assert 'data-outcome="rejected"' in text


def test_progress_of_a_parallel_step_is_told(page: Client) -> None:
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
    assert '<progress max="12" value="5">' in text
    assert "Running · 5 of 12" in text


def test_tries_and_the_error_of_a_step_are_told(page: Client) -> None:
    run = make_run(status=Status.FAILED)
    make_stage(run, tries=3, status=StageStatus.FAILED, error_message="It is <broken>.")
    text = text_of(page, run)
    assert "3 tries" in text
    assert "It is &lt;broken&gt;." in text
    assert "Failed at Read pages." in text
    assert "The document could not be opened." in text


def test_a_decision_names_the_person_and_their_reason(page: Client, bob: User) -> None:
    run = make_whole_run()
    make_decision(
        run, "review", "publish", sequence=9, decided_by=bob, comment="It is <fine>."
    )
    text = text_of(page, run)
    assert "Decided by <b>bob</b>" in text
    assert "It is &lt;fine&gt;." in text


def test_a_lost_worker_is_told_in_words(page: Client) -> None:
    run = make_run(status=Status.RUNNING, attempt=2, worker="worker-2")
    make_attempt(run, number=1, worker="worker-1", outcome=Outcome.LOST)
    make_attempt(run, number=2, outcome="", ended_at=None)
    make_stage(run, "read_pages", attempt=1)
    make_stage(
        run, "judge_pages", sequence=2, attempt=1, status=StageStatus.INTERRUPTED
    )
    make_stage(run, "judge_pages", sequence=2, status=StageStatus.STARTED)
    text = text_of(page, run)
    assert "Worker worker-1 was lost." in text
    assert "The run went on from step 2 as attempt 2." in text


def test_a_resume_names_who_and_why(page: Client) -> None:
    run = make_run(status=Status.RUNNING, attempt=2)
    make_attempt(run, number=1, outcome=Outcome.FAILED)
    make_intervention(run, action="resume", actor_name="bob", reason="disk is back")
    make_attempt(run, number=2, outcome="", ended_at=None, started_at=timezone.now())
    make_stage(run, "read_pages", attempt=2)
    assert "bob resumed the run: “disk is back”." in text_of(page, run)


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        ([], "No worker is running."),
        ([{"running": 8}], "All workers are busy."),
        ([{"running": 1}], "A worker takes it in a moment."),
        ([{"stopped_at": timezone.now()}], "No worker is running."),
    ],
)
def test_a_pending_run_tells_why_it_does_not_move(
    page: Client, workers: list[dict[str, Any]], said: str
) -> None:
    for number, fields in enumerate(workers):
        make_worker(f"worker-{number}", **fields)
    assert said in text_of(page, make_run(status=Status.PENDING))


def test_a_pending_run_tells_its_place_in_the_queue(page: Client) -> None:
    make_worker(running=8)
    make_run(status=Status.PENDING)
    make_run(status=Status.PENDING, priority=5)
    assert "2 are before it." in text_of(page, make_run(status=Status.PENDING))


def test_a_run_whose_worker_is_silent_says_so(page: Client) -> None:
    late = timezone.now() - dt.timedelta(seconds=5)
    run = make_run(status=Status.RUNNING, lease_expires_at=late)
    assert "Worker worker-1 has been silent for 35 s." in text_of(page, run)


def test_a_run_that_is_being_stopped_says_who_asked(page: Client, bob: User) -> None:
    run = make_run(
        status=Status.RUNNING,
        cancel_requested_at=timezone.now(),
        cancel_requested_by=bob,
        cancel_reason="too slow",
    )
    text = text_of(page, run)
    assert "Stopping." in text
    assert "by bob: “too slow”" in text
    assert "deed-cancel" not in text


def test_a_run_that_waits_for_another_leads_to_it(page: Client) -> None:
    run = make_run(status=Status.WAITING, waiting_for=WaitKind.SUBWORKFLOW)
    child = make_run(status=Status.RUNNING, parent=run, parent_sequence=1)
    assert f'href="/runs/{child.pk}/"' in text_of(page, run)
    assert f'href="/runs/{run.pk}/"' in text_of(page, child)


def test_a_run_that_waits_for_a_moment_says_which(page: Client) -> None:
    at = timezone.now() + dt.timedelta(hours=3, minutes=1)
    run = make_run(status=Status.WAITING, waiting_for=WaitKind.WAIT, wake_at=at)
    assert "Goes on in 3 hours" in text_of(page, run)


def test_a_long_run_shows_its_newest_steps_and_leads_to_the_rest(page: Client) -> None:
    run = make_run(status=Status.RUNNING, sequence=130)
    for sequence in range(1, 131):
        make_stage(run, "weigh", sequence=sequence)
    text = text_of(page, run)
    assert text.count('class="step"') == 100
    assert "All 130 steps" in text
    first = page.get(f"/runs/{run.pk}/steps/").content.decode()
    assert first.count('class="step"') == 100
    assert 'href="?after=100"' in first
    rest = page.get(f"/runs/{run.pk}/steps/", {"after": "100"}).content.decode()
    assert rest.count('class="step"') == 30


def test_the_log_can_be_read_from_a_level_up(page: Client) -> None:
    run = make_run()
    make_line(run, "a <detail>", level=Level.DEBUG)
    make_line(run, "a worry", level=Level.WARNING)
    everything = page.get(f"/runs/{run.pk}/log/").content.decode()
    assert "a &lt;detail&gt;" in everything
    worries = page.get(f"/runs/{run.pk}/log/", {"level": "30"}).content.decode()
    assert "a worry" in worries
    assert "a &lt;detail&gt;" not in worries


@pytest.mark.parametrize("after", ["x", "-1", "9" * 40, "²", "1.5"])
def test_an_odd_page_number_is_no_error(page: Client, after: str) -> None:
    run = make_run()
    for name in ("steps", "log"):
        answer = page.get(f"/runs/{run.pk}/{name}/", {"after": after, "level": after})
        assert answer.status_code == 200


def test_the_result_is_a_file_too(page: Client) -> None:
    run = make_run(result={"label": "größer", "n": 2**60})
    answer = page.get(f"/runs/{run.pk}/result.json")
    assert answer.json() == {"label": "größer", "n": 2**60}
    assert "attachment" in answer.headers["Content-Disposition"]


def test_the_outcome_comes_first_and_the_whole_state_is_folded(page: Client) -> None:
    run = make_run(result={"pages": [1], "result": {"label": "restricted"}})
    text = text_of(page, run)
    assert text.index("restricted") < text.index("All that the run knew at its end")


def test_hostile_texts_stay_text_everywhere(page: Client, alice: User) -> None:
    evil = '"><script>alert(1)</script>'
    graph = {
        "entry": evil,
        "exits": [evil],
        "nodes": [{"name": evil, "kind": evil, "doc": evil}],
        "edges": [{"source": evil, "target": evil, "index": 0, "predicate": evil}],
    }
    run = make_run(
        status=Status.WAITING,
        workflow_name="classify-document",
        graph=graph,
        params={evil: [evil, {evil: evil}]},
        waiting_node=evil,
        worker=evil,
        error_message=evil,
        cancel_reason=evil,
    )
    make_attempt(run, worker=evil, outcome=Outcome.LOST, error_message=evil)
    make_attempt(run, number=2, worker=evil)
    make_stage(run, evil, error_message=evil, status=StageStatus.FAILED)
    make_stage(run, evil, sequence=2, attempt=2)
    make_decision(
        run,
        evil,
        evil,
        sequence=1,
        predicate_name=evil,
        reason=evil,
        values={evil: evil},
    )
    make_decision(run, evil, evil, sequence=1, index=1, comment=evil, decided_by=alice)
    make_line(run, evil)
    make_intervention(run, actor_name=evil, reason=evil)
    make_approval(
        run,
        question=evil,
        form={"properties": {evil: {"title": evil, "enum": [evil]}}},
        evidence={evil: evil},
        groups=[],
    )
    assert "<script>alert" not in text_of(page, run)
    for address in ("/", "/runs/", "/approvals/"):
        assert "<script>alert" not in page.get(address).content.decode()
    for name in ("steps", "log"):
        content = page.get(f"/runs/{run.pk}/{name}/").content.decode()
        assert "<script>alert" not in content


# Deeds -----------------------------------------------------------------------------------


def test_cancelling_stops_the_run_and_keeps_the_reason(
    page: Client, alice: User
) -> None:
    run = make_run(status=Status.PENDING)
    answer = page.post(f"/runs/{run.pk}/cancel/", {"reason": " wrong\x00 one "})
    assert answer.headers["Location"] == f"/runs/{run.pk}/"
    run.refresh_from_db()
    assert run.status == Status.CANCELLED
    row = Intervention.objects.get()
    assert (row.actor, row.action, row.reason) == (alice, "cancel", "wrong one")


def test_a_live_page_gets_its_regions_instead_of_a_redirect(page: Client) -> None:
    run = make_run(status=Status.PENDING)
    answer = page.post(f"/runs/{run.pk}/cancel/", {"reason": "no"}, headers=HTMX)
    text = answer.content.decode()
    assert answer.status_code == 200
    assert '<section id="run-status"' in text
    assert 'data-status="cancelled"' in text
    assert text.count('hx-swap-oob="outerMorph"') == 10
    assert "was cancelled" in text
    assert "<html" not in text


def test_a_refused_deed_tells_why_on_a_page(page: Client) -> None:
    run = make_run(status=Status.COMPLETED)
    answer = page.post(f"/runs/{run.pk}/cancel/")
    assert answer.status_code == 409
    text = answer.content.decode()
    assert "is completed and cannot be cancelled" in text
    assert f'href="/runs/{run.pk}/"' in text


def test_a_refused_deed_tells_why_in_the_open_page(page: Client) -> None:
    run = make_run(status=Status.COMPLETED)
    answer = page.post(f"/runs/{run.pk}/resume/", headers=HTMX)
    assert answer.status_code == 409
    text = answer.content.decode()
    assert 'id="messages"' in text
    assert 'hx-swap-oob="outerMorph"' in text
    assert "cannot be resumed" in text


def test_deleting_takes_the_run_and_leads_to_the_list(page: Client) -> None:
    run = make_whole_run()
    answer = page.post(f"/runs/{run.pk}/delete/", {"reason": "a test"})
    assert answer.headers["Location"] == "/runs/"
    assert not Run.objects.exists()
    assert Intervention.objects.get().reason == "a test"


def test_deleting_from_a_live_page_leads_away_too(page: Client) -> None:
    run = make_run()
    answer = page.post(f"/runs/{run.pk}/delete/", headers=HTMX)
    assert answer.headers["HX-Redirect"] == "/runs/"


def test_only_what_would_be_accepted_is_offered(page: Client) -> None:
    offered = {
        status: {
            deed
            for deed in ("cancel", "resume", "delete")
            if f"deed-{deed}" in text_of(page, make_run(status=status))
        }
        for status in Status.values
    }
    assert offered == {
        "pending": {"cancel"},
        "running": {"cancel"},
        "waiting": {"cancel"},
        "completed": {"delete"},
        "failed": {"resume", "delete"},
        "cancelled": {"resume", "delete"},
    }


# The list --------------------------------------------------------------------------------


def test_the_list_shows_the_newest_first(page: Client) -> None:
    old, new = make_run(), make_run()
    text = page.get("/runs/").content.decode()
    assert text.index(str(new.pk)) < text.index(str(old.pk))


def test_the_list_can_be_narrowed(page: Client, alice: User, bob: User) -> None:
    wanted = make_run(status=Status.FAILED, launched_by=bob)
    make_run(status=Status.FAILED, launched_by=alice)
    make_run(status=Status.COMPLETED, launched_by=bob)
    make_run(status=Status.FAILED, launched_by=bob, workflow_name="other")
    query = {"status": "failed", "who": "bob", "workflow": "classify-document"}
    text = page.get("/runs/", query).content.decode()
    assert text.count('id="row-') == 1
    assert f'id="row-{wanted.pk}"' in text


def test_the_list_goes_by_pages_that_keep_the_filter(page: Client) -> None:
    for _ in range(55):
        make_run(status=Status.FAILED)
    first = page.get("/runs/", {"status": "failed"})
    assert first.content.decode().count('id="row-') == 50
    assert "status=failed&amp;who=&amp;before=" in first.content.decode()
    second = page.get("/runs/", {"status": "failed", "before": first.context["next"]})
    assert second.content.decode().count('id="row-') == 5


@pytest.mark.parametrize(
    "query", [{"before": "x"}, {"status": "odd"}, {"who": "\x00"}, {"workflow": "\x00"}]
)
def test_an_odd_filter_is_no_error(page: Client, query: dict[str, str]) -> None:
    make_run()
    assert page.get("/runs/", query).status_code == 200


def test_empty_lists_say_what_to_do_next(page: Client) -> None:
    assert "Choose a workflow" in page.get("/runs/").content.decode()
    filtered = page.get("/runs/", {"status": "failed"}).content.decode()
    assert "Show all runs" in filtered
