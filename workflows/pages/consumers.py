"""The sockets of open pages: they keep a page true, and say "look again" of nothing else.

A message tells that something changed, never what: the page is drawn from the database,
at connect and after each message. So a lost message costs a moment, and a reconnect
neither loses nor doubles anything. A page gets the next drawing when it has shown the
last one: a slow one skips what came between and always gets the newest.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl

from channels.generic.websocket import AsyncWebsocketConsumer

from workflows.errors import RunNotFound
from workflows.execution import live, outages
from workflows.execution.database import in_database
from workflows.pages import access, inbox
from workflows.pages.lists import LISTS
from workflows.pages.outage import BROKEN, TRY_AGAIN_LATER
from workflows.pages.renders import Drawing, drawings
from workflows.pages.run_page import RunPage, render_regions
from workflows.system import system

if TYPE_CHECKING:
    from uuid import UUID

    from django.contrib.auth.models import AnonymousUser, User

logger = logging.getLogger(__name__)

REFUSED, GONE = 4403, 4404  # close codes; the page does not come back after these
SHOWN = "shown"  # what a page sends when it has swapped a drawing in
PATIENCE_SECONDS = 15  # for that word; then it gets the next drawing anyway
RECHECK_SECONDS = 30  # between two looks whether the viewer may still watch
LIST_PAUSE_SECONDS = 0.5  # between two drawings of a list


class LivePage(AsyncWebsocketConsumer):
    """One open page. Handlers only note that something changed; a task does the rest."""

    group: str
    pause_seconds = 0.0
    rejoin_seconds = 30.0  # between two looks that nothing announced

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one page until it leaves, or is lost; nothing of it is kept then."""
        self._tasks: list[asyncio.Task[None]] = []
        self._key: Hashable = None
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._tasks:
                drawings.leave(self._key)
            for task in self._tasks:
                task.cancel()

    async def connect(self) -> None:
        """Let members in, join the group, then catch up with what happened meanwhile."""
        self._sent: dict[str, str] = {}
        self._version: int | None = None
        self._again = asyncio.Event()
        self._shown = asyncio.Event()
        self._shown.set()
        self._checked = time.monotonic()
        person = cast("User | AnonymousUser", self.scope["user"])
        if not access.is_member(person):
            await self._refuse(REFUSED)
            return
        self.person = cast("User", person)
        await live.join(self.group, self.channel_name)
        if not await self.prepare():
            await live.leave(self.group, self.channel_name)
            await self._refuse(GONE)
            return
        self._key = self.key()
        drawings.watch(self._key)
        await self.accept()
        self._again.set()
        self._tasks = [
            asyncio.create_task(self._keep_true()),
            asyncio.create_task(self._keep_hearing()),
        ]

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - Channels' signature
        """Leave the group."""
        await live.leave(self.group, self.channel_name)

    async def receive(
        self,
        text_data: str | None = None,
        bytes_data: bytes | None = None,  # noqa: ARG002 - Channels' signature
    ) -> None:
        """Note that the page has shown the last drawing; it has nothing else to say."""
        if text_data == SHOWN:
            self._shown.set()

    def note(self, message: Mapping[str, Any]) -> None:
        """Remember to look again, at least at this version if the message names one."""
        version = message.get("version")
        known = self._version if self._again.is_set() else None
        if version is None or (self._again.is_set() and known is None):
            self._version = None
        else:
            self._version = max(version, known or 0)
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

    # -- inside -----------------------------------------------------------------------

    async def _refuse(self, code: int) -> None:
        """Close with a code the page can read: only an accepted socket tells it."""
        await self.accept()
        await self.close(code)

    async def _keep_true(self) -> None:
        try:
            while True:
                await self._again.wait()
                await self._until_shown()
                if not await self._may_still_watch():
                    await self.close(REFUSED)
                    return
                self._again.clear()
                drawing = await drawings.get(
                    self._key, self.draw, version=self._version
                )
                if drawing.is_gone:
                    await self.close(GONE)
                    return
                if not await self._send_changed(drawing.regions):
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
            logger.exception("A live page could not be drawn: %r", self._key)
            await self.close(BROKEN)

    async def _keep_hearing(self) -> None:
        """Now and then join again and look: a channel layer that was emptied tells nothing."""
        while True:
            await asyncio.sleep(self.rejoin_seconds)
            try:
                await live.join(self.group, self.channel_name)
            except outages.Unheard as error:
                outages.messages.met(error)
            self.note({})

    async def _until_shown(self) -> None:
        try:
            await asyncio.wait_for(self._shown.wait(), PATIENCE_SECONDS)
        except TimeoutError:
            logger.debug("A live page has not shown its last drawing: %r", self._key)

    async def _send_changed(self, regions: Mapping[str, str]) -> bool:
        """Send the regions that differ from what this page has; False: it went away."""
        changed = {
            name: html for name, html in regions.items() if self._sent.get(name) != html
        }
        if changed:
            self._sent.update(changed)
            self._shown.clear()
            try:
                await self.send(text_data="\n".join(changed.values()))
            except Exception:  # each server raises something else here
                logger.debug("A page left while it was being sent to.", exc_info=True)
                return False
        return True

    async def _may_still_watch(self) -> bool:
        """Tell whether the session and the account still stand; looked up now and then."""
        if time.monotonic() - self._checked < RECHECK_SECONDS:
            return True
        self._checked = time.monotonic()
        session = self.scope.get("session")
        return await in_database(access.is_still_member, self.person, session)


