"""`/callbacks/<token>`: where third parties post what a run waits for.

Not a part of the REST API: the address is the authentication. It accepts one POST request until
its run continues, and the responses reveal nothing about the run.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import JsonResponse, UnreadablePostError
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from workflows.api.problems import of_exception, of_request_error, problem
from workflows.audit import audit_events
from workflows.engine.errors import RequestError
from workflows.errors import CallbackNotFound
from workflows.pages.rate_limits import count
from workflows.services import callbacks
from workflows.system import system

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

TOO_LARGE: Final = "The body is larger than {most:,} bytes."
NOT_JSON: Final = "The body has to be a JSON object."


@csrf_exempt  # there is no session: the address authenticates
@require_POST
@never_cache
def receive(request: HttpRequest, token: str) -> HttpResponse:
    """Accept what is posted to the address of a callback: 202, once."""
    try:
        response = _received(request, token)
    except RequestError as error:
        response = _refused(error)
    except RequestDataTooBig:
        response = _too_large()
    except UnreadablePostError:
        response = problem(400, "bad_request", "The body was not received.")
    except Exception as error:
        request.path = "/callbacks/•••"  # the log has it, and the address is a secret
        response = of_exception(request, error)
    # Django would log the path of each refused request, and with it the address.
    response._has_been_logged = True  # type: ignore[attr-defined] # noqa: SLF001 - as its log_response does
    return response


def _refused(error: RequestError) -> HttpResponse:
    if isinstance(error, CallbackNotFound):
        try:
            count("webhook_failure", audit_events.address() or "unknown")
        except RequestError as limited:
            return of_request_error(None, limited)
    return of_request_error(None, error)


def _received(request: HttpRequest, token: str) -> HttpResponse:
    callbacks.find(token)  # before the body is read
    if len(request.body) > settings.MAX_WEBHOOK_BYTES:
        return _too_large()
    value = _json(request.body)
    if not isinstance(value, dict):
        return problem(400, "bad_request", NOT_JSON)
    system.receive_callback(token, value)
    return JsonResponse({"accepted": True}, status=202)


def _json(body: bytes) -> Any:
    """Return the content of a body, None if it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _too_large() -> HttpResponse:
    detail = TOO_LARGE.format(most=settings.MAX_WEBHOOK_BYTES)
    return problem(413, "request_entity_too_large", detail)
