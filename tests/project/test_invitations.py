"""Invitations: links with which people create their account, once."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core import mail
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from tests.support.factories import make_role, make_user
from workflows.access import invitations
from workflows.access.account_errors import InvitationNotFound
from workflows.errors import NotAllowed
from workflows.models import AuditEvent, Invitation
from workflows.pages.accounts import invitation_views

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
LINK = re.compile(r"/accounts/invitations/[\w-]+/")
ACCOUNT = {
    "username": "ada",
    "password1": "a long pass phrase",
    "password2": "a long pass phrase",
}


def invited(client: Client, **form: Any) -> str:
    """Return the link that the page of an invitation shows."""
    answer = client.post(reverse("invite"), form)
    assert answer.status_code == 201
    assert answer["Cache-Control"] == "no-store"
    found = LINK.search(answer.content.decode())
    assert found
    return found[0]


def test_an_invitation_creates_one_account_in_its_groups(
    admin: User, sign_in: SignIn
) -> None:
    group = make_role("viewer")
    link = invited(sign_in(admin), email="ada@example.org", groups=[group.pk])
    assert mail.outbox == []
    assert "admin invites you" in Client().get(link).content.decode()
    wrong = {**ACCOUNT, "password2": "another one"}
    assert Client().post(link, wrong).status_code == 422
    assert Client().post(link, ACCOUNT).headers["Location"] == reverse("login")
    ada = User.objects.get(username="ada")
    assert (ada.email, list(ada.groups.all())) == ("ada@example.org", [group])
    assert not ada.is_staff
    again = Client().post(link, {**ACCOUNT, "username": "eve"})
    assert again.status_code == 404
    assert not User.objects.filter(username="eve").exists()
    events = AuditEvent.objects.order_by("pk").values_list("action", "reason")
    assert list(events) == [
        ("create invitation", "ada@example.org: viewer"),
        ("accept invitation", "ada: viewer"),
    ]


def test_the_secret_is_not_stored(admin: User) -> None:
    invitation, secret = invitations.invite("", [], by=admin)
    assert secret not in str(vars(invitation))
    assert invitations.find(secret) == invitation
    assert invitations.find(secret + "x") is None


def test_the_link_is_mailed_if_mail_is_configured(
    admin: User, sign_in: SignIn, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMAIL_HOST = "mail.example"
    settings.PUBLIC_URL = "https://runs.example.org"
    monkeypatch.setattr(invitation_views, "send_later", lambda message: message.send())
    link = invited(sign_in(admin), email="ada@example.org")
    assert f"https://runs.example.org{link}" in mail.outbox[0].body
    assert mail.outbox[0].to == ["ada@example.org"]


def test_expired_and_revoked_links_are_refused(admin: User, sign_in: SignIn) -> None:
    client = sign_in(admin)
    invitation, secret = invitations.invite("", [], by=admin)
    address = reverse("invitation-revoke", args=[invitation.pk])
    assert client.post(address).status_code == 302
    assert client.post(address).status_code == 404
    assert invitations.find(secret) is None
    _, secret = invitations.invite("", [], by=admin)
    Invitation.objects.update(expires_at=timezone.now() - dt.timedelta(seconds=1))
    assert invitations.find(secret) is None
    text = client.get(reverse("invite")).content.decode()
    assert "No open invitations." in text


def test_of_two_who_accept_at_once_one_gets_the_account(admin: User) -> None:
    invitation, _ = invitations.invite("", [], by=admin)
    invitations.accept(invitation, User(username="first"))
    with pytest.raises(InvitationNotFound):
        invitations.accept(invitation, User(username="second"))
    assert not User.objects.filter(username="second").exists()


def test_an_inviter_gives_no_more_than_their_own_permissions(
    admin: User, sign_in: SignIn
) -> None:
    manager = make_user()
    manager.groups.add(make_role("admin"))
    stronger = Group.objects.create(name="stronger")
    stronger.permissions.add(Permission.objects.get(codename="delete_logentry"))
    invitations.invite("", [make_role("operator")], by=manager)
    with pytest.raises(NotAllowed):
        invitations.invite("", [stronger], by=manager)
    form = {"groups": [stronger.pk]}
    assert sign_in(manager).post(reverse("invite"), form).status_code == 403
    assert sign_in(make_user()).get(reverse("invite")).status_code == 403


def test_links_of_an_inviter_who_lost_the_permission_are_refused() -> None:
    manager = make_user()
    manager.groups.add(make_role("admin"))
    _, secret = invitations.invite("", [make_role("viewer")], by=manager)
    manager.groups.clear()
    assert invitations.find(secret) is None
