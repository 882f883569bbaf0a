"""The websockets of open pages: access, content, and the number of renderings."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from channels.layers import InMemoryChannelLayer, get_channel_layer
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import AnonymousUser, Group, User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.support.factories import (
    make_approval,
    make_checkpoint,
    make_line,
    make_note,
    make_run,
    make_stage,
    make_worker,
)
from workflows.infra import notifications, outages
from workflows.infra.database_threads import run_in_db
from workflows.models import Run, StageStatus, Status
from workflows.pages.live import broadcast, consumers
from workflows.pages.live.render_cache import RenderedRegions, render_cache
from workflows.pages.live.websocket_urls import websocket_urlpatterns
from workflows.pages.run import notices
from workflows.pages.run.shared_regions import Part

pytestmark = pytest.mark.django_db(transaction=True)
TIMEOUT_SECONDS = 10
PARTS = ["nav-approvals", "run-log", "run-panel", "run-stepper", "run-title"]
QUIET_SECONDS = 0.3  # without a message


class Page:
    """An open page, as the browser sees it."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    async def next(self) -> str:
        """Return the next changes without acknowledging them."""
        text: str = await self.socket.receive_from(timeout=TIMEOUT_SECONDS)
        return text

    async def shown(self) -> None:
        """Acknowledge the last changes."""
        await self.socket.send_to(text_data=consumers.SHOWN)

    async def change_view(self, query: str) -> None:
        """Request another view."""
        await self.socket.send_to(text_data=consumers.VIEW_PREFIX + query)

    async def next_shown(self) -> str:
        """Return the next changes and acknowledge them."""
        text = await self.next()
        await self.shown()
        return text

    async def is_quiet(self) -> bool:
        """Return whether nothing is sent for QUIET_SECONDS."""
        quiet: bool = await self.socket.receive_nothing(timeout=QUIET_SECONDS)
        return quiet

    async def closed_with(self) -> int:
        """Return the close code of the server."""
        message = await self.socket.receive_output(timeout=TIMEOUT_SECONDS)
        assert message["type"] == "websocket.close"
        code: int = message["code"]
        return code


@asynccontextmanager
async def opened(path: str, person: Any, session: Any = None) -> AsyncIterator[Page]:
    """Open a page; assert that its websocket is accepted."""
    socket = WebsocketCommunicator(URLRouter(websocket_urlpatterns), path)
    scope = cast("dict[str, Any]", socket.scope)
    scope |= {"user": person, "session": session}
    accepted, _ = await socket.connect(timeout=TIMEOUT_SECONDS)
    assert accepted
    try:
        yield Page(socket)
    finally:
        await socket.disconnect()


def of_run(run: Run | UUID) -> str:
    return f"/ws/runs/{run.pk if isinstance(run, Run) else run}/"


async def change(run: Run, **fields: Any) -> None:
    """Change a run as the recorder does: write a new version, then notify."""
    fields = {"version": run.version + 1, **fields}
    await run_in_db(Run.objects.filter(pk=run.pk).update, **fields)
    run.version = fields["version"]
    await notify(run, version=run.version)


async def notify(run: Run, **message: Any) -> None:
    layer = get_channel_layer()
    assert layer is not None
    versions = {run.pk: message.get("version")}
    await layer.group_send(notifications.PAGES, notifications.changed(versions))


