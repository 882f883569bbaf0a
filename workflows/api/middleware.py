"""Middleware of the API: every error below /api/ and /hooks/ is a problem, also Django's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.utils.cache import patch_vary_headers

from workflows.api.problems import as_problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from django.http import HttpRequest, HttpResponseBase

ROOT: Final = "/api/"
HOOKS: Final = "/hooks/"  # deliveries to incoming webhooks


def head_as_get(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Return a middleware that answers HEAD below /api/ as GET, without the content.

    The content of a response that would be streamed is dropped.
    """

    def respond(request: HttpRequest) -> HttpResponseBase:
        response: Any
        if request.method != "HEAD" or not request.path.startswith(ROOT):
            return get_response(request)
        request.method = "GET"
        response = get_response(request)
        request.method = "HEAD"
        found: HttpResponseBase = response
        if response.streaming:
            # what it holds is released when Django closes the response
            response.streaming_content = _nothing() if response.is_async else ()
        return found

    return respond


async def _nothing() -> AsyncIterator[bytes]:
    """Yield no part of a response."""
    parts: tuple[bytes, ...] = ()
    for part in parts:
        yield part


def errors_as_problems(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Return a middleware that converts the error pages of Django for programs."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if not request.path.startswith((ROOT, HOOKS)):
            return response
        patch_vary_headers(response, ("Authorization",))
        response.headers.setdefault("Cache-Control", "private, no-cache")
        if "GET" in (allowed := response.headers.get("Allow", "").split(", ")):
            response.headers["Allow"] = ", ".join(sorted({*allowed, "HEAD"}))
        converted: HttpResponseBase = as_problem(response)
        return converted

    return respond
