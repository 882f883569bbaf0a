"""The sockets of open pages: who gets in, what they are sent, how often it is drawn."""

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
from workflows.models import Run, Status
from workflows.pages.live import broadcast, consumers
from workflows.pages.live.render_cache import Drawing, drawings
from workflows.pages.live.routing import websocket_urlpatterns
from workflows.pages.run import notices
from workflows.pages.run.parts import Part

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE_SECONDS = 10
QUIET_SECONDS = 0.3  # in which nothing may come


class Page:
    """An open page, as its socket sees it."""

    def __init__(self, socket: Any) -> None:
        """Take a connected socket."""
        self.socket = socket

    async def next(self) -> str:
        """Return the next drawing without saying that it was shown."""
        text: str = await self.socket.receive_from(timeout=PATIENCE_SECONDS)
        return text

    async def shown(self) -> None:
        """Say that the last drawing is on the page."""
        await self.socket.send_to(text_data=consumers.SHOWN)

    async def see(self, query: str) -> None:
        """Look elsewhere."""
        await self.socket.send_to(text_data=consumers.SEE + query)

    async def look(self) -> str:
        """Return the next drawing, and say that it was shown."""
        text = await self.next()
        await self.shown()
        return text

    async def is_quiet(self) -> bool:
        """Tell whether nothing comes for a while."""
        quiet: bool = await self.socket.receive_nothing(timeout=QUIET_SECONDS)
        return quiet

    async def closed_with(self) -> int:
        """Return the code the server closed with."""
        message = await self.socket.receive_output(timeout=PATIENCE_SECONDS)
        assert message["type"] == "websocket.close"
        code: int = message["code"]
        return code


@asynccontextmanager
async def opened(path: str, person: Any, session: Any = None) -> AsyncIterator[Page]:
    """Give a page whose socket was accepted."""
    socket = WebsocketCommunicator(URLRouter(websocket_urlpatterns), path)
    scope = cast("dict[str, Any]", socket.scope)
    scope |= {"user": person, "session": session}
    accepted, _ = await socket.connect(timeout=PATIENCE_SECONDS)
    assert accepted
    try:
        yield Page(socket)
    finally:
        await socket.disconnect()


def of_run(run: Run | UUID) -> str:
    return f"/ws/runs/{run.pk if isinstance(run, Run) else run}/"


async def change(run: Run, **fields: Any) -> None:
    """Change a run as the recorder does: a new version, then the nudge."""
    fields = {"version": run.version + 1, **fields}
    await run_in_db(Run.objects.filter(pk=run.pk).update, **fields)
    run.version = fields["version"]
    await nudge(run, version=run.version)


async def nudge(run: Run, **message: Any) -> None:
    layer = get_channel_layer()
    assert layer is not None
    versions = {run.pk: message.get("version")}
    await layer.group_send(notifications.PAGES, notifications.changed(versions))


