"""Export of traces by OTLP over HTTP, if OTLP_ENDPOINT is set.

Spans wait in a bounded queue of this process, and a thread sends them. If the collector
cannot be reached they are dropped: requests and runs never wait for it.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from django.conf import settings
from django.core.management.base import CommandError

from workflows import __version__
from workflows.infra.tracing import tracing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

logger = logging.getLogger(__name__)

NAME: Final = "signalbox"
TIMEOUT_SECONDS: Final = 3.0  # of a request to the collector
QUEUE: Final = 4_096  # spans that wait; more are dropped
BATCH: Final = 512  # spans in one request
NOT_INSTALLED: Final = (
    "OTLP_ENDPOINT is set, but OpenTelemetry's SDK is not installed: run"
    " `pip install -r requirements-otlp.txt`."
)


@contextmanager
def exporting_traces() -> Iterator[None]:
    """Export the spans of this block, if OTLP_ENDPOINT is set. Raises CommandError."""
    if not settings.OTLP_ENDPOINT:
        yield
        return
    provider = start()
    try:
        yield
    finally:
        tracing.tracer = None
        provider.shutdown()


def start(exporter: SpanExporter | None = None) -> TracerProvider:
    """Turn tracing on; the caller shuts the provider down. Raises CommandError."""
    try:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - likewise
        from opentelemetry.sdk.trace.export import (  # noqa: PLC0415 - likewise
            BatchSpanProcessor,
        )
        from opentelemetry.sdk.trace.sampling import (  # noqa: PLC0415 - likewise
            ParentBasedTraceIdRatio,
        )

        exporter = exporter or _exporter()
    except ImportError as error:
        raise CommandError(NOT_INSTALLED) from error
    attributes = {
        "service.name": NAME,
        "service.version": __version__,
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
    }
    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(settings.TRACE_SHARE),
        resource=Resource.create(attributes),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(
        BatchSpanProcessor(
            cast("Any", _Reporting(exporter)),
            max_queue_size=QUEUE,
            max_export_batch_size=BATCH,
            schedule_delay_millis=settings.OTLP_SECONDS * 1000,
            export_timeout_millis=TIMEOUT_SECONDS * 1000,
        )
    )
    tracing.tracer = provider.get_tracer(NAME, __version__)
    return provider


def _exporter() -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )

    # its own messages would repeat with each batch; `_Reporting` logs an outage once
    for name in ("opentelemetry.exporter", "opentelemetry.sdk"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    pairs = (text.partition("=") for text in settings.OTLP_HEADERS.split(","))
    return OTLPSpanExporter(
        endpoint=f"{settings.OTLP_ENDPOINT}/v1/traces",
        headers={name.strip(): value.strip() for name, _, value in pairs if name},
        timeout=TIMEOUT_SECONDS,
    )


class _Reporting:
    """An exporter that logs the beginning and the end of an outage, once each."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner, self._is_away = inner, False

    def export(self, spans: Sequence[Any]) -> Any:
        """Send spans; drop them if that fails."""
        from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415

        try:
            result = self._inner.export(spans)
        except Exception:
            result = SpanExportResult.FAILURE
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._is_away:
            logger.warning(
                "The collector at %s does not accept traces; they are dropped until it does.",
                settings.OTLP_ENDPOINT,
            )
        elif self._is_away and not failed:
            logger.info("The collector at %s accepts traces.", settings.OTLP_ENDPOINT)
        self._is_away = failed
        return result

    def shutdown(self) -> None:
        """End the exporter."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return whether everything was sent."""
        return self._inner.force_flush(timeout_millis)
