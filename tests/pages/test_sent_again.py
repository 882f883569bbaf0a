"""A form that is submitted again after a 503 following its commit has one effect."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.http import HttpRequest, HttpResponseBase
from django.test import Client

from tests.pages.test_approvals import Review, ReviewState, review
from tests.support.factories import make_approval, make_run, make_user
from workflows.engine import Workflow
from workflows.models import (
    Approval,
    AuditEvent,
    BulkItem,
    BulkJob,
    Document,
    Note,
    Provider,
    Run,
    Status,
)
from workflows.registry import registry
from workflows.samples.documents import samples

pytestmark = pytest.mark.django_db
MAYBE = "Your request may have been accepted."


class Fault:
    is_on = False


def broken_after_commit(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Return a middleware that raises a database error after a form was accepted."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if request.method == "POST" and Fault.is_on:
            assert response.status_code < 400
            raise OperationalError("the connection is closed")
        return response

    return respond


@pytest.fixture(autouse=True)
def waiting_workflow() -> Iterator[None]:
    registry.register(Workflow("ask", state=ReviewState, start=review, routes={}))
    yield
    registry.unregister("ask")


@pytest.fixture
def page(admin: User, monkeypatch: pytest.MonkeyPatch) -> Client:
    name = f"{__name__}.broken_after_commit"
    monkeypatch.setattr(settings, "MIDDLEWARE", [*settings.MIDDLEWARE, name])
    browser = Client(raise_request_exception=False)
    browser.force_login(admin)
    return browser


@pytest.fixture
def send_twice(page: Client, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that submits a form, gets a 503, and submits it again."""

    def send(path: str, form: Callable[[], dict[str, Any]], **options: Any) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr(Fault, "is_on", True)
            first = page.post(path, form(), **options)
        assert first.status_code == 503
        assert MAYBE in first.content.decode()
        return page.post(path, form(), **options)

    return send


def test_a_launch_sent_again_launches_one_run(send_twice: Callable[..., Any]) -> None:
    again = send_twice("/workflows/ask/", lambda: {"launch-once": "form-1"})
    assert again.headers["Location"] == f"/runs/{Run.objects.get().pk}/"


@pytest.mark.parametrize("outcome", ["publish", "reject"])
def test_a_response_sent_again_counts_once(
    send_twice: Callable[..., Any], page: Client, outcome: str
) -> None:
    run = make_run(status=Status.WAITING, workflow_name="ask")
    approval = make_approval(run, form=Review.model_json_schema())
    form = {
        "question": approval.sequence,
        "reason": "seen",
        "response-outcome": outcome,
    }
    again = send_twice(f"/runs/{run.pk}/respond/", lambda: form, follow=True)
    assert "You already submitted your decision." in again.content.decode()
    assert (Approval.objects.get().response or {})["outcome"] == outcome
    assert AuditEvent.objects.filter(action="respond").count() == 1
    for changed in (
        {"response-outcome": "reject" if outcome == "publish" else "publish"},
        {"reason": "seen twice"},
    ):  # another response of the same person
        second = page.post(f"/runs/{run.pk}/respond/", form | changed)
        assert "Already answered by" in second.content.decode()
    page.force_login(make_user("other", is_superuser=True))
    late = page.post(f"/runs/{run.pk}/respond/", form)
    assert "Already answered by" in late.content.decode()


def bulk_form(page: Client, **fields: Any) -> dict[str, Any]:
    """Return the confirmation form of a bulk operation, filled in."""
    text = page.post("/runs/bulk/", fields).content.decode()
    found = re.search(r'name="bulk-once" value="([^"]+)"', text)
    assert found is not None
    return {**fields, "confirmed": "1", "reason": "old", "bulk-once": found[1]}


@pytest.mark.parametrize("action", ["rerun", "delete", "cancel"])
def test_a_bulk_operation_sent_again_starts_one_job(
    send_twice: Callable[..., Any], page: Client, action: str
) -> None:
    status = Status.PENDING if action == "cancel" else Status.FAILED
    options: dict[str, Any] = {"workflow_name": "ask", "params": {}}
    runs = [make_run(status=status, **options) for _ in range(2)]
    form = bulk_form(page, do=action, run=[str(run.pk) for run in runs])
    again = send_twice("/runs/bulk/", lambda: form)
    job = BulkJob.objects.get()
    assert again.headers["Location"] == f"/runs/bulk/{job.pk}/"
    assert BulkItem.objects.count() == 2
    left = {"rerun": 4, "delete": 0, "cancel": 2}
    assert Run.objects.count() == left[action]


def test_the_same_form_from_another_user_starts_a_separate_job(page: Client) -> None:
    run = make_run(status=Status.PENDING, workflow_name="ask")
    form = bulk_form(page, do="cancel", run=str(run.pk))
    assert page.post("/runs/bulk/", form).status_code == 302
    page.force_login(make_user("other", is_superuser=True))
    assert page.post("/runs/bulk/", form).status_code == 302
    forged = {**form, "bulk-once": "forged"}
    assert page.post("/runs/bulk/", forged).status_code == 302
    assert BulkJob.objects.count() == 3


def test_a_note_sent_again_is_stored_once(
    send_twice: Callable[..., Any], page: Client
) -> None:
    run = make_run(status=Status.FAILED, workflow_name="ask")
    path = f"/runs/{run.pk}/notes/"
    assert send_twice(path, lambda: {"text": "Careful."}).status_code == 302
    assert Note.objects.count() == 1
    assert AuditEvent.objects.count() == 1
    page.post(path, {"text": "Done."})
    page.post(path, {"text": "Careful."})
    assert Note.objects.count() == 3


def test_an_upload_sent_again_stores_one_document(
    send_twice: Callable[..., Any],
) -> None:
    pdf = samples()[0].data
    again = send_twice(
        "/documents/",
        lambda: {"file": SimpleUploadedFile("memo.pdf", pdf)},
        follow=True,
    )
    assert again.status_code == 200
    assert Document.objects.count() == 1


def test_a_provider_sent_again_is_created_once(send_twice: Callable[..., Any]) -> None:
    form = {
        "name": "Ours",
        "kind": "openai",
        "base_url": "https://models.example.org/v1",
        "timeout_seconds": "60",
        "tries": "3",
    }
    again = send_twice("/agents/providers/new/", lambda: form)
    assert "This name is already in use." in again.content.decode()
    assert Provider.objects.count() == 1


@pytest.mark.parametrize(
    ("action", "status", "words"),
    [
        ("cancel", Status.PENDING, "cancelled"),
        ("delete", Status.FAILED, "deleted"),
    ],
)
def test_an_action_on_a_run_sent_again_is_applied_once(
    send_twice: Callable[..., Any], action: str, status: Status, words: str
) -> None:
    run = make_run(status=status, workflow_name="ask")
    again = send_twice(f"/runs/{run.pk}/{action}/", lambda: {"reason": "old"})
    assert again.status_code in {404, 409}
    assert words in again.content.decode()
    assert AuditEvent.objects.filter(run_id=run.pk).count() == 1
