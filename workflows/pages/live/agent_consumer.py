"""The socket that tries an agent out: a question comes in, the answer as it grows goes out."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.template.loader import render_to_string

from workflows.access import permissions
from workflows.errors import RateLimited
from workflows.infra.database_threads import run_in_db
from workflows.models import Agent
from workflows.pages.forms.agent_trial import Trial
from workflows.pages.forms.agents import TryForm
from workflows.pages.live.consumers import RECHECK_SECONDS, REFUSED
from workflows.pages.rates import count

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.1  # between two drawings of a growing answer


class TrySocket(AsyncWebsocketConsumer):
    """One page that tries one agent; a new question ends the answer to the last one."""

    async def connect(self) -> None:
        """Let in who may set up agents."""
        self._task: asyncio.Task[None] | None = None
        person = cast("User", self.scope["user"])
        await self.accept()
        if not await run_in_db(permissions.may_manage_agents, person):
            await self.close(REFUSED)

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - Channels' signature
        """Ask no further."""
        if self._task is not None:
            self._task.cancel()

    async def receive(
        self,
        text_data: str | None = None,
        bytes_data: bytes | None = None,  # noqa: ARG002 - Channels' signature
    ) -> None:
        """Take a question; whatever is none is left aside."""
        prompt = prompt_in(text_data or "")
        if prompt is None:
            return
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.create_task(self._take(prompt))

    async def _take(self, prompt: str) -> None:
        if await self._may_still_ask():
            await self._answer(prompt)
        else:
            await self.close(REFUSED)

    async def _answer(self, prompt: str) -> None:
        form = TryForm({"prompt": prompt})
        agent_id = self.scope["url_route"]["kwargs"]["agent_id"]
        person = cast("User", self.scope["user"])
        agent = await run_in_db(Agent.objects.filter(pk=agent_id).first)
        trial = Trial(agent.name if agent else "", prompt, person.pk)
        try:
            await sync_to_async(count)("launch", f"person {person.pk}")
        except RateLimited as refused:
            trial.error, trial.is_over = str(refused), True
        if agent is None or not form.is_valid():
            trial.error = "Ask it something, in at most 20,000 characters."
            trial.is_over = True
        if trial.is_over:
            await self._show(trial)
            return
        await self._show(trial)
        try:
            if not await self._stream(trial):
                await self.close(REFUSED)
                return
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("An agent could not be tried out.")
            trial.error = "That failed on our side; the server's log tells why."
        await self._show(trial)

    async def _stream(self, trial: Trial) -> bool:
        """Show the answer as it grows; False: whoever asked may not see more of it."""
        shown = checked = time.monotonic()
        async with aclosing(trial.pieces()) as pieces:
            async for _ in pieces:
                now = time.monotonic()
                if now - checked >= RECHECK_SECONDS:
                    checked = now
                    if not await self._may_still_ask():
                        return False
                if now - shown >= PAUSE_SECONDS:
                    await self._show(trial)
                    shown = now
        return True

    async def _may_still_ask(self) -> bool:
        """Tell whether this person may set up agents now: the page may be open for long."""
        known = cast("User", self.scope["user"])
        person = await run_in_db(
            permissions.reload_user, known, self.scope.get("session")
        )
        return person is not None and await run_in_db(
            permissions.may_manage_agents, person
        )

    async def _show(self, trial: Trial) -> None:
        html = render_to_string(
            "agents/agent.html#try-answer", {"trial": trial, "oob": True}
        )
        await self.send(text_data=html)


def prompt_in(text: str) -> str | None:
    """Return the question of a message of the page, None for anything else."""
    try:
        sent = json.loads(text)
    except (ValueError, RecursionError):
        return None
    body = sent.get("body") if isinstance(sent, dict) else None
    prompt = body.get("prompt") if isinstance(body, dict) else None
    # JSON can say half a surrogate pair; nothing else can
    return prompt.encode(errors="replace").decode() if isinstance(prompt, str) else None
