"""`/health/live` and `/health/ready`: healthy parts, and the messages for others."""

from __future__ import annotations

import datetime as dt
import threading
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from workflows.engine import threads
from workflows.models import Worker
from workflows.ops import health

pytestmark = pytest.mark.usefixtures("new_channel_layer")


def a_worker(*, seconds_ago: float = 0, stopped: bool = False) -> Worker:
    moment = timezone.now() - dt.timedelta(seconds=seconds_ago)
    return Worker.objects.create(
        name=f"worker-{Worker.objects.count()}",
        host="here",
        pid=1,
        capacity=1,
        heartbeat_at=moment,
        stopped_at=moment if stopped else None,
    )


def ask(client: Client, part: str) -> tuple[int, dict[str, Any]]:
    """Return the status of the response, and its finding for one part."""
    response = client.get("/health/ready")
    return response.status_code, response.json()["checks"][part]


def test_liveness_depends_on_no_other_service(
    client: Client, db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        response = client.get("/health/live")
    assert response.status_code == 200
    assert response.json() == {"status": "ok"}
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize("path", ["/health/live", "/health/pages", "/health/ready"])
def test_health_accepts_only_get_requests(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405


@pytest.mark.django_db(transaction=True)
def test_ready_when_every_part_is_well(client: Client) -> None:
    a_worker()
    response = client.get("/health/ready")
    found = response.json()
    assert found["checks"].pop("disk")["ok"] is True
    assert found["checks"].pop("threads")["ok"] is True
    assert found == {
        "status": "ready",
        "checks": {
            "database": {"ok": True, "message": "The database answers."},
            "migrations": {"ok": True, "message": "All are applied."},
            "messages": {"ok": True, "message": "Messages arrive."},
            "workers": {"ok": True, "message": "Workers alive: 1."},
        },
    }
    assert response.status_code == 200


@pytest.mark.django_db(transaction=True)
def test_not_ready_without_a_living_worker(client: Client) -> None:
    a_worker(seconds_ago=settings.LEASE_SECONDS + 1)
    a_worker(stopped=True)
    status, workers = ask(client, "workers")
    assert status == 503
    assert workers == {
        "ok": False,
        "message": "None is alive: runs wait until `manage.py worker` is started.",
    }


@pytest.mark.django_db(transaction=True)
def test_not_ready_before_the_migrations(client: Client) -> None:
    a_worker()
    applied = MigrationRecorder(connection).migration_qs.filter(app="sessions")
    rows = list(applied)
    applied.delete()
    try:
        status, migrations = ask(client, "migrations")
    finally:
        applied.bulk_create(rows)
    assert status == 503
    assert migrations["message"] == "1 are missing: run `manage.py prepare`."


@pytest.mark.django_db(transaction=True)
def test_not_ready_when_messages_do_not_arrive(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_worker()
    monkeypatch.setattr(health, "CHECK_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(
        "channels.layers.InMemoryChannelLayer.send", _lose, raising=True
    )
    status, messages = ask(client, "messages")
    assert status == 503
    assert messages["message"] == "No answer within 0.05 s."


@pytest.mark.django_db(transaction=True)
def test_a_failure_is_logged_and_not_shown(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a_worker()

    async def fail() -> health.CheckResult:
        raise ConnectionError("redis at 10.0.0.7 said no")

    monkeypatch.setitem(health.CHECKS, "messages", fail)
    status, messages = ask(client, "messages")
    assert status == 503
    assert messages["message"] == "Failed or cannot be reached; see the log."
    assert "10.0.0.7" in caplog.text


async def _lose(*_: object) -> None:
    """Take a message and deliver it to no one."""


async def test_threads_of_nodes_that_never_return_are_reported_when_others_wait_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool, release = threads.ThreadPool(slots=1, max_abandoned=0), threading.Event()
    monkeypatch.setattr(threads, "pool", pool)
    call = threads.Call(release.wait)
    pool.submit(call)
    assert (await health.CHECKS["threads"]()).ok
    pool.abandon(call)
    finding = await health.CHECKS["threads"]()
    assert not finding.ok
    assert finding.message.startswith("1 threads of nodes that timed out still work")
    release.set()