class RunSocket(LivePage):
    """The page of one run."""

    async def connect(self) -> None:
        """Join the group of the run."""
        self.run_id: UUID = self.scope["url_route"]["kwargs"]["run_id"]
        self.group = live.group(self.run_id)
        await super().connect()

    async def prepare(self) -> bool:
        """Look up what this person may do with the run."""
        try:
            found = await in_database(rights_of, self.run_id, self.person)
        except RunNotFound:
            return False
        self.rights = found or access.Rights()
        return found is not None

    def key(self) -> Hashable:
        """Return the run and the rights: nothing else changes the drawing."""
        return ("run", self.run_id, self.rights)

    async def draw(self) -> Drawing:
        """Return the run's regions."""
        return await in_database(draw_run_page, self.run_id, self.rights)

    async def run_changed(self, message: Mapping[str, Any]) -> None:
        """Look again."""
        self.note(message)


class ListSocket(LivePage):
    """A page that lists runs or questions."""

    group = live.RUNS
    pause_seconds = LIST_PAUSE_SECONDS

    async def prepare(self) -> bool:
        """Read which list with which filters, and the person's groups."""
        self.kind = self.scope["url_route"]["kwargs"]["kind"]
        self.query = dict(parse_qsl(self.scope["query_string"].decode()))
        self.theirs = await in_database(inbox.groups_of, self.person)
        return self.kind in LISTS and LISTS[self.kind].may(self.person)

    def key(self) -> Hashable:
        """Return the list, its filters and the groups: questions differ by these."""
        return ("list", self.kind, tuple(sorted(self.query.items())), self.theirs)

    async def draw(self) -> Drawing:
        """Return the list's regions."""
        render = LISTS[self.kind].render
        return Drawing(await in_database(render, self.query, self.person))

    async def runs_changed(self, message: Mapping[str, Any]) -> None:
        """Look again."""
        self.note(message)


def rights_of(run_id: UUID, person: User) -> access.Rights | None:
    """Return what a person may do with a run, None if not even see it.

    Raises RunNotFound.
    """
    run = system.find_run(run_id)
    return access.rights(person, run) if access.may_view_run(person, run) else None


def draw_run_page(run_id: UUID, rights: access.Rights) -> Drawing:
    """Return the regions of a run's page; a drawing of nothing once it is deleted."""
    try:
        run = system.find_run(run_id)
    except RunNotFound:
        return Drawing({}, is_gone=True)
    return Drawing(render_regions(RunPage(run, rights)), version=run.version)