async def nudge_lists() -> None:
    layer = get_channel_layer()
    assert layer is not None
    await layer.group_send(notifications.PAGES, notifications.changed({}))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Return what is drawn of runs: the first region of each part, and the version."""
    made: list[tuple[str, int]] = []
    draw: Callable[[Part], Drawing] = consumers.draw_part

    def counting(part: Part) -> Drawing:
        drawing = draw(part)
        made.append((part.regions[0], drawing.version))
        return drawing

    monkeypatch.setattr(consumers, "draw_part", counting)
    return made


# Who gets in -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ws/runs/{}/", "/ws/lists/runs/"])
async def test_an_outsider_is_turned_away_with_a_code(path: str) -> None:
    run = await run_in_db(make_run)
    async with opened(path.format(run.pk), AnonymousUser()) as page:
        assert await page.closed_with() == 4403


async def test_a_closed_account_is_turned_away(alice: User) -> None:
    alice.is_active = False
    async with opened("/ws/lists/runs/", alice) as page:
        assert await page.closed_with() == 4403


async def test_a_run_that_is_not_there_says_so(alice: User) -> None:
    async with opened(of_run(uuid4()), alice) as page:
        assert await page.closed_with() == 4404


async def test_a_list_that_is_not_there_says_so(alice: User) -> None:
    async with opened("/ws/lists/nothing/", alice) as page:
        assert await page.closed_with() == 4404


async def test_the_workers_are_not_for_everyone(alice: User, admin: User) -> None:
    async with opened("/ws/lists/workers/", alice) as page:
        assert await page.closed_with() == 4404
    async with opened("/ws/lists/workers/", admin) as page:
        assert "No pending runs." in await page.look()


def expire(session: SessionStore) -> None:
    over = timezone.now() - dt.timedelta(seconds=1)
    Session.objects.filter(pk=session.session_key).update(expire_date=over)


def give_away(session: SessionStore) -> None:
    other = User.objects.create_user("other")
    session[SESSION_KEY] = str(other.pk)
    session.save()


def change_password(session: SessionStore) -> None:
    person = User.objects.get(pk=session[SESSION_KEY])
    person.set_password("another password")
    person.save()


@pytest.mark.parametrize(
    "end", [SessionStore.delete, expire, give_away, change_password]
)
@pytest.mark.parametrize("path", ["/ws/runs/{}/", "/ws/lists/runs/"])
async def test_an_open_page_is_sent_nothing_more_once_its_session_has_ended(
    path: str,
    end: Callable[[SessionStore], None],
    alice: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 0.05)
    run = await run_in_db(make_run, status=Status.RUNNING)
    session = await run_in_db(saved_session, alice)
    async with opened(path.format(run.pk), alice, session) as page:
        await page.look()
        assert await page.is_quiet(), "a session that goes on is not interrupted"
        await run_in_db(end, session)
        assert await page.closed_with() == 4403, "also when nothing else happens"


async def test_who_loses_the_account_is_sent_nothing_more(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 0)
    run = await run_in_db(make_run, status=Status.RUNNING)
    async with opened(of_run(run), alice) as page:
        await page.look()
        await run_in_db(User.objects.filter(pk=alice.pk).update, is_active=False)
        await change(run)
        assert await page.closed_with() == 4403


def saved_session(person: User) -> SessionStore:
    client = Client()
    client.force_login(person)
    return SessionStore(client.session.session_key)


# What is sent ----------------------------------------------------------------------------


async def test_a_page_catches_up_as_soon_as_it_connects(alice: User) -> None:
    run = await run_in_db(make_run, status=Status.RUNNING)
    async with opened(of_run(run), alice) as page:
        text = await page.look()
        assert 'data-status="running"' in text
        assert text.count('hx-swap-oob="outerMorph"') == 17
        assert "<title>Running" in text


async def test_a_change_is_sent_and_only_what_changed(alice: User) -> None:
    run = await run_in_db(make_run, status=Status.COMPLETED)
    async with opened(of_run(run), alice) as page:
        await page.look()
        await run_in_db(make_stage, run, "read_pages")
        await change(run)
        text = await page.look()
        assert "Read pages" in text
        assert 'id="run-path"' in text
        assert 'id="run-log"' not in text
        assert 'id="run-facts"' not in text


async def test_a_nudge_without_news_sends_nothing(alice: User) -> None:
    run = await run_in_db(make_run, status=Status.COMPLETED)
    async with opened(of_run(run), alice) as page:
        await page.look()
        await nudge(run, version=run.version)
        await nudge(run)
        assert await page.is_quiet()


async def test_a_page_that_the_channel_layer_forgot_looks_again_by_itself(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "REJOIN_SECONDS", 0.01)
    run = await run_in_db(make_run, status=Status.RUNNING)
    async with opened(of_run(run), alice) as page:
        await page.look()
        layer = get_channel_layer()
        assert isinstance(layer, InMemoryChannelLayer)
        layer.groups.clear()
        await run_in_db(make_stage, run, "read_pages")
        await change(run)
        assert "Read pages" in await page.look()


@pytest.mark.parametrize(
    "error",
    [OperationalError("the connection was refused"), RedisConnectionError("gone")],
)
async def test_a_page_is_told_to_come_again_when_something_is_away(
    error: Exception, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_part: Part) -> Drawing:
        raise error

    monkeypatch.setattr(consumers, "draw_part", fail)
    run = await run_in_db(make_run)
    async with opened(of_run(run), alice) as page:
        assert await page.closed_with() == 4503


async def test_a_page_that_may_show_something_older_is_sent_everything_again(
    alice: User,
) -> None:
    run = await run_in_db(make_run, status=Status.COMPLETED)
    async with opened(of_run(run), alice) as page:
        await page.look()
        await page.socket.send_to(text_data=consumers.STALE)
        text = await page.look()
        assert 'data-status="completed"' in text
        assert 'id="run-log"' in text


async def test_a_slow_page_gets_the_newest_and_skips_what_was_between(
    alice: User,
) -> None:
    run = await run_in_db(make_run, status=Status.COMPLETED)
    async with opened(of_run(run), alice) as page:
        await page.next()  # and says nothing: it is slow
        for number in range(5):
            await run_in_db(make_stage, run, f"step_{number}", sequence=number + 1)
            await change(run)
        assert await page.is_quiet()
        await page.shown()
        text = await page.look()
        assert "Step 4" in text
        assert await page.is_quiet()


async def test_a_page_that_says_nothing_is_sent_the_next_after_a_while(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "PATIENCE_SECONDS", 0.01)
    run = await run_in_db(make_run, status=Status.COMPLETED)
    async with opened(of_run(run), alice) as page:
        await page.next()
        await run_in_db(make_stage, run)
        await change(run)
        assert "Read pages" in await page.next()


async def test_the_end_is_told(alice: User) -> None:
    run = await run_in_db(make_run, status=Status.PENDING)
    async with opened(of_run(run), alice) as page:
        assert 'data-ended="false"' in await page.look()
        ended = await run_in_db(make_run, status=Status.CANCELLED)
        await change(run, status=Status.CANCELLED, completed_at=ended.completed_at)
        assert 'data-ended="true"' in await page.look()


async def test_a_deleted_run_ends_its_pages(alice: User) -> None:
    run = await run_in_db(make_run)
    async with opened(of_run(run), alice) as page:
        await page.look()
        await run_in_db(Run.objects.all().delete)
        await nudge(run)
        assert await page.closed_with() == 4404


async def test_a_question_is_sent_as_each_may_answer_it(alice: User, bob: User) -> None:
    def prepare() -> Run:
        bob.groups.add(Group.objects.create(name="reviewers"))
        run = make_run(status=Status.WAITING)
        make_approval(run, groups=["reviewers"])
        return run

    run = await run_in_db(prepare)
    async with opened(of_run(run), alice) as hers, opened(of_run(run), bob) as his:
        assert "answer-form" not in await hers.look()
        assert "answer-form" in await his.look()


async def test_what_cannot_be_drawn_closes_the_page_so_that_it_comes_back(
    alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_part: Part) -> Drawing:
        raise RuntimeError("the database is away")

    monkeypatch.setattr(consumers, "draw_part", broken)
    run = await run_in_db(make_run)
    async with opened(of_run(run), alice) as page:
        assert await page.closed_with() == 4500
    assert "could not be drawn" in caplog.text


# Lists -----------------------------------------------------------------------------------


async def test_a_list_shows_new_runs_that_match_its_filter(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers.ListSocket, "pause_seconds", 0)
    async with opened("/ws/lists/runs/?status=failed", alice) as page:
        assert "No matching runs" in await page.look()
        await run_in_db(make_run, status=Status.COMPLETED)
        await nudge_lists()
        assert await page.is_quiet()
        failed = await run_in_db(make_run, status=Status.FAILED)
        await nudge_lists()
        assert failed.short_id in await page.look()


@pytest.mark.parametrize("kind", ["home", "runs", "workflow", "decisions", "approvals"])
async def test_every_list_is_sent_out_of_band(alice: User, kind: str) -> None:
    path = f"/ws/lists/{kind}/?workflow=classify-document"
    async with opened(path, alice) as page:
        assert 'hx-swap-oob="outerMorph"' in await page.look()


async def test_an_odd_query_is_no_error(alice: User) -> None:
    async with opened("/ws/lists/runs/?before=%00&who=%ff&status=%00", alice) as page:
        assert await page.look()


# How often it is drawn -------------------------------------------------------------------


async def test_many_viewers_of_a_version_share_one_drawing(
    alice: User, counted: list[tuple[str, int]]
) -> None:
    run = await run_in_db(make_run, status=Status.COMPLETED)
    async with opened(of_run(run), alice) as first:
        await first.look()
        others = [opened(of_run(run), alice) for _ in range(20)]
        pages = [first, *[await other.__aenter__() for other in others]]
        for page in pages[1:]:
            await page.look()
        counted.clear()
        await run_in_db(make_stage, run)
        await change(run)
        for page in pages:
            assert "Read pages" in await page.look()
        assert sorted(counted) == [
            (first, run.version)
            for first in ("run-log", "run-moment", "run-panel", "run-title")
        ]
        for other in others:
            await other.__aexit__(None, None, None)


async def test_the_queries_of_a_drawing_do_not_grow_with_the_viewers(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await run_in_db(make_run, status=Status.COMPLETED)
    drawn: list[int] = []
    draw = consumers.draw_part

    def counting(part: Part) -> Drawing:
        with CaptureHere() as captured:
            drawing = draw(part)
        drawn.append(captured.count)
        return drawing

    monkeypatch.setattr(consumers, "draw_part", counting)
    async with opened(of_run(run), alice) as page:
        await page.look()
    assert len(drawn) == 4
    assert sum(drawn) <= 30


class CaptureHere:
    """Counts the queries of this thread's connection."""

    count = 0

    def __enter__(self) -> CaptureHere:
        """Begin to count."""
        self._wrapper = connection.execute_wrapper(self._see)
        self._wrapper.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop counting."""
        self._wrapper.__exit__(None, None, None)

    def _see(self, execute: Any, *arguments: Any) -> Any:
        self.count += 1
        return execute(*arguments)


async def test_nothing_is_kept_of_a_page_that_nobody_watches(alice: User) -> None:
    run = await run_in_db(make_run)
    async with opened(of_run(run), alice) as page:
        await page.look()
        assert str(run.pk) in str(drawings.keys())
    assert str(run.pk) not in str(drawings.keys())


# Looking elsewhere -----------------------------------------------------------------------


def with_steps(status: str = Status.COMPLETED) -> Run:
    run = make_run(status=status, sequence=2)
    for sequence, name in enumerate(("read_pages", "weigh"), 1):
        make_stage(run, name, sequence=sequence)
        make_line(run, f"{name} wrote", sequence=sequence)
        make_checkpoint(run, sequence=sequence, node_name=name)
    return run


async def test_a_page_is_drawn_for_the_moment_of_its_address(alice: User) -> None:
    run = await run_in_db(with_steps)
    async with opened(f"{of_run(run)}?at=1", alice) as page:
        text = await page.look()
        assert "read_pages wrote" in text
        assert "weigh wrote" not in text


async def test_who_looks_elsewhere_is_sent_what_differs(alice: User) -> None:
    run = await run_in_db(with_steps)
    async with opened(of_run(run), alice) as page:
        await page.look()
        await page.see("?at=1")
        text = await page.look()
        assert "State after step 1" in text
        assert "run-facts" not in text
        await page.see("?node=weigh")
        assert "panel-heading" in await page.look()
        await page.see("")
        assert 'id="run-panel"' in await page.look()
        assert await page.is_quiet()


async def test_looking_elsewhere_draws_only_what_is_new(
    alice: User, counted: list[tuple[str, int]]
) -> None:
    run = await run_in_db(with_steps)
    async with opened(of_run(run), alice) as page:
        await page.look()
        counted.clear()
        await page.see("?find=wrote")
        assert await page.look()
        assert [first for first, _ in counted] == ["run-log"]


async def test_those_who_look_at_the_same_share_its_drawing(
    alice: User, bob: User, counted: list[tuple[str, int]]
) -> None:
    run = await run_in_db(with_steps)
    path = f"{of_run(run)}?at=1&node=weigh"
    async with opened(path, alice) as hers, opened(path, bob) as his:
        await hers.look()
        await his.look()
        counted.clear()
        await run_in_db(make_note, run, "Look at this.")
        await change(run)
        assert "Look at this." in await hers.look()
        assert "Look at this." in await his.look()
        assert len(counted) == 4


@pytest.mark.parametrize(
    "query", ["?at=x&edge=.&node=\x00&level=z", "?" + "x" * 9_000, "%ff&&=="]
)
async def test_rubbish_of_a_page_is_no_error(alice: User, query: str) -> None:
    run = await run_in_db(with_steps)
    async with opened(of_run(run), alice) as page:
        await page.look()
        await page.see(query)
        await page.see("?at=1")
        assert "State after step 1" in await page.look()


async def test_what_changes_without_news_is_looked_at_again(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "PENDING_RECHECK_SECONDS", 0.05)
    run = await run_in_db(make_run, status=Status.PENDING)
    async with opened(of_run(run), alice) as page:
        assert "No worker is running." in await page.look()
        await run_in_db(make_worker)
        assert "A worker takes it in a moment." in await page.look()


async def test_a_page_hears_again_after_the_channel_layer_was_away(
    alice: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(broadcast, "PAUSE_SECONDS", 0.01)
    hear, failures = (
        notifications.Subscription.next,
        [outages.ChannelLayerUnavailable("away")],
    )

    async def shaky(ear: notifications.Subscription) -> Any:
        if failures:
            raise failures.pop()
        return await hear(ear)

    monkeypatch.setattr(notifications.Subscription, "next", shaky)
    run = await run_in_db(make_run, status=Status.COMPLETED)
    async with opened(of_run(run), alice) as page:
        await page.look()
        await run_in_db(make_stage, run, "read_pages")
        await change(run)
        assert "Read pages" in await page.look()
    assert "away" in caplog.text
