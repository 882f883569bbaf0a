"""Django admin: everything can be read, nothing edited, and many runs operated at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from tests.support.factories import (
    make_approval,
    make_attempt,
    make_audit_event,
    make_checkpoint,
    make_decision,
    make_document,
    make_role,
    make_run,
    make_stage,
    make_user,
    make_worker,
)
from workflows import bulk
from workflows.models import AuditEvent, Run, Status, WorkflowPermission

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
RUNS = "/admin/workflows/run/"
MODELS = (
    "run",
    "attempt",
    "stage",
    "decision",
    "checkpoint",
    "approval",
    "worker",
    "document",
    "auditevent",
)


@pytest.fixture
def page(admin: User, sign_in: SignIn) -> Client:
    """Return the operator's browser."""
    return sign_in(admin)


def make_one_of_each(worker: str = "worker-1") -> None:
    run = make_run(error_message="<script>alert(1)</script>")
    make_attempt(run)
    make_stage(run)
    make_decision(run)
    make_checkpoint(run)
    make_approval(run)
    make_worker(worker)
    make_document()
    make_audit_event(run)


def some(name: str) -> Model:
    row = apps.get_model("workflows", name)._default_manager.first()  # noqa: SLF001 - its name
    assert isinstance(row, Model)
    return row


@pytest.mark.parametrize("name", MODELS)
def test_everything_can_be_listed_and_read(page: Client, name: str) -> None:
    make_one_of_each()
    listing = page.get(f"/admin/workflows/{name}/")
    assert listing.status_code == 200
    one = page.get(f"/admin/workflows/{name}/{some(name).pk}/change/")
    assert one.status_code == 200
    for answer in (listing, one):
        assert "<script>alert" not in answer.content.decode()


@pytest.mark.parametrize("name", MODELS)
def test_nothing_can_be_added_changed_or_deleted(page: Client, name: str) -> None:
    make_one_of_each()
    pk = some(name).pk
    assert page.get(f"/admin/workflows/{name}/add/").status_code == 403
    assert page.post(f"/admin/workflows/{name}/{pk}/change/", {}).status_code == 403
    deletion = page.post(f"/admin/workflows/{name}/{pk}/delete/", {"post": "yes"})
    assert deletion.status_code == 403
    bulk = {"action": "delete_selected", "_selected_action": [str(pk)], "post": "yes"}
    page.post(f"/admin/workflows/{name}/", bulk)
    assert some(name).pk == pk


def test_a_secret_is_never_shown(page: Client) -> None:
    run = make_run(secrets=b"opaque-token")
    text = page.get(f"{RUNS}{run.pk}/change/").content.decode()
    assert "opaque-token" not in text
    assert "secrets" not in text.lower()


def test_runs_are_found_by_id_and_filtered(page: Client) -> None:
    wanted, other = make_run(status=Status.FAILED), make_run()
    by_id = page.get(RUNS, {"q": str(wanted.pk)}).content.decode()
    assert wanted.short_id in by_id
    assert other.short_id not in by_id
    by_status = page.get(RUNS, {"status__exact": "failed"}).content.decode()
    assert wanted.short_id in by_status
    assert other.short_id not in by_status


