"""Sessions: listed, ended one by one and everywhere; passwords reset by mail."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client, override_settings
from django.urls import reverse
from pytest_django import Settings

from tests.support.factories import make_user
from workflows.models import AuditEvent
from workflows.pages.accounts import password_reset, user_sessions

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
PASSWORD = "alice's password"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def signed_in(agent: str = FIREFOX, password: str = PASSWORD) -> Client:
    """Return a client of alice that has signed in with her password."""
    client = Client(HTTP_USER_AGENT=agent)
    form = {"username": "alice", "password": password}
    assert client.post(reverse("login"), form).status_code == 302
    return client


def is_in(client: Client) -> bool:
    return client.get("/runs/").status_code == 200


def test_sessions_are_listed_with_their_browser(alice: User) -> None:
    here, there = signed_in(), signed_in("curl/8")
    text = here.get(reverse("security")).content.decode()
    assert "Firefox on Linux" in text
    assert "curl/8" in text
    assert text.count("this one") == 1
    assert is_in(there)


def test_a_session_is_ended_from_another(alice: User) -> None:
    here, there = signed_in(), signed_in("curl/8")
    other = [
        one
        for one in user_sessions.sessions_of(alice, here.session.session_key)
        if not one.is_current
    ]
    here.post(reverse("session-end", args=[other[0].pk]))
    assert is_in(here)
    assert not is_in(there)
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.reason) == ("end session", "alice: curl/8, 127.0.0.1")


def test_sessions_of_others_cannot_be_ended(
    alice: User, bob: User, sign_in: SignIn
) -> None:
    client = signed_in()
    session = user_sessions.sessions_of(alice)[0]
    answer = sign_in(bob).post(reverse("session-end", args=[session.pk]))
    assert answer.status_code == 404
    assert is_in(client)


def test_signing_out_everywhere_ends_sessions_without_rows_too(
    alice: User, bob: User, sign_in: SignIn
) -> None:
    here, there, older = signed_in(), signed_in("curl/8"), Client()
    older.force_login(alice)  # without a row
    other = Client()
    other.force_login(bob)
    here.post(reverse("sessions-end"))
    assert [is_in(one) for one in (here, there, older, other)] == [
        True,
        False,
        False,
        True,
    ]


def test_account_managers_sign_members_out(
    admin: User, alice: User, sign_in: SignIn
) -> None:
    client = signed_in()
    manager = make_user()
    address = reverse("member-sign-out", args=[alice.pk])
    assert sign_in(manager).post(address).status_code == 403
    assert sign_in(admin).post(address).status_code == 302
    assert not is_in(client)
    event = AuditEvent.objects.latest("pk")
    assert (event.action, event.reason) == ("sign out everywhere", "alice")
    assert event.actor == admin


def test_a_deactivated_account_gets_the_page_of_a_wrong_password(alice: User) -> None:
    alice.is_active = False
    alice.save()
    form = {"username": "alice", "password": PASSWORD}
    answer = Client().post(reverse("login"), form)
    assert "Incorrect user name or password" in answer.content.decode()


# Reset ------------------------------------------------------------------------------


@pytest.fixture
def mailing(
    settings: Settings, alice: User, monkeypatch: pytest.MonkeyPatch
) -> list[Any]:
    """Configure mail, which is sent at once, and give alice an address."""
    settings.EMAIL_HOST = "mail.example"
    settings.PUBLIC_URL = "https://runs.example.org"
    alice.email = "alice@example.org"
    alice.save()
    monkeypatch.setattr(password_reset, "send_later", lambda message: message.send())
    return mail.outbox


def asked(address: str = "alice@example.org", **options: str) -> Any:
    return Client(**options).post(  # type: ignore[arg-type]
        reverse("account_reset_password"), {"email": address}
    )


def test_a_password_is_reset_by_a_link_that_is_valid_once(mailing: list[Any]) -> None:
    before = signed_in()
    text = asked().content.decode()
    assert asked("nobody@example.org").content.decode() == text
    assert len(mailing) == 1
    found = re.search(r"https://runs\.example\.org(/\S+)", mailing[0].body)
    assert found
    client = Client()
    answer = client.get(found[1], follow=True)
    page = answer.redirect_chain[0][0]
    form = {"new_password1": "a new pass phrase", "new_password2": "another one here"}
    assert client.post(page, form).status_code == 422
    form["new_password2"] = form["new_password1"]
    assert client.post(page, form).headers["Location"] == reverse("login")
    assert not is_in(before)
    assert is_in(signed_in(password="a new pass phrase"))
    assert "expired or was used" in Client().get(found[1]).content.decode()
    assert AuditEvent.objects.filter(action="reset password", reason="alice").exists()


def test_the_link_does_not_follow_the_host_of_the_request(mailing: list[Any]) -> None:
    with override_settings(ALLOWED_HOSTS=["*"]):
        asked(HTTP_HOST="evil.example")
    assert "evil" not in mailing[0].body


def test_mails_to_one_address_are_limited(mailing: list[Any]) -> None:
    limit = settings.RATES["reset_mail"]
    for number in range(limit + 1):
        answer = asked(REMOTE_ADDR=f"192.0.2.{number}")
    assert answer.status_code == 429
    assert len(mailing) == limit


def test_accounts_without_a_password_get_no_link(
    mailing: list[Any], alice: User
) -> None:
    alice.set_unusable_password()
    alice.save()
    asked()
    assert mailing == []


def test_without_mail_the_page_refers_to_an_administrator(db: None) -> None:
    text = Client().get(reverse("account_reset_password")).content.decode()
    assert "Ask an administrator" in text
    assert asked().status_code == 422


def test_a_mail_server_that_refuses_fails_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(password_reset, "get_connection", refuse)
    password_reset._send(mail.EmailMessage("x", "x", None, ["a@example.org"]))  # noqa: SLF001
    assert "A mail was not sent: ConnectionRefusedError" in caplog.text
    assert "example.org" not in caplog.text
