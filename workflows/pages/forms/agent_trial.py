"""Trying an agent out: one question, its answer piece by piece, and what it took.

A call that is tried is recorded like any other, without a run. Its client is its own
and gone with it, since a page does not live on a worker's event loop.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workflows.agents.lookup import row_of
from workflows.agents.provider import DatabaseAgents
from workflows.agents.upstream import Clients
from workflows.infra.database_threads import run_in_db
from workflows.models import AgentCall
from workflows.runtime.errors import ProviderError

if TYPE_CHECKING:
    from workflows.agents.provider import Call
    from workflows.runtime.protocols import NodeContext


class Unseen:
    """Words that are shown by whoever reads the stream."""

    def add(self, piece: str) -> None:
        """Leave it to the reader."""

    async def end(self) -> None:
        """Leave it to the reader."""


@dataclass
class TrialCallRecorder:
    """Keeps the one call, to be stored with the name of who tried."""

    person_id: int
    row: AgentCall | None = None

    async def allow(self, context: NodeContext | None) -> None:
        """Let it be made."""

    def enter(self, call: Call) -> None:
        """Keep it."""
        self.row = row_of(call)
        self.row.person_id = self.person_id

    def words(self, _call: Call) -> Unseen:
        """Return a place that nobody looks at."""
        return Unseen()


@dataclass
class Trial:
    """One question and what has come of it so far."""

    agent: str
    prompt: str
    person_id: int
    text: str = ""
    error: str = ""
    is_over: bool = False
    call: AgentCall | None = field(default=None)

    async def pieces(self) -> AsyncGenerator[str, None]:
        """Yield the answer's pieces; afterwards the call is stored.

        What goes wrong is in `error`, as a sentence.
        """
        ledger, clients = TrialCallRecorder(self.person_id), Clients()
        agents = DatabaseAgents(ledger, clients=lambda: clients)
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
            if ledger.row is not None:
                self.call = ledger.row
                await run_in_db(ledger.row.save, force_insert=True)

    async def finish(self) -> None:
        """Read the whole answer: for pages without scripts."""
        async for _ in self.pieces():
            pass
