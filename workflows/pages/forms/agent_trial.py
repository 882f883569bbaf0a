"""Trial calls of agents from their page: a prompt, and its streamed response.

A trial call is recorded like any other, without a run. It has its own HTTP client, which
is closed afterwards, since pages do not run on a worker's event loop.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workflows.agents import budgets
from workflows.agents.lookup import row_of
from workflows.agents.provider import DatabaseAgents
from workflows.agents.provider_api import Clients
from workflows.infra.database_threads import run_in_db
from workflows.models import AgentCall
from workflows.runtime.errors import ProviderError, Unavailable

if TYPE_CHECKING:
    from workflows.agents.provider import Call
    from workflows.runtime.protocols import NodeContext


class NullPreview:
    """A stream preview that discards the text: the reader of the stream shows it."""

    def add(self, piece: str) -> None:
        """Discard a piece of text."""

    async def end(self) -> None:
        """Do nothing."""


@dataclass
class TrialCallRecorder:
    """A call recorder that holds the only call, to be stored with its user."""

    person_id: int
    row: AgentCall | None = None
    keeps_content: bool = False

    async def allow(self, context: NodeContext | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Allow the call unless the person has used up a budget. Raises Unavailable."""
        standing = await run_in_db(budgets.reached_by, self.person_id)
        if standing is not None:
            raise Unavailable(standing.sentence)

    def enter(self, call: Call) -> None:
        """Create the unsaved row of the call."""
        self.row = row_of(call)
        self.row.person_id = self.person_id

    def preview(self, _call: Call) -> NullPreview:
        """Return a preview that discards the text."""
        return NullPreview()


@dataclass
class Trial:
    """A prompt and the response so far."""

    agent: str
    prompt: str
    person_id: int
    text: str = ""
    error: str = ""
    is_over: bool = False
    call: AgentCall | None = field(default=None)

    async def pieces(self) -> AsyncGenerator[str, None]:
        """Yield the pieces of the response, then store the call.

        A ProviderError is stored as text in `error` and not raised.
        """
        recorder, clients = TrialCallRecorder(self.person_id), Clients()
        agents = DatabaseAgents(recorder, clients=lambda: clients)
        stream = agents.chat_stream(self.agent, self.prompt)
        try:
            async with aclosing(stream):
                async for piece in stream:
                    self.text += piece
                    yield piece
        except ProviderError as error:
            self.error = str(error)
        finally:
            self.is_over = True
            await clients.close()
            if recorder.row is not None:
                self.call = recorder.row
                await run_in_db(recorder.row.save, force_insert=True)

    async def finish(self) -> None:
        """Read the whole response, for pages without scripts."""
        async for _ in self.pieces():
            pass
