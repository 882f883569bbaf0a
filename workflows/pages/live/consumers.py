"""The websockets of open pages, which keep the pages up to date.

A message says that something changed, never what: the page is rendered from the database,
at connect and after each message. So a lost message costs only time, and a reconnect loses
or repeats nothing. A page receives the next changes after it has shown the last ones: a
slow one skips intermediate states and always receives the newest, as the difference to what
it has. Some content changes without a message, such as the notice after the end of a lease:
a rendering says when it has to be repeated.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from channels.generic.websocket import AsyncWebsocketConsumer

from workflows.access import permissions
from workflows.errors import RunNotFound
from workflows.infra import notifications, outages
from workflows.infra.database_threads import run_in_db
from workflows.models import Run
from workflows.pages.access import RunPermissions, run_permissions
from workflows.pages.lists.live_lists import LISTS
from workflows.pages.live.broadcast import LISTS as LISTS_TOPIC
from workflows.pages.live.broadcast import hub
from workflows.pages.live.close_codes import BROKEN, GONE, REFUSED, TRY_AGAIN_LATER
from workflows.pages.live.page_state import PageState, Render
from workflows.pages.live.render_cache import RenderedRegions
from workflows.pages.query_string import parse_query
from workflows.pages.render.regions import render_regions
from workflows.pages.render.zones import in_zone, zone_in
from workflows.pages.run.page import RunPage
from workflows.pages.run.shared_regions import (
    FRAME,
    FRAME_ALONE,
    POINT_IN_TIME,
    Part,
    parts_of,
    render_part,
)
from workflows.pages.run.view_options import RunView
from workflows.services import approval_snoozes
from workflows.system import system

if TYPE_CHECKING:
    from uuid import UUID

    from django.contrib.auth.models import AnonymousUser, User

logger = logging.getLogger(__name__)

# messages of a page
SHOWN = "shown"  # it has swapped in the last changes
STALE = "stale"  # the response to a form may have replaced a region with an older one
VIEW_PREFIX = "see "  # followed by the query of another view
MAX_QUERY_CHARS = 2_000
SHOWN_TIMEOUT_SECONDS = 15  # after which a page gets the next changes without SHOWN
RECHECK_SECONDS = 20  # maximum interval between checks of the viewer's permissions
LIST_PAUSE_SECONDS = 0.5  # minimum interval between renderings of a list


class LivePageConsumer(AsyncWebsocketConsumer):
    """One open page. Handlers only record a change; a task renders and sends."""

    topic: str  # of notifications: the id of a run, or LISTS
    pause_seconds = 0.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one page until it disconnects, then release all that it holds."""
        self._task: asyncio.Task[None] | None = None
        self._state = PageState()
        self._has_joined = False
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._state.leave()
            if self._task is not None:
                self._task.cancel()
            if self._has_joined:
                await hub.leave(self.topic, self)

    async def dispatch(self, message: Mapping[str, Any]) -> None:
        """Handle a message without closing old database connections first.

        Channels does so before each message, on a thread: two hundred pages that
        acknowledge changes would wait for four hundred thread switches.
        """
        handler = getattr(self, message["type"].replace(".", "_"), None)
        if handler is None:
            raise ValueError(f"A page received a message of type {message['type']}.")
        await handler(message)

    async def connect(self) -> None:
        """Accept members, subscribe, then render the current state."""
        self._version: int | None = None
        self._is_notified = True
        self._wake = asyncio.Event()
        self._shown = asyncio.Event()
        self._shown.set()
        self._checked = time.monotonic()
        self._zone = zone_in(self.scope.get("cookies", {}))
        person = cast("User | AnonymousUser", self.scope["user"])
        if not permissions.is_member(person):
            await self._refuse(REFUSED)
            return
        self.person = cast("User", person)
        await hub.join(self.topic, self)
        self._has_joined = True
        if not await self.prepare():
            await hub.leave(self.topic, self)
            await self._refuse(GONE)
            return
        self._watch()
        await self.accept()
        self._wake.set()
        self._task = asyncio.create_task(self._keep_current())

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - Channels' signature
        """Unsubscribe."""
        await hub.leave(self.topic, self)

    async def receive(
        self,
        text_data: str | None = None,
        bytes_data: bytes | None = None,  # noqa: ARG002 - Channels' signature
    ) -> None:
        """Handle a message of the page: SHOWN, STALE, or another view."""
        if text_data == SHOWN:
            self._shown.set()
        elif text_data == STALE:
            self._state.forget_sent()
            self.note({})
        elif text_data and text_data.startswith(VIEW_PREFIX):
            query = text_data[len(VIEW_PREFIX) :][:MAX_QUERY_CHARS].lstrip("?")
            self.change_view(parse_query(query))
            self._watch()
            self._wake.set()

    def note(self, message: Mapping[str, Any]) -> None:
        """Request a new rendering, of at least the version in the message, if any."""
        if message.get("person") not in (None, self.person.pk):
            return
        if message.get("permissions"):
            self._checked = float("-inf")
        version = message.get("version")
        known = self._version if self._is_notified else None
        is_older = version is not None and version < self._state.version
        if version is None or is_older or (self._is_notified and known is None):
            self._version = None  # the newest: the database may have gone back
        else:
            self._version = max(version, known or 0)
        self._is_notified = True
        self._wake.set()

    # -- for subclasses ---------------------------------------------------------------

    async def prepare(self) -> bool:
        """Read what the key needs; return False if there is nothing to show."""
        return True

    def key(self) -> Hashable:
        """Return a key that is equal for viewers of the same content."""
        raise NotImplementedError

    async def render(self) -> RenderedRegions:
        """Render the regions."""
        raise NotImplementedError

    def parts(self) -> Iterator[tuple[Hashable, Render]]:
        """Yield the key and the render function of each part of the page."""
        yield self.key(), self.render

    def change_view(self, query: Mapping[str, str]) -> None:
        """Show the view of a query; pages without views ignore it."""

    # -- task -------------------------------------------------------------------------

    async def _refuse(self, code: int) -> None:
        """Close with a code that the page can read, which requires an accepted socket."""
        await self.accept()
        await self.close(code)

    def _watch(self) -> bool:
        """Watch the parts of the current view; return whether they changed."""
        return self._state.watch(tuple(key for key, _ in self.parts()))

    async def _keep_current(self) -> None:
        try:
            while True:
                await self._wait_for_change()
                await self._wait_until_shown()
                self._wake.clear()
                notified, self._is_notified = self._is_notified, False
                await self._state.refresh(self.parts, self._version, notified=notified)
                # after rendering: permissions must hold for all that is sent
                refusal = await self._refusal()
                if self._state.is_gone:
                    refusal = GONE
                if refusal is not None:
                    await self.close(refusal)
                    return
                if not await self._send_changes():
                    return
                await asyncio.sleep(self.pause_seconds)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # the page reconnects, and then receives the current state
            if outage := outages.of(error):
                outage.report_failure(error)
                await self.close(TRY_AGAIN_LATER)
                return
            logger.exception("Rendering a live page failed: %r", self._state.keys)
            await self.close(BROKEN)

    async def _wait_for_change(self) -> None:
        """Wait for a message, or until content or permissions have to be checked again."""
        until = min(self._state.again_at, self._checked + RECHECK_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), until - time.monotonic())

    async def _wait_until_shown(self) -> None:
        try:
            await asyncio.wait_for(self._shown.wait(), SHOWN_TIMEOUT_SECONDS)
        except TimeoutError:
            logger.debug("A page has not shown the last changes: %r", self._state.keys)

    async def _send_changes(self) -> bool:
        """Send what differs from what the page has; return False after a disconnect."""
        changes = self._state.pop_changes()
        if changes:
            self._shown.clear()
            try:
                await self.send(text_data=changes)
            except Exception:  # the type of the exception depends on the server
                logger.debug("A page disconnected during a send.", exc_info=True)
                return False
        return True

    async def _refusal(self) -> int | None:
        """Return the close code for a viewer who lost access, None otherwise.

        Session, account and permissions are read after a notification that they changed,
        and every RECHECK_SECONDS, since they can change without one. Without permission to
        see the content, the code is the same as for deleted content.
        """
        if time.monotonic() - self._checked < RECHECK_SECONDS:
            return None
        self._checked = time.monotonic()
        session = self.scope.get("session")
        person = await run_in_db(permissions.reload_user, self.person, session)
        if person is None:
            return REFUSED
        self.person = person
        if not await self.prepare():
            return GONE
        if self._watch():
            self._wake.set()  # parts for the new permissions are not rendered yet
        return None


