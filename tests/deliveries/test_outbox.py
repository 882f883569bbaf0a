"""The outbox: an event in the transaction of what it reports, whichever way a run ends."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from tests.support.factories import make_approval, make_attempt, make_run, make_user
from tests.support.sealed_runs import sealed_run
from workflows.engine.process_limits import ProcessEnd
from workflows.execution import blocked_run_ends, recovery, run_cancellation
from workflows.models import (
    Approval,
    Destination,
    Interest,
    MomentResult,
    OutboxEvent,
    Run,
    Schedule,
    ScheduleMoment,
    Status,
    Suspicion,
)
from workflows.outbox import triggers

pytestmark = pytest.mark.django_db


@pytest.fixture
def interest() -> Interest:
    """Let a destination want every event."""
    destination = Destination.objects.create(name="all", url="http://127.0.0.1/")
    return Interest.objects.create(destination=destination)


def events() -> list[tuple[str, Any]]:
    rows = OutboxEvent.objects.order_by("pk")
    return [(row.kind, row.run_id) for row in rows]


def held_run(**fields: Any) -> Run:
    run = make_run(status=Status.RUNNING, **fields)
    make_attempt(run, number=1, ended_at=None, outcome="")
    return run


def lost_run(**fields: Any) -> Run:
    past = timezone.now() - dt.timedelta(hours=1)
    return held_run(lease_expires_at=past, **fields)


def recovered(run: Run) -> None:
    assert list(recovery.recover_lost(timezone.now(), list)) == [run.pk]


def cancel_idle(run: Run) -> None:
    run_cancellation.cancel(run, by=None, reason="not needed")


def child_died(run: Run) -> None:
    assert recovery.settle_child(run, ProcessEnd(-9))


ENDS: dict[str, tuple[Callable[[], Run], Callable[[Run], Any], str]] = {
    "a worker was lost too often": (
        lambda: lost_run(suspicion=Suspicion.ALONE, recoveries=99),
        recovered,
        "run.failed",
    ),
    "a worker was lost after a cancel": (
        lambda: lost_run(cancel_requested_at=timezone.now()),
        recovered,
        "run.cancelled",
    ),
    "its child process died": (
        lambda: held_run(recoveries=99),
        child_died,
        "run.failed",
    ),
    "it blocked its loop": (
        held_run,
        lambda run: blocked_run_ends.fail(
            run, blocked_run_ends.Failure("blocked", "load")
        ),
        "run.failed",
    ),
    "its loop was replaced after a cancel": (
        lambda: held_run(cancel_requested_at=timezone.now()),
        lambda run: blocked_run_ends.release([run], "replaced"),
        "run.cancelled",
    ),
    "its loop was replaced too often": (
        lambda: held_run(recoveries=99),
        lambda run: blocked_run_ends.release([run], "replaced", charged=True),
        "run.failed",
    ),
    "cancelled while pending": (
        lambda: make_run(status=Status.PENDING),
        cancel_idle,
        "run.cancelled",
    ),
    "cancelled while waiting": (
        lambda: make_run(status=Status.WAITING),
        cancel_idle,
        "run.cancelled",
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_each_way_to_end_a_run_from_outside_writes_one_event(
    name: str, interest: Interest
) -> None:
    make, end, kind = ENDS[name]
    run = make()
    end(run)
    assert events() == [(kind, run.pk)]
    run.refresh_from_db()
    facts = OutboxEvent.objects.get().facts
    assert facts["status"] == run.status
    assert (facts["attempt"], facts["sequence"]) == (run.attempt, run.sequence)
    assert facts["error_code"] == run.error_code


@pytest.mark.parametrize(
    "status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED], ids=str
)
def test_the_record_that_ends_a_run_writes_one_event(
    status: Status, interest: Interest
) -> None:
    run = sealed_run(status=status)  # by the recorder's bulk statement
    assert events() == [(f"run.{status}", run.pk)]


def test_a_refused_or_rolled_back_end_writes_no_event(interest: Interest) -> None:
    run = held_run()
    with transaction.atomic():
        blocked_run_ends.fail(run, blocked_run_ends.Failure("blocked", "load"))
        transaction.set_rollback(True)
    Run.objects.filter(pk=run.pk).update(attempt=2)
    blocked_run_ends.fail(run, blocked_run_ends.Failure("blocked", "load"))
    assert events() == []


def test_nothing_is_written_unless_someone_wants_this_event(
    interest: Interest,
) -> None:
    def end() -> list[tuple[str, Any]]:
        OutboxEvent.objects.all().delete()
        run = make_run(status=Status.PENDING)
        cancel_idle(run)
        return [(kind, run_id == run.pk) for kind, run_id in events()]

    written = [("run.cancelled", True)]
    wanted = Interest.objects.filter(pk=interest.pk)
    wanted.update(kind="run.failed")
    assert end() == []
    wanted.update(kind="run.cancelled", workflow_name="another")
    assert end() == []
    wanted.update(workflow_name="classify-document", run_id=make_run().pk)
    assert end() == []
    wanted.update(run_id=None)
    assert end() == written
    wanted.delete()
    assert end() == []


def test_approvals_and_moments_write_events(interest: Interest) -> None:
    user = make_user()
    run = make_run(status=Status.WAITING)
    answered, expired, withdrawn = (
        make_approval(run, sequence=number) for number in (1, 2, 3)
    )
    opened = Approval.objects.open()
    opened.filter(pk=answered.pk).respond(value={}, by_id=user.pk, comment="")
    opened.filter(pk=expired.pk).expire(timezone.now())
    opened.filter(pk=withdrawn.pk).withdraw("its run was cancelled")
    schedule = Schedule.objects.create(
        workflow_name="nightly", name="nightly", cron="0 0 * * *", zone="UTC"
    )
    for day, result in enumerate(MomentResult.values, start=1):
        at = dt.datetime(2026, 1, day, tzinfo=dt.UTC)
        ScheduleMoment.objects.create(schedule=schedule, moment=at, result=result)
    queued = ScheduleMoment.objects.get(result=MomentResult.QUEUED)
    queued.result = MomentResult.REFUSED
    queued.save()
    assert [kind for kind, _ in events()] == [
        *["approval.requested"] * 3,
        "approval.answered",
        "approval.expired",
        *["schedule.missed"] * 3,
    ]
    assert OutboxEvent.objects.filter(run_id=run.pk).count() == 5
    assert set(OutboxEvent.objects.values_list("workflow_name", flat=True)) == {
        run.workflow_name,
        "nightly",
    }


def test_a_change_of_the_triggers_is_installed_and_a_missing_one_is_reported() -> None:
    assert triggers.missing() == []
    name = triggers.TRIGGERS[0].full_name
    table = Run._meta.db_table  # noqa: SLF001 - Django's documented model API
    on = f" ON {table}" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER {name}{on}")
    assert triggers.missing() == [name]
    triggers.install()
    assert triggers.missing() == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.django_db(transaction=True)
def test_migrations_may_rebuild_the_tables_that_the_triggers_are_on() -> None:
    table = Run._meta.db_table  # noqa: SLF001 - Django's documented model API
    try:
        call_command("migrate", "workflows", "0026", verbosity=0)
        with connection.cursor() as cursor:  # no trigger refers to a missing table
            cursor.execute(f"UPDATE {table} SET completed_at = completed_at")  # noqa: S608
        assert triggers.stored(connection) == {}
    finally:
        call_command("migrate", verbosity=0)
    assert triggers.missing() == []
