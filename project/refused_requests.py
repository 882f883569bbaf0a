"""What the admission of requests needs of Django: sessions, and pages for refusals."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, HttpResponse, parse_cookie

from project.refusals import Refusal
from project.security import HEADER, OTHERS, POLICY
from workflows.infra import metrics, outages
from workflows.infra.database_threads import run_in_db
from workflows.pages.views.failures import AWAY, rejected

SESSIONS = import_module(settings.SESSION_ENGINE)


async def is_signed_in(scope: MutableMapping[str, Any]) -> bool:
    """Return whether the cookies of a request belong to a session of a user.

    Raises Refusal during an outage of the database.
    """
    cookies = [value for name, value in scope["headers"] if name == b"cookie"]
    key = parse_cookie(b"; ".join(cookies).decode("latin-1")).get(
        settings.SESSION_COOKIE_NAME
    )
    if not key:
        return False
    try:
        return await run_in_db(_has_user, key)
    except Exception as error:
        outage = outages.of(error)
        if outage is None:
            raise
        outage.report_failure(error)
        raise Refusal(503, "unavailable", *AWAY) from error


def _has_user(session_key: str) -> bool:
    request = HttpRequest()
    request.session = SESSIONS.SessionStore(session_key)
    return get_user(request).is_authenticated


def respond(refusal: Refusal, method: str, headers: Mapping[str, str]) -> HttpResponse:
    """Return the response to a refused request, with the headers of every page."""
    metrics.REFUSALS.labels(refusal.code).inc()
    response = rejected(refusal, method, headers)
    for name, value in {HEADER: POLICY, **OTHERS}.items():
        response.headers[name] = value
    return response
