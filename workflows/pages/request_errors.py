"""Responses to rejected requests, with the status and message of the error."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from django.contrib import messages
from django.http import JsonResponse
from django.shortcuts import render

from workflows.engine.errors import RequestError
from workflows.errors import RateLimited, TooManyDownloads
from workflows.pages.requests import HtmxRequest
from workflows.pages.sessions.unsaved_input import UnsavedInput
from workflows.runtime.errors import StorageFailed

if TYPE_CHECKING:
    from django.http import HttpResponse
    from django.http.response import HttpResponseBase

Given = ParamSpec("Given")
View = Callable[Concatenate[HtmxRequest, Given], "HttpResponseBase"]
HEADINGS = {
    403: "Access denied",
    404: "Page not found",
    409: "Can’t do that right now",
    422: "Invalid values",
    429: "Too many requests",
    503: "Storage unavailable",
}
ACTION_PATHS = frozenset(
    {
        *("cancel", "resume", "fork", "delete", "pin", "golden", "assess"),
        *("respond", "notes", "labels", "promote"),
        *("claim", "release-approval", "reassign", "escalate"),
        *("snooze", "remind"),
    }
)
TEXT_FIELDS = {"reason": "Reason", "text": "Note"}


def answers_request_errors(view: View[Given]) -> View[Given]:
    """Decorate a view to respond to RequestError and StorageFailed with their message."""

    def respond(
        request: HtmxRequest, /, *args: Given.args, **kwargs: Given.kwargs
    ) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except (RequestError, StorageFailed) as error:
            return refused(request, error)

    update_wrapper(respond, view)
    return respond


def refused(request: HtmxRequest, error: Exception) -> HttpResponse:
    """Return the response to an error: JSON, a message for htmx, or a page."""
    status = int(getattr(error, "status", 400))
    if "application/json" in request.headers.get("Accept", ""):
        response: HttpResponse = JsonResponse(
            {"errors": [{"message": str(error)}]}, status=status
        )
    elif request.htmx:
        messages.error(request, str(error))
        response = render(request, "messages.html", {"oob": True}, status=status)
    else:
        heading = HEADINGS.get(status, "Request failed")
        context = {
            "heading": heading,
            "message": str(error),
            "back": _back(request),
            "texts": _texts_of(request),
        }
        response = render(request, "refused.html", context, status=status)
    if isinstance(error, RateLimited | TooManyDownloads):
        response["Retry-After"] = str(error.seconds)
    return response


def _texts_of(request: HtmxRequest) -> list[tuple[str, str]]:
    """Return the label and content of each text in a rejected form.

    Without scripts the error page replaces the form, and the text would be lost.
    """
    if request.method != "POST":
        return []
    fields = UnsavedInput.of(request).fields
    return [
        (TEXT_FIELDS[name], text)
        for name, text in fields
        if name in TEXT_FIELDS and text.strip()
    ]


def _back(request: HtmxRequest) -> str:
    """Return the page of a rejected action, the home page for any other request."""
    page, _, last = request.path.rstrip("/").rpartition("/")
    return f"{page}/" if last in ACTION_PATHS else "/"
