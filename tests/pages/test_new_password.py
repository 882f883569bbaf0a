"""Users change the password of their own account."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings

from tests.support.factories import make_user
from workflows.models import AuditEvent
from workflows.pages.rate_limits import own

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
OLD, NEW = "the old pass phrase", "another pass phrase"
ADDRESS = "/accounts/password/"


@pytest.fixture
def person() -> User:
    person = make_user("dora")
    person.set_password(OLD)
    person.save()
    return person


@pytest.fixture
def page(person: User, sign_in: SignIn) -> Client:
    return sign_in(person)


def given(old: str = OLD, new: str = NEW, again: str = "") -> dict[str, str]:
    return {
        "old_password": old,
        "new_password1": new,
        "new_password2": again or new,
    }


def test_the_current_password_allows_a_change(page: Client, person: User) -> None:
    assert "Change password" in page.get("/").content.decode()
    text = page.post(ADDRESS, given(), follow=True).content.decode()
    assert "Password changed." in text
    person.refresh_from_db()
    assert person.check_password(NEW)
    assert page.get("/").status_code == 200, "this session stays signed in"


def test_other_sessions_end(page: Client, person: User, sign_in: SignIn) -> None:
    elsewhere = sign_in(person)
    assert elsewhere.get("/").status_code == 200
    page.post(ADDRESS, given())
    assert elsewhere.get("/").status_code == 302


@pytest.mark.parametrize(
    ("form", "expected_text"),
    [
        (given(old="a guess"), "old password was entered incorrectly"),
        (given(again="something else"), "didn’t match"),
        (given(new="12345678901"), "entirely numeric"),
        (given(new="short"), "too short"),
        ({}, "required"),
    ],
)
def test_an_invalid_input_is_refused_and_changes_nothing(
    page: Client, person: User, form: dict[str, str], expected_text: str
) -> None:
    answer = page.post(ADDRESS, form)
    assert answer.status_code == 422
    assert expected_text in answer.content.decode()
    person.refresh_from_db()
    assert person.check_password(OLD)
    assert not AuditEvent.objects.exists()


def test_the_audit_event_has_no_content(page: Client, person: User) -> None:
    page.post(ADDRESS, given())
    event = AuditEvent.objects.get()
    assert (event.actor, event.action) == (person, "change password")
    assert NEW not in str(AuditEvent.objects.values())


def test_guesses_of_the_current_password_are_limited(
    page: Client, person: User
) -> None:
    own.cache_clear()
    with override_settings(RATES={"login": 2, "launch": 0, "upload": 0}):
        tries = [page.post(ADDRESS, given(old="guess")).status_code for _ in range(3)]
    assert tries == [422, 422, 429]


def test_staff_use_the_same_page(admin: User, sign_in: SignIn) -> None:
    admin.set_password(OLD)
    admin.save()
    sign_in(admin).post("/admin/password_change/", given())
    assert AuditEvent.objects.get().action == "change password"
