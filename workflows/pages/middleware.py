"""Where a request comes from, for the audit row of what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.audit import trail

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponseBase


def remember_address(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Return a middleware that lets deeds of a request know its client's address.

    Behind a proxy the server has put the client that the proxy names in its place
    (BEHIND_PROXY); a header that nobody vouches for is not looked at.
    """

    def respond(request: HttpRequest) -> HttpResponseBase:
        with trail.coming_from(request.META.get("REMOTE_ADDR") or ""):
            return get_response(request)

    return respond
