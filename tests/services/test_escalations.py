"""Approvals that nobody responds to go to another group, once."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone

from tests.execution.test_races import run_in_db_priority
from tests.support.factories import make_approval, make_run, make_user
from workflows.deliveries import expansion
from workflows.errors import AlreadyAnswered, NotAllowed
from workflows.execution import approval_escalations, approval_sweep
from workflows.models import (
    Approval,
    ApprovalAssignment,
    ApprovalClaim,
    ApprovalEscalation,
    ApprovalStatus,
    AuditEvent,
    Notification,
    OutboxEvent,
    Run,
    Status,
)
from workflows.models.status_transitions import RunQuerySet
from workflows.services.approval_errors import NotEscalated
from workflows.system import system

pytestmark = pytest.mark.django_db
HOUR = dt.timedelta(hours=1)


def in_group(name: str, person: str) -> User:
    user = make_user(person)
    Group.objects.get_or_create(name=name)[0].user_set.add(user)
    return user


@pytest.fixture
def clerk() -> User:
    return in_group("finance", "ada")


@pytest.fixture
def lead() -> User:
    return in_group("leads", "lea")


def ask(*, due: dt.timedelta = -HOUR, **fields: Any) -> Approval:
    """Return an open approval of finance that goes to the leads at a time from now."""
    run = make_run(status=Status.WAITING)
    asked = make_approval(run, **{"groups": ["finance"], **fields})
    approval_escalations.declare(asked, timezone.now() + due, "leads")
    return asked


def swept() -> list[Any]:
    return list(approval_sweep.sweep())


def notified() -> list[tuple[str, str]]:
    expansion.expand()
    rows = Notification.objects.order_by("event_id", "user__username")
    return list(rows.values_list("user__username", "kind"))


def test_an_approval_without_a_response_goes_to_the_group_once(
    clerk: User, lead: User
) -> None:
    asked = ask()
    later = ask(due=HOUR)
    system.claim_approval(asked.run_id, by=clerk)
    with pytest.raises(NotAllowed, match="members of finance are"):
        system.claim_approval(asked.run_id, by=lead)
    version = Run.objects.get(pk=asked.run_id).version
    assert swept() == [asked.run_id]
    assert Run.objects.get(pk=asked.run_id).version > version
    asked.refresh_from_db()
    assert asked.groups == ["finance", "leads"]
    row = ApprovalEscalation.objects.get(approval=asked)
    assert row.escalated_at is not None
    assigned = ApprovalAssignment.objects.get()
    assert (assigned.name, assigned.person) == ("leads", None)
    assert assigned.created_at == row.escalated_at
    assert not ApprovalClaim.objects.exists()
    event = AuditEvent.objects.get(action="escalate approval")
    assert (event.actor_name, event.reason) == ("system", "No response in time.")
    assert event.after == {"step": asked.sequence, "person": "leads"}
    assert notified() == [("lea", "approval.escalated")]
    assert swept() == []
    later.refresh_from_db()
    assert later.groups == ["finance"]
    system.claim_approval(asked.run_id, by=lead)
    system.claim_approval(later.run_id, by=clerk)


def test_an_approval_for_anyone_stays_for_anyone(lead: User) -> None:
    asked = ask(groups=[])
    swept()
    asked.refresh_from_db()
    assert asked.groups == []
    assert notified() == [(lead.username, "approval.escalated")]


def test_a_closed_approval_is_not_escalated(clerk: User, lead: User) -> None:
    for status in (
        ApprovalStatus.ANSWERED,
        ApprovalStatus.EXPIRED,
        ApprovalStatus.WITHDRAWN,
    ):
        ask(status=status)
    assert swept() == []
    assert not ApprovalEscalation.objects.exists()
    assert not AuditEvent.objects.exists()
    assert notified() == []


def test_an_answered_approval_shows_an_escalation_only_if_it_took_place(
    clerk: User, lead: User
) -> None:
    before, after = ask(due=HOUR), ask()
    assert approval_escalations.escalation_of(before) is not None
    swept()
    Approval.objects.update(status=ApprovalStatus.ANSWERED)
    shown = [
        approval_escalations.escalation_of(Approval.objects.get(pk=one.pk))
        for one in (before, after)
    ]
    assert [one is not None for one in shown] == [False, True]


def test_a_response_between_search_and_lock_prevents_it(
    clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask()

    def answered_before(runs: RunQuerySet) -> bool:
        monkeypatch.undo()
        asked.refresh_from_db()
        Approval.objects.update(status=ApprovalStatus.ANSWERED)
        return runs.lock()

    monkeypatch.setattr(RunQuerySet, "lock", answered_before)
    assert swept() == []
    assert ApprovalEscalation.objects.get().escalated_at is None
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize("step", ["record_change", "OutboxEvent.objects.create"])
def test_an_escalation_that_is_killed_is_made_by_the_next_sweep(
    lead: User, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    asked = ask()

    class Killed(Exception):
        """The process ends here."""

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(f"workflows.execution.approval_changes.{step}", killed)
        with pytest.raises(Killed):
            swept()
    asked.refresh_from_db()
    assert asked.groups == ["finance"]
    assert ApprovalEscalation.objects.get().escalated_at is None
    assert not ApprovalAssignment.objects.exists()
    assert not AuditEvent.objects.exists()
    assert swept() == [asked.run_id]
    assert AuditEvent.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_processes_that_sweep_at_the_same_moment_one_escalates(lead: User) -> None:
    asked = ask()
    run_in_db_priority(3, lambda _: swept())
    assert AuditEvent.objects.filter(action="escalate approval").count() == 1
    assert OutboxEvent.objects.count() == 1
    asked.refresh_from_db()
    assert asked.groups == ["finance", "leads"]


def test_a_group_without_members_is_named(
    clerk: User, caplog: pytest.LogCaptureFixture
) -> None:
    asked = ask()
    assert swept() == [asked.run_id]
    event = AuditEvent.objects.get()
    assert event.reason == "No response in time. leads has no active member."
    assert "goes to leads, which has no active member" in caplog.text
    assert notified() == []
    # who is added later finds it in the list
    system.claim_approval(asked.run_id, by=in_group("leads", "new"))


def test_a_person_escalates_before_the_time_with_a_reason(
    clerk: User, lead: User
) -> None:
    asked = ask(due=HOUR)
    with pytest.raises(NotAllowed):
        system.escalate_approval(asked.run_id, by=lead)
    with pytest.raises(AlreadyAnswered, match="not of step 9"):
        system.escalate_approval(asked.run_id, by=clerk, sequence=9)
    found = system.escalate_approval(asked.run_id, by=clerk, reason="It is urgent.")
    assert (found.to, found.by_name) == ("leads", "ada")
    event = AuditEvent.objects.get()
    assert (event.actor_name, event.reason) == ("ada", "It is urgent.")
    assert notified() == [("lea", "approval.escalated")]
    with pytest.raises(NotEscalated, match="escalated to leads already"):
        system.escalate_approval(asked.run_id, by=clerk)
    ApprovalEscalation.objects.update(due_at=timezone.now())
    assert swept() == []
    plain = make_approval(groups=["finance"])
    with pytest.raises(NotEscalated, match="goes to no other group"):
        system.escalate_approval(plain.run_id, by=clerk)
    assert AuditEvent.objects.count() == 1
