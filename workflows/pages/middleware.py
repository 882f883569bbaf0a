"""Middleware for the client address of audit events and for database connections."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from django.core.handlers.asgi import ASGIRequest
from django.db import close_old_connections
from opentelemetry.trace import SpanKind

from workflows.audit import audit_events
from workflows.infra import tracing
from workflows.pages.streaming import rendering

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponseBase

UNTRACED: Final = ("/health/", "/metrics", "/static/")  # paths


def set_client_address(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Return a middleware that sets the client address of a request's audit events.

    Behind trusted proxies (BEHIND_PROXY) `project.forwarded_addresses` has set REMOTE_ADDR to the
    client that they name; the header is not read here, since it can be forged.
    """

    def respond(request: HttpRequest) -> HttpResponseBase:
        with audit_events.coming_from(request.META.get("REMOTE_ADDR") or ""):
            return get_response(request)

    return respond


def trace_request(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Return a middleware that makes a span of each request, if tracing is on.

    A traceparent of the client is continued. The span names the route, not the path: that
    of a webhook is half a secret.
    """

    def respond(request: HttpRequest) -> HttpResponseBase:
        if tracing.tracing.tracer is None or request.path.startswith(UNTRACED):
            return get_response(request)
        method = request.method or ""
        parent = request.headers.get(tracing.HEADER, "")
        attributes = {"http.request.method": method}
        with tracing.span(method, SpanKind.SERVER, attributes, parent=parent) as span:
            response = get_response(request)
            assert span is not None  # noqa: S101 - for the type checker
            if request.resolver_match is not None:
                route = f"/{request.resolver_match.route}"
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
            status = response.status_code
            span.set_attribute("http.response.status_code", status)
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                tracing.fail(span, str(status))
            return response

    return respond


def release_connection(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Return a middleware that releases the database connection before the response is sent.

    Django releases it afterwards, so clients that read slowly would hold all connections.
    It also counts the pages in progress, for which downloads pause.
    """

    def respond(request: HttpRequest) -> HttpResponseBase:
        rendering.acquire()
        try:
            response = get_response(request)
        finally:
            rendering.release()
        if isinstance(request, ASGIRequest):
            close_old_connections()
        return response

    return respond
