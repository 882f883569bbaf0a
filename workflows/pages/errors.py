"""Answering a refused request with its status and a sentence."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from django.contrib import messages
from django.http import JsonResponse
from django.shortcuts import render

from workflows.engine.errors import RequestError
from workflows.errors import RateLimited
from workflows.pages.requests import HtmxRequest
from workflows.runtime.errors import StorageFailed

if TYPE_CHECKING:
    from django.http import HttpResponse
    from django.http.response import HttpResponseBase

Given = ParamSpec("Given")
View = Callable[Concatenate[HtmxRequest, Given], "HttpResponseBase"]
HEADINGS = {
    403: "You may not do that",
    404: "There is nothing here",
    409: "That is not possible now",
    422: "Some values do not fit",
    429: "Too much at once",
    503: "Storage does not work",
}


def answers_request_errors(view: View[Given]) -> View[Given]:
    """Answer what was refused: its status, and its sentence in the messages region."""

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
    """Return the refusal: a message for a live page, a page of its own otherwise."""
    status = int(getattr(error, "status", 400))
    if "application/json" in request.headers.get("Accept", ""):
        answer: HttpResponse = JsonResponse(
            {"errors": [{"message": str(error)}]}, status=status
        )
    elif request.htmx:
        messages.error(request, str(error))
        answer = render(request, "messages.html", {"oob": True}, status=status)
    else:
        heading = HEADINGS.get(status, "That did not work")
        context = {"heading": heading, "message": str(error), "back": _back(request)}
        answer = render(request, "refused.html", context, status=status)
    if isinstance(error, RateLimited):
        answer["Retry-After"] = str(error.seconds)
    return answer


def _back(request: HtmxRequest) -> str:
    """Return the page a refused post came from, the start page if that is unclear."""
    path = request.path.rstrip("/")
    last = path.rsplit("/", 1)[-1]
    is_audit_event = last in {
        "cancel",
        "resume",
        "delete",
        "keep",
        "answer",
        "notes",
        "labels",
    }
    return path.rsplit("/", 1)[0] + "/" if is_audit_event else "/"
