"""Guessing passwords is slowed down and does not reveal which accounts exist."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

import pytest
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth import hashers
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.test import Client, override_settings

from workflows.infra.client_ip import UNKNOWN, address_of
from workflows.pages.rate_limits import own

Answer = Callable[..., tuple[int, str]]
DOORS = ("/accounts/login/", "/admin/login/")
RIGHT, WRONG = "alice's password", "?"
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="\w+"')


def tried(
    name: str = "alice", password: str = WRONG, *, door: str = DOORS[0], **meta: str
) -> tuple[int, str]:
    """Return status and page of a try to sign in, without what is random in it."""
    answer = Client(**meta).post(door, {"username": name, "password": password})  # type: ignore[arg-type]
    return answer.status_code, TOKEN.sub("", answer.content.decode())


def guess(times: int, name: str = "alice", **options: str) -> tuple[int, str]:
    """Guess a password so many times; return what the last try got."""
    for _ in range(times):
        last = tried(name, **options)
    return last


def test_a_wrong_password_is_wrong_four_times(alice: User) -> None:
    status, page = guess(settings.AXES_FAILURE_LIMIT - 1)
    assert status == 200
    assert "Incorrect user name or password" in page
    assert tried(password=RIGHT)[0] == 302


@pytest.mark.parametrize("door", DOORS)
def test_after_five_failures_the_sign_in_page_shows_the_waiting_time(
    alice: User, client: Client, door: str
) -> None:
    guess(settings.AXES_FAILURE_LIMIT, door=door)
    form = {"username": "alice", "password": RIGHT, "next": "/runs/"}
    answer = client.post(door, form)
    page = " ".join(answer.content.decode().split())
    assert answer.status_code == 429
    assert 890 <= int(answer.headers["Retry-After"]) <= 900
    assert "Too many failed attempts. Try again in 15 minutes, at " in page
    assert 'name="next" value="/runs/"' in page
    assert not client.session.get("_auth_user_id")


def test_every_door_has_the_same_lock(alice: User) -> None:
    guess(settings.AXES_FAILURE_LIMIT, door=DOORS[0])
    assert tried(password=RIGHT, door=DOORS[1])[0] == 429


def test_waiting_is_enough(alice: User) -> None:
    guess(settings.AXES_FAILURE_LIMIT)
    long_ago = AccessAttempt.objects.get().attempt_time - dt.timedelta(minutes=16)
    AccessAttempt.objects.update(attempt_time=long_ago)
    assert tried(password=RIGHT)[0] == 302
    assert not AccessAttempt.objects.exists()


def test_further_tries_do_not_extend_the_lockout(alice: User) -> None:
    guess(settings.AXES_FAILURE_LIMIT)
    before = AccessAttempt.objects.get().attempt_time
    guess(3)
    assert AccessAttempt.objects.get().attempt_time == before


def test_no_one_is_locked_out_by_who_guesses_elsewhere(alice: User, bob: User) -> None:
    guess(settings.AXES_FAILURE_LIMIT, REMOTE_ADDR="192.0.2.1")
    assert tried(password=RIGHT, REMOTE_ADDR="192.0.2.2")[0] == 302
    assert tried("bob", "bob's password", REMOTE_ADDR="192.0.2.1")[0] == 302


def test_addresses_of_one_network_count_together(alice: User) -> None:
    for number in range(settings.AXES_FAILURE_LIMIT):
        tried(REMOTE_ADDR=f"2001:db8::{number}")
    assert tried(REMOTE_ADDR="2001:db8::beef", password=RIGHT)[0] == 429
    assert tried(REMOTE_ADDR="2001:db8:0:1::1", password=RIGHT)[0] == 302


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", UNKNOWN),
        ("unknown", UNKNOWN),
        ("192.0.2.7:80", UNKNOWN),
        ("fe80::1%eth0", "fe80::"),
    ],
)
def test_only_addresses_are_addresses(told: str, address: str) -> None:
    request = HttpRequest()
    request.META["REMOTE_ADDR"] = told
    assert address_of(request) == address


@pytest.mark.parametrize("address", ["", "unknown", "<script>"])
def test_an_address_that_is_none_fails_no_sign_in(alice: User, address: str) -> None:
    assert tried(REMOTE_ADDR=address)[0] == 200
    assert tried(password=RIGHT, REMOTE_ADDR=address)[0] == 302


# Accounts are not revealed ----------------------------------------------------------


def closed(name: str) -> None:
    User.objects.filter(username=name).update(is_active=False)


@pytest.mark.parametrize("times", [1, 5, 6])
def test_unknown_user_names_get_the_same_responses(alice: User, times: int) -> None:
    real, unreal = guess(times, "alice"), guess(times, "alicf")
    assert real[0] == unreal[0]
    assert real[1] == unreal[1].replace("alicf", "alice")


@pytest.mark.parametrize("door", DOORS)
def test_an_inactive_account_gets_the_same_response(alice: User, door: str) -> None:
    before = tried(door=door)
    closed("alice")
    assert tried(door=door) == before
    assert tried(password=RIGHT, door=door) == before


def test_an_unknown_user_name_hashes_the_password_too(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked = []
    encode = hashers.MD5PasswordHasher.encode

    def counted(self: object, *args: str, **named: str) -> str:
        worked.append(1)
        return encode(self, *args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(hashers.MD5PasswordHasher, "encode", counted)
    spent = []
    for name in ("alice", "nobody"):
        worked.clear()
        tried(name)
        spent.append(len(worked))
    assert spent[0] == spent[1] > 0


# How often one address may try ------------------------------------------------------


@override_settings(RATES={**settings.RATES, "login": 3})
def test_tries_with_many_user_names_from_one_address_are_limited_too(
    alice: User, bob: User
) -> None:
    for name in ("a", "b", "c"):
        assert tried(name)[0] == 200
    answer = Client().post(DOORS[0], {"username": "bob", "password": "bob's password"})
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert "Try again in 1 minute" in " ".join(answer.content.decode().split())
    assert tried("bob", "bob's password", REMOTE_ADDR="192.0.2.9")[0] == 302
    own().storage.reset()
    assert tried("bob", "bob's password")[0] == 302


def test_viewing_the_sign_in_page_is_not_limited(db: None) -> None:
    with override_settings(RATES={**settings.RATES, "login": 1}):
        assert {Client().get(DOORS[0]).status_code for _ in range(3)} == {200}
