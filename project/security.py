"""The Content-Security-Policy header: scripts and styles only from our own files."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADER = "Content-Security-Policy"


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Return a middleware that adds the policy to what does not carry its own."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        # Django's own traceback pages style themselves inline.
        is_traceback = settings.DEBUG and response.status_code in {404, 500}
        if not is_traceback:
            response.headers.setdefault(HEADER, POLICY)
        return response

    return respond
