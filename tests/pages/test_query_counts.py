"""The number of queries of a page does not grow with its rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bench.long_run import make_long_run
from tests.support.factories import (
    make_approval,
    make_attempt,
    make_audit_event,
    make_checkpoint,
    make_decision,
    make_document,
    make_line,
    make_note,
    make_retry,
    make_role,
    make_run,
    make_stage,
    make_user,
    make_whole_run,
    make_worker,
)
from workflows.execution import hourly_counts
from workflows.models import ApprovalStatus, Outcome, Run, Status, WorkflowPermission
from workflows.system import system

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


def queries(page: Client, address: str) -> int:
    """Return the number of queries of a page with warm caches."""
    page.get(address)
    with CaptureQueriesContext(connection) as captured:
        assert page.get(address).status_code == 200
    return len(captured)


def fill() -> None:
    """Create another row of everything that a list shows."""
    person = make_user()
    make_run(status=Status.RUNNING, launched_by=person)
    make_run(status=Status.FAILED, launched_by=person)
    make_whole_run(launched_by=person)
    waiting = make_run(status=Status.WAITING, launched_by=person)
    make_approval(waiting)
    answered = make_run(launched_by=person)
    make_approval(answered, status=ApprovalStatus.ANSWERED, responded_by=person)
    make_document(uploaded_by=person)
    make_worker(person.username)
    lost = make_run(status=Status.RUNNING, worker=person.username)
    make_attempt(lost, outcome=Outcome.LOST)
    make_run(status=Status.PENDING, workflow_name="classify-document")
    system.label(lost.pk, "audit", by=person)
    system.save_view("one", "status=failed", by=person, shared=True)
    hourly_counts.count_all()


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/runs/",
        "/runs/?status=failed",
        "/runs/?label=audit&where=params.threshold+%3D+0.8&when=30d",
        "/runs/?fields=params.threshold,result.label&column=labels,by,error",
        "/runs/?text=document",
        "/runs/views/",
        "/decisions/",
        "/decisions/?workflow=classify-document&when=30d",
        "/decisions/?predicate=is_confident&outcome=taken",
        "/decisions/?where=confidence+%3D+0.93&when=7d",
        "/workers/",
        "/workflows/",
        "/workflows/classify-document/",
        "/approvals/",
        "/documents/",
        "/admin/workflows/run/",
        "/admin/workflows/approval/",
        "/admin/workflows/decision/",
        "/admin/workflows/stage/",
    ],
)
def test_lists_use_the_same_number_of_queries_at_any_length(
    admin: User, sign_in: SignIn, address: str
) -> None:
    page = sign_in(admin)
    fill()
    few = queries(page, address)
    fill()
    fill()
    assert queries(page, address) == few


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/runs/?fields=params.threshold&column=labels,by,error",
        "/runs/?label=audit",
        "/decisions/",
        "/decisions/?predicate=is_confident",
        "/workers/",
        "/workflows/",
        "/approvals/",
        "/documents/",
    ],
)
def test_restricted_permissions_cause_no_query_per_row(
    sign_in: SignIn, address: str
) -> None:
    person = make_user("narrow")
    person.groups.add(make_role("operator"))
    directors, readers = make_role("directors"), make_role("readers")
    WorkflowPermission.objects.create(workflow_name="reasoning", group=directors)
    WorkflowPermission.objects.create(
        workflow_name="classify-document", group=readers, can_view=False, can_read=True
    )
    page = sign_in(person)
    fill()
    few = queries(page, address)
    fill()
    fill()
    assert queries(page, address) == few


def lengthen(run: Run, first: int, count: int) -> None:
    """Add steps with all their rows."""
    for sequence in range(first, first + count):
        person = make_user()
        make_stage(run, f"step_{sequence % 7}", sequence=sequence)
        make_decision(run, sequence=sequence, decided_by=person)
        make_line(run, "a line", sequence=sequence)
        make_attempt(run, number=sequence, outcome=Outcome.LOST)
        make_audit_event(run)
        make_retry(run, sequence=sequence)
        make_note(run)
        make_checkpoint(run, sequence=sequence)
        make_run(parent=run)


@pytest.mark.parametrize(
    "page_of",
    ["", "?at=2", "?node=step_1", "?edge=weigh.0", "?find=line", "steps/", "log/"],
)
def test_a_run_page_uses_the_same_number_of_queries_at_any_length(
    alice: User, sign_in: SignIn, page_of: str
) -> None:
    page = sign_in(alice)
    run = make_run(status=Status.WAITING)
    make_approval(run)
    lengthen(run, 1, 2)
    address = f"/runs/{run.pk}/{page_of}"
    short = queries(page, address)
    lengthen(run, 3, 20)
    assert queries(page, address) == short
    assert short <= 37


def test_the_page_of_a_run_with_five_thousand_steps_is_small(
    alice: User, sign_in: SignIn
) -> None:
    from workflows.models import Decision, LogLine, Stage

    run = make_run(status=Status.RUNNING, sequence=5_000)
    numbers = range(1, 5_001)
    Stage.objects.bulk_create(
        Stage(
            run=run,
            attempt=1,
            sequence=n,
            node_name="weigh" if n % 2 else "review",
            iteration=n,
            status="completed",
            duration_ms=3.0,
        )
        for n in numbers
    )
    Decision.objects.bulk_create(
        Decision(
            run=run,
            attempt=1,
            sequence=n,
            edge_index=0,
            from_node="weigh",
            to_node="review",
            workflow_name=run.workflow_name,
            predicate_name="is_confident",
            predicate_result=True,
            reason="confidence 93%, threshold 80%",
            taken=True,
        )
        for n in numbers
    )
    LogLine.objects.bulk_create(
        LogLine(run=run, attempt=1, number=n, sequence=n, level=20, message="a line")
        for n in numbers
    )
    answer = sign_in(alice).get(f"/runs/{run.pk}/")
    assert len(answer.content) < 300_000
    assert "×2500" in answer.content.decode()


def test_a_comparison_uses_the_same_number_of_queries_at_any_length(
    alice: User, sign_in: SignIn
) -> None:
    page = sign_in(alice)
    first, second = make_run(), make_run()
    for run in (first, second):
        lengthen(run, 1, 2)
    address = f"/compare/?a={first.pk}&b={second.pk}"
    short = queries(page, address)
    for run in (first, second):
        lengthen(run, 3, 20)
    assert queries(page, address) == short


def test_steps_within_a_compressed_wait_are_drawn_together(
    alice: User, sign_in: SignIn
) -> None:
    # As in a run that had no worker for some time and then continued.
    run = make_long_run(2_000)
    page = sign_in(alice).get(f"/runs/{run.pk}/")
    assert len(page.content) < 300_000
