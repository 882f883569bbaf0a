"""`/callbacks/<token>`: where third parties post what a run waits for.

Not a part of the REST API: the address is the authentication. It accepts one POST request until
its run continues, and the responses reveal nothing about the run.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.http import JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from workflows.api.problems import of_request_error, problem
from workflows.api.secret_addresses import answered, limited
from workflows.engine.errors import RequestError
from workflows.errors import CallbackNotFound
from workflows.infra import process_metrics
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
    return answered(
        request,
        lambda: _received(request, token),
        _refused,
        too_large=_too_large,
        logged_path="/callbacks/•••",
    )


def _refused(error: RequestError) -> HttpResponse:
    is_unknown = isinstance(error, CallbackNotFound)
    process_metrics.CALLBACKS.labels("unknown" if is_unknown else "refused").inc()
    refusal = limited() if is_unknown else None
    return refusal or of_request_error(None, error)


def _received(request: HttpRequest, token: str) -> HttpResponse:
    callbacks.find(token)  # before the body is read
    if len(request.body) > settings.MAX_WEBHOOK_BYTES:
        return _too_large()
    value = _json(request.body)
    if not isinstance(value, dict):
        return problem(400, "bad_request", NOT_JSON)
    system.receive_callback(token, value)
    process_metrics.CALLBACKS.labels("accepted").inc()
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
