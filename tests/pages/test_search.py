"""The search box finds runs, documents, people and pages, limited to what is visible."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from tests.support.factories import make_document, make_run, make_user
from workflows.models import Status, WorkflowPermission
from workflows.system import system

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


def test_a_text_finds_runs_documents_people_and_pages(
    alice: User, bob: User, sign_in: SignIn
) -> None:
    titled = make_run(title="Audit of Oslo", launched_by=bob)
    labelled = make_run()
    failed = make_run(status=Status.FAILED, error_message="No audit possible")
    make_run(title="Something else")
    system.label(labelled.pk, "audit", by=alice)
    document = make_document(name="audit 2026.pdf")
    found = sign_in(alice).get("/search/", {"q": "audit"}).context["found"]
    assert {run.pk for run in found.runs.rows} == {titled.pk, labelled.pk, failed.pk}
    assert found.documents == [document]
    assert found.people == []
    found = sign_in(alice).get("/search/", {"q": "bob"}).context["found"]
    assert found.people == [bob]
    found = sign_in(alice).get("/search/", {"q": "api tok"}).context["found"]
    assert [one.title for one in found.items] == ["API tokens"]
    answer = sign_in(alice).get("/search/", {"q": "nothing at all"})
    assert "Nothing found for “nothing at all”." in answer.content.decode()


def test_an_id_leads_to_its_run_and_an_expression_to_the_list(
    alice: User, sign_in: SignIn
) -> None:
    run, client = make_run(), sign_in(alice)
    assert (
        client.get("/search/", {"q": str(run.pk)}).headers["Location"]
        == f"/runs/{run.pk}/"
    )
    found = client.get("/search/", {"q": run.short_id}).context["found"]
    assert [one.pk for one in found.runs.rows] == [run.pk]
    listed = client.get("/search/", {"q": "status = failed"})
    assert listed.headers["Location"] == "/runs/?q=status+%3D+failed"


def test_what_is_not_visible_is_not_found(
    alice: User, bob: User, sign_in: SignIn
) -> None:
    group = Group.objects.create(name="others")
    WorkflowPermission.objects.create(
        workflow_name="secret", group=group, can_view=True
    )
    stranger = make_user()
    secret = make_run(workflow_name="secret", title="Audit", launched_by=stranger)
    make_document(name="hidden audit.pdf", uploaded_by=stranger)
    client = sign_in(alice)
    for text in ("Audit", secret.short_id, stranger.username, str(secret.pk)):
        answer = client.get("/search/", {"q": text})
        assert answer.status_code == 200, text
        found = answer.context["found"]
        assert not found.runs.rows, text
        assert not found.people, text
    titles = client.get("/search/palette/", {"q": "audit"}).content.decode()
    assert "Audit log" not in titles


def test_the_palette_has_pages_actions_and_recent_runs(
    alice: User, admin: User, sign_in: SignIn
) -> None:
    make_run(title="Of another person")
    run = make_run(title="My own run", launched_by=alice)
    text = sign_in(alice).get("/search/palette/").content.decode()
    assert 'role="option"' in text
    assert f'href="/runs/{run.pk}/"' in text
    assert "Of another person" not in text
    assert "Launch Summarize" in text
    assert "My approvals" in text
    assert (
        "Administration"
        in sign_in(admin).get("/search/palette/?q=admin").content.decode()
    )
    found = sign_in(alice).get("/search/palette/", {"q": "<b>&"}).content.decode()
    assert "Search for “&lt;b&gt;&amp;”" in found
    assert "/search/?q=%3Cb%3E%26" in found


def test_the_box_is_a_form_that_needs_no_script(alice: User, sign_in: SignIn) -> None:
    page = sign_in(alice).get("/workflows/").content.decode()
    assert 'role="search"' in page
    assert 'action="/search/"' in page
    assert 'name="q"' in page
