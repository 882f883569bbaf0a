"""Error responses 400, 401, 408, 413, 500 and 503.

Nothing here queries the database or the session, which is stored there: these responses
are also sent when the session could not be read.
"""

from __future__ import annotations

import json
import logging
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from django.conf import settings
from django.contrib.messages import ERROR
from django.contrib.messages.storage.base import Message
from django.core.exceptions import (
    RequestDataTooBig,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.utils.datastructures import CaseInsensitiveMapping
from django.views.decorators.csrf import requires_csrf_token
from django.views.defaults import bad_request as default_bad_request
from django.views.defaults import server_error as default_server_error

from workflows.infra import outages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 5
HTML: Final = "text/html; charset=utf-8"
SAFE: Final = frozenset({"GET", "HEAD"})
UNAUTHORIZED, TIMED_OUT, BUSY = 401, 408, 503
AWAY: Final = (
    "Database unavailable",
    (
        "The database can’t be reached right now. Accepted runs are safe: they wait and"
        " continue once it is available again."
    ),
)
STUCK: Final = (
    "Database is read-only",
    (
        "The database rejects changes because its disk is full or it is read-only. Runs"
        " keep their last step and can resume from it once this is fixed. Contact an"
        " administrator."
    ),
)

CONFLICT: Final = (
    "Another change came first",
    (
        "Another request changed the same rows at the same moment, and the database rolled back"
        " this one. Nothing was changed. Send it again."
    ),
)

# The connection may have broken during the commit, or after it.
SENT: Final = (
    "Your request may have been accepted. Send the same form again once the database is"
    " available: nothing is done twice, and the response shows what happened."
)

TOO_MUCH = (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent)
TOO_LONG: Final = (
    "The form is too large. Up to {kilobytes:,} kB without files, and a limited number of"
    " fields and files, are accepted. Nothing was saved: go back and shorten it, or upload"
    " long values as a document."
)


class Rejection(Protocol):
    """A request that is rejected before Django handles it."""

    status: int
    code: str  # for scripts
    heading: str
    sentence: str


@requires_csrf_token
def server_error(request: HttpRequest) -> HttpResponse:
    """Respond with 503 during a database outage, with 500 to any other error."""
    error = sys.exc_info()[1]
    cause = cause_of(request, error) if error is not None else None
    if cause is None:
        return default_server_error(request)
    return unavailable(request, cause.heading, cause.sentence, sent=cause.sent)


class Cause(NamedTuple):
    """Why a request was not processed although it has no fault."""

    code: str  # for scripts
    heading: str
    sentence: str
    sent: str = SENT  # what a request that changes something may have done
    retry_seconds: int = RETRY_SECONDS


def cause_of(request: HttpRequest, error: BaseException) -> Cause | None:
    """Log and return the outage or conflict that an error comes from, None for a fault."""
    if outages.is_conflict(error):
        logger.info("%s %s conflicted: %s", request.method, request.path, error)
        return Cause("conflict", *CONFLICT, sent="", retry_seconds=1)
    outage = outages.of(error)
    if outage is outages.database:
        outage.report_failure(error)
        return Cause("database_unavailable", *AWAY)
    return Cause("read_only", *STUCK) if outage is outages.changes else None


@requires_csrf_token
def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Respond with 413 to a form that is too large, with 400 to a malformed request."""
    if not isinstance(exception, TOO_MUCH):
        return default_bad_request(request, exception)
    sentence = TOO_LONG.format(kilobytes=settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1000)
    kind, text = too_large(sentence, request.headers)
    return HttpResponse(text, content_type=kind, status=413)


def too_large(sentence: str, headers: Mapping[str, str]) -> tuple[str, str]:
    """Return content type and body of a response to a request that is too large."""
    return _text_of("too_large", "Request too large", sentence, False, _form(headers))


def rejected(
    rejection: Rejection, method: str, headers: Mapping[str, str]
) -> HttpResponse:
    """Return the response to a request that is rejected before Django handles it.

    The body is a page, a message for htmx, or JSON for a client that accepts it.
    """
    retries = rejection.status == BUSY and method in SAFE
    kind, text = _text_of(
        rejection.code,
        rejection.heading,
        rejection.sentence,
        retries,
        _form(headers),
    )
    response = HttpResponse(text, content_type=kind, status=rejection.status)
    response["Cache-Control"] = "no-store"
    if rejection.status == BUSY:
        response["Retry-After"] = str(RETRY_SECONDS)
    elif rejection.status == UNAUTHORIZED:  # RFC 9110 requires the header with 401
        response["WWW-Authenticate"] = 'Cookie realm="Signalbox"'
    elif rejection.status == TIMED_OUT:
        response["Connection"] = "close"
    return response


def _form(headers: Mapping[str, str]) -> str:
    """Return the form of response that a client wants: JSON, a message or a page."""
    given = CaseInsensitiveMapping(dict(headers))
    if "application/json" in given.get("Accept", ""):
        return "json"
    return "message" if "HX-Request" in given else "page"


@lru_cache(maxsize=64)  # an overloaded server renders nothing
def _text_of(
    code: str, heading: str, sentence: str, retries: bool, form: str
) -> tuple[str, str]:
    """Return content type and body of a rejection."""
    if form == "json":
        body = {"errors": [{"code": code, "message": sentence}]}
        return "application/json", json.dumps(body)
    if form == "message":
        context = {"messages": [Message(ERROR, sentence)], "oob": True}
        return HTML, render_to_string("messages.html", context)
    template = "503.html" if retries else "standalone.html"
    context = {
        "heading": heading,
        "sentence": sentence,
        "again": retries,
        "seconds": RETRY_SECONDS,
    }
    return HTML, render_to_string(template, context)


def unavailable(
    request: HttpRequest, heading: str, sentence: str, *, sent: str = SENT
) -> HttpResponse:
    """Return a 503 response: a page, or a message for htmx.

    `sent` says what a request that changes something may have done.
    """
    is_safe = request.method in SAFE
    if request.headers.get("HX-Request") == "true":
        parts = [f"{heading}.", sentence, *([sent] if sent and not is_safe else [])]
        message = Message(ERROR, " ".join(parts))
        context = {"messages": [message], "oob": True}
        text = render_to_string("messages.html", context)
    else:
        context = {
            "heading": heading,
            "sentence": sentence,
            "again": is_safe,
            "sent": sent,
            "seconds": RETRY_SECONDS,
        }
        text = render_to_string("503.html", context)
    headers = {"Retry-After": str(RETRY_SECONDS), "Cache-Control": "no-store"}
    return HttpResponse(text, status=503, headers=headers)
