"""Requests during a database outage get a readable message, whichever query fails first."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, InternalError, OperationalError
from django.test import Client
from psycopg.errors import DeadlockDetected

from workflows.infra import outages
from workflows.pages.views import home

AWAY = OperationalError("connection refused")
DEADLOCK = OperationalError("deadlock detected")
DEADLOCK.__cause__ = DeadlockDetected("deadlock detected")


def raising(error: Exception) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise error

    return fail


@pytest.fixture
def browser() -> Client:
    return Client(raise_request_exception=False)


def test_a_session_that_cannot_be_read_is_no_fault_of_ours(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = "django.contrib.sessions.backends.db.SessionStore.load"
    monkeypatch.setattr(store, raising(AWAY))
    browser.cookies["sessionid"] = "x" * 32
    answer = browser.get("/runs/?status=failed")
    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    assert "no-store" in answer["Cache-Control"]
    text = answer.content.decode()
    assert "The database can’t be reached right now." in text
    assert '<a class="button" href="">' in text, "the same address"
    assert '<meta http-equiv="refresh" content="5">' in text


def test_what_was_sent_is_not_sent_again_by_itself(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = "django.contrib.sessions.backends.db.SessionStore.load"
    monkeypatch.setattr(store, raising(AWAY))
    browser.cookies["sessionid"] = "x" * 32
    answer = browser.post("/workflows/classify-document/", {})
    assert answer.status_code == 503
    assert "refresh" not in answer.content.decode()


@pytest.fixture
def hers(browser: Client, alice: User) -> Client:
    """Return Alice's browser."""
    browser.force_login(alice)
    return browser


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (AWAY, 503, "Database unavailable"),
        (OperationalError("database is locked"), 503, "Database unavailable"),
        (OperationalError("database or disk is full"), 503, "Database is read-only"),
        (DEADLOCK, 503, "Another change came first"),
        (InternalError("x"), 500, "Server error"),
        (IntegrityError("x"), 500, "Server error"),
        (ValueError("disk is full"), 500, "Server error"),
    ],
)
def test_outages_are_distinguished_from_faults(
    error: Exception,
    status: int,
    words: str,
    hers: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(home, "render", raising(error))
    answer = hers.get("/")
    assert answer.status_code == status
    assert words in answer.content.decode()


def test_a_live_page_shows_the_outage_in_its_messages(
    hers: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "render", raising(AWAY))
    answer = hers.get("/", headers={"HX-Request": "true"})
    assert answer.status_code == 503
    text = answer.content.decode()
    assert text.startswith('<div id="messages"')
    assert 'hx-swap-oob="outerMorph"' in text
    assert 'data-tone="error"' in text


def test_a_deadlock_is_neither_an_outage_nor_a_fault() -> None:
    assert outages.is_conflict(DEADLOCK)
    assert outages.of(DEADLOCK) is None


def test_a_deadlock_is_not_reported_as_a_change_that_may_be_accepted(
    hers: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflows.system.System.save_view", raising(DEADLOCK))
    answer = hers.post("/runs/views/", {"name": "Failed", "query": "status=failed"})
    assert answer.status_code == 503
    assert "Nothing was changed" in answer.content.decode()
    assert "may have been accepted" not in answer.content.decode()


def test_an_outage_with_successes_in_between_is_still_one(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("workflows.infra.outages.time.monotonic", lambda: now[0])
    outage = outages.Outage(
        "pigeon", "Pigeon unavailable", "Pigeon available again", calm=5.0
    )
    for _ in range(3):
        outage.report_failure(AWAY)
        now[0] += 4
        outage.report_success()  # as on a disk that is full for some rows and not for others
    assert len(caplog.records) == 1
    now[0] += 1
    outage.report_success()
    assert caplog.records[-1].getMessage() == "Pigeon available again after 13.0 s."


def test_an_outage_is_logged_once_at_its_start_and_once_at_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage = outages.Outage("pigeon", "Pigeon unavailable", "Pigeon available again")
    outage.report_success()
    for _ in range(3):
        outage.report_failure(AWAY)
    outage.report_success()
    outage.report_success()
    message = [record.getMessage() for record in caplog.records]
    assert message[0] == "Pigeon unavailable (connection refused); retrying."
    assert len(message) == 2
    assert message[1].startswith("Pigeon available again after ")
