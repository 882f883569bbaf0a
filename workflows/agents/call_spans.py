"""The span of a call to an agent, with the names of OpenTelemetry's GenAI conventions.

It is not made current: a streamed response is read by a generator, which may be closed in
another task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from opentelemetry.trace import SpanKind

from workflows.infra import tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from workflows.agents.provider_api import CallUsage, Service
    from workflows.runtime.errors import ProviderError

EMBED: Final = "embed"


class CallSpan:
    """The span of one call, below the step that makes it."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @classmethod
    def of(cls, kind: str, service: Service, usage: CallUsage) -> CallSpan | None:
        """Start a span, whose traceparent the requests send; None if tracing is off."""
        tracer = tracing.tracing.tracer
        if tracer is None:
            return None
        operation = "embeddings" if kind == EMBED else "chat"
        host = urlsplit(service.endpoint.base_url)
        span = tracer.start_span(
            f"{operation} {service.model}",
            kind=SpanKind.CLIENT,
            attributes={
                "gen_ai.operation.name": operation,
                "gen_ai.provider.name": service.provider,
                "gen_ai.request.model": service.model,
                "gen_ai.agent.name": service.agent,
                "server.address": host.hostname or "",
            },
        )
        usage.traceparent = tracing.traceparent_of(span)
        return cls(span)

    def end(self, usage: CallUsage, error: ProviderError | None) -> None:
        """End the span with the usage, and the type of an error."""
        self._span.set_attribute("gen_ai.usage.input_tokens", usage.tokens_in)
        self._span.set_attribute("gen_ai.usage.output_tokens", usage.tokens_out)
        self._span.set_attribute("signalbox.tries", usage.tries)
        if error is not None:
            tracing.fail(self._span, type(error).__name__)
        self._span.end()
