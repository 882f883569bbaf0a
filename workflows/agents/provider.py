"""Agents, made real: each call looks its agent up, asks, and is told to whoever records.

The agent's settings are read for each call, so that a key that was put right is used at
once. Nothing here keeps a key longer than its call.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from workflows.agents.json_answers import parse_answer
from workflows.agents.lookup import find_service, require_capability
from workflows.agents.upstream import CallUsage, pooled
from workflows.agents.upstream.messages import (
    body_of,
    conversation,
    functions,
    tool_calls,
    with_images,
)
from workflows.infra.database_threads import run_in_db_retrying
from workflows.models import CallStatus, Capability
from workflows.runtime.errors import BadAnswer, Invalid, ProviderError
from workflows.runtime.protocols import Answer, NodeContext
from workflows.runtime.records import Prompt, Reply, Tool, ToolCall

if TYPE_CHECKING:
    from workflows.agents.upstream import Clients, Service

MAX_REPAIRS = 1  # times an agent is asked to put right what does not fit


@dataclass(slots=True)
class Call:
    """One call that has ended, as whoever records it is told."""

    kind: str
    service: Service
    usage: CallUsage
    context: NodeContext | None
    status: str = CallStatus.COMPLETED
    error: ProviderError | None = None


class CallRecorder(Protocol):
    """Who is asked before a call, and told of it: the run's books."""

    async def allow(self, context: NodeContext | None) -> None:
        """Return when the next call may be made. Raises Paused when it may not yet."""

    def enter(self, call: Call) -> None:
        """Record a call that has ended."""

    def words(self, call: Call) -> StreamPreview:
        """Return where the words of a streamed answer are shown as they arrive."""


class StreamPreview(Protocol):
    """A text that grows while people watch."""

    def add(self, piece: str) -> None:
        """Show a piece more."""

    async def end(self) -> None:
        """Show it no longer: the answer is complete, or will never be."""


