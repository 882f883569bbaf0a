"""Agents as rows for tests, asked at a scripted server; and books that keep everything."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.support.openai_server import ModelServer
from workflows.agents.provider import Call, DatabaseAgents
from workflows.agents.provider_api import Clients
from workflows.agents.run_keys import RunKey
from workflows.models import Agent, AgentCall, CallStatus, Kind, Provider, Run
from workflows.runtime.protocols import NodeContext

KEY = "sk-stored-4711-never-shown"
EVERYTHING = ["chat", "vision", "tools", "embed"]


def make_provider(server: ModelServer, name: str = "Local", **fields: Any) -> Provider:
    """Return a provider at the scripted server, with a key."""
    key = fields.pop("key", KEY)
    values = {"kind": Kind.OPENAI, "base_url": server.url, "timeout_seconds": 10}
    provider = Provider(name=name, **{**values, **fields})
    provider.store_key(key)
    provider.save()
    return provider


def make_agent(
    server: ModelServer, name: str = "writer", *, key: str = KEY, **fields: Any
) -> Agent:
    """Return an agent that can do everything, of a provider at the scripted server."""
    provider = fields.pop("provider", None) or Provider.objects.first()
    values = {"model": "tiny", "capabilities": EVERYTHING}
    return Agent.objects.create(
        name=name,
        provider=provider or make_provider(server, key=key),
        **{**values, **fields},
    )


def make_call(run: Run | None = None, **fields: Any) -> AgentCall:
    """Return a call of 12 tokens; each call to the scripted server takes as many."""
    values: dict[str, Any] = {
        "run": run,
        "workflow_name": run.workflow_name if run else "",
        "kind": "chat",
        "agent_name": "writer",
        "provider_name": "Local",
        "model": "tiny",
        "tokens_in": 7,
        "tokens_out": 5,
        "latency_ms": 1,
        "status": CallStatus.COMPLETED,
    }
    return AgentCall.objects.create(**{**values, **fields})


@dataclass
class RecordedCalls:
    """Words of a streamed answer, kept."""

    text: str = ""
    is_over: bool = False

    def add(self, piece: str) -> None:
        """Keep a piece."""
        self.text += piece

    async def end(self) -> None:
        """Note the end."""
        self.is_over = True


@dataclass
class Books:
    """A ledger that keeps the calls it gets."""

    calls: list[Call] = field(default_factory=list)
    shown: list[RecordedCalls] = field(default_factory=list)
    stop: BaseException | None = None

    async def allow(self, _context: NodeContext | None) -> None:
        """Let the call be made, or not."""
        if self.stop is not None:
            raise self.stop

    def enter(self, call: Call) -> None:
        """Keep a call."""
        self.calls.append(call)

    def preview(self, _call: Call) -> RecordedCalls:
        """Return where its words are kept."""
        self.shown.append(RecordedCalls())
        return self.shown[-1]


@dataclass
class CallTask:
    """Agents with their books and clients, for one test."""

    agents: DatabaseAgents
    books: Books
    clients: Clients


def calling(token: str = "") -> CallTask:
    """Return agents with clients of their own; close them in the end."""
    books, clients = Books(), Clients()
    return CallTask(
        DatabaseAgents(books, RunKey(token), lambda: clients), books, clients
    )