async def notify_lists() -> None:
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(notifications.PAGES, notifications.changed({}))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Return first region and version of all rendered parts."""
    made: list[tuple[str, int]] = []
    draw: Callable[[Part], RenderedRegions] = consumers.render_run_part

    def counting(part: Part) -> RenderedRegions:
        drawing = draw(part)
        made.append((part.regions[0], drawing.version))
        return drawing

    monkeypatch.setattr(consumers, "render_run_part", counting)
    return made


# Access -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ws/runs/{}/", "/ws/lists/runs/"])
async def test_an_anonymous_person_is_refused(path: str) -> None:
    run = await run_in_db(make_run)
    async with opened(path.format(run.pk), AnonymousUser()) as page:
        assert await page.closed_with() == 4403


async def test_an_inactive_account_is_refused(alice: User) -> None:
    alice.is_active = False
    async with opened("/ws/lists/runs/", alice) as page:
        assert await page.closed_with() == 4403


async def test_a_missing_run_is_reported(alice: User) -> None:
    async with opened(of_run(uuid4()), alice) as page:
        assert await page.closed_with() == 4404


async def test_a_missing_list_is_reported(alice: User) -> None:
    async with opened("/ws/lists/nothing/", alice) as page:
        assert await page.closed_with() == 4404


async def test_the_workers_socket_requires_permission(alice: User, admin: User) -> None:
    async with opened("/ws/lists/workers/", alice) as page:
        assert await page.closed_with() == 4404
    async with opened("/ws/lists/workers/", admin) as page:
        assert "No pending runs." in await page.next_shown()


def expire(session: SessionStore) -> None:
    over = timezone.now() - dt.timedelta(seconds=1)
    Session.objects.filter(pk=session.session_key).update(expire_date=over)


def transfer_session(session: SessionStore) -> None:
    other = User.objects.create_user("other")
    session[SESSION_KEY] = str(other.pk)
    session.save()


def change_password(session: SessionStore) -> None:
    person = User.objects.get(pk=session[SESSION_KEY])
    person.set_password("another password")
    person.save()


@pytest.mark.parametrize(
    "end", [SessionStore.delete, expire, transfer_session, change_password]
)
@pytest.mark.parametrize("path", ["/ws/runs/{}/", "/ws/lists/runs/"])
async def test_the_websocket_closes_when_its_session_has_ended(
    path: str,
    end: Callable[[SessionStore], None],
    alice: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 0.05)
    run = await run_in_db(make_run, status=Status.RUNNING)
    session = await run_in_db(saved_session, alice)
    async with opened(path.format(run.pk), alice, session) as page:
        await page.next_shown()
        assert await page.is_quiet(), "a valid session is not interrupted"
        await run_in_db(end, session)
        assert await page.closed_with() == 4403, "also without a notification"


async def test_inactive_users_are_sent_nothing(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 0)
    run = await run_in_db(make_run, status=Status.RUNNING)
    async with opened(of_run(run), alice) as page:
        await page.next_shown()
        await run_in_db(User.objects.filter(pk=alice.pk).update, is_active=False)
        await change(run)
        assert await page.closed_with() == 4403


def saved_session(person: User) -> SessionStore:
    client = Client()
    client.force_login(person)
    return SessionStore(client.session.session_key)


# Content ---------------------------------------------------------------------------------


async def test_a_page_is_updated_when_it_connects(alice: User) -> None:
    run = await run_in_db(make_run, status=Status.RUNNING)
    async with opened(of_run(run), alice) as page:
        text = await page.next_shown()
        assert 'data-status="running"' in text
        assert text.count('hx-swap-oob="outerMorph"') == 23
        assert "<title>Running" in text


async def test_a_change_is_sent_and_only_what_changed(alice: User) -> None:
    run = await run_in_db(make_run, status=Status.COMPLETED)
    async with opened(of_run(run), alice) as page:
        await page.next_shown()
        await run_in_db(make_stage, run, "read_pages")
        await change(run)
        text = await page.next_shown()
        assert "Read pages" in text
        assert 'id="run-path"' in text
        assert 'id="run-log"' not in text
        assert 'id="run-details"' not in text


async def test_a_notification_without_changes_sends_nothing(alice: User) -> None:
    run = await run_in_db(make_run, status=Status.COMPLETED)
    async with opened(of_run(run), alice) as page:
        await page.next_shown()
        await notify(run, version=run.version)
        await notify(run)
        assert await page.is_quiet()


async def test_a_page_that_lost_its_group_in_the_channel_layer_renders_again(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "REJOIN_SECONDS", 0.01)
    run = await run_in_db(make_run, status=Status.RUNNING)
    async with opened(of_run(run), alice) as page:
        await page.next_shown()
        layer = get_channel_layer()
        assert isinstance(layer, InMemoryChannelLayer)
        layer.groups.clear()
        await run_in_db(make_stage, run, "read_pages")
        await change(run)
        assert "Read pages" in await page.next_shown()


@pytest.mark.parametrize(
    "error",
    [OperationalError("the connection was refused"), RedisConnectionError("gone")],
)
async def test_an_outage_closes_the_socket_so_that_the_page_reconnects(
    error: Exception, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_part: Part) -> RenderedRegions:
        raise error

    monkeypatch.setattr(consumers, "render_run_part", fail)
    run = await run_in_db(make_run)
    async with opened(of_run(run), alice) as page:
        assert await page.closed_with() == 4503


async def test_a_page_that_may_be_outdated_gets_all_regions(
    alice: User,
) -> None:
    run = await run_in_db(make_run, status=Status.COMPLETED)
    async with opened(of_run(run), alice) as page:
        await page.next_shown()
        await page.socket.send_to(text_data=consumers.STALE)
        text = await page.next_shown()
        assert 'data-status="completed"' in text
        assert 'id="run-log"' in text


async def test_a_slow_page_gets_the_newest_version_and_skips_intermediate_ones(
    alice: User,
) -> None:
    run = await run_in_db(make_run, status=Status.COMPLETED)
    async with opened(of_run(run), alice) as page:
        await page.next()  # not acknowledged: a slow page
        for number in range(5):
            await run_in_db(make_stage, run, f"step_{number}", sequence=number + 1)
            await change(run)
        assert await page.is_quiet()
        await page.shown()
        text = await page.next_shown()
        assert "Step 4" in text
        assert await page.is_quiet()


async def test_a_page_that_acknowledges_nothing_gets_changes_after_a_timeout(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "SHOWN_TIMEOUT_SECONDS", 0.01)
    run = await run_in_db(make_run, status=Status.COMPLETED)
    async with opened(of_run(run), alice) as page:
        await page.next()
        await run_in_db(make_stage, run)
        await change(run)
        assert "Read pages" in await page.next()


async def test_the_end_of_a_run_is_sent(alice: User) -> None:
    run = await run_in_db(make_run, status=Status.PENDING)
    async with opened(of_run(run), alice) as page:
        assert 'data-ended="false"' in await page.next_shown()
        ended = await run_in_db(make_run, status=Status.CANCELLED)
        await change(run, status=Status.CANCELLED, completed_at=ended.completed_at)
        assert 'data-ended="true"' in await page.next_shown()


async def test_a_deleted_run_ends_its_pages(alice: User) -> None:
    run = await run_in_db(make_run)
    async with opened(of_run(run), alice) as page:
        await page.next_shown()
        await run_in_db(Run.objects.all().delete)
        await notify(run)
        assert await page.closed_with() == 4404


async def test_an_approval_is_rendered_for_each_viewer(alice: User, bob: User) -> None:
    def prepare() -> Run:
        bob.groups.add(Group.objects.create(name="reviewers"))
        run = make_run(status=Status.WAITING)
        make_approval(run, groups=["reviewers"])
        return run

    run = await run_in_db(prepare)
    async with opened(of_run(run), alice) as hers, opened(of_run(run), bob) as his:
        assert "response-form" not in await hers.next_shown()
        assert "response-form" in await his.next_shown()


async def test_a_rendering_error_closes_the_socket_so_that_the_page_reconnects(
    alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_part: Part) -> RenderedRegions:
        raise RuntimeError("the database is away")

    monkeypatch.setattr(consumers, "render_run_part", broken)
    run = await run_in_db(make_run)
    async with opened(of_run(run), alice) as page:
        assert await page.closed_with() == 4500
    assert "Rendering a live page failed" in caplog.text


# Lists -----------------------------------------------------------------------------------


async def test_a_list_shows_new_runs_that_match_its_filter(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers.ListConsumer, "pause_seconds", 0)
    async with opened("/ws/lists/runs/?status=failed", alice) as page:
        assert "No matching runs" in await page.next_shown()
        await run_in_db(make_run, status=Status.COMPLETED)
        await notify_lists()
        assert await page.is_quiet()
        failed = await run_in_db(make_run, status=Status.FAILED)
        await notify_lists()
        assert failed.short_id in await page.next_shown()


@pytest.mark.parametrize("kind", ["home", "runs", "workflow", "decisions", "approvals"])
async def test_every_list_is_sent_out_of_band(alice: User, kind: str) -> None:
    path = f"/ws/lists/{kind}/?workflow=classify-document"
    async with opened(path, alice) as page:
        assert 'hx-swap-oob="outerMorph"' in await page.next_shown()


async def test_an_unexpected_query_string_is_ignored(alice: User) -> None:
    async with opened("/ws/lists/runs/?before=%00&who=%ff&status=%00", alice) as page:
        assert await page.next_shown()


# Number of renderings -----------------------------------------------------------------------


async def test_many_viewers_of_a_version_share_one_rendering(
    alice: User, counted: list[tuple[str, int]]
) -> None:
    run = await run_in_db(make_run, status=Status.COMPLETED)
    async with opened(of_run(run), alice) as first:
        await first.next_shown()
        others = [opened(of_run(run), alice) for _ in range(20)]
        pages = [first, *[await other.__aenter__() for other in others]]
        for page in pages[1:]:
            await page.next_shown()
        counted.clear()
        await run_in_db(make_stage, run)
        await change(run)
        for page in pages:
            assert "Read pages" in await page.next_shown()
        assert sorted(counted) == [(first, run.version) for first in PARTS]
        for one in others:
            await one.__aexit__(None, None, None)


async def test_a_page_follows_a_database_rewind(alice: User) -> None:
    run = await run_in_db(make_run, status=Status.RUNNING, version=40)
    lost = await run_in_db(make_stage, run, "weigh")
    async with opened(of_run(run), alice) as page:
        assert "Weigh" in await page.next_shown()
        await run_in_db(lost.delete)
        await run_in_db(make_stage, run, "read_pages", status=StageStatus.STARTED)
        await change(run, version=5)
        assert "Read pages" in await page.next_shown()
        await run_in_db(make_stage, run, "judge_pages", sequence=2)
        await change(run)
        assert "Judge pages" in await page.next_shown()


async def test_the_queries_of_a_rendering_do_not_grow_with_the_viewers(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await run_in_db(make_run, status=Status.COMPLETED)
    drawn: list[int] = []
    draw = consumers.render_run_part

    def counting(part: Part) -> RenderedRegions:
        with ThreadQueryCounter() as captured:
            drawing = draw(part)
        drawn.append(captured.count)
        return drawing

    monkeypatch.setattr(consumers, "render_run_part", counting)
    async with opened(of_run(run), alice) as page:
        await page.next_shown()
    assert len(drawn) == 5
    assert sum(drawn) <= 33


class ThreadQueryCounter:
    """Counts the queries on the connection of the current thread."""

    count = 0

    def __enter__(self) -> ThreadQueryCounter:
        """Start counting."""
        self._wrapper = connection.execute_wrapper(self._count)
        self._wrapper.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop counting."""
        self._wrapper.__exit__(None, None, None)

    def _count(self, execute: Any, *arguments: Any) -> Any:
        self.count += 1
        return execute(*arguments)