@dataclass(frozen=True)
class DatabaseAgents:
    """The agents that administrators have set up."""

    ledger: CallRecorder
    token: str = ""  # given at launch: used in place of the stored keys
    clients: Callable[[], Clients] = pooled
    context: NodeContext | None = None

    def at(self, context: NodeContext) -> DatabaseAgents:
        """Return these agents for one node: what it asks is recorded on its stage."""
        return replace(self, context=context)

    async def chat(
        self, agent: str, prompt: Prompt, *, token: str | None = None, **options: Any
    ) -> Reply:
        """Return the whole answer."""
        service = await self._service(agent, Capability.CHAT, token)
        messages = conversation(prompt, service.system_prompt)
        body = body_of(service.options, options)
        async with self._recorded("chat", service) as call:
            message = await service.chat(self.clients(), messages, body, call.usage)
        return reply_of(message, call)

    async def chat_stream(
        self, agent: str, prompt: Prompt, *, token: str | None = None, **options: Any
    ) -> AsyncGenerator[str, None]:
        """Yield the answer as it arrives; who watches the run reads along."""
        service = await self._service(agent, Capability.CHAT, token)
        messages = conversation(prompt, service.system_prompt)
        body = body_of(service.options, options)
        async with self._recorded("chat_stream", service) as call:
            words = self.ledger.words(call)
            pieces = service.stream(self.clients(), messages, body, call.usage)
            try:
                async with aclosing(pieces):
                    async for piece in pieces:
                        words.add(piece)
                        yield piece
            finally:
                await asyncio.shield(words.end())

    async def vision(
        self,
        agent: str,
        prompt: Prompt,
        images: Sequence[bytes | str],
        *,
        token: str | None = None,
        **options: Any,
    ) -> Reply:
        """Return the answer about at least one image."""
        service = await self._service(agent, Capability.VISION, token)
        base = conversation(prompt, service.system_prompt)
        messages = with_images(base, images, service.agent)
        body = body_of(service.options, options)
        async with self._recorded("vision", service) as call:
            message = await service.chat(self.clients(), messages, body, call.usage)
        return reply_of(message, call)

    async def tools(
        self,
        agent: str,
        prompt: Prompt,
        tools: Sequence[Tool],
        *,
        token: str | None = None,
        **options: Any,
    ) -> tuple[ToolCall, ...]:
        """Return the functions the agent asks for."""
        service = await self._service(agent, Capability.TOOLS, token)
        messages = conversation(prompt, service.system_prompt)
        body = {**body_of(service.options, options), "tools": functions(tools)}
        async with self._recorded("tools", service) as call:
            message = await service.chat(self.clients(), messages, body, call.usage)
            return tool_calls(message, tools)

    async def embed(
        self,
        agent: str,
        texts: Sequence[str],
        *,
        token: str | None = None,
        **options: Any,
    ) -> tuple[tuple[float, ...], ...]:
        """Return one vector for each text."""
        service = await self._service(agent, Capability.EMBED, token)
        if not texts:
            return ()
        if not all(texts):
            raise Invalid("An empty text has no vector: leave it out.")
        body = body_of(service.options, options)
        async with self._recorded("embed", service) as call:
            return await service.embed(self.clients(), texts, body, call.usage)

    async def ask(
        self,
        agent: str,
        prompt: Prompt,
        answer: type[Answer],
        *,
        token: str | None = None,
        **options: Any,
    ) -> Answer:
        """Return the answer as that model; one that does not fit is asked for again.

        Each round is a call of its own. Raises BadAnswer: it would not fit either.
        """
        service = await self._service(agent, Capability.CHAT, token)
        messages = conversation(prompt, service.system_prompt)
        messages.insert(0, {"role": "system", "content": schema_instruction(answer)})
        body = body_of(service.options, options)
        for left in range(MAX_REPAIRS, -1, -1):
            async with self._recorded("ask", service) as call:
                message = await service.chat(self.clients(), messages, body, call.usage)
            text = message.content or ""
            try:
                return parse_answer(text, answer)
            except BadAnswer as wrong:
                if not left:
                    raise BadAnswer(
                        f"The agent “{service.agent}” did not answer as"
                        f" {answer.__name__}, also when asked again: {wrong}"
                    ) from wrong
                messages.extend(repair_messages(text, wrong))
        raise AssertionError("the last round returns or raises")

    # -- inside -----------------------------------------------------------------------

    async def _service(
        self, agent: str, capability: Capability, token: str | None
    ) -> Service:
        """Return how an agent is asked. Raises NotFound, Unavailable, Unsupported."""
        service = await run_in_db_retrying(find_service, agent)
        require_capability(service.agent, service.capabilities, capability)
        return service.with_key(token or self.token)

    @asynccontextmanager
    async def _recorded(
        self, kind: str, service: Service
    ) -> AsyncGenerator[Call, None]:
        """Give a call when it may be made; whatever comes of it is recorded."""
        await self.ledger.allow(self.context)
        call = Call(kind, service, CallUsage(), self.context)
        call.status = CallStatus.CANCELLED  # unless it comes to its end
        try:
            yield call
            call.status = CallStatus.COMPLETED
        except ProviderError as error:
            call.status, call.error = CallStatus.FAILED, error
            raise
        finally:
            self.ledger.enter(call)


def reply_of(message: Any, call: Call) -> Reply:
    """Return a message of the package as our reply."""
    usage = call.usage
    return Reply(
        message.content or "", call.service.model, usage.tokens_in, usage.tokens_out
    )


def schema_instruction(answer: type[Answer]) -> str:
    """Return what makes a model answer as JSON of this shape."""
    schema: Mapping[str, Any] = answer.model_json_schema()
    return (
        "Answer with one JSON object and nothing else, no words around it. It fits this"
        f" JSON schema:\n{json.dumps(schema, ensure_ascii=False)}"
    )


def repair_messages(text: str, wrong: BadAnswer) -> list[dict[str, Any]]:
    """Return the messages that ask for an answer that fits."""
    return [
        {"role": "assistant", "content": text},
        {
            "role": "user",
            "content": f"That did not fit: {wrong} Answer again with one JSON object"
            " that fits the schema, and nothing else.",
        },
    ]
