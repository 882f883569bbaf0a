"""Agents of a scripted model server, and a ledger that records their calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from tests.support.openai_server import ModelServer
from workflows.agents import call_content
from workflows.agents.call_content import Exchange
from workflows.agents.call_requests import CallRequest
from workflows.agents.provider import Call, DatabaseAgents
from workflows.agents.provider_api import Clients
from workflows.agents.recordings import NoMasks
from workflows.agents.run_keys import RunKey
from workflows.models import Agent, AgentCall, CallStatus, Kind, Provider, Run
from workflows.runtime.protocols import NodeContext

KEY = "sk-stored-4711-never-shown"
EVERYTHING = ["chat", "vision", "tools", "embed"]


def make_provider(server: ModelServer, name: str = "Local", **fields: Any) -> Provider:
    """Return a provider with a key whose base URL is the scripted server."""
    key = fields.pop("key", KEY)
    values = {"kind": Kind.OPENAI, "base_url": server.url, "timeout_seconds": 10}
    provider = Provider(name=name, **{**values, **fields})
    provider.store_key(key)
    provider.save()
    return provider


def make_agent(
    server: ModelServer, name: str = "writer", *, key: str = KEY, **fields: Any
) -> Agent:
    """Return an agent with all capabilities at the scripted server."""
    provider = fields.pop("provider", None) or Provider.objects.first()
    values = {"model": "tiny", "capabilities": EVERYTHING}
    return Agent.objects.create(
        name=name,
        provider=provider or make_provider(server, key=key),
        **{**values, **fields},
    )


def make_call(run: Run | None = None, **fields: Any) -> AgentCall:
    """Return a call of 12 tokens, the number that each call to the scripted server uses."""
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


def make_content(call: AgentCall, prompt: str, answer: str) -> None:
    """Store a prompt and an answer of a call of a run."""
    request = CallRequest("chat", "writer", prompt)
    exchange = Exchange.begin(request, [{"role": "user", "content": prompt}])
    exchange.answer = answer
    content = call_content.pack(exchange, NoMasks())
    content.call, content.run = call, cast("Run", call.run)
    content.node_name = "work"
    content.save(force_insert=True)


@dataclass
class RecordedText:
    """A stream preview that records the streamed response."""

    text: str = ""
    is_over: bool = False

    def add(self, piece: str) -> None:
        self.text += piece

    async def end(self) -> None:
        self.is_over = True


@dataclass
class RecordingLedger:
    """A ledger that records calls in memory."""

    calls: list[Call] = field(default_factory=list)
    shown: list[RecordedText] = field(default_factory=list)
    stop: BaseException | None = None
    keeps_content: bool = False

    async def allow(self, _context: NodeContext | None) -> None:
        """Raise `stop` if it is set."""
        if self.stop is not None:
            raise self.stop

    def enter(self, call: Call) -> None:
        self.calls.append(call)

    def preview(self, _call: Call) -> RecordedText:
        """Return a stream preview for a call."""
        self.shown.append(RecordedText())
        return self.shown[-1]


@dataclass
class AgentSetup:
    """Agents with their ledger and clients."""

    agents: DatabaseAgents
    ledger: RecordingLedger
    clients: Clients


def agent_setup(token: str = "") -> AgentSetup:
    """Return agents with separate clients, which the caller closes."""
    ledger, clients = RecordingLedger(), Clients()
    return AgentSetup(
        DatabaseAgents(ledger, RunKey(token), lambda: clients), ledger, clients
    )