class RunConsumer(LivePageConsumer):
    """The page of one run; a streamed response of an agent renders its own part only."""

    async def connect(self) -> None:
        """Subscribe to the run."""
        self.run_id: UUID = self.scope["url_route"]["kwargs"]["run_id"]
        self._preview_key: Hashable = ("stream preview", self.run_id, False)
        self.topic = str(self.run_id)
        self.change_view(parse_query(self.scope["query_string"]))
        await super().connect()

    async def prepare(self) -> bool:
        """Read the viewer's permissions on the run."""
        try:
            self.permissions = await run_in_db(
                run_permissions_of, self.run_id, self.person
            )
        except RunNotFound:
            return False
        self._preview_key = ("stream preview", self.run_id, self.permissions.read)
        return True

    def change_view(self, query: Mapping[str, str]) -> None:
        """Show the point in time, selection and log filter of a query."""
        self.view = RunView.read(query)

    def parts(self) -> Iterator[tuple[Hashable, Render]]:
        """Yield the parts of the page; the key of each has only what it depends on."""
        for part in parts_of(self.run_id, self.permissions, self.view):
            render = partial(in_zone, self._zone, render_run_part, part)
            yield (self._zone, part), partial(run_in_db, render)
        if self.permissions.read:
            yield (
                self._preview_key,
                partial(run_in_db, render_stream_preview, self.run_id),
            )

    def note(self, message: Mapping[str, Any]) -> None:
        """Request a new rendering of the page, or of the stream preview only."""
        if message.get("type") == notifications.STREAM_PREVIEW:
            self._state.discard(self._preview_key)
            self._wake.set()
        else:
            super().note(message)


