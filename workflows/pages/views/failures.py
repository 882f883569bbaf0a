"""What a request gets that failed, or cannot be read: a sentence where there is one.

Nothing here asks the database, nor the session that is kept in it: this is the answer
also to requests whose session could not be read.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

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
from django.views.decorators.csrf import requires_csrf_token
from django.views.defaults import bad_request as unreadable
from django.views.defaults import server_error as broken

from workflows.infra import outages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest

RETRY_SECONDS: Final = 5
AWAY: Final = (
    "The database is away",
    (
        "The database does not answer just now. Runs that were accepted are safe: they"
        " wait, and go on when it is back."
    ),
)
STUCK: Final = (
    "Nothing can be stored",
    (
        "The database refuses changes, because its disk is full or it is read-only. Runs"
        " keep their last step, and can go on from it once that is put right. Tell an"
        " administrator."
    ),
)

# When the connection broke at the very end, nobody knows.
SENT: Final = (
    "What you sent was most likely not accepted. Send it again when the database is back:"
    " the same form launches no second run."
)

TOO_MUCH = (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent)
TOO_LONG: Final = (
    "A form may have up to {kilobytes:,} kB beside its files, and a bounded number of"
    " fields and files; this one has more. Nothing of it was kept: go back and shorten it,"
    " or put what is long into a document."
)


@requires_csrf_token
def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 503 with a sentence for an outage, 500 with its page for anything else."""
    error = sys.exc_info()[1]
    if error is None:
        return broken(request)
    outage = outages.of(error)
    if outage is outages.database:
        outage.met(error)
        return unavailable(request, *AWAY)
    return (
        unavailable(request, *STUCK) if outage is outages.changes else broken(request)
    )


@requires_csrf_token
def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 413 with a sentence for a form that is too long, 400 for what is no form."""
    if not isinstance(exception, TOO_MUCH):
        return unreadable(request, exception)
    sentence = TOO_LONG.format(kilobytes=settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1000)
    kind, text = too_large(sentence, request.headers)
    return HttpResponse(text, content_type=kind, status=413)


def too_large(sentence: str, headers: Mapping[str, str]) -> tuple[str, str]:
    """Return content type and text of an answer to what is too large to be taken.

    A page; a message for a page that is open already; JSON for a script that asks for it.
    The server calls this as well, for bodies that do not come as far as Django.
    """
    if "application/json" in headers.get("Accept", ""):
        said = {"errors": [{"code": "too_large", "message": sentence}]}
        return "application/json", json.dumps(said)
    html = "text/html; charset=utf-8"
    if any(name.lower() == "hx-request" for name in headers):
        told = [Message(ERROR, sentence)]
        context = {"messages": told, "oob": True}
        return html, render_to_string("messages.html", context)
    return html, render_to_string("413.html", {"sentence": sentence})


def unavailable(request: HttpRequest, heading: str, sentence: str) -> HttpResponse:
    """Return the sentence as a page, or as a message to a page that is open already."""
    is_looking = request.method in {"GET", "HEAD"}
    if request.headers.get("HX-Request") == "true":
        words = [f"{heading}.", sentence, *([] if is_looking else [SENT])]
        said = [Message(ERROR, " ".join(words))]
        text = render_to_string("messages.html", {"messages": said, "oob": True})
    else:
        context = {
            "heading": heading,
            "sentence": sentence,
            "again": request.get_full_path() if is_looking else "",
            "sent": SENT,
            "seconds": RETRY_SECONDS,
        }
        text = render_to_string("503.html", context)
    headers = {"Retry-After": str(RETRY_SECONDS), "Cache-Control": "no-store"}
    return HttpResponse(text, status=503, headers=headers)
