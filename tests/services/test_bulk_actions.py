"""Bulk actions: confirmed first, applied to each run separately, reported for each run."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.support.factories import make_run
from workflows.access import permissions
from workflows.models import AuditEvent, Run, Status

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


@pytest.fixture
def page(alice: User, sign_in: SignIn) -> Client:
    """Return Alice's browser."""
    return sign_in(alice)


def do(page: Client, action: str, *runs: Run, status: int = 200, **fields: Any) -> str:
    """Confirm an action on runs; return the page with the results."""
    sent = {"do": action, "run": [run.pk for run in runs], "confirmed": "1"}
    sent |= {"reason": "a test", **fields}
    answer = page.post("/runs/bulk/", sent, follow=True)
    assert answer.status_code == status
    return " ".join(answer.content.decode().split())


def test_a_bulk_action_asks_for_confirmation(page: Client) -> None:
    pending, done = make_run(status=Status.PENDING), make_run()
    answer = page.post("/runs/bulk/", {"do": "cancel", "run": [pending.pk, done.pk]})
    text = " ".join(answer.content.decode().split())
    assert "Cancel 1 run?" in text
    assert re.search(r'type="submit">\s*Cancel 1 run\s*</button>', text)
    assert text.count("Will be skipped") == 1
    assert "1 of the 2 selected runs can’t be processed" in text
    assert Run.objects.get(pk=pending.pk).status == Status.PENDING


def test_each_run_has_a_separate_result(page: Client, alice: User) -> None:
    pending, done = make_run(status=Status.PENDING), make_run()
    text = do(page, "cancel", pending, done, reason="wrong batch")
    assert "1 succeeded, 1 skipped" in text
    assert "Cancelled or cancelling." in text
    assert f"Run {done.short_id} is completed and cannot be cancelled." in text
    assert Run.objects.get(pk=pending.pk).status == Status.CANCELLED
    row = AuditEvent.objects.get(run=pending)
    assert (row.action, row.actor, row.reason) == ("cancel", alice, "wrong batch")


def test_failed_runs_are_resumed_and_changed_workflows_refuse(page: Client) -> None:
    failed = make_run(status=Status.FAILED, workflow_name="not-here")
    text = do(page, "resume", failed)
    assert "0 succeeded, 1 skipped" in text
    assert "not found" in text


def test_deleted_runs_are_removed_and_recorded(page: Client) -> None:
    done, running = make_run(), make_run(status=Status.RUNNING)
    text = do(page, "delete", done, running, reason="too old")
    assert "1 succeeded, 1 skipped" in text
    assert list(Run.objects.values_list("pk", flat=True)) == [running.pk]
    assert AuditEvent.objects.get(action="delete").reason == "too old"


def test_labels_are_added_and_removed(page: Client) -> None:
    runs = [make_run(), make_run()]
    do(page, "label", *runs, label="Audit")
    assert Run.objects.filter(labels__name="audit").count() == 2
    do(page, "unlabel", runs[0], label="audit")
    assert Run.objects.filter(labels__name="audit").count() == 1


@pytest.mark.parametrize("action", ["cancel", "delete"])
def test_a_bulk_action_without_a_reason_is_refused(page: Client, action: str) -> None:
    run = make_run(status=Status.PENDING if action == "cancel" else Status.FAILED)
    text = do(page, action, run, reason=" ", status=422)
    assert "Enter a reason" in text
    assert Run.objects.get(pk=run.pk).status == run.status


def test_a_reason_that_is_too_long_is_shown_again_with_its_message(
    page: Client,
) -> None:
    run = make_run(status=Status.PENDING)
    text = do(page, "cancel", run, reason=2_001 * "x", status=422)
    assert "The reason has 2,001 characters" in text
    assert f'value="{2_001 * "x"}"' in text
    assert Run.objects.get(pk=run.pk).status == Status.PENDING


def test_an_invalid_label_is_shown_again_with_its_message(page: Client) -> None:
    text = do(page, "label", make_run(), label="a,b", status=422)
    assert "is not a valid label" in text
    assert 'value="a,b"' in text


def test_all_matching_runs_are_selected_by_filters(page: Client) -> None:
    failed = [make_run(status=Status.FAILED) for _ in range(3)]
    make_run()
    answer = page.post(
        "/runs/bulk/", {"do": "delete", "scope": "all", "query": "status=failed"}
    )
    assert [run.pk for run, _ in answer.context["found"].rows] == [
        run.pk for run in failed[::-1]
    ]


def test_an_invalid_filter_selects_no_run(page: Client) -> None:
    make_run()
    answer = page.post(
        "/runs/bulk/", {"do": "delete", "scope": "all", "query": "where=nonsense"}
    )
    assert answer.status_code == 422
    assert "Select at least one run." in answer.content.decode()


@pytest.mark.parametrize(
    "sent", [{}, {"do": "explode"}, {"do": "cancel"}, {"do": "cancel", "run": "x"}]
)
def test_an_empty_selection_is_reported(page: Client, sent: dict[str, str]) -> None:
    assert page.post("/runs/bulk/", sent).status_code == 422


def test_two_runs_are_compared_and_three_are_not(page: Client) -> None:
    a, b, c = make_run(), make_run(), make_run()
    answer = page.post("/runs/bulk/", {"do": "compare", "run": [b.pk, a.pk]})
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"/compare/?a={a.pk}&b={b.pk}"
    answer = page.post("/runs/bulk/", {"do": "compare", "run": [a.pk, b.pk, c.pk]})
    assert answer.status_code == 422
    assert "Select two runs to compare; 3 selected." in answer.content.decode()


def test_a_user_without_permission_changes_nothing(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(permissions, "can_operate_run", lambda _person, _run: False)
    run = make_run(status=Status.PENDING)
    assert "You don’t have permission to change this run." in do(page, "cancel", run)
    assert Run.objects.get(pk=run.pk).status == Status.PENDING


def test_bulk_actions_require_a_signed_in_user(client: Client) -> None:
    run = make_run()
    answer = client.post(
        "/runs/bulk/", {"do": "delete", "run": run.pk, "confirmed": "1"}
    )
    assert answer.status_code == 401
    assert Run.objects.exists()


def test_an_action_that_no_selected_run_permits_is_not_offered(page: Client) -> None:
    answer = page.post("/runs/bulk/", {"do": "cancel", "run": make_run().pk})
    text = answer.content.decode()
    assert "None of the selected runs can be processed" in text
    assert "bulk-reason" not in text
