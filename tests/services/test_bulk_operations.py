"""Bulk operations: executed by workers, continued after their loss, and cancellable."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client, override_settings
from django.urls import reverse
from django.utils import timezone

from tests.support.factories import make_role, make_run, make_worker
from tests.support.workers import working
from workflows import bulk
from workflows.audit import audit_events
from workflows.engine import State, Workflow, node
from workflows.errors import EmptySelection, JobNotFound, NotAllowed
from workflows.infra import outages
from workflows.infra.database_threads import run_in_db
from workflows.models import AuditEvent, BulkItem, BulkJob, Run, Status
from workflows.pages.lists import bulk_operations
from workflows.registry import registry
from workflows.system import system

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
CANCEL, DELETE = bulk.BULK_ACTIONS["cancel"], bulk.BULK_ACTIONS["delete"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let workers execute small jobs as well, two runs between two renewals."""
    monkeypatch.setattr(bulk, "INLINE_RUNS_LIMIT", 0)
    monkeypatch.setattr(bulk, "BATCH", 2)


def pending(count: int) -> list[Run]:
    """Return so many runs that can be cancelled."""
    return [make_run(status=Status.PENDING) for _ in range(count)]


def cancelled() -> int:
    return Run.objects.filter(status=Status.CANCELLED).count()


def start_job(by: User, count: int = 5, **options: Any) -> BulkJob:
    """Start a job that cancels runs; return it."""
    return bulk.start(CANCEL, pending(count), by=by, reason="too many", **options)


# Requests -------------------------------------------------------------------------------


def test_a_small_bulk_operation_is_processed_in_the_request(alice: User) -> None:
    job = start_job(alice, 3)
    assert (job.total, job.done, job.refused) == (3, 3, 0)
    assert job.ended_at is not None
    assert cancelled() == 3


def test_a_large_bulk_operation_waits_for_a_worker(alice: User) -> None:
    runs = Run.objects.bulk_create(
        Run(workflow_name="summarize", status=Status.PENDING)
        for _ in range(bulk.INLINE_RUNS_LIMIT + 1)
    )
    job = bulk.start(CANCEL, runs, by=alice, reason="too many")
    assert (job.total, job.processed, job.ended_at) == (
        bulk.INLINE_RUNS_LIMIT + 1,
        0,
        None,
    )
    assert cancelled() == 0
    while bulk.continue_jobs("worker-1"):
        pass
    job.refresh_from_db()
    assert job.done == job.total == cancelled()
    assert job.ended_at is not None


def test_an_empty_selection_creates_no_bulk_operation(alice: User) -> None:
    with pytest.raises(EmptySelection):
        bulk.start(CANCEL, [], by=alice, reason="none")
    assert not BulkJob.objects.exists()


