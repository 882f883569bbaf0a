"""The websocket that tries an agent: receives a prompt, streams the response."""

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
from workflows.pages.live.close_codes import REFUSED
from workflows.pages.live.consumers import RECHECK_SECONDS
from workflows.pages.rate_limits import count

if TYPE_CHECKING:
    from django.contrib.auth.models import User

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.1  # minimum interval between renderings of a response


class AgentTrialConsumer(AsyncWebsocketConsumer):
    """One page that tries one agent; a new prompt cancels the previous response."""

    async def connect(self) -> None:
        """Accept people who may manage agents."""
        self._task: asyncio.Task[None] | None = None
        person = cast("User", self.scope["user"])
        await self.accept()
        if not await run_in_db(permissions.can_manage_agents, person):
            await self.close(REFUSED)

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - Channels' signature
        """Cancel the call."""
        if self._task is not None:
            self._task.cancel()

    async def receive(
        self,
        text_data: str | None = None,
        bytes_data: bytes | None = None,  # noqa: ARG002 - Channels' signature
    ) -> None:
        """Start a call with the prompt of a message; other messages are ignored."""
        prompt = prompt_in(text_data or "")
        if prompt is None:
            return
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.create_task(self._handle(prompt))

    async def _handle(self, prompt: str) -> None:
        if await self._can_continue():
            await self._respond(prompt)
        else:
            await self.close(REFUSED)

    async def _respond(self, prompt: str) -> None:
        form = TryForm({"prompt": prompt})
        agent_id = self.scope["url_route"]["kwargs"]["agent_id"]
        person = cast("User", self.scope["user"])
        agent = await run_in_db(Agent.objects.filter(pk=agent_id).first)
        trial = Trial(agent.name if agent else "", prompt, person.pk)
        try:
            await sync_to_async(count)("launch", f"person {person.pk}")
        except RateLimited as error:
            trial.error, trial.is_over = str(error), True
        if agent is None or not form.is_valid():
            trial.error = "Enter a prompt of at most 20,000 characters."
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
            logger.exception("Trying an agent failed.")
            trial.error = "Server error. See the server log."
        await self._show(trial)

    async def _stream(self, trial: Trial) -> bool:
        """Stream the response; return False if the person lost the permission."""
        shown = checked = time.monotonic()
        async with aclosing(trial.pieces()) as pieces:
            async for _ in pieces:
                now = time.monotonic()
                if now - checked >= RECHECK_SECONDS:
                    checked = now
                    if not await self._can_continue():
                        return False
                if now - shown >= PAUSE_SECONDS:
                    await self._show(trial)
                    shown = now
        return True

    async def _can_continue(self) -> bool:
        """Return whether the person may still manage agents: pages stay open for long."""
        known = cast("User", self.scope["user"])
        person = await run_in_db(
            permissions.reload_user, known, self.scope.get("session")
        )
        return person is not None and await run_in_db(
            permissions.can_manage_agents, person
        )

    async def _show(self, trial: Trial) -> None:
        html = render_to_string(
            "agents/agent.html#try-answer", {"trial": trial, "oob": True}
        )
        await self.send(text_data=html)


def prompt_in(text: str) -> str | None:
    """Return the prompt of a message, None for an invalid message."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    body = message.get("body") if isinstance(message, dict) else None
    prompt = body.get("prompt") if isinstance(body, dict) else None
    # JSON can contain lone surrogates, which no other encoding accepts
    return prompt.encode(errors="replace").decode() if isinstance(prompt, str) else None
