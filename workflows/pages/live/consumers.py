"""The sockets of open pages: they keep a page true, and say "look again" of nothing else.

A message tells that something changed, never what: the page is drawn from the database,
at connect and after each message. So a lost message costs a moment, and a reconnect
neither loses nor doubles anything. A page gets the next drawing when it has shown the
last one: a slow one skips what came between and always gets the newest, as what differs
from what it has. Some things change without any message, such as a lease that ends:
a drawing says when to look again by itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import (
    Awaitable,
    Callable,
    Hashable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from channels.generic.websocket import AsyncWebsocketConsumer

from workflows.access import permissions
from workflows.errors import RunNotFound
from workflows.infra import notifications, outages
from workflows.infra.database_threads import run_in_db
from workflows.models import Run
from workflows.pages.access import Rights, rights
from workflows.pages.lists.live_lists import LISTS
from workflows.pages.lists.run_filters import read_query
from workflows.pages.live.broadcast import LISTS as LISTS_CHANGE
from workflows.pages.live.broadcast import hub
from workflows.pages.live.close_codes import BROKEN, TRY_AGAIN_LATER
from workflows.pages.live.render_cache import Drawing, drawings
from workflows.pages.render.regions import Region, difference, drawn
from workflows.pages.render.zones import in_zone, zone_in
from workflows.pages.run.page import RunPage
from workflows.pages.run.parts import FRAME, MOMENT, Part, parts_of, render_part
from workflows.pages.run.view import RunView
from workflows.system import system

if TYPE_CHECKING:
    from uuid import UUID

    from django.contrib.auth.models import AnonymousUser, User

logger = logging.getLogger(__name__)

REFUSED, GONE = 4403, 4404  # close codes; the page does not come back after these
SHOWN = "shown"  # what a page sends when it has swapped a drawing in
STALE = "stale"  # and when an answer to a form may have put something older there
SEE = "see "  # and when its reader looks elsewhere: the query of the new address
MAX_TRACKED_PARTS = 2_000  # characters of such a query
PATIENCE_SECONDS = 15  # for that word; then it gets the next drawing anyway
RECHECK_SECONDS = 20  # at most between two looks whether the viewer may still watch
LIST_PAUSE_SECONDS = 0.5  # between two drawings of a list


Draw = Callable[[], Awaitable[Drawing]]


class LivePage(AsyncWebsocketConsumer):
    """One open page. Handlers only note that something changed; a task does the rest."""

    showing: str  # what it wants to be told of: the id of a run, or hub.LISTS
    pause_seconds = 0.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one page until it leaves, or is lost; nothing of it is kept then."""
        self._task: asyncio.Task[None] | None = None
        self._keys: Sequence[Hashable] = ()
        self._has_joined = False
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._forget()

    async def _forget(self) -> None:
        for key in self._keys:
            drawings.leave(key)
        if self._task is not None:
            self._task.cancel()
        if self._has_joined:
            await hub.leave(self.showing, self)

    async def dispatch(self, message: Mapping[str, Any]) -> None:
        """Handle a message; no connection of this thread has to be looked after for it.

        Channels does so before each message, on a thread: two hundred pages that tell of
        what they have shown would wait for four hundred hops.
        """
        handler = getattr(self, message["type"].replace(".", "_"), None)
        if handler is None:
            raise ValueError(
                f"An open page was sent a message of type {message['type']}."
            )
        await handler(message)

    async def connect(self) -> None:
        """Let members in, listen, then catch up with what happened meanwhile."""
        self._sent: dict[str, Region] = {}
        self._have: dict[Hashable, Drawing] = {}
        self._version: int | None = None
        self._is_news = True
        self._again = asyncio.Event()
        self._shown = asyncio.Event()
        self._shown.set()
        self._checked = time.monotonic()
        self._zone = zone_in(self.scope.get("cookies", {}))
        person = cast("User | AnonymousUser", self.scope["user"])
        if not permissions.is_member(person):
            await self._refuse(REFUSED)
            return
        self.person = cast("User", person)
        await hub.join(self.showing, self)
        self._has_joined = True
        if not await self.prepare():
            await hub.leave(self.showing, self)
            await self._refuse(GONE)
            return
        self._watch()
        await self.accept()
        self._again.set()
        self._task = asyncio.create_task(self._keep_true())

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - Channels' signature
        """Listen no longer."""
        await hub.leave(self.showing, self)

    async def receive(
        self,
        text_data: str | None = None,
        bytes_data: bytes | None = None,  # noqa: ARG002 - Channels' signature
    ) -> None:
        """Note that the page has shown the last drawing, or that its reader looks away."""
        if text_data == SHOWN:
            self._shown.set()
        elif text_data == STALE:
            self._sent.clear()
            self.note({})
        elif text_data and text_data.startswith(SEE):
            query = text_data[len(SEE) :][:MAX_TRACKED_PARTS].lstrip("?")
            self.see(read_query(query))
            self._watch()
            self._again.set()

    def note(self, message: Mapping[str, Any]) -> None:
        """Remember to look again, at least at this version if the message names one."""
        if message.get("rights"):
            self._checked = float("-inf")
        version = message.get("version")
        known = self._version if self._is_news else None
        if version is None or (self._is_news and known is None):
            self._version = None
        else:
            self._version = max(version, known or 0)
        self._is_news = True
        self._again.set()

    # -- what a kind of page says of itself -------------------------------------------

    async def prepare(self) -> bool:
        """Tell whether there is something to show, reading what the key needs."""
        return True

    def key(self) -> Hashable:
        """Return what viewers of the same drawing have in common."""
        raise NotImplementedError

    async def draw(self) -> Drawing:
        """Return the regions as they are now."""
        raise NotImplementedError

    def parts(self) -> Iterator[tuple[Hashable, Draw]]:
        """Yield what the page is drawn of: the key of each part, and how to draw it."""
        yield self.key(), self.draw

    def see(self, query: Mapping[str, str]) -> None:
        """Look elsewhere, as the query says; most pages have nowhere to look."""

    # -- inside -----------------------------------------------------------------------

    async def _refuse(self, code: int) -> None:
        """Close with a code the page can read: only an accepted socket tells it."""
        await self.accept()
        await self.close(code)

    def _watch(self) -> None:
        """Watch the parts of the page as it is looked at now, and no others."""
        keys = tuple(key for key, _ in self.parts())
        for key in keys:
            drawings.watch(key)
        for key in self._keys:
            drawings.leave(key)
        self._keys = keys
        self._have = {key: self._have[key] for key in keys if key in self._have}

    async def _keep_true(self) -> None:
        try:
            while True:
                await self._wait_for_change()
                await self._until_shown()
                self._again.clear()
                await self._look()
                # after drawing: what is sent was drawn while it might be seen
                refusal = await self._refusal()
                if any(drawing.is_gone for drawing in self._have.values()):
                    refusal = GONE
                if refusal is not None:
                    await self.close(refusal)
                    return
                if not await self._send_changed():
                    return
                await asyncio.sleep(self.pause_seconds)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # the page says that it reconnects, and gets the truth then
            if outage := outages.of(error):
                outage.met(error)
                await self.close(TRY_AGAIN_LATER)
                return
            logger.exception("A live page could not be drawn: %r", self._keys)
            await self.close(BROKEN)

    async def _wait_for_change(self) -> None:
        """Return when something changed, or may have by itself: rights as well."""
        moments = [one.again_at for one in self._have.values() if one.again_at]
        left = min([*moments, self._checked + RECHECK_SECONDS]) - time.monotonic()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._again.wait(), left)

    async def _look(self) -> None:
        """Get the parts that have news, that are new to the page, or whose time is over."""
        news, self._is_news = self._is_news, False
        now, wanted = time.monotonic(), self._version
        newest = max((one.version for one in self._have.values()), default=0)
        for key, draw in self.parts():
            known = self._have.get(key)
            options: dict[str, Any] = {"version": wanted}
            if not news:
                if known is None:
                    options = {"version": newest or None}
                elif known.again_at is not None and known.again_at <= now:
                    options = {"since": known.again_at}
                else:
                    continue
            drawing = await drawings.get(key, draw, **options)
            if key in self._keys:
                self._have[key] = drawing

    async def _until_shown(self) -> None:
        try:
            await asyncio.wait_for(self._shown.wait(), PATIENCE_SECONDS)
        except TimeoutError:
            logger.debug("A live page has not shown its last drawing: %r", self._keys)

    async def _send_changed(self) -> bool:
        """Send what differs from what this page has; False: it went away."""
        told = []
        for key in self._keys:
            drawing = self._have.get(key)
            for name, html in drawing.regions.items() if drawing else ():
                region = html if isinstance(html, Region) else Region(html)
                told.append(difference(self._sent.get(name), region))
                self._sent[name] = region
        changed = "\n".join(filter(None, told))
        if changed:
            self._shown.clear()
            try:
                await self.send(text_data=changed)
            except Exception:  # each server raises something else here
                logger.debug("A page left while it was being sent to.", exc_info=True)
                return False
        return True

    async def _refusal(self) -> int | None:
        """Return the code to close with when the viewer may not watch any more.

        Session, account and rights are looked up when rights have changed, and now and
        then, since they can change unheard. Whoever lost the right to what is shown is
        told what they would be told if it had been deleted.
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
        before = self._keys
        self._watch()
        if self._keys != before:
            self._again.set()  # what is shown to such rights was not drawn yet
        return None


class RunSocket(LivePage):
    """The page of one run; words of an agent that arrive draw their part alone."""

    async def connect(self) -> None:
        """Listen to what happens to the run."""
        self.run_id: UUID = self.scope["url_route"]["kwargs"]["run_id"]
        self._words: Hashable = ("words", self.run_id, False)
        self.showing = str(self.run_id)
        self.see(read_query(self.scope["query_string"]))
        await super().connect()

    async def prepare(self) -> bool:
        """Look up what this person may do with the run."""
        try:
            self.rights = await run_in_db(rights_of, self.run_id, self.person)
        except RunNotFound:
            return False
        self._words = ("words", self.run_id, self.rights.read)
        return True

    def see(self, query: Mapping[str, str]) -> None:
        """Look at the moment, step, link or lines that a query names."""
        self.view = RunView.read(query)

    def parts(self) -> Iterator[tuple[Hashable, Draw]]:
        """Yield the parts of the page: each depends on as little as it can."""
        for part in parts_of(self.run_id, self.rights, self.view):
            draw = partial(in_zone, self._zone, draw_part, part)
            yield (self._zone, part), partial(run_in_db, draw)
        if self.rights.read:
            yield self._words, partial(run_in_db, render_stream_preview, self.run_id)

    def note(self, message: Mapping[str, Any]) -> None:
        """Look again at all of it, or only at what agents are answering."""
        if message.get("type") == notifications.STREAM_PREVIEW:
            self._have.pop(self._words, None)
            self._again.set()
        else:
            super().note(message)


class ListSocket(LivePage):
    """A page that lists runs or questions."""

    showing = LISTS_CHANGE
    pause_seconds = LIST_PAUSE_SECONDS

    async def prepare(self) -> bool:
        """Read which list with which filters, and what the person may do."""
        self.kind = self.scope["url_route"]["kwargs"]["kind"]
        self.query = read_query(self.scope["query_string"])
        self.sight = await run_in_db(permissions.permissions_for, self.person)
        return self.kind in LISTS and LISTS[self.kind].may(self.person)

    def key(self) -> Hashable:
        """Return the list, its filters and the viewer's rights: rows differ by these."""
        asked = tuple(sorted(self.query.items()))
        return ("list", self.kind, asked, self.sight, self._zone)

    async def draw(self) -> Drawing:
        """Return the list's regions."""
        render = LISTS[self.kind].render
        draw = partial(in_zone, self._zone, render, self.query, self.person)
        return Drawing(await run_in_db(draw))


def rights_of(run_id: UUID, person: User) -> Rights:
    """Return what a person may do with a run. Raises RunNotFound: not even see it."""
    return rights(person, system.find_run(run_id, by=person))


def draw_part(part: Part) -> Drawing:
    """Return some regions of a run's page; a drawing of nothing once it is deleted."""
    try:
        run = system.find_run(part.run_id)
    except RunNotFound:
        return Drawing({}, is_gone=True)
    page = RunPage(run, part.rights, view=part.view)
    regions = render_part(page, part.regions)
    left = None
    if part.regions == FRAME:
        left = page.recheck_after
    elif part.regions == MOMENT:
        left = page.grow_again
    again_at = None if left is None else time.monotonic() + left
    return Drawing(regions, version=run.version, again_at=again_at)


def render_stream_preview(run_id: UUID) -> Drawing:
    """Return what agents are answering in a run, nothing once it is deleted."""
    run = Run.objects.filter(pk=run_id).only("status", "attempt").first()
    if run is None:
        return Drawing({})
    return Drawing(drawn("runs/_words.html", ("run-words",), {"run": run}))