async def test_nothing_is_cached_without_viewers(alice: User) -> None:
    run = await run_in_db(make_run)
    async with opened(of_run(run), alice) as page:
        await page.next_shown()
        assert str(run.pk) in str(render_cache.keys())
    assert str(run.pk) not in str(render_cache.keys())


# Views -----------------------------------------------------------------------


def with_steps(status: str = Status.COMPLETED) -> Run:
    run = make_run(status=status, sequence=2)
    for sequence, name in enumerate(("read_pages", "weigh"), 1):
        make_stage(run, name, sequence=sequence)
        make_line(run, f"{name} wrote", sequence=sequence)
        make_checkpoint(run, sequence=sequence, node_name=name)
    return run


async def test_a_page_is_rendered_for_the_step_in_its_address(alice: User) -> None:
    run = await run_in_db(with_steps)
    async with opened(f"{of_run(run)}?at=1", alice) as page:
        text = await page.next_shown()
        assert "read_pages wrote" in text
        assert "weigh wrote" not in text


async def test_another_view_sends_the_difference(alice: User) -> None:
    run = await run_in_db(with_steps)
    async with opened(of_run(run), alice) as page:
        await page.next_shown()
        await page.change_view("?at=1")
        text = await page.next_shown()
        assert "State after step 1" in text
        assert "run-details" not in text
        await page.change_view("?node=weigh")
        assert "panel-heading" in await page.next_shown()
        await page.change_view("")
        assert 'id="run-panel"' in await page.next_shown()
        assert await page.is_quiet()


