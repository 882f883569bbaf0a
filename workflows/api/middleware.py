"""Middleware of the API: every error below /api/ and /hooks/ is a problem, also Django's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.utils.cache import patch_vary_headers

from workflows.api.problems import as_problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponseBase

ROOT: Final = "/api/"
HOOKS: Final = "/hooks/"  # deliveries to incoming webhooks


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
        converted: HttpResponseBase = as_problem(response)
        return converted

    return respond
