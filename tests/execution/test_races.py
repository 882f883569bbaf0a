"""The same action from ten threads at once: one succeeds, the others get an error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from tests.support.factories import make_approval, make_run
from tests.support.sealed_runs import (
    WORKER,
    Step,
    found,
    launch,
    record_of,
    sealed_run,
    write,
)
from workflows.audit.seal_rows import head_of
from workflows.engine.errors import RequestError
from workflows.errors import AlreadyAnswered, InvalidStatus
from workflows.execution import queue
from workflows.models import (
    Approval,
    Attempt,
    AuditEvent,
    Retention,
    Run,
    Status,
    WaitKind,
)
from workflows.registry import registry
from workflows.retention.purge import purge_due
from workflows.system import System

pytestmark = pytest.mark.django_db(transaction=True)

CROWDS = [2, 10]


def run_in_db_priority(count: int, act: Callable[[int], Any]) -> list[Any]:
    """Return the outcomes of an action in many threads that start together."""
    start = threading.Barrier(count)
    came: list[Any] = [None] * count

    def one(number: int) -> None:
        start.wait()
        try:
            came[number] = act(number)
        except RequestError as error:
            came[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=one, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return came


def failed_run() -> Run:
    """Return a failed run of a workflow that is registered."""
    workflow = registry.list()[0]
    return make_run(
        workflow_name=workflow.name, fingerprint=workflow.fingerprint, status="failed"
    )


@pytest.mark.parametrize("count", CROWDS)
def test_one_of_many_concurrent_resumes_is_accepted(count: int, alice: User) -> None:
    run = failed_run()
    came = run_in_db_priority(
        count, lambda _: System().resume(run.pk, by=alice, reason="again")
    )
    assert [type(c) for c in came].count(Run) == 1
    assert [type(c) for c in came].count(InvalidStatus) == count - 1
    assert AuditEvent.objects.filter(run=run, action="resume").count() == 1
    assert Run.objects.get(pk=run.pk).status == Status.PENDING


@pytest.mark.parametrize("count", CROWDS)
def test_one_of_many_concurrent_cancels_is_accepted(count: int, alice: User) -> None:
    run = make_run(status="pending")
    came = run_in_db_priority(
        count, lambda n: System().cancel(run.pk, by=alice, reason=str(n))
    )
    assert [type(c) for c in came].count(Run) == 1
    assert [type(c) for c in came].count(InvalidStatus) == count - 1
    (text,) = AuditEvent.objects.filter(run=run, action="cancel")
    assert Run.objects.get(pk=run.pk).cancel_reason == text.reason


@pytest.mark.parametrize("count", CROWDS)
def test_one_of_many_concurrent_responses_counts_and_the_others_see_its_author(
    count: int, alice: User, bob: User
) -> None:
    run = make_run(workflow_name="classify-document", status="waiting")
    make_approval(run=run, node_name="ask_reviewer")
    people = [alice, bob]
    came = run_in_db_priority(
        count,
        lambda n: System().respond(
            run.pk, {"outcome": "publish"}, by=people[n % 2], comment=str(n)
        ),
    )
    assert [type(c) for c in came].count(Run) == 1
    losers = [c for c in came if isinstance(c, AlreadyAnswered)]
    assert len(losers) == count - 1
    kept = Approval.objects.get(run=run)
    assert kept.responded_by is not None
    assert all(kept.responded_by.username in str(c) for c in losers)
    assert AuditEvent.objects.get(run=run, action="respond").reason == kept.comment


def expire(run: Run, _: User) -> list[object]:
    """Let the sweep find that the approval has expired."""
    return [*queue.sweep()]


def respond(run: Run, by: User) -> Run:
    """Respond to the approval."""
    return System().respond(run.pk, {"outcome": "publish"}, by=by, comment="right")


@pytest.mark.skipif(
    connection.vendor != "postgresql", reason="SQLite has one lock for all rows."
)
@pytest.mark.parametrize("act", [respond, expire])
def test_closing_an_approval_locks_the_run_first_like_a_cancel(
    act: Callable[[Run, User], Any], alice: User
) -> None:
    """Two transactions that lock the same rows in another order end in a deadlock."""
    due = timezone.now() - timedelta(seconds=1)
    run = make_run(
        workflow_name="classify-document",
        status="waiting",
        waiting_for=WaitKind.APPROVAL,
        wake_at=due,
    )
    approval = make_approval(run=run, node_name="ask_reviewer", expires_at=due)
    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Run.objects.select_for_update().get(pk=run.pk)
            acting = pool.submit(in_this_thread, act, run, alice)
            wait_until_blocked()
            withdrawn = Approval.objects.filter(pk=approval.pk)
            assert withdrawn.withdraw("its run was cancelled") == 1
            Run.objects.filter(pk=run.pk).cancel(by_id=None, reason="stop")
        if act is respond:
            with pytest.raises(AlreadyAnswered):
                acting.result()
        else:
            assert acting.result() == []


def in_this_thread(act: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of an action, and close the connection of the thread."""
    try:
        return act(*arguments)
    finally:
        connection.close()