def test_the_size_of_a_bulk_operation_is_limited(
    alice: User, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MAX_RUNS", 3)
    assert start_job(alice, 5).total == 3


def test_each_run_is_on_record_with_person_reason_and_address(alice: User) -> None:
    with audit_events.coming_from("192.0.2.1"):
        start_job(alice, 2)
    rows = AuditEvent.objects.filter(action="cancel")
    message = {(row.actor, row.reason, row.address) for row in rows}
    assert message == {(alice, "too many", "192.0.2.1")}
    assert rows.count() == 2


# Execution ------------------------------------------------------------------------------


def test_another_worker_continues_an_abandoned_bulk_operation(
    alice: User, small: None
) -> None:
    job = start_job(alice, 5)
    taken = bulk._claim("worker-1")  # noqa: SLF001 - a worker that dies at once
    assert taken == job
    assert not bulk.continue_jobs("worker-2"), "it is held"
    long_ago = timezone.now() - dt.timedelta(hours=1)
    BulkJob.objects.update(lease_expires_at=long_ago)
    while bulk.continue_jobs("worker-2"):
        pass
    job.refresh_from_db()
    assert (job.done, job.refused, cancelled()) == (5, 0, 5)


def test_an_action_is_rolled_back_when_its_result_cannot_be_stored(
    alice: User, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start_job(alice, 2)

    def away(*_: Any) -> None:
        raise OperationalError("the connection was closed")

    with monkeypatch.context() as patched:
        patched.setattr(bulk, "_record_result", away)
        patched.setattr(outages, "of", lambda _error: outages.database)
        with pytest.raises(OperationalError):
            bulk.continue_jobs("worker-1")
    assert cancelled() == 0
    assert not AuditEvent.objects.filter(action="cancel").exists()
    while bulk.continue_jobs("worker-1"):
        pass
    job.refresh_from_db()
    assert (job.done, cancelled()) == (2, 2)


def test_a_run_that_another_worker_took_is_skipped(alice: User, small: None) -> None:
    job = start_job(alice, 1)
    item = job.items.get()
    BulkItem.objects.update(result="refused", text="elsewhere")
    bulk._apply(job, item)  # noqa: SLF001 - as a worker whose lease ran out would
    assert cancelled() == 0
    assert job.items.get().text == "elsewhere"


def test_an_internal_failure_is_reported_and_the_other_runs_are_processed(
    alice: User, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = start_job(alice, 3)
    first = job.items.first()
    assert first is not None
    cancel = system.cancel

    def fails(run_id: Any, **more: Any) -> Any:
        if run_id == first.run_id:
            raise ZeroDivisionError
        return cancel(run_id, **more)

    monkeypatch.setattr(system, "cancel", fails)
    while bulk.continue_jobs("worker-1"):
        pass
    job.refresh_from_db()
    assert (job.done, job.refused) == (2, 1)
    first.refresh_from_db()
    assert first.text == bulk.FAILED


def test_a_bulk_operation_of_a_deactivated_account_processes_no_further_run(
    alice: User, small: None
) -> None:
    job = start_job(alice, 2)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    while bulk.continue_jobs("worker-1"):
        pass
    job.refresh_from_db()
    assert (job.done, job.refused, cancelled()) == (0, 2, 0)


def test_permission_is_checked_again_for_each_run(alice: User, small: None) -> None:
    job = start_job(alice, 2)
    with override_settings(DEFAULT_ACCESS="closed"):
        while bulk.continue_jobs("worker-1"):
            pass
    job.refresh_from_db()
    assert (job.done, job.refused, cancelled()) == (0, 2, 0)


def test_a_cancelled_bulk_operation_skips_the_remaining_runs(
    alice: User, small: None
) -> None:
    job = start_job(alice, 5)
    taken = bulk._claim("worker-1")  # noqa: SLF001
    assert taken is not None
    for item in job.items.all()[:2]:
        bulk._apply(taken, item)  # noqa: SLF001
    ended = bulk.cancel(job.pk, by=alice)
    assert (ended.done, ended.remaining) == (2, 3)
    assert not bulk.continue_jobs("worker-1")
    assert cancelled() == 2


def test_only_the_requester_or_an_administrator_can_cancel_it(
    alice: User, bob: User, admin: User, small: None
) -> None:
    job = start_job(alice)
    with pytest.raises(JobNotFound):
        bulk.cancel(job.pk, by=bob)
    bob.groups.add(make_role("auditor"))
    with pytest.raises(NotAllowed):
        bulk.cancel(job.pk, by=User.objects.get(pk=bob.pk))
    assert bulk.cancel(job.pk, by=admin).cancelled_at is not None


@pytest.mark.django_db(transaction=True)
async def test_a_worker_executes_bulk_operations_alongside_its_runs(
    alice: User, small: None, settings: Any
) -> None:
    settings.POLL_INTERVAL_SECONDS = 0.02
    job = await run_in_db(start_job, alice, 5)

    def is_over() -> bool:
        return BulkJob.objects.filter(pk=job.pk, ended_at__isnull=False).exists()

    async with working():
        for _ in range(2_000):
            if await run_in_db(is_over):
                break
    await run_in_db(job.refresh_from_db)
    assert job.ended_at is not None
    assert job.processed == 5


# Audit events ---------------------------------------------------------------------------


@node
def begin(state: State) -> State:
    """Do nothing."""
    return state


def test_a_run_is_launched_again_with_its_values(alice: User) -> None:
    registry.register(Workflow("once-more", state=State, start=begin, routes={}))
    try:
        old = make_run(workflow_name="once-more", params={"limit": 3})
        job = bulk.start(
            bulk.BULK_ACTIONS["rerun"], [old], by=alice, reason="once more"
        )
    finally:
        registry.unregister("once-more")
    assert job.done == 1
    new = Run.objects.exclude(pk=old.pk).get()
    assert (new.params, new.launched_by, new.status) == ({"limit": 3}, alice, "pending")
    assert AuditEvent.objects.filter(run=old, action="rerun").exists()
    assert AuditEvent.objects.filter(run=new, action="launch").exists()


def test_a_run_whose_worker_stopped_is_released(alice: User) -> None:
    gone, held = (make_run(status=Status.RUNNING, worker=w) for w in ("gone", "here"))
    make_worker("here")
    job = bulk.start(
        bulk.BULK_ACTIONS["release"], [gone, held], by=alice, reason="it hangs"
    )
    message = {item.run_id: item for item in job.items.all()}
    assert message[gone.pk].result == "done"
    gone.refresh_from_db()
    assert gone.lease_expires_at is not None
    assert gone.lease_expires_at < timezone.now()
    assert message[held.pk].result == "refused"
    assert "is held by worker here" in message[held.pk].text


# The page -------------------------------------------------------------------------------


def test_the_page_reports_progress(
    alice: User, bob: User, sign_in: SignIn, small: None
) -> None:
    job = start_job(alice, 5)
    address = reverse("bulk-job", args=[job.pk])
    text = " ".join(sign_in(alice).get(address).content.decode().split())
    assert "0 of 5 processed" in text
    assert "Waiting for a worker" in text
    assert "/cancel/" in text
    assert sign_in(bob).get(address).status_code == 404
    while bulk.continue_jobs("worker-1"):
        pass
    text = " ".join(sign_in(alice).get(address).content.decode().split())
    assert "5 succeeded, 0 skipped" in text
    assert "/cancel/" not in text
    refused = sign_in(alice).get(address, {"only": "refused"}).content.decode()
    assert 'class="empty">None<' in refused


def test_a_bulk_operation_is_cancelled_on_its_page(
    alice: User, sign_in: SignIn, small: None
) -> None:
    job = start_job(alice, 5)
    stop = reverse("bulk-job-cancel", args=[job.pk])
    text = sign_in(alice).post(stop, follow=True).content.decode()
    assert "Bulk operation cancelled. 5 runs unchanged." in text
    assert "Unchanged" in text


def test_results_are_shown_a_page_at_a_time(
    alice: User, sign_in: SignIn, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_operations, "MAX_SHOWN_RUNS", 2)
    job = start_job(alice, 5)
    address = reverse("bulk-job", args=[job.pk])
    page = sign_in(alice).get(address)
    assert page.context["next"] == 2
    page = sign_in(alice).get(address, {"after": "4"})
    assert [item.position for item in page.context["items"]] == [5]


def test_runs_launched_after_the_confirmation_are_not_included(
    alice: User, sign_in: SignIn
) -> None:
    old, client = pending(2), sign_in(alice)
    sent = {"do": "cancel", "scope": "all", "query": "status=pending"}
    found = client.post("/runs/bulk/", sent).context["found"]
    late = make_run(status=Status.PENDING)
    sent |= {"newest": str(found.newest), "confirmed": "1", "reason": "these"}
    client.post("/runs/bulk/", sent)
    late.refresh_from_db()
    assert late.status == Status.PENDING
    assert cancelled() == len(old)
