"""An agent at its provider: chat, stream and embedding requests with retries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from workflows.agents import keys
from workflows.agents.provider_api.clients import Endpoint
from workflows.agents.provider_api.messages import ChatMessage, text_length
from workflows.infra.tracing import HEADER
from workflows.runtime.errors import (
    AuthenticationFailed,
    InvalidResponse,
    ProviderError,
)

if TYPE_CHECKING:
    from workflows.agents.provider_api.call_usage import CallUsage
    from workflows.agents.provider_api.clients import Clients

Result = TypeVar("Result")

FIRST_WAIT_SECONDS = 0.5  # doubled with each try, up to MAX_WAIT_SECONDS
MAX_WAIT_SECONDS = 20.0
JITTER_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Service:
    """A model with its endpoint and credentials."""

    agent: str
    provider: str
    model: str
    endpoint: Endpoint
    key: str = field(repr=False, default="")
    other_keys: tuple[str, ...] = field(repr=False, default=())  # redacted in errors
    tries: int = 4
    system_prompt: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    capabilities: frozenset[str] = frozenset({"chat"})
    price: Any = None  # of the model, if known

    def with_key(self, key: str) -> Service:
        """Return a copy with another key, or itself without one."""
        if not key:
            return self
        return replace(self, key=key, other_keys=(*self.other_keys, self.key))

    # -- requests ---------------------------------------------------------------------

    async def chat(
        self,
        clients: Clients,
        messages: Sequence[ChatMessage],
        body: Mapping[str, Any],
        usage: CallUsage,
    ) -> Any:
        """Return the response message. Raises ProviderError."""

        async def send() -> Any:
            async with asyncio.timeout(self.endpoint.timeout_seconds):
                return await clients.get(self.endpoint).chat.completions.create(
                    model=self.model,
                    messages=_as_params(messages),
                    extra_headers=self._headers(usage),
                    extra_body=dict(body),
                )

        completion = await self._with_retries(send, usage)
        message = self._message_of(completion)
        output_chars = len(message.content or "")
        usage.count(
            getattr(completion, "usage", None),
            input_chars=text_length(messages),
            output_chars=output_chars,
        )
        return message

    async def stream(
        self,
        clients: Clients,
        messages: Sequence[ChatMessage],
        body: Mapping[str, Any],
        usage: CallUsage,
    ) -> AsyncGenerator[str, None]:
        """Yield the response as it streams; retried only until the first chunk.

        The connection is closed when the reader stops. Raises ProviderError.
        """
        input_chars, output_chars, reported = text_length(messages), 0, None
        opened = await self._with_retries(
            lambda: self._open_stream(clients, messages, body, usage), usage
        )
        usage.count(None, input_chars=input_chars, output_chars=0)
        async with aclosing(_chunks(*opened)) as chunks:
            try:
                async for chunk in chunks:
                    reported = getattr(chunk, "usage", None) or reported
                    text = _chunk_text(chunk)
                    output_chars += len(text)
                    usage.count(
                        reported, input_chars=input_chars, output_chars=output_chars
                    )
                    if text:
                        yield text
            except _error_types() as error:
                raise self._translate_error(
                    error, usage
                ) from None  # it may echo the key

    async def _open_stream(
        self,
        clients: Clients,
        messages: Sequence[ChatMessage],
        body: Mapping[str, Any],
        usage: CallUsage,
    ) -> tuple[Any, Any]:
        """Return the stream and its first chunk; no retry after that."""
        stream = await clients.get(self.endpoint).chat.completions.create(
            model=self.model,
            messages=_as_params(messages),
            stream=True,
            stream_options={"include_usage": True},
            extra_headers=self._headers(usage),
            extra_body=dict(body),
        )
        try:
            first = await anext(aiter(stream), None)
        except BaseException:
            await stream.close()
            raise
        if first is None:
            await stream.close()
            raise InvalidResponse(f"“{self.provider}” returned an empty response.")
        return stream, first

    async def embed(
        self,
        clients: Clients,
        texts: Sequence[str],
        body: Mapping[str, Any],
        usage: CallUsage,
    ) -> tuple[tuple[float, ...], ...]:
        """Return one vector per text. Raises ProviderError."""

        async def send() -> Any:
            async with asyncio.timeout(self.endpoint.timeout_seconds):
                return await clients.get(self.endpoint).embeddings.create(
                    model=self.model,
                    input=list(texts),
                    encoding_format="float",
                    extra_headers=self._headers(usage),
                    extra_body=dict(body),
                )

        answer = await self._with_retries(send, usage)
        rows = getattr(answer, "data", None) or []
        usage.count(
            getattr(answer, "usage", None),
            input_chars=sum(map(len, texts)),
            output_chars=0,
        )
        try:
            order = sorted(rows, key=lambda row: row.index)
            vectors = tuple(tuple(map(float, row.embedding)) for row in order)
        except (AttributeError, TypeError, ValueError):
            vectors = ()
        if len(vectors) != len(texts):
            raise InvalidResponse(
                f"“{self.provider}” returned {len(vectors)} vectors for {len(texts)} texts."
            )
        return vectors

    def _headers(self, usage: CallUsage) -> dict[str, str]:
        """Return the headers of a request: credentials, and the trace if tracing is on."""
        headers = dict(self.endpoint.headers(self.key))
        if usage.traceparent:
            headers[HEADER] = usage.traceparent
        return headers

    # -- inside -----------------------------------------------------------------------

    async def _with_retries(
        self, send: Callable[[], Awaitable[Result]], usage: CallUsage
    ) -> Result:
        """Return the result of a request, retried as configured.

        Raises ProviderError without keys in its message.
        """
        import stamina  # noqa: PLC0415 - see `_error_types`

        if not keys.is_valid(self.key):
            raise AuthenticationFailed(
                f"“{self.provider}” (agent “{self.agent}”) was not called with this key:"
                f" {keys.INVALID_KEY}"
            )

        attempts = stamina.retry_context(
            on=_retry_delay,
            attempts=self.tries,
            timeout=None,
            wait_initial=FIRST_WAIT_SECONDS,
            wait_max=MAX_WAIT_SECONDS,
            wait_jitter=JITTER_SECONDS,
        )
        try:
            async for attempt in attempts:
                with attempt:
                    usage.tries = attempt.num
                    return await send()
        except _error_types() as error:
            raise self._translate_error(error, usage) from None  # it may echo the key
        raise AssertionError("stamina made no attempt")

    def _message_of(self, completion: Any) -> Any:
        choices = getattr(completion, "choices", None) or []
        message = getattr(choices[0], "message", None) if choices else None
        if message is None:
            raise InvalidResponse(
                f"“{self.provider}” (agent “{self.agent}”) responded"
                " without a message. Is its base URL that of an OpenAI-compatible API?"
            )
        return message

    def _translate_error(self, error: Exception, usage: CallUsage) -> ProviderError:
        from workflows.agents.provider_api import failures  # noqa: PLC0415

        return failures.translate_error(
            error,
            agent=self.agent,
            provider=self.provider,
            tries=usage.tries,
            secrets=(self.key, *self.other_keys),
        )


def _error_types() -> tuple[type[Exception], ...]:
    """Return the exceptions of a request; imported late because that takes a second."""
    from workflows.agents.provider_api import failures  # noqa: PLC0415

    return failures.FAILURES


def _retry_delay(error: Exception) -> float | bool:
    from workflows.agents.provider_api import failures  # noqa: PLC0415

    return failures.retry_delay(error)


def _as_params(messages: Sequence[ChatMessage]) -> Any:
    """Return the messages untyped: the package has a type for each role."""
    return list(messages)


async def _chunks(stream: Any, first: Any) -> AsyncGenerator[Any, None]:
    """Yield the first and all further chunks; close the connection at the end."""
    try:
        yield first
        async for chunk in stream:
            yield chunk
    finally:
        await stream.close()


def _chunk_text(chunk: Any) -> str:
    choices = getattr(chunk, "choices", None) or []
    delta = getattr(choices[0], "delta", None) if choices else None
    return getattr(delta, "content", None) or ""
