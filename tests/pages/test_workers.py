"""The page of workers and the queue."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.support.factories import make_attempt, make_run, make_worker
from workflows.models import Outcome, Status

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


@pytest.fixture
def page(admin: User, sign_in: SignIn) -> Client:
    """Return a client of an administrator."""
    return sign_in(admin)


def text_of(page: Client) -> str:
    answer = page.get("/workers/")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_each_worker_is_shown_with_its_runs(page: Client) -> None:
    make_worker("worker-1", capacity=2)
    make_worker("worker-2", capacity=8)
    mine = make_run(status=Status.RUNNING, worker="worker-1")
    other = make_run(status=Status.RUNNING, worker="worker-9")
    text = text_of(page)
    assert "1 of 10 slots" in text
    assert "1 of 2" in text
    assert "Idle" in text
    assert mine.short_id in text
    assert other.short_id not in text


def test_a_worker_whose_slots_are_taken_by_code_without_a_run_is_full(
    page: Client,
) -> None:
    hold = {"run": "gone", "node": "load", "since": timezone.now().isoformat()}
    make_worker(
        "worker-1",
        capacity=1,
        holds=[{"kind": "thread", **hold}, {"kind": "loop", **hold}],
    )
    text = text_of(page)
    assert "0 of 1 slots, full" in text
    assert "1 slot taken</strong> by nodes that did not stop" in text
    assert "an async node holds the event loop" in text


def test_an_unresponsive_worker_does_not_count_as_active(page: Client) -> None:
    long_ago = timezone.now() - dt.timedelta(minutes=5)
    make_worker("silent-1", heartbeat_at=long_ago)
    make_worker("stopped-1", heartbeat_at=long_ago, stopped_at=long_ago)
    make_worker("ancient-1", heartbeat_at=timezone.now() - dt.timedelta(days=9))
    text = text_of(page)
    assert "No active workers." in text
    assert "silent-1" in text
    assert "stopped unexpectedly" in text
    assert "stopped-1" in text
    assert "ancient-1" not in text


def test_the_queue_reports_depth_and_age_by_workflow(page: Client) -> None:
    old = timezone.now() - dt.timedelta(minutes=7, seconds=3)
    make_run(status=Status.PENDING, updated_at=old)
    make_run(status=Status.PENDING)
    make_run(status=Status.PENDING, workflow_name="another-one")
    text = text_of(page)
    assert "3 pending" in text
    assert re.search(r"\b7 m \d+ s\b", text)
    assert "Another one" in text
    assert "/runs/?workflow=another-one&amp;status=pending" in text


def test_recent_recoveries_link_to_their_runs(page: Client) -> None:
    run = make_run()
    make_attempt(run, worker="worker-7", outcome=Outcome.LOST)
    make_attempt(run, number=2)
    text = text_of(page)
    assert "the lease of worker worker-7 expired" in text
    assert f'href="/runs/{run.pk}/"' in text


def test_an_idle_service_is_shown_as_idle(page: Client) -> None:
    text = text_of(page)
    assert "No pending runs." in text
    assert "Recoveries" in text


def test_the_page_requires_permission_to_view_workers(
    alice: User, sign_in: SignIn
) -> None:
    page = sign_in(alice)
    assert page.get("/workers/").status_code == 403
    assert "/workers/" not in page.get("/").content.decode()
