"""Every address requires an account, and every change a CSRF token."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, reverse

from tests.support.factories import make_document, make_run
from workflows.models import Run, Status
from workflows.pages.urls import urlpatterns

SignIn = Callable[[User], Client]
RUN, DOCUMENT = UUID(int=1), UUID(int=2)
ARGUMENTS = {
    "job_id": UUID(int=3),
    "name": "classify-document",
    "run_id": RUN,
    "document_id": DOCUMENT,
    "file_id": UUID(int=9),
    "number": 1,
    "kind": "csv",
    "view_id": 1,
    "sequence": 1,
    "agent_id": 1,
    "provider_id": 1,
    "profile_id": 1,
    "budget_id": 1,
    "price_id": 1,
    "token_id": 1,
    "member_id": 0,
    "invitation_id": 1,
    "schedule_id": UUID(int=4),
    "webhook_id": UUID(int=5),
    "webhook_delivery_id": UUID(int=6),
    "destination_id": UUID(int=7),
    "delivery_id": 1,
    "alert_id": UUID(int=8),
    "subscription_id": 1,
    "message_id": 1,
    "document": "glossary",
    "image": "run",
}
OPEN = {"favicon.ico"}
ACTIONS = (
    "run-cancel",
    "run-resume",
    "run-delete",
    "run-respond",
    "run-note",
    "run-label",
)


def addresses() -> list[str]:
    """Return an address for every page."""
    found = []
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        route = str(pattern.pattern)
        if route not in OPEN:
            names = pattern.pattern.converters
            arguments = {name: ARGUMENTS[name] for name in names}
            assert pattern.name
            found.append(reverse(pattern.name, kwargs=arguments))
    return found


@pytest.mark.parametrize("address", addresses())
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_anonymous_visitor_is_redirected_to_the_sign_in_page(
    db: None, client: Client, address: str, method: str
) -> None:
    answer = getattr(client, method)(address)
    if answer.status_code != 405:
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/accounts/login/?next=")


@pytest.mark.parametrize("address", addresses())
def test_a_missing_object_shows_a_not_found_page(
    alice: User, sign_in: SignIn, address: str
) -> None:
    answer = sign_in(alice).get(address)
    # Without a query, these have nothing to show.
    names_no_object = address in {reverse("follow"), reverse("approvals-respond")}
    assert answer.status_code in ({302} if names_no_object else {200, 403, 404, 405})
    if answer.status_code == 404:
        text = answer.content.decode()
        assert "Page not found" in text or "nothing here" in text


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_requires_post(alice: User, sign_in: SignIn, action: str) -> None:
    run = make_run(status=Status.RUNNING)
    assert sign_in(alice).get(reverse(action, args=[run.pk])).status_code == 405


@pytest.mark.parametrize("action", ACTIONS)
def test_a_form_from_another_site_is_refused(alice: User, action: str) -> None:
    run = make_run(status=Status.RUNNING)
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    answer = client.post(reverse(action, args=[run.pk]))
    assert answer.status_code == 403
    assert "form has expired" in answer.content.decode()
    assert Run.objects.get().status == Status.RUNNING


def test_a_deactivated_account_has_no_access(alice: User, sign_in: SignIn) -> None:
    client = sign_in(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert client.get("/").status_code == 302


def test_signing_in_redirects_to_the_requested_page(
    alice: User, client: Client
) -> None:
    page = client.get("/accounts/login/", {"next": "/runs/"})
    assert 'name="next" value="/runs/"' in page.content.decode()
    answer = client.post(
        "/accounts/login/",
        {"username": "alice", "password": "alice's password", "next": "/runs/"},
    )
    assert answer.headers["Location"] == "/runs/"


def test_a_wrong_password_shows_a_message_and_the_user_name(
    alice: User, client: Client
) -> None:
    answer = client.post("/accounts/login/", {"username": "alice", "password": "?"})
    text = answer.content.decode()
    assert "Incorrect user name or password" in text
    assert 'value="alice"' in text


def test_signing_out_requires_post(alice: User, sign_in: SignIn) -> None:
    client = sign_in(alice)
    assert client.get("/accounts/logout/").status_code == 405
    assert client.get("/").status_code == 200
    client.post("/accounts/logout/")
    assert client.get("/").status_code == 302


def test_the_content_security_policy_forbids_other_origins_and_inline_code(
    alice: User, sign_in: SignIn
) -> None:
    answer = sign_in(alice).get("/")
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    text = answer.content.decode()
    assert " style=" not in text
    assert "<style" not in text
    assert " onclick=" not in text
    assert "<script>" not in text


def test_a_file_is_sent_as_an_attachment(alice: User, sign_in: SignIn) -> None:
    document = make_document('he said "x".pdf', b"%PDF-1.7 <script>")
    answer = sign_in(alice).get(reverse("document-file", args=[document.pk]))
    assert answer.getvalue() == b"%PDF-1.7 <script>"
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Type"] == "application/pdf"


def test_error_pages_render_without_context() -> None:
    from django.template.loader import render_to_string

    for name in ("500.html", "403_csrf.html"):
        assert "Signalbox" in render_to_string(name)