def wait_until_blocked() -> None:
    """Return once a transaction waits for a lock of another one."""
    for _ in range(1_000):
        with connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone() != (0,):
                return
            cursor.execute("SELECT pg_sleep(0.01)")
    raise AssertionError("No transaction waited for a lock.")


@pytest.mark.parametrize("count", CROWDS)
def test_concurrent_audit_events_and_recorded_steps_form_one_chain(
    count: int, alice: User, bob: User
) -> None:
    run = launch()
    (claimed,) = queue.claim(WORKER, 1).runs
    people = [alice, bob]

    def act(number: int) -> None:
        if number == 0:  # the worker
            head = head_of(claimed.history_chain_head, run.pk)
            for sequence in range(1, 6):
                head = write(record_of(claimed, sequence, Step()), head)
        elif number == 1:
            System().cancel(run.pk, by=alice, reason="enough")
        else:
            name = f"label {number}"
            System().label(run.pk, name, by=people[number % 2], reason="a race")

    came = run_in_db_priority(count, act)
    assert not any(came)
    assert run.audit_events.count() == count
    assert run.stages.count() == 5
    assert found() == []


@pytest.mark.parametrize("count", CROWDS)
def test_a_resume_during_a_purge_is_complete_or_refused(
    count: int, alice: User
) -> None:
    workflow = registry.list()[0]
    run = sealed_run(by=alice, workflow=workflow.name, status="failed")
    Run.objects.filter(pk=run.pk).update(
        params={"kept": True},
        fingerprint=workflow.fingerprint,
        completed_at=timezone.now() - timedelta(days=40),
    )
    Retention.objects.create(workflow_name=workflow.name, payload_days=30)

    def act(number: int) -> object:
        if number % 2:
            return purge_due().payloads
        return System().resume(run.pk, by=alice, reason="a race")

    came = run_in_db_priority(count, act)
    run.refresh_from_db()
    resumed = [type(one) for one in came].count(Run)
    let = sum(one for one in came if isinstance(one, int))
    assert (resumed, let) in {(1, 0), (0, 1)}
    assert run.status == (Status.PENDING if resumed else Status.FAILED)
    assert run.params == ({"kept": True} if resumed else {})
    assert found() == []


@pytest.mark.parametrize("count", CROWDS)
def test_a_run_is_claimed_by_one_worker(count: int) -> None:
    runs = [make_run(status="pending") for _ in range(5)]
    came = run_in_db_priority(count, lambda n: queue.claim(f"worker-{n}", 5).runs)
    claimed = [run.pk for mine in came for run in mine]
    assert sorted(claimed) == sorted(run.pk for run in runs)
    assert Attempt.objects.count() == 5


@pytest.mark.parametrize("count", CROWDS)
def test_concurrent_launches_with_one_idempotency_key_create_one_run(
    count: int, alice: User
) -> None:
    workflow = _free_workflow()
    came = run_in_db_priority(
        count,
        lambda _: System().execute(workflow, {}, by=alice, idempotency_key="order 7"),
    )
    assert len({run.pk for run in came}) == 1
    assert Run.objects.count() == 1


@pytest.fixture(autouse=True)
def _forget_free_workflow() -> Any:
    yield
    registry.unregister("free")


def _free_workflow() -> str:
    def build(graph: Any, _runtime: Any, _params: Any) -> Any:
        raise NotImplementedError("no run of it is executed here")

    registry.register_factory("free", build)
    return "free"
