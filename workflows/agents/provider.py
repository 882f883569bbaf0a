"""The Agents provider: looks up each agent in the database, calls it and records the call.

An agent's settings are read for each call, so that a corrected key takes effect at once.
No key is kept longer than its call.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from workflows.agents.call_content import Exchange
from workflows.agents.call_requests import CallRequest
from workflows.agents.call_spans import CallSpan
from workflows.agents.json_output import MAX_REPAIRS, invalid_answer, parse_answer
from workflows.agents.lookup import find_service, require_capability
from workflows.agents.provider_api import CallUsage, pooled
from workflows.agents.provider_api.messages import (
    conversation,
    functions,
    raw_tool_calls,
    request_body,
    tool_calls,
    with_images,
)
from workflows.agents.run_keys import NO_KEY, RunKey
from workflows.infra.addresses import origin_of
from workflows.infra.database_threads import run_in_db_retrying
from workflows.models import CallReplay, CallStatus, Capability
from workflows.runtime.conversations import Prompt, Reply, Tool
from workflows.runtime.errors import (
    Invalid,
    InvalidResponse,
    ProviderError,
    Unavailable,
)
from workflows.runtime.protocols import Answer, NodeContext

if TYPE_CHECKING:
    from workflows.agents.provider_api import Clients, Service


@dataclass(slots=True)
class Call:
    """A finished call, as passed to the recorder."""

    kind: str
    service: Service
    usage: CallUsage
    context: NodeContext | None
    status: str = CallStatus.COMPLETED
    error: ProviderError | None = None
    exchange: Exchange = field(default_factory=Exchange)
    replay: CallReplay | None = None  # why no recorded answer was used, in a replay


class CallRecorder(Protocol):
    """Permits and records the calls of a run."""

    @property
    def keeps_content(self) -> bool:
        """Whether prompts and answers are stored, not only those that cannot be parsed."""

    async def allow(self, context: NodeContext | None) -> None:
        """Return when the next call is permitted. Raises Paused while a budget is used up."""

    def enter(self, call: Call) -> None:
        """Record a finished call."""

    def preview(self, call: Call) -> StreamPreview:
        """Return the preview of a streamed response."""


class StreamPreview(Protocol):
    """A preview of a response while it streams."""

    def add(self, piece: str) -> None:
        """Append a piece."""

    async def end(self) -> None:
        """Close the preview: the response is complete or aborted."""


@dataclass(frozen=True)
class DatabaseAgents:
    """The agents configured by administrators."""

    call_recorder: CallRecorder
    key: RunKey = NO_KEY  # replaces the stored keys
    clients: Callable[[], Clients] = pooled
    context: NodeContext | None = None
    replay: CallReplay | None = None  # recorded with each call

    def at(self, context: NodeContext) -> DatabaseAgents:
        """Return agents bound to a node, so that its calls are recorded with its stage."""
        return replace(self, context=context)

    async def chat(
        self, agent: str, prompt: Prompt, *, token: str | None = None, **options: Any
    ) -> Reply:
        """Return the response. Raises ProviderError."""
        request = CallRequest("chat", agent, prompt, options=options)
        service = await self._service(agent, Capability.CHAT, token)
        messages = conversation(prompt, service.system_prompt)
        body = request_body(service.options, options)
        async with self._recorded(request, service, messages) as call:
            message = await service.chat(self.clients(), messages, body, call.usage)
            call.exchange.answer = message.content or ""
        return reply_of(message, call)

    async def chat_stream(
        self, agent: str, prompt: Prompt, *, token: str | None = None, **options: Any
    ) -> AsyncGenerator[str, None]:
        """Yield the response as it streams; the run's page shows a preview."""
        request = CallRequest("chat_stream", agent, prompt, options=options)
        service = await self._service(agent, Capability.CHAT, token)
        messages = conversation(prompt, service.system_prompt)
        body = request_body(service.options, options)
        kept: list[str] = []
        async with self._recorded(request, service, messages) as call:
            preview = self.call_recorder.preview(call)
            pieces = service.stream(self.clients(), messages, body, call.usage)
            try:
                async with aclosing(pieces):
                    async for piece in pieces:
                        preview.add(piece)
                        if self.call_recorder.keeps_content:
                            kept.append(piece)
                        yield piece
            finally:
                call.exchange.answer = "".join(kept)
                await asyncio.shield(preview.end())

    async def vision(
        self,
        agent: str,
        prompt: Prompt,
        images: Sequence[bytes | str],
        *,
        token: str | None = None,
        **options: Any,
    ) -> Reply:
        """Return the response to a prompt with at least one image."""
        request = CallRequest("vision", agent, prompt, images=images, options=options)
        service = await self._service(agent, Capability.VISION, token)
        base = conversation(prompt, service.system_prompt)
        messages = with_images(base, images, service.agent)
        body = request_body(service.options, options)
        async with self._recorded(request, service, messages) as call:
            message = await service.chat(self.clients(), messages, body, call.usage)
            call.exchange.answer = message.content or ""
        return reply_of(message, call)

    async def tools(
        self,
        agent: str,
        prompt: Prompt,
        tools: Sequence[Tool],
        *,
        token: str | None = None,
        **options: Any,
    ) -> Reply:
        """Return the response with the calls of tools that the model requests."""
        request = CallRequest("tools", agent, prompt, tools=tools, options=options)
        service = await self._service(agent, Capability.TOOLS, token)
        messages = conversation(prompt, service.system_prompt)
        body = {**request_body(service.options, options), "tools": functions(tools)}
        async with self._recorded(request, service, messages) as call:
            message = await service.chat(self.clients(), messages, body, call.usage)
            exchange = call.exchange
            exchange.answer = message.content or ""
            try:
                calls = tool_calls(message, tools)
            except InvalidResponse as wrong:
                exchange.tool_calls = raw_tool_calls(message)
                exchange.problem = str(wrong)
                raise
            exchange.add_tool_calls(calls)
        return replace(reply_of(message, call), calls=calls)

    async def embed(
        self,
        agent: str,
        texts: Sequence[str],
        *,
        token: str | None = None,
        **options: Any,
    ) -> tuple[tuple[float, ...], ...]:
        """Return one vector per text."""
        request = CallRequest("embed", agent, texts=texts, options=options)
        service = await self._service(agent, Capability.EMBED, token)
        if not texts:
            return ()
        if not all(texts):
            raise Invalid("An empty text cannot be embedded.")
        body = request_body(service.options, options)
        messages = [{"role": "input", "content": text} for text in texts]
        async with self._recorded(request, service, messages) as call:
            vectors = await service.embed(self.clients(), texts, body, call.usage)
            if self.call_recorder.keeps_content:
                call.exchange.answer = json.dumps(vectors)
        return vectors

    async def ask(
        self,
        agent: str,
        prompt: Prompt,
        answer: type[Answer],
        *,
        token: str | None = None,
        **options: Any,
    ) -> Answer:
        """Return the response as that model; an invalid one is requested again.

        Each request is a separate call. Raises InvalidResponse if the repaired response is invalid.
        """
        request = CallRequest("ask", agent, prompt, answer=answer, options=options)
        service = await self._service(agent, Capability.CHAT, token)
        messages = conversation(prompt, service.system_prompt)
        messages.insert(0, {"role": "system", "content": schema_instruction(answer)})
        body = request_body(service.options, options)
        for repairs in range(MAX_REPAIRS + 1):
            async with self._recorded(request, service, messages, repairs) as call:
                message = await service.chat(self.clients(), messages, body, call.usage)
                text = call.exchange.answer = message.content or ""
                try:
                    return parse_answer(text, answer)
                except InvalidResponse as error:
                    wrong = error
                    call.exchange.problem = str(wrong)
            if repairs == MAX_REPAIRS:
                raise invalid_answer(service.agent, answer, wrong) from wrong
            messages.extend(repair_messages(text, wrong))
        raise AssertionError("the last round returns or raises")

    # -- inside -----------------------------------------------------------------------

    async def _service(
        self, agent: str, capability: Capability, token: str | None
    ) -> Service:
        """Return the service of an agent. Raises NotFound, Unavailable, Unsupported."""
        service = await run_in_db_retrying(find_service, agent)
        require_capability(service.agent, service.capabilities, capability)
        if token or not self.key.key:
            return service.with_key(token or "")
        if not self.key.can_be_sent_to(origin_of(service.endpoint.base_url)):
            raise Unavailable(
                f"The provider “{service.provider}” (agent “{service.agent}”) got its"
                " address after the API key for this run was entered. The key was not"
                " sent: check the address, and enter the key again."
            )
        return service.with_key(self.key.key)

    @asynccontextmanager
    async def _recorded(
        self,
        request: CallRequest,
        service: Service,
        messages: Sequence[Mapping[str, Any]],
        repairs: int = 0,
    ) -> AsyncGenerator[Call, None]:
        """Wait until a call is permitted, yield it and record its outcome."""
        await self.call_recorder.allow(self.context)
        kept = Exchange()
        if self.call_recorder.keeps_content:
            kept = await asyncio.to_thread(Exchange.begin, request, messages, repairs)
        call = Call(request.kind, service, CallUsage(), self.context, exchange=kept)
        call.replay = self.replay
        call.status = CallStatus.CANCELLED  # unless it completes or fails
        call_span = CallSpan.of(request.kind, service, call.usage)
        try:
            yield call
            call.status = CallStatus.COMPLETED
        except ProviderError as error:
            call.status, call.error = CallStatus.FAILED, error
            raise
        finally:
            self.call_recorder.enter(call)
            if call_span is not None:
                call_span.end(call.usage, call.error)


def reply_of(message: Any, call: Call) -> Reply:
    """Convert a message of the `openai` package to a Reply."""
    usage = call.usage
    return Reply(
        message.content or "", call.service.model, usage.tokens_in, usage.tokens_out
    )


def schema_instruction(answer: type[Answer]) -> str:
    """Return the instruction to respond with JSON of this schema."""
    schema: Mapping[str, Any] = answer.model_json_schema()
    return (
        "Answer with one JSON object and nothing else, no words around it. It fits this"
        f" JSON schema:\n{json.dumps(schema, ensure_ascii=False)}"
    )


def repair_messages(text: str, wrong: InvalidResponse) -> list[dict[str, Any]]:
    """Return the messages that request a valid response."""
    return [
        {"role": "assistant", "content": text},
        {
            "role": "user",
            "content": f"That did not fit: {wrong} Answer again with one JSON object"
            " that fits the schema, and nothing else.",
        },
    ]
