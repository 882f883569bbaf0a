"""Second factors: codes and passkeys after the password, and guesses of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal import auth as totp
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from workflows.models import AuditEvent

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
Commits = Callable[..., AbstractContextManager[object]]
PASSWORD = "alice's password"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def code_of(secret: str = SECRET) -> str:
    """Return the code that an authenticator app shows now."""
    counter = next(iter(totp.yield_hotp_counters_from_time()))
    return str(totp.format_hotp_value(totp.hotp_value(secret, counter)))


def passed_password(name: str = "alice", password: str = PASSWORD) -> Client:
    """Return a client that has entered the password."""
    client = Client()
    form = {"username": name, "password": password, "next": "/runs/"}
    answer = client.post(reverse("login"), form)
    assert answer.headers["Location"] == reverse("mfa_authenticate")
    return client


def enter(client: Client, code: str) -> tuple[int, str]:
    answer = client.post(reverse("mfa_authenticate"), {"code": code})
    return answer.status_code, answer.headers.get("Location", answer.content.decode())


@pytest.fixture
def protected(alice: User) -> User:
    """Give alice an authenticator app and recovery codes."""
    cache.clear()  # of codes that other tests used
    totp.TOTP.activate(alice, SECRET)
    RecoveryCodes.activate(alice)
    return alice


def actions() -> list[tuple[str, str]]:
    rows = AuditEvent.objects.order_by("pk")
    return [(row.action, row.reason) for row in rows]


def test_a_password_alone_signs_in_without_a_second_factor(alice: User) -> None:
    client = Client()
    form = {"username": "alice", "password": PASSWORD, "next": "/runs/"}
    assert client.post(reverse("login"), form).headers["Location"] == "/runs/"
    assert actions() == [("sign in", "alice: password")]


def test_a_code_is_asked_for_after_the_password(protected: User) -> None:
    client = passed_password()
    assert client.get("/runs/").status_code == 302
    assert enter(client, "000000")[0] == 200
    assert enter(client, code_of()) == (302, "/runs/")
    assert client.get("/runs/").status_code == 200
    assert actions() == [
        ("refuse sign-in", "alice (code)"),
        ("sign in", "alice: password and second factor"),
    ]


def test_the_sign_in_of_admin_asks_for_it_too(protected: User) -> None:
    form = {"username": "alice", "password": PASSWORD}
    answer = Client().post("/admin/login/", form)
    assert answer.headers["Location"] == reverse("mfa_authenticate")


def test_a_code_is_valid_once(protected: User) -> None:
    code = code_of()
    assert enter(passed_password(), code)[0] == 302
    cache.clear()  # as in another process
    assert enter(passed_password(), code)[0] == 200


def test_a_recovery_code_is_valid_once(protected: User) -> None:
    row = Authenticator.objects.get(user=protected, type="recovery_codes")
    code = row.wrap().get_unused_codes()[0]
    assert enter(passed_password(), code)[0] == 302
    assert enter(passed_password(), code)[0] == 200


def test_secrets_are_encrypted(protected: User) -> None:
    stored = [str(row.data) for row in Authenticator.objects.all()]
    assert not [text for text in stored if SECRET in text]


def test_wrong_codes_lock_the_account_from_every_address(protected: User) -> None:
    for number in range(settings.AXES_FAILURE_LIMIT):
        client = passed_password()
        client.defaults["REMOTE_ADDR"] = f"192.0.2.{number}"
        assert "Incorrect code" in enter(client, "000000")[1]
    status, text = enter(passed_password(), code_of())
    assert status == 200
    assert "Too many wrong codes. Try again in 15 minutes." in text
    # who does not know the password locks nobody out
    assert passed_password().get(reverse("mfa_authenticate")).status_code == 200


def test_changes_need_the_password_again(
    alice: User, sign_in: SignIn, django_capture_on_commit_callbacks: Commits
) -> None:
    client = sign_in(alice)
    page = reverse("mfa_activate_totp")
    answer = client.get(page)
    assert answer.headers["Location"].startswith(reverse("account_reauthenticate"))
    form = {"password": "wrong", "next": page}
    answer = client.post(reverse("account_reauthenticate"), form)
    assert "Incorrect password." in answer.content.decode()
    form["password"] = PASSWORD
    answer = client.post(reverse("account_reauthenticate"), form)
    assert answer.headers["Location"] == page
    text = client.get(page).content.decode()
    found = re.search(r'<code id="secret">(\w+)<', text)
    assert found
    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post(page, {"code": code_of(found[1])})
    assert answer.status_code == 302
    assert "Recovery codes" in client.get(answer.headers["Location"]).content.decode()
    client.post(reverse("mfa_deactivate_totp"))
    assert not Authenticator.objects.exists()
    named = [one for one in actions() if "second factor" in one[0]]
    assert named[0] == ("add second factor", "alice: authenticator app")
    assert ("remove second factor", "alice: authenticator app") in named


def test_passwords_are_guessed_no_more_often_where_they_are_confirmed(
    alice: User, sign_in: SignIn
) -> None:
    client = sign_in(alice)
    for _ in range(settings.AXES_FAILURE_LIMIT):
        client.post(reverse("account_reauthenticate"), {"password": "wrong"})
    answer = client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    assert answer.status_code == 429


def test_a_passkey_has_to_be_one_of_the_account(protected: User) -> None:
    client = passed_password()
    for credential in ("{}", "[]", '{"id": "x"}', "x"):
        form = {"credential": credential}
        assert client.post(reverse("mfa_authenticate"), form).status_code == 200
        answer = Client().post(reverse("mfa_login_webauthn"), form)
        assert not answer.client.session.get("_auth_user_id")
    assert client.get("/runs/").status_code == 302


def test_a_passkey_login_gets_a_challenge(db: None) -> None:
    answer = Client().get(
        reverse("mfa_login_webauthn"), headers={"Accept": "application/json"}
    )
    options = answer.json()["request_options"]["publicKey"]
    assert options["challenge"]
    assert options["userVerification"]
