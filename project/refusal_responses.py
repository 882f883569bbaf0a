"""What the admission of requests needs of Django: accounts, and responses to refusals."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from http import HTTPStatus
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, HttpResponse, parse_cookie

from project.refusal_statuses import Refusal
from project.security import HEADER, OTHERS, POLICY
from workflows.access import tokens
from workflows.api.mcp_server import PATH as MCP
from workflows.api.middleware import HOOKS
from workflows.api.middleware import ROOT as API
from workflows.api.problems import as_problem
from workflows.infra import outages, process_metrics
from workflows.infra.database_threads import run_in_db
from workflows.pages.views.error_pages import AWAY, rejected

TOO_LARGE = ("Request too large", "The body of the delivery is too large.")
OF_PROGRAMS = (API, MCP)  # paths that take API tokens and respond with problems
SESSIONS = import_module(settings.SESSION_ENGINE)


async def is_signed_in(scope: MutableMapping[str, Any]) -> bool:
    """Return whether a request has the session of a user, or a usable API token.

    Raises Refusal during an outage of the database, and for a delivery to a webhook, which
    may only be as large as a form.
    """
    if scope["path"].startswith(HOOKS):  # webhooks have no session
        raise Refusal(413, "too_large", *TOO_LARGE)
    headers = [(name, value.decode("latin-1")) for name, value in scope["headers"]]
    cookies = "; ".join(value for name, value in headers if name == b"cookie")
    key = parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME, "")
    secret = ""
    if scope["path"].startswith(OF_PROGRAMS):
        given = next((v for name, v in headers if name == b"authorization"), "")
        kind, _, value = given.partition(" ")
        secret = value.strip() if kind.lower() == "bearer" else ""
    if not (key or secret):
        return False
    try:
        return await run_in_db(_has_user, key, secret)
    except Exception as error:
        outage = outages.of(error)
        if outage is None:
            raise
        outage.report_failure(error)
        raise Refusal(503, "unavailable", *AWAY) from error


def _has_user(session_key: str, secret: str) -> bool:
    if secret:
        return tokens.find(secret) is not None
    request = HttpRequest()
    request.session = SESSIONS.SessionStore(session_key)
    return get_user(request).is_authenticated


def respond(
    refusal: Refusal, scope: MutableMapping[str, Any], headers: Mapping[str, str]
) -> HttpResponse:
    """Return the response to a refused request, with the headers of every response."""
    process_metrics.REFUSALS.labels(refusal.code).inc()
    response = rejected(refusal, scope["method"], headers)
    if scope["path"].startswith((*OF_PROGRAMS, HOOKS)):
        is_anonymous = refusal.status == HTTPStatus.UNAUTHORIZED  # as from routes
        texts = () if is_anonymous else (refusal.code, str(refusal))
        response = as_problem(response, *texts)
    for name, value in {HEADER: POLICY, **OTHERS}.items():
        response.headers[name] = value
    return response
