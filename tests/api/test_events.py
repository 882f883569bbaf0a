"""Streams of events over ASGI: what they send, and why they end."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from channels.layers import get_channel_layer
from django.contrib.auth.models import Group, User
from django.core.asgi import get_asgi_application
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from project.admission import Admission, Lane, Lanes
from project.body_limits import Bodies, BodyLimits
from project.refusal_responses import is_signed_in, respond
from tests.support.event_streams import Connection, connected
from tests.support.factories import make_approval, make_line, make_run, make_stage
from workflows.access import tokens
from workflows.api.live import streams
from workflows.api.live.limits import streams as open_streams
from workflows.infra import notifications, outages
from workflows.infra.database_threads import run_in_db
from workflows.models import ApiToken, Run, Status, WorkflowPermission
from workflows.services import pauses
from workflows.system import system

if TYPE_CHECKING:
    from pytest_django import Settings

pytestmark = pytest.mark.django_db(transaction=True)
RUNS = "/api/v1/runs"
Ending = Callable[[User, ApiToken, Run], object]


@pytest.fixture
def application() -> Any:
    """Return the application with a place for one request at a time."""

    def lane() -> Lane:
        return Lane(1, queue=1, seconds=5)

    lanes = Lanes(pages=lane(), files=lane(), checks=lane(), files_prefix="/static/")
    bodies = Bodies(BodyLimits(upload_bytes=1_000, form_bytes=1_000), is_signed_in)
    django: Any = get_asgi_application()
    return Admission(django, lanes, bodies, respond)


@pytest.fixture
def run(alice: User) -> Run:
    return make_run(status=Status.RUNNING, launched_by=alice)


@pytest.fixture
def token(alice: User) -> tuple[ApiToken, str]:
    return tokens.create(alice, "watcher", by=alice, scopes=["read"])


@pytest.fixture
def viewer(alice: User, settings: Any, monkeypatch: pytest.MonkeyPatch) -> User:
    """Return a person with permission to see runs; streams check it all the time."""
    settings.DEFAULT_ACCESS = "closed"
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.02)
    group = Group.objects.create(name="watchers")
    given = {"can_view": True, "can_read": True}
    WorkflowPermission.objects.create(
        group=group, workflow_name="classify-document", **given
    )
    alice.groups.set([group])
    return alice


async def change(run: Run, **fields: Any) -> None:
    """Record a new version, then notify as the recorder does."""
    version = run.version + 1
    await run_in_db(Run.objects.filter(pk=run.pk).update, version=version, **fields)
    run.version = version
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(
        notifications.PAGES, notifications.changed({run.pk: version})
    )


async def closed_by(stream: Connection) -> dict[str, Any]:
    """Return the data of the last event of a stream."""
    event = (await stream.rest())[-1]
    assert event.kind == "closed"
    found: dict[str, Any] = event.data
    return found


async def test_a_run_is_streamed_to_its_end_and_continued_by_its_last_id(
    application: Any, run: Run, token: Any
) -> None:
    await run_in_db(make_stage, run, sequence=1)
    path = f"{RUNS}/{run.pk}/events"
    async with connected(application, path, token[1]) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream"
        first = await stream.next()
        assert (first.kind, first.id.split("-")[0]) == ("run", "1")
        assert [stage["sequence"] for stage in first.data["stages"]] == [1]
        await run_in_db(make_line, run, "Half of it is done.")
        await change(run)
        second = await stream.next()
        assert [line["message"] for line in second.data["log"]] == [
            "Half of it is done."
        ]
        assert second.data["stages"] == []
    async with connected(application, path, token[1], last_event_id=first.id) as stream:
        again = await stream.next()
        assert (again.id, again.data["log"]) == (second.id, second.data["log"])
        ended = {"status": Status.FAILED, "completed_at": timezone.now()}
        await change(run, **ended, lease_expires_at=None)
        last = await stream.next()
        assert last.data["run"]["status"] == "failed"
        assert (await closed_by(stream))["code"] == "run_ended"
    async with connected(application, path, token[1], last_event_id=last.id) as stream:
        assert stream.status == 204
    assert open_streams.used == 0


async def test_lists_are_streamed(application: Any, run: Run, admin: User) -> None:
    _, secret = await run_in_db(tokens.create, admin, "all", by=admin, scopes=["admin"])
    waiting = await run_in_db(make_approval)
    async with (
        connected(application, f"{RUNS}/events?status=running", secret) as runs,
        connected(application, "/api/v1/approvals/events", secret) as approvals,
    ):
        assert (await runs.next()).data["ids"] == [str(run.pk)]
        key = {"run": str(waiting.run_id), "sequence": waiting.sequence}
        assert (await approvals.next()).data["ids"] == [key]
        await run_in_db(waiting.run.approvals.all().delete)
        await change(run)
        assert (await runs.next()).data["items"][0]["version"] == run.version
        assert (await approvals.next()).data == {"ids": [], "items": []}


async def test_pauses_of_workflows_are_streamed_and_continued(
    application: Any, alice: User, token: Any
) -> None:
    path = "/api/v1/pauses/events"
    async with connected(application, path, token[1]) as stream:
        assert (await stream.next()).data == {"ids": [], "items": []}
        await run_in_db(partial(pauses.pause, "summarize", by=alice, reason="Stock."))
        event = await stream.next()
        assert (event.kind, event.data["ids"]) == ("pauses", ["summarize"])
        assert event.data["items"][0]["reason"] == "Stock."
    await run_in_db(partial(pauses.pause, "reasoning", by=alice, reason="Stock."))
    async with connected(application, path, token[1], last_event_id=event.id) as stream:
        missed = (await stream.next()).data
        assert missed["ids"] == ["reasoning", "summarize"]
        assert [one["workflow"] for one in missed["items"]] == ["reasoning"]


def revoke(alice: User, token: ApiToken, run: Run) -> None:
    tokens.revoke(token.pk, by=alice)


def expire(alice: User, token: ApiToken, run: Run) -> None:
    over = timezone.now() - dt.timedelta(seconds=1)
    ApiToken.objects.filter(pk=token.pk).update(expires_at=over)


def deactivate(alice: User, token: ApiToken, run: Run) -> None:
    alice.is_active = False
    alice.save()


def lose_permission(alice: User, token: ApiToken, run: Run) -> None:
    alice.groups.clear()


def lose_data(alice: User, token: ApiToken, run: Run) -> None:
    ApiToken.objects.filter(pk=token.pk).update(scopes=["launch"])


def delete(alice: User, token: ApiToken, run: Run) -> None:
    Run.objects.filter(pk=run.pk).delete()


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (revoke, "unauthorized"),
        (expire, "unauthorized"),
        (deactivate, "unauthorized"),
        (lose_permission, "run_not_found"),
        (lose_data, "permissions_changed"),
        (delete, "run_not_found"),
    ],
)
async def test_a_stream_ends_with_the_access_to_it(
    application: Any, viewer: User, token: Any, ending: Ending, code: str
) -> None:
    run = await run_in_db(make_run, status=Status.RUNNING)
    async with connected(application, f"{RUNS}/{run.pk}/events", token[1]) as stream:
        await stream.next()
        await run_in_db(ending, viewer, token[0], run)
        closed = await closed_by(stream)
    assert (closed["code"], closed["retry_seconds"]) == (code, None)
    assert open_streams.used == 0


async def test_a_revoked_token_ends_its_stream_at_once(
    application: Any, run: Run, alice: User, token: Any
) -> None:
    async with connected(application, f"{RUNS}/{run.pk}/events", token[1]) as stream:
        await stream.next()
        await run_in_db(tokens.revoke, token[0].pk, by=alice)
        assert (await closed_by(stream))["code"] == "unauthorized"


async def test_a_session_that_ends_ends_its_stream(
    application: Any, run: Run, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.05)
    client = Client()
    await run_in_db(client.force_login, alice)
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    path = f"{RUNS}/{run.pk}/events"
    async with connected(application, path, cookie=cookie) as stream:
        await stream.heartbeat()
        await run_in_db(client.logout)
        assert (await closed_by(stream))["code"] == "unauthorized"


async def test_an_outage_ends_a_stream_with_a_hint_when_to_connect_again(
    application: Any, run: Run, token: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(application, f"{RUNS}/{run.pk}/events", token[1]) as stream:
        await stream.next()

        def fail(*_: Any, **__: Any) -> None:
            raise OperationalError("the connection was closed")

        monkeypatch.setattr(system, "find_run", fail)
        await change(run)
        closed = await closed_by(stream)
    assert (closed["code"], closed["retry_seconds"]) == ("unavailable", 10)
    outages.database.reset()


async def test_a_stream_ends_at_a_shutdown_and_after_its_lifetime(
    application: Any, run: Run, token: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{RUNS}/{run.pk}/events"
    async with connected(application, path, token[1]) as stream:
        await stream.next()
        try:
            open_streams.drain()
            assert (await closed_by(stream))["code"] == "shutting_down"
            async with connected(application, path, token[1]) as late:
                assert (await closed_by(late))["code"] == "shutting_down"
        finally:
            open_streams.is_draining = False
    monkeypatch.setattr(streams, "LIFETIME_SECONDS", 0)
    async with connected(application, path, token[1]) as stream:
        closed = await closed_by(stream)
    assert (closed["code"], closed["retry_seconds"]) == ("lifetime", 2)


async def test_streams_are_limited_and_hold_no_place_of_a_request(
    application: Any, run: Run, token: Any, settings: Settings
) -> None:
    settings.MAX_STREAMS_PER_PERSON = 1
    path = f"{RUNS}/{run.pk}/events"
    async with connected(application, path, token[1]) as stream:
        await stream.next()
        async with connected(application, path, token[1]) as second:
            assert (second.status, second.headers["retry-after"]) == (429, "10")
            assert (await second.body())["code"] == "too_many_streams"
        settings.MAX_STREAMS_PER_PERSON, settings.MAX_STREAMS = 0, 1
        async with connected(application, path, token[1]) as third:
            assert third.status == 429
    settings.MAX_STREAMS = 2
    async with (
        connected(application, path, token[1]) as stream,
        connected(application, path, token[1]) as second,
    ):
        assert [stream.status, second.status] == [200, 200]


async def test_a_client_that_disconnects_leaves_nothing(
    application: Any, run: Run, token: Any
) -> None:
    from workflows.pages.live.broadcast import hub

    async with connected(application, f"{RUNS}/{run.pk}/events", token[1]):
        pass
    async with asyncio.timeout(10):
        while open_streams.used or hub._subscriptions:  # noqa: ASYNC110, SLF001
            await asyncio.sleep(0)


async def test_the_failure_of_a_stream_is_sent_and_logged_once(
    application: Any,
    run: Run,
    token: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with connected(application, f"{RUNS}/{run.pk}/events", token[1]) as stream:
        await stream.next()
        monkeypatch.setattr(system, "find_run", lambda *_, **__: 1 / 0)
        await change(run)
        assert (await closed_by(stream))["code"] == "internal_error"
    assert [one.message for one in caplog.records if one.exc_info] == [
        "A stream of events failed."
    ]


@pytest.mark.parametrize("header", ["nonsense", "x" * 5_000])
async def test_an_id_that_is_no_position_is_refused(
    application: Any, run: Run, token: Any, header: str
) -> None:
    for path in (f"{RUNS}/{run.pk}/events", f"{RUNS}/events"):
        async with connected(
            application, path, token[1], last_event_id=header
        ) as answer:
            assert answer.status in {400, 422}
            assert answer.headers["content-type"] == "application/problem+json"


async def test_head_opens_no_stream(application: Any, run: Run, token: Any) -> None:
    path = f"{RUNS}/{run.pk}/events"
    async with connected(application, path, token[1], method="HEAD") as answer:
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert await answer.rest() == []
    assert open_streams.used == 0
