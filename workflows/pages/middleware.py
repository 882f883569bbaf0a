"""Middleware for the client address of audit events and for database connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.handlers.asgi import ASGIRequest
from django.db import close_old_connections

from workflows.audit import trail
from workflows.pages.streaming import rendering

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponseBase


def set_client_address(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Return a middleware that sets the client address of a request's audit events.

    Behind trusted proxies (BEHIND_PROXY) `project.forwarded` has set REMOTE_ADDR to the
    client that they name; the header is not read here, since it can be forged.
    """

    def respond(request: HttpRequest) -> HttpResponseBase:
        with trail.coming_from(request.META.get("REMOTE_ADDR") or ""):
            return get_response(request)

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
