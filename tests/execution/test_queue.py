"""The order in which runs are claimed: by priority, then fair between workflows, then age."""

from __future__ import annotations

import pytest
from django.utils import timezone

from tests.support.factories import make_run
from workflows.execution import queue
from workflows.execution.queue_position import runs_before
from workflows.models import Attempt, Run, Status, Suspicion

pytestmark = pytest.mark.django_db


def pending(name: str, count: int = 1, **fields: int) -> list[Run]:
    """Return so many pending runs of a workflow, oldest first."""
    return [
        make_run(workflow_name=name, status=Status.PENDING, **fields)
        for _ in range(count)
    ]


def claimed(limit: int = 1) -> list[str]:
    """Return the names of the workflows whose runs one claim takes, sorted."""
    return sorted(run.workflow_name for run in queue.claim("worker", limit).runs)


def test_runs_of_one_workflow_are_claimed_oldest_first() -> None:
    first, second, third = pending("mail", 3)
    assert [run.pk for run in queue.claim("worker", 2).runs] == [first.pk, second.pk]
    assert [run.pk for run in queue.claim("worker", 2).runs] == [third.pk]
    assert queue.claim("worker", 2).runs == []


def test_a_higher_priority_is_claimed_first_regardless_of_age_and_workflow() -> None:
    pending("mail", 2)
    (urgent,) = pending("mail", priority=5)
    (by_urgency,) = pending("print", priority=9)
    assert [run.pk for run in queue.claim("worker", 2).runs] == [
        by_urgency.pk,
        urgent.pk,
    ]


def test_one_claim_distributes_its_slots_over_workflows() -> None:
    pending("mail", 50)
    pending("print", 2)
    pending("scan", 1)
    assert claimed(4) == ["mail", "mail", "print", "scan"]


def test_many_runs_of_one_workflow_do_not_delay_another() -> None:
    pending("mail", 40)
    pending("print", 3)
    ones = [claimed() for _ in range(6)]
    assert ones == [["mail"], ["print"], ["mail"], ["print"], ["mail"], ["print"]]
    assert claimed(3) == ["mail", "mail", "mail"]


def test_workflows_with_fewer_active_runs_are_claimed_first() -> None:
    for _ in range(5):
        make_run(workflow_name="mail", status=Status.RUNNING)
    pending("mail", 3)
    pending("print", 3)
    assert claimed(3) == ["print", "print", "print"]


def test_a_claimed_run_is_the_row_as_it_is_and_has_an_attempt() -> None:
    (waiting,) = pending("mail")
    (run,) = queue.claim("worker-7", 8).runs
    row = Run.objects.get(pk=waiting.pk)
    unread = run.get_deferred_fields()
    for field in Run._meta.concrete_fields:  # noqa: SLF001 - every column is compared
        if field.attname not in unread:
            name = field.attname
            assert getattr(run, name) == getattr(row, name), name
    assert unread == {"graph", "result", "title"}
    assert (row.status, row.worker, row.attempt) == (Status.RUNNING, "worker-7", 1)
    assert row.lease_expires_at is not None
    assert row.lease_expires_at > timezone.now()
    attempt = Attempt.objects.get(run=row)
    assert (attempt.number, attempt.worker, attempt.outcome) == (1, "worker-7", "")
    assert attempt.started_at == row.started_at


def test_a_run_that_is_claimed_again_retains_its_first_start_time() -> None:
    (waiting,) = pending("mail")
    (first,) = queue.claim("worker", 1).runs
    Run.objects.filter(pk=waiting.pk).recover()
    assert queue.claim("other", 1).runs == [], "it is claimed as a suspect"
    (second,) = queue.claim("other", 1, Suspicion.SUSPECT).runs
    assert second.started_at == first.started_at
    assert list(Attempt.objects.values_list("number", "worker")) == [
        (1, "worker"),
        (2, "other"),
    ]


def test_only_own_leases_are_renewed() -> None:
    held, asked, other = pending("mail", 3)
    claimed = queue.claim("worker", 3).runs
    Run.objects.filter(pk=asked.pk).request_cancel(by_id=None, reason="too late")
    Run.objects.filter(pk=other.pk).recover()
    before = Run.objects.get(pk=held.pk).lease_expires_at
    fences = {run.pk: run.fence for run in claimed}
    ours = queue.renew("worker", fences)
    assert ours == {held.pk: (1, None), asked.pk: (1, "too late")}
    after = Run.objects.get(pk=held.pk).lease_expires_at
    assert after is not None
    assert before is not None
    assert after > before
    assert queue.renew("somebody else", fences) == {}


def test_a_claim_reports_whether_it_left_runs_and_whether_suspects_are_pending() -> (
    None
):
    pending("mail", 3)
    (suspect,) = pending("print", suspicion=Suspicion.SUSPECT)
    first = queue.claim("worker", 2)
    assert (len(first.runs), first.has_more, first.has_suspects) == (2, True, True)
    second = queue.claim("worker", 2)
    assert (len(second.runs), second.has_more) == (1, False)
    (claimed,) = queue.claim("worker", 2, Suspicion.SUSPECT).runs
    assert claimed.pk == suspect.pk
    empty = queue.claim("worker", 2)
    assert (empty.runs, empty.has_more, empty.has_suspects) == ([], False, False)


# Queue position -----------------------------------------------------------------------------


def test_the_queue_position_matches_the_order_of_claims() -> None:
    pending("mail", 4)
    (theirs,) = pending("print")
    (urgent,) = pending("print", priority=3)
    (mine,) = pending("mail")
    assert runs_before(urgent) == 0
    assert runs_before(theirs) == 1
    assert runs_before(mine) == 6
    queue.claim("worker", 6)
    assert runs_before(mine) == 0


def test_the_queue_position_of_a_workflow_with_many_active_runs_is_later() -> None:
    for _ in range(3):
        make_run(workflow_name="mail", status=Status.RUNNING)
    pending("print", 2)
    (mine,) = pending("mail")
    assert runs_before(mine) == 2
