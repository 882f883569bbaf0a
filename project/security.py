"""Security headers: a content security policy that allows only our own files, and more."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADER = "Content-Security-Policy"
OTHERS = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Return a middleware that adds the headers to responses without their own."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        # Django's traceback pages use inline styles.
        is_traceback = settings.DEBUG and response.status_code in {404, 500}
        if not is_traceback:
            response.headers.setdefault(HEADER, POLICY)
        for name, value in OTHERS.items():
            response.headers.setdefault(name, value)
        return response

    return respond