class ListConsumer(LivePageConsumer):
    """A page with a list of runs, approvals or workers."""

    topic = LISTS_TOPIC
    pause_seconds = LIST_PAUSE_SECONDS

    async def prepare(self) -> bool:
        """Read list, filters and the viewer's permissions."""
        self.kind = self.scope["url_route"]["kwargs"]["kind"]
        self.query = parse_query(self.scope["query_string"])
        for read in (permissions.permissions_for, approval_snoozes.snoozed_by):
            await run_in_db(read, self.person)  # cached for the key
        return self.kind in LISTS and LISTS[self.kind].may(self.person)

    def key(self) -> Hashable:
        """Return list, filters, permissions and zone: the rows depend on all of them."""
        filters = tuple(sorted(self.query.items()))
        shared = LISTS[self.kind].shared_by(self.person, self.query)
        return ("list", self.kind, filters, shared, self._zone)

    async def render(self) -> RenderedRegions:
        """Render the list."""
        render = LISTS[self.kind].render
        render_in_zone = partial(in_zone, self._zone, render, self.query, self.person)
        return RenderedRegions(await run_in_db(render_in_zone))


def run_permissions_of(run_id: UUID, person: User) -> RunPermissions:
    """Return the permissions of a person on a run.

    Raises RunNotFound, also without permission to see the run.
    """
    return run_permissions(person, system.find_run(run_id, by=person))


def render_run_part(part: Part) -> RenderedRegions:
    """Render some regions of a run page; none, with `is_gone`, for a deleted run."""
    try:
        run = system.find_run(part.run_id)
    except RunNotFound:
        return RenderedRegions({}, is_gone=True)
    page = RunPage(run, part.permissions, view=part.view)
    regions = render_part(page, part.regions)
    seconds = None
    if part.regions in {FRAME, FRAME_ALONE}:
        seconds = page.recheck_after
    elif part.regions == POINT_IN_TIME:
        seconds = page.axis_outdated_after
    again_at = None if seconds is None else time.monotonic() + seconds
    return RenderedRegions(regions, version=run.version, again_at=again_at)


def render_stream_preview(run_id: UUID) -> RenderedRegions:
    """Render the responses that agents are streaming in a run; none for a deleted run."""
    run = Run.objects.filter(pk=run_id).only("status", "attempt").first()
    if run is None:
        return RenderedRegions({})
    return RenderedRegions(
        render_regions(
            "runs/_stream_preview.html", ("run-stream-preview",), {"run": run}
        )
    )
