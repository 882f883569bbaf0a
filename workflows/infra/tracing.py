"""OpenTelemetry traces: from a request to a launch, its run, steps, tries and agent calls.

Off unless `tracing.tracer` is set (`project/telemetry.py`): every place that starts a span
checks this one attribute first. Spans have names, ids and outcomes, never params, results,
messages of errors or prompts: a collector does not know who may read them.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

MAX_TRACEPARENT_LENGTH: Final = 55  # characters of version 00
HEADER: Final = "traceparent"


@dataclass(slots=True)
class Tracing:
    """The tracer of this process; None: tracing is off."""

    tracer: Tracer | None = None


tracing: Final = Tracing()
_propagator: Final = TraceContextTextMapPropagator()
_OFF: Final[AbstractContextManager[None]] = nullcontext()


def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, Any] | None = None,
    *,
    parent: str = "",
) -> AbstractContextManager[Span | None]:
    """Return a block that is a span, the current one within; yields None if tracing is off.

    `parent` is a traceparent of another process; without one the current span is it.
    """
    if tracing.tracer is None:
        return _OFF
    return _span(tracing.tracer, name, kind, attributes, parent)


@contextmanager
def _span(
    tracer: Tracer,
    name: str,
    kind: SpanKind,
    attributes: Mapping[str, Any] | None,
    parent: str,
) -> Iterator[Span]:
    started = tracer.start_span(
        name, context_of(parent), kind=kind, attributes=dict(attributes or {})
    )
    with trace.use_span(
        started,
        end_on_exit=True,
        record_exception=False,
        set_status_on_exception=False,
    ):
        try:
            yield started
        except BaseException as error:
            fail(started, type(error).__name__)
            raise


def fail(failed: Span, kind: str) -> None:
    """Mark a span as failed with an error of this type."""
    failed.set_attribute("error.type", kind)
    failed.set_status(Status(StatusCode.ERROR))


def traceparent() -> str:
    """Return the traceparent of the current span, "" without one or if tracing is off."""
    return traceparent_of(trace.get_current_span()) if tracing.tracer else ""


def traceparent_of(given: Span) -> str:
    """Return the traceparent of a span, "" if it is not valid."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, trace.set_span_in_context(given))
    return carrier.get(HEADER, "")[:MAX_TRACEPARENT_LENGTH]


def context_of(parent: str) -> Context | None:
    """Return the context of a traceparent; None, the current one, for a malformed one."""
    if not parent:
        return None
    found = _propagator.extract({HEADER: parent})
    is_valid = trace.get_current_span(found).get_span_context().is_valid
    return found if is_valid else None


def current_ids() -> tuple[str, str]:
    """Return the ids of the current trace and span, "" without one."""
    if tracing.tracer is None:
        return "", ""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return "", ""
    return trace.format_trace_id(context.trace_id), trace.format_span_id(
        context.span_id
    )
