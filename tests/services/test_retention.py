"""Retention: payloads are deleted first, then runs, then decisions; chains stay valid."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from io import StringIO
from itertools import chain, repeat
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from tests.support.factories import (
    make_approval,
    make_attempt,
    make_checkpoint,
    make_line,
    make_note,
    make_run,
)
from tests.support.sealed_runs import Step, found, launch, sealed_run
from workflows import bulk
from workflows.errors import InvalidStatus, PayloadRemoved, ReasonMissing, RunRemoved
from workflows.models import (
    AuditEvent,
    BulkItem,
    BulkJob,
    Decision,
    ItemFailure,
    RemovedRun,
    Retention,
    Run,
    Stage,
    StageItem,
    Status,
    Tally,
)
from workflows.retention import periodic_purge, purge
from workflows.retention.preview import preview
from workflows.retention.purge import purge_due
from workflows.system import system

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
DAY = dt.timedelta(days=1)


def old_run(days: int = 100, *, by: User | None = None, **fields: Any) -> Run:
    """Return a sealed run that ended so many days ago, with rows of every kind."""
    steps = [Step("read"), Step("weigh", ("a", "b"), {"total": 100.0, "who": "Mr X"})]
    run = sealed_run(steps, by=by)
    make_checkpoint(run, data='{"who":"Mr X"}', bytes=14)
    make_line(run, "read the file of Mr X")
    make_attempt(run, number=9, traceback="Mr X")
    make_approval(
        run, evidence={"who": "Mr X"}, response={"ok": True}, status="answered"
    )
    StageItem.objects.create(run=run, sequence=1, index=0, data='"Mr X"')
    ItemFailure.objects.create(
        run=run,
        attempt=1,
        sequence=1,
        index=1,
        tries=1,
        duration_ms=1.0,
        error_type="ValueError",
        error_message="no age of Mr X",
    )
    Run.objects.filter(pk=run.pk).update(
        params={"who": "Mr X"},
        result={"who": "Mr X"},
        **{"completed_at": timezone.now() - days * DAY, **fields},
    )
    run.refresh_from_db()
    return run


def rule(name: str = "sum", **days: int) -> Retention:
    return Retention.objects.create(workflow_name=name, **days)


# What is purged, and what remains ------------------------------------------------------


def test_payloads_are_purged_and_the_steps_remain() -> None:
    run = old_run()
    before = [(d.from_node, d.reason, d.taken) for d in run.decisions.all()]
    rule(payload_days=30)
    assert purge_due().payloads == 1
    run.refresh_from_db()
    assert (run.params, run.result) == ({}, None)
    assert run.payload_removed_at is not None
    assert not run.checkpoints.exists()
    assert not run.log_lines.exists()
    assert not run.items.exists()
    assert not run.item_failures.exists()
    assert run.approvals.get().evidence == {}
    assert run.attempts.get(number=9).traceback == ""
    assert [d.values for d in run.decisions.all()] == [{}, {}, {}]
    assert [(d.from_node, d.reason, d.taken) for d in run.decisions.all()] == before
    event = run.audit_events.latest("pk")
    assert (event.action, event.actor_name) == ("purge data", "system")
    assert event.reason.startswith("30 days after its end")
    assert found() == []
    assert purge_due().total == 0, "it goes once"


def test_runs_are_purged_later_and_their_decisions_remain() -> None:
    run = old_run()
    make_note(run)
    rule(payload_days=30, run_days=90)
    gone = purge_due()
    assert (gone.payloads, gone.runs) == (1, 1)
    assert not Run.objects.exists()
    assert Decision.objects.filter(run_id=run.pk).count() == 3
    assert Stage.objects.filter(run_id=run.pk).count() == 2
    left = RemovedRun.objects.get()
    assert (left.pk, left.workflow_name, left.keeps_history) == (run.pk, "sum", True)
    assert found() == []


def test_histories_are_purged_last_and_audit_events_remain() -> None:
    run = old_run()
    rule(run_days=30, decision_days=90)
    assert purge_due().histories == 1
    assert not Decision.objects.exists()
    assert not Stage.objects.exists()
    actions = AuditEvent.objects.order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["launch", "purge run", "purge history"]
    assert AuditEvent.objects.filter(run=run.pk, workflow_name="sum").count() == 3
    assert found() == []
    assert purge_due().total == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"is_pinned": True},
        {"completed_at": timezone.now() - 29 * DAY},
        {"status": Status.PENDING, "completed_at": None},
        {"status": Status.WAITING, "completed_at": None},
        {
            "status": Status.RUNNING,
            "completed_at": None,
            "lease_expires_at": timezone.now(),
        },
    ],
    ids=["pinned", "young", "pending", "waiting", "running"],
)
def test_pinned_young_and_active_runs_are_not_purged(fields: dict[str, Any]) -> None:
    run = old_run(**fields)
    rule(payload_days=30, run_days=30, decision_days=30)
    assert purge_due().total == 0
    run.refresh_from_db()
    assert run.params == {"who": "Mr X"}


def test_a_child_is_not_purged_while_its_parent_can_read_it() -> None:
    child, parent = old_run(), launch()
    Run.objects.filter(pk=child.pk).update(parent=parent)
    rule(payload_days=30, run_days=60)
    assert purge_due().total == 0
    Run.objects.filter(pk=parent.pk).update(
        status=Status.FAILED, completed_at=timezone.now()
    )
    assert purge_due().runs == 1
    assert not Run.objects.filter(pk=child.pk).exists()


def test_a_workflow_uses_its_rule_or_the_default_rule() -> None:
    mine, other = old_run(), old_run(workflow_name="other")
    rule("other", payload_days=365)
    rule("", payload_days=30)
    assert purge_due().payloads == 1
    assert Run.objects.exclude(payload_removed_at=None).get() == mine
    assert purge_due("other").total == 0
    assert Run.objects.get(pk=other.pk).params


def test_without_a_rule_nothing_is_purged() -> None:
    old_run(10_000)
    assert purge_due().total == 0


@pytest.mark.parametrize(
    "days",
    [
        {"payload_days": 90, "run_days": 30},
        {"run_days": 90, "decision_days": 30},
        {"decision_days": 30},
        {"payload_days": 0},
    ],
)
def test_a_rule_that_purges_decisions_before_payloads_is_refused(
    days: dict[str, int],
) -> None:
    with pytest.raises(ValidationError):
        Retention(workflow_name="sum", **days).full_clean()


# Batches, interruptions, due times -----------------------------------------------------


def test_the_purge_works_in_batches_and_can_be_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(purge, "BATCH_SIZE", 2)
    for _ in range(5):
        old_run()
    rule(payload_days=30)
    left = chain([True], repeat(False))
    assert purge_due(more=lambda: next(left)).payloads == 2
    assert found() == []
    assert purge_due().payloads == 3
    assert found() == []


def test_a_purge_runs_only_when_enabled_and_due(settings: Any) -> None:
    old_run()
    assert not periodic_purge.purge_if_due(), "there is no rule"
    rule(payload_days=30)
    settings.RETENTION_ENABLED = False
    assert not periodic_purge.purge_if_due()
    settings.RETENTION_ENABLED = True
    assert periodic_purge.purge_if_due()
    assert Run.objects.get().payload_removed_at is not None
    assert not periodic_purge.purge_if_due(), "it was done just now"
    Tally.objects.filter(pk=periodic_purge.NAME).update(next_at=timezone.now())
    assert periodic_purge.purge_if_due()


# Chains --------------------------------------------------------------------------------


def test_a_payload_that_someone_else_removed_is_noticed() -> None:
    from workflows.audit import seals

    run = old_run()
    for row in run.decisions.all():
        row.values_digest, row.values = seals.payload_digest(row.values), {}
        row.save()
    (message,) = found()
    assert "values of its decisions are gone, and no audit event records why" in message


def test_replaced_values_of_purged_payloads_are_detected() -> None:
    run = old_run()
    rule(payload_days=30)
    purge_due()
    row = run.decisions.order_by("pk")[1]
    Decision.objects.filter(pk=row.pk).update(values={"total": 1})
    (message,) = found()
    assert f"decision {row.pk}" in message
    Decision.objects.filter(pk=row.pk).update(values={}, values_digest=b"\x00" * 32)
    (message,) = found()
    assert f"decision {row.pk}" in message


def test_remaining_rows_are_still_verified() -> None:
    run = old_run()
    rule(payload_days=30, run_days=60)
    purge_due()
    row = Decision.objects.filter(run_id=run.pk).order_by("pk")[0]
    Decision.objects.filter(pk=row.pk).update(taken=not row.taken)
    assert any(f"decision {row.pk}" in one for one in found())
    Decision.objects.filter(pk=row.pk).delete()
    assert any("missing" in one for one in found())
    Decision.objects.all().delete()
    Stage.objects.all().delete()
    RemovedRun.objects.update(keeps_history=False)
    assert any("no audit event records by whom" in one for one in found())


# People --------------------------------------------------------------------------------


def test_a_run_is_pinned_with_a_reason(alice: User) -> None:
    run = old_run()
    rule(run_days=30)
    with pytest.raises(ReasonMissing):
        system.set_pinned(run.pk, by=alice)
    assert system.set_pinned(run.pk, by=alice, reason="evidence in a case").is_pinned
    assert purge_due().total == 0
    with pytest.raises(InvalidStatus):
        system.set_pinned(run.pk, by=alice, reason="again")
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.before, event.after) == (
        "pin",
        {"pinned": False},
        {"pinned": True},
    )
    system.set_pinned(run.pk, by=alice, reason="the case is closed", pinned=False)
    assert found() == []
    assert purge_due().runs == 1


def test_a_run_without_its_states_cannot_be_resumed(alice: User) -> None:
    run = old_run(status=Status.FAILED)
    rule(payload_days=30)
    purge_due()
    with pytest.raises(PayloadRemoved):
        system.resume(run.pk, by=alice, reason="once more")
    run.refresh_from_db()
    assert not run.is_resumable


def test_the_run_page_shows_what_was_purged(alice: User, sign_in: SignIn) -> None:
    run = old_run(by=alice)
    rule(payload_days=30)
    purge_due()
    text = sign_in(alice).get(f"/runs/{run.pk}/").content.decode()
    assert text.count("by retention") >= 3  # result, params, log
    assert "Mr X" not in text
    for path in ("steps/", "log/", "states/1/", "history.json"):
        answer = sign_in(alice).get(f"/runs/{run.pk}/{path}")
        assert answer.status_code in {200, 404}


def test_a_run_is_pinned_on_its_page(alice: User, sign_in: SignIn) -> None:
    run = old_run(by=alice)
    page = sign_in(alice)
    assert page.post(f"/runs/{run.pk}/pin/").status_code == 422
    page.post(f"/runs/{run.pk}/pin/", {"reason": "evidence"})
    assert Run.objects.get().is_pinned
    assert "Unpin" in page.get(f"/runs/{run.pk}/").content.decode()
    page.post(f"/runs/{run.pk}/pin/", {"reason": "closed", "off": "1"})
    assert not Run.objects.get().is_pinned


def test_decisions_of_purged_runs_are_listed_without_a_link(
    alice: User, sign_in: SignIn
) -> None:
    run = old_run(by=alice)
    rule(run_days=30)
    purge_due()
    page = sign_in(alice)
    text = page.get("/decisions/").content.decode()
    assert "(deleted)" in text
    assert f"/runs/{run.pk}/" not in text
    answer = page.get(f"/runs/{run.pk}/")
    assert answer.status_code == 404
    text = answer.content.decode()
    assert "of sum was deleted on" in text
    assert "The decision history is retained." in text
    with pytest.raises(RunRemoved):
        system.find_run(run.pk, by=alice)


# Bulk actions -------------------------------------------------------------------------


def old_job(by: User, days: int, *names: str) -> BulkJob:
    """Return a job that ended so many days ago, on a run of each of these workflows."""
    runs = [launch(by, name) for name in names]
    job = bulk.start(bulk.BULK_ACTIONS["cancel"], runs, by=by, reason="too many")
    BulkJob.objects.filter(pk=job.pk).update(ended_at=timezone.now() - days * DAY)
    return job


def test_a_bulk_operation_is_purged_with_the_last_of_its_runs(alice: User) -> None:
    rule("sum", run_days=30)
    rule("mail", run_days=90)
    rule("other", payload_days=1)
    old_job(alice, 40, "sum")
    stay = [
        old_job(alice, 20, "sum"),
        old_job(alice, 40, "sum", "mail"),
        old_job(alice, 400, "sum", "other"),
    ]
    assert purge_due("sum").jobs == 0, "a job may be of many workflows"
    assert purge_due().jobs == 1
    assert list(BulkJob.objects.order_by("id")) == stay
    assert BulkItem.objects.count() == 1 + 2 + 2
    assert AuditEvent.objects.filter(action="cancel").count() == 6
    assert found() == []


def test_active_bulk_operations_and_those_without_rules_are_not_purged(
    alice: User,
) -> None:
    old_job(alice, 400, "sum")
    assert purge_due().jobs == 0
    rule("sum", run_days=30)
    BulkJob.objects.update(ended_at=None)
    assert purge_due().jobs == 0


# The command and admin -----------------------------------------------------------------


def test_a_dry_run_reports_rows_and_bytes_and_removes_nothing() -> None:
    run = old_run()
    make_run(workflow_name="other")
    rule(payload_days=30, run_days=60)
    out = StringIO()
    call_command("prune", "--dry-run", stdout=out)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("sum: prompts and answers of agents (never): 0 runs")
    assert lines[1].startswith(
        "sum: params, results, states, logs, files (after 30 days): 1 runs, 4 rows, about"
    )
    assert lines[2].startswith("sum: runs (after 60 days): 1 runs, ")
    assert (
        lines[3] == "sum: stages and decisions (never): 0 runs, 0 rows, about 0 bytes"
    )
    assert lines[-1] == "bulk operations: 0"
    assert Run.objects.get(pk=run.pk).params
    out = StringIO()
    call_command("prune", stdout=out)
    assert (
        "data of 1 runs, 1 runs, histories of 0 runs, 0 bulk operations, 0 deliveries"
        in out.getvalue()
    )


def test_a_preview_scans_a_limited_number_of_runs_and_reports_it() -> None:
    for _ in range(3):
        old_run()
    rule(payload_days=30)
    (one,) = preview(most=2)
    assert (one.payloads.runs, one.payloads.is_cut) == (2, True)


def test_rules_are_edited_and_previewed_in_admin(admin: User, sign_in: SignIn) -> None:
    old_run()
    client = sign_in(admin)
    path = "/admin/workflows/retention/"
    assert "nothing is deleted" in client.get(f"{path}preview/").content.decode()
    wrong = {"workflow_name": "", "payload_days": "30", "run_days": "10"}
    assert "must not decrease" in client.post(f"{path}add/", wrong).content.decode()
    client.post(f"{path}add/", wrong | {"run_days": "60"})
    assert Retention.objects.get().run_days == 60
    assert AuditEvent.objects.latest("pk").action == "add retention rule"
    assert "Preview deletions" in client.get(path).content.decode()
    text = client.get(f"{path}preview/").content.decode()
    assert "60 days" in text
    assert client.get("/admin/workflows/removedrun/").status_code == 200
