"""The list of runs, and actions on the page of a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.support.factories import make_run, make_whole_run
from workflows.models import AuditEvent, Run, Status
from workflows.system import system

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
HTMX = {"HX-Request": "true"}


@pytest.fixture
def page(alice: User, sign_in: SignIn) -> Client:
    """Return a client of Alice."""
    return sign_in(alice)


# Actions ---------------------------------------------------------------------------------


def test_cancelling_stops_the_run_and_stores_the_reason(
    page: Client, alice: User
) -> None:
    run = make_run(status=Status.PENDING)
    answer = page.post(f"/runs/{run.pk}/cancel/", {"reason": " wrong\x00 one "})
    assert answer.headers["Location"] == f"/runs/{run.pk}/"
    run.refresh_from_db()
    assert run.status == Status.CANCELLED
    row = AuditEvent.objects.get()
    assert (row.actor, row.action, row.reason) == (alice, "cancel", "wrong one")


def test_a_live_page_gets_its_regions_instead_of_a_redirect(page: Client) -> None:
    run = make_run(status=Status.PENDING)
    answer = page.post(f"/runs/{run.pk}/cancel/", {"reason": "no"}, headers=HTMX)
    text = answer.content.decode()
    assert answer.status_code == 200
    assert '<section id="run-status"' in text
    assert 'data-status="cancelled"' in text
    assert text.count('hx-swap-oob="outerMorph"') == 23
    assert "cancelled." in text
    assert "<html" not in text


@pytest.mark.parametrize("action", ["cancel", "resume", "delete"])
def test_an_action_requires_a_reason(page: Client, action: str) -> None:
    run = make_run(status=Status.PENDING if action == "cancel" else Status.FAILED)
    answer = page.post(f"/runs/{run.pk}/{action}/", {"reason": " \n"})
    assert answer.status_code == 422
    assert "Enter a reason" in answer.content.decode()
    assert Run.objects.get(pk=run.pk).status == run.status
    assert not AuditEvent.objects.exists()


def test_an_action_redirects_to_the_page_it_was_started_from(alice: User) -> None:
    client = Client(REMOTE_ADDR="192.0.2.7", headers={"X-Forwarded-For": "203.0.113.1"})
    client.force_login(alice)
    run = make_run(status=Status.PENDING)
    client.post(f"/runs/{run.pk}/cancel/", {"reason": "no"})
    assert AuditEvent.objects.get().address == "192.0.2.7"
    system.label(run.pk, "later", by=alice)
    assert AuditEvent.objects.latest("pk").address == ""


def test_a_refused_action_shows_the_reason_on_a_page(page: Client) -> None:
    run = make_run(status=Status.COMPLETED)
    answer = page.post(f"/runs/{run.pk}/cancel/", {"reason": "no"})
    assert answer.status_code == 409
    text = answer.content.decode()
    assert "is completed and cannot be cancelled" in text
    assert f'href="/runs/{run.pk}/"' in text


def test_the_page_of_a_refused_fork_leads_back_to_the_run(page: Client) -> None:
    run = make_run(status=Status.RUNNING)
    answer = page.get(f"/runs/{run.pk}/fork/?step=1")
    assert answer.status_code == 409
    assert f'href="/runs/{run.pk}/"' in answer.content.decode()


def test_the_page_of_a_refused_action_shows_the_reason_that_was_typed(
    page: Client,
) -> None:
    run = make_run(status=Status.COMPLETED)
    fields = {"reason": "two <b>long</b> lines\nof text", "token": "not shown"}
    answer = page.post(f"/runs/{run.pk}/cancel/", fields)
    assert answer.status_code == 409
    text = answer.content.decode()
    assert "Your input was:" in text
    assert "two &lt;b&gt;long&lt;/b&gt; lines<br>of text" in text
    assert "not shown" not in text


def test_a_reason_that_is_too_long_is_refused_instead_of_truncated(
    page: Client,
) -> None:
    run = make_run(status=Status.PENDING)
    answer = page.post(f"/runs/{run.pk}/cancel/", {"reason": 2_001 * "x"})
    assert answer.status_code == 422
    text = answer.content.decode()
    assert "The reason has 2,001 characters, at most 2,000 can be stored." in text
    assert 2_001 * "x" in text
    run.refresh_from_db()
    assert run.status == Status.PENDING
    page.post(f"/runs/{run.pk}/cancel/", {"reason": 2_000 * "x"})
    assert AuditEvent.objects.get().reason == 2_000 * "x"


def test_a_refused_action_shows_the_reason_on_a_live_page(page: Client) -> None:
    run = make_run(status=Status.COMPLETED)
    answer = page.post(f"/runs/{run.pk}/resume/", {"reason": "again"}, headers=HTMX)
    assert answer.status_code == 409
    text = answer.content.decode()
    assert 'id="messages"' in text
    assert 'hx-swap-oob="outerMorph"' in text
    assert "cannot be resumed" in text


def test_deleting_removes_the_run_and_redirects_to_the_list(page: Client) -> None:
    run = make_whole_run()
    answer = page.post(f"/runs/{run.pk}/delete/", {"reason": "a test"})
    assert answer.headers["Location"] == "/runs/"
    assert not Run.objects.exists()
    assert AuditEvent.objects.get().reason == "a test"


def test_deleting_from_a_live_page_redirects_too(page: Client) -> None:
    run = make_run()
    answer = page.post(f"/runs/{run.pk}/delete/", {"reason": "old"}, headers=HTMX)
    assert answer.headers["HX-Redirect"] == "/runs/"


def text_in(page: Client, status: str) -> str:
    """Return the page of a run in this status."""
    return page.get(f"/runs/{make_run(status=status).pk}/").content.decode()


def test_only_permitted_actions_are_offered(page: Client) -> None:
    offered = {
        status: {
            action
            for action in ("cancel", "resume", "delete")
            if f"action-{action}" in text_in(page, status)
        }
        for status in Status.values
    }
    assert offered == {
        "pending": {"cancel"},
        "running": {"cancel"},
        "waiting": {"cancel"},
        "completed": {"delete"},
        "failed": {"resume", "delete"},
        "cancelled": {"resume", "delete"},
    }


# The list --------------------------------------------------------------------------------


def test_the_list_shows_the_newest_first(page: Client) -> None:
    old, new = make_run(), make_run()
    text = page.get("/runs/").content.decode()
    assert text.index(str(new.pk)) < text.index(str(old.pk))


def test_the_list_can_be_filtered(page: Client, alice: User, bob: User) -> None:
    wanted = make_run(status=Status.FAILED, launched_by=bob)
    make_run(status=Status.FAILED, launched_by=alice)
    make_run(status=Status.COMPLETED, launched_by=bob)
    make_run(status=Status.FAILED, launched_by=bob, workflow_name="other")
    query = {"status": "failed", "who": "bob", "workflow": "classify-document"}
    text = page.get("/runs/", query).content.decode()
    assert text.count('id="row-') == 1
    assert f'id="row-{wanted.pk}"' in text


def test_pages_of_the_list_retain_the_filter(page: Client) -> None:
    for _ in range(55):
        make_run(status=Status.FAILED)
    first = page.get("/runs/", {"status": "failed"})
    assert first.content.decode().count('id="row-') == 50
    assert "status=failed&amp;before=" in first.content.decode()
    before = first.context["found"].after
    second = page.get("/runs/", {"status": "failed", "before": before})
    assert second.content.decode().count('id="row-') == 5


@pytest.mark.parametrize(
    "query", [{"before": "x"}, {"status": "odd"}, {"who": "\x00"}, {"workflow": "\x00"}]
)
def test_an_invalid_filter_is_ignored(page: Client, query: dict[str, str]) -> None:
    make_run()
    assert page.get("/runs/", query).status_code == 200


def test_empty_lists_show_the_next_action(page: Client) -> None:
    assert "Launch a workflow" in page.get("/runs/").content.decode()
    filtered = page.get("/runs/", {"status": "failed"}).content.decode()
    assert "Show all" in filtered