async def test_another_view_renders_only_new_parts(
    alice: User, counted: list[tuple[str, int]]
) -> None:
    run = await run_in_db(with_steps)
    async with opened(of_run(run), alice) as page:
        await page.next_shown()
        counted.clear()
        await page.change_view("?find=wrote")
        assert await page.next_shown()
        assert [first for first, _ in counted] == ["run-log"]


async def test_viewers_of_the_same_view_share_a_rendering(
    alice: User, bob: User, counted: list[tuple[str, int]]
) -> None:
    run = await run_in_db(with_steps)
    path = f"{of_run(run)}?at=1&node=weigh"
    async with opened(path, alice) as hers, opened(path, bob) as his:
        await hers.next_shown()
        await his.next_shown()
        counted.clear()
        await run_in_db(make_note, run, "Look at this.")
        await change(run)
        assert "Look at this." in await hers.next_shown()
        assert "Look at this." in await his.next_shown()
        # votes are not open for those who voted: each person has a count
        assert sorted(first for first, _ in counted) == ["nav-approvals", *PARTS]


@pytest.mark.parametrize(
    "query", ["?at=x&edge=.&node=\x00&level=z", "?" + "x" * 9_000, "%ff&&=="]
)
async def test_malformed_messages_are_ignored(alice: User, query: str) -> None:
    run = await run_in_db(with_steps)
    async with opened(of_run(run), alice) as page:
        await page.next_shown()
        await page.change_view(query)
        await page.change_view("?at=1")
        assert "State after step 1" in await page.next_shown()


async def test_content_that_changes_without_a_message_is_rendered_again(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "PENDING_RECHECK_SECONDS", 0.05)
    run = await run_in_db(make_run, status=Status.PENDING)
    async with opened(of_run(run), alice) as page:
        assert "No worker is running." in await page.next_shown()
        await run_in_db(make_worker)
        assert "A worker will start the run shortly." in await page.next_shown()


async def test_a_page_is_notified_again_after_an_outage_of_the_channel_layer(
    alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(broadcast, "RETRY_SECONDS", 0.01)
    receive, failures = (
        notifications.Subscription.next,
        [outages.ChannelLayerUnavailable("away")],
    )

    async def failing_once(subscription: notifications.Subscription) -> Any:
        if failures:
            raise failures.pop()
        return await receive(subscription)

    monkeypatch.setattr(notifications.Subscription, "next", failing_once)
    run = await run_in_db(make_run, status=Status.COMPLETED)
    async with opened(of_run(run), alice) as page:
        await page.next_shown()
        await run_in_db(make_stage, run, "read_pages")
        await change(run)
        assert "Read pages" in await page.next_shown()
    assert "away" in caplog.text