def test_text_search_is_limited_to_the_newest_rows(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflows.admin.read_only.SCAN_LIMIT", 2)
    old, *new = [make_run(worker="press-1") for _ in range(3)]
    text = page.get(RUNS, {"q": "press"}).content.decode()
    assert [run.short_id in text for run in (old, *new)] == [False, True, True]
    assert "Only the newest 2 rows were searched." in text
    assert old.short_id in page.get(RUNS, {"q": str(old.pk)}).content.decode()


@pytest.mark.parametrize("name", [*MODELS, "bulkjob", "profile"])
def test_the_queries_of_a_list_do_not_grow_with_its_rows(
    page: Client, name: str
) -> None:
    def asked() -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            assert page.get(f"/admin/workflows/{name}/").status_code == 200
        return [query["sql"] for query in queries]

    asked()  # what is read once a process
    few = asked()
    for _ in range(3):
        make_one_of_each(worker=f"w{Run.objects.count()}")
    many = asked()
    assert len(many) <= len(few) + 1
    counts = [sql for sql in many if "COUNT(" in sql and "LIMIT" not in sql]
    assert counts == []


def test_an_action_of_a_deleted_run_is_still_shown(page: Client) -> None:
    run = make_run()
    make_audit_event(run, reason="gone since")
    Run.objects.all().delete()
    text = page.get("/admin/workflows/auditevent/").content.decode()
    assert "gone since" in text
    assert "(deleted)" in text


# Actions ---------------------------------------------------------------------------------


def operate(
    page: Client, action: str, runs: list[Run], *, reason: str | None = None
) -> str:
    """Choose runs and an action; with a reason, confirm it. Return the page."""
    given = {"action": action, "_selected_action": [str(run.pk) for run in runs]}
    if reason is not None:
        given |= {"confirmed": "1", "reason": reason}
    answer = page.post(RUNS, given, follow=True)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_the_action_first_asks_for_a_reason(page: Client) -> None:
    run = make_run(status=Status.PENDING)
    text = operate(page, "cancel_selected", [run])
    assert "Reason" in text
    assert "Cancel 1 run" in text
    assert run.short_id in text
    assert Run.objects.get().status == Status.PENDING


def test_an_action_without_a_reason_is_refused(page: Client) -> None:
    text = operate(page, "cancel_selected", [make_run(status="pending")], reason=" ")
    assert "Enter a reason" in text
    assert Run.objects.get().status == Status.PENDING


def test_an_action_with_a_reason_that_is_too_long_is_refused(page: Client) -> None:
    run = make_run(status=Status.PENDING)
    text = operate(page, "cancel_selected", [run], reason=2_001 * "x")
    assert "The reason has 2,001 characters" in text
    assert Run.objects.get().status == Status.PENDING


def test_each_run_gets_a_result_and_each_refusal_a_reason(page: Client) -> None:
    runs = [make_run(status=status) for status in Status.values]
    text = operate(page, "cancel_selected", runs, reason="the disk is full")
    assert "3 succeeded, 3 skipped" in text
    assert "is completed and cannot be cancelled" in text
    assert "Cancelled or cancelling." in text
    left = Run.objects.exclude(status=Status.CANCELLED)
    assert {run.status for run in left} == {"running", "completed", "failed"}
    rows = AuditEvent.objects.all()
    assert {row.reason for row in rows} == {"the disk is full"}
    assert rows.count() == 3


def test_failed_runs_are_resumed_and_others_refused(page: Client) -> None:
    failed = make_run(status=Status.FAILED, fingerprint=fingerprint())
    done = make_run(status=Status.COMPLETED)
    text = operate(page, "resume_selected", [failed, done], reason="the disk is back")
    assert "1 succeeded, 1 skipped" in text
    failed.refresh_from_db()
    assert failed.status == Status.PENDING


def fingerprint() -> str:
    from workflows.system import system

    return system.find_workflow("classify-document").fingerprint


def test_the_action_applies_to_exactly_the_filtered_set(page: Client) -> None:
    pending = [make_run(status=Status.PENDING) for _ in range(3)]
    failed = make_run(status=Status.FAILED)
    given = {"action": "cancel_selected", "select_across": "1", "index": "0"}
    given["_selected_action"] = str(pending[0].pk)
    address = f"{RUNS}?status__exact=pending"
    text = page.post(address, given).content.decode()
    assert "3 of the 3 selected runs can be processed" in " ".join(text.split())
    assert 'name="select_across" value="1"' in text
    page.post(address, {**given, "confirmed": "1", "reason": "all of them"})
    assert Run.objects.filter(status=Status.CANCELLED).count() == 3
    failed.refresh_from_db()
    assert failed.status == Status.FAILED


def test_runs_that_would_be_refused_are_listed_before_the_action(page: Client) -> None:
    runs = [make_run(status=Status.PENDING), make_run()]
    text = operate(page, "cancel_selected", runs)
    assert "1 of the 2 selected runs can be processed" in " ".join(text.split())
    assert "Completed · will be skipped" in text


@pytest.mark.parametrize("name", ["cancel", "resume", "rerun", "release", "delete"])
def test_every_action_is_offered(page: Client, name: str) -> None:
    make_run()
    text = page.get(RUNS).content.decode()
    assert f'value="{name}_selected"' in text
    assert f"{bulk.BULK_ACTIONS[name].verb} the selected runs" in text


def test_a_viewer_is_offered_no_audit_events(
    sign_in: SignIn, settings: Settings
) -> None:
    settings.DEFAULT_ACCESS = "closed"
    watcher = make_user("watcher", is_staff=True)
    watcher.user_permissions.add(Permission.objects.get(codename="view_run"))
    run = make_run(status=Status.PENDING)
    page = sign_in(watcher)
    assert "cancel_selected" not in page.get(RUNS).content.decode()
    given = {"action": "cancel_selected", "_selected_action": [str(run.pk)]}
    page.post(RUNS, {**given, "confirmed": "1", "reason": "sneaky"})
    assert Run.objects.get().status == Status.PENDING


# Rights ----------------------------------------------------------------------------------


@pytest.fixture
def keeper(sign_in: SignIn) -> Client:
    """Return the browser of one who keeps rights and accounts, and is no superuser."""
    person = make_user("keeper", is_staff=True)
    person.groups.add(make_role("admin"))
    return sign_in(person)


def test_granting_a_permission_is_recorded(keeper: Client) -> None:
    group = make_role("reviewers")
    given = {
        "workflow_name": "classify-document",
        "group": group.pk,
        "can_view": "on",
        "can_approve": "on",
    }
    answer = keeper.post("/admin/workflows/workflowpermission/add/", given)
    assert answer.status_code == 302
    right = WorkflowPermission.objects.get()
    assert (right.can_view, right.can_launch, right.can_approve) == (True, False, True)
    message = AuditEvent.objects.get(action="grant permission")
    assert message.actor_name == "keeper"
    assert "classify-document for reviewers: view, approve" in message.reason
    keeper.post(
        f"/admin/workflows/workflowpermission/{right.pk}/delete/", {"post": "yes"}
    )
    assert not WorkflowPermission.objects.exists()
    assert AuditEvent.objects.filter(action="revoke permission").exists()


def test_a_permission_row_for_nothing_is_refused_with_a_message(keeper: Client) -> None:
    given = {"workflow_name": "classify-document", "group": ""}
    answer = keeper.post("/admin/workflows/workflowpermission/add/", given)
    assert "Select at least one permission" in answer.content.decode()
    assert not WorkflowPermission.objects.exists()


def test_permission_to_manage_accounts_cannot_create_superusers(
    keeper: Client, admin: User
) -> None:
    me = User.objects.get(username="keeper")
    for person in (me, make_user("other")):
        path = f"/admin/auth/user/{person.pk}/change/"
        assert 'name="is_superuser"' not in keeper.get(path).content.decode()
        form: dict[str, Any] = {
            "username": person.username,
            "is_active": "on",
            "is_staff": "on",
        }
        form |= {"is_superuser": "on", "groups": [make_role("admin").pk]}
        form |= {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
        keeper.post(path, form)
        person.refresh_from_db()
        assert not person.is_superuser
    for page in ("change", "delete", "password"):
        path = f"/admin/auth/user/{admin.pk}/{page}/"
        assert keeper.post(path, {"post": "yes", "is_active": ""}).status_code == 403
    bulk = {"action": "delete_selected", "_selected_action": [admin.pk], "post": "yes"}
    keeper.post("/admin/auth/user/", bulk)
    assert User.objects.filter(pk=admin.pk, is_active=True).exists()
