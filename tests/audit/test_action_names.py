"""Audit events with old action names: verified as stored, shown and found by the new name."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.support.sealed_runs import Step, found, sealed_run
from workflows.audit import audit_events, seal_rows
from workflows.models import AuditEvent, Retention, Run
from workflows.models.operations import RENAMED_ACTIONS
from workflows.retention.purge import purge_due

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


@pytest.fixture
def run(alice: User) -> Run:
    """Return a completed run with a sealed history."""
    return sealed_run([Step("read"), Step("publish", ())], by=alice)


def append_event(run: Run, action: str) -> AuditEvent:
    """Append a sealed event with an action name that may no longer be declared."""
    row = audit_events.entry(run, "label", by=None, reason="evidence")
    row.action = action
    seal_rows.append(row)
    return row


@pytest.mark.parametrize("old", RENAMED_ACTIONS)
def test_new_events_have_the_new_name_only(old: str) -> None:
    assert not audit_events.is_declared(old)
    assert audit_events.is_declared(RENAMED_ACTIONS[old])


def test_an_event_with_an_old_action_name_still_verifies(run: Run) -> None:
    row = append_event(run, "keep")
    row.refresh_from_db()
    assert (row.action, row.action_name) == ("keep", "pin")
    assert found() == []
    AuditEvent.objects.filter(pk=row.pk).update(action="pin")
    assert any(f"audit event {row.pk}" in one for one in found())


@pytest.mark.parametrize("name", ["pin", "keep"])
def test_the_filter_finds_old_and_new_names(
    run: Run, name: str, admin: User, sign_in: SignIn
) -> None:
    events = {append_event(run, "keep").pk, append_event(run, "pin").pk}
    page = sign_in(admin).get("/audit/", {"action": name})
    assert {row.event.pk for row in page.context["rows"]} == events
    text = page.content.decode()
    assert text.count("· pin") == 2
    assert "keep" not in text


def test_admin_finds_old_and_new_names(run: Run, admin: User, sign_in: SignIn) -> None:
    events = {append_event(run, "answer").pk, append_event(run, "respond").pk}
    page = sign_in(admin).get("/admin/workflows/auditevent/", {"action": "respond"})
    assert {row.pk for row in page.context["cl"].result_list} == events


def test_a_deletion_recorded_with_an_old_name_is_accepted(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_before(removed: Run, action: str, **fields: object) -> AuditEvent:
        assert action == "purge run"
        return append_event(removed, "remove run")

    Retention.objects.create(run_days=1)
    ended = timezone.now() - dt.timedelta(days=2)
    Run.objects.filter(pk=run.pk).update(created_at=ended, completed_at=ended)
    monkeypatch.setattr(audit_events, "record", as_before)
    assert purge_due().runs == 1
    assert found() == []
    AuditEvent.objects.filter(action="remove run").delete()
    assert found() != []
