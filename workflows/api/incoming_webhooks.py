"""`/hooks/<path>`: where other systems deliver to incoming webhooks.

Not a part of the REST API: senders authenticate with a signature, not with a token, and
the response only states whether to send again. The page of the webhook shows the effect of
each delivery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.http import JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from workflows.api.problems import (
    SIGNATURE_INVALID,
    of_request_error,
    problem,
)
from workflows.api.secret_addresses import answered, limited
from workflows.audit import audit_events
from workflows.engine.errors import RequestError
from workflows.errors import NotFound, SignatureInvalid
from workflows.pages.rate_limits import count
from workflows.webhooks import receiving

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from workflows.webhooks.receiving import Receipt

RETRY_SECONDS: Final = 300  # after a refusal whose cause people can correct
UNKNOWN: Final = "There is no webhook at this address."
TOO_LARGE: Final = "The body is larger than {most:,} bytes (MAX_WEBHOOK_BYTES)."
INVALID: Final = (
    "The delivery was stored, but launched nothing: its content is not what the webhook"
    " expects. The page of the webhook has the reason."
)
NOT_NOW: Final = (
    "The delivery was stored, but could not be launched. The page of the webhook has the"
    " reason. Send it again later."
)


@csrf_exempt  # there is no session: the signature authenticates
@require_POST
@never_cache
def receive(request: HttpRequest, path: str) -> HttpResponse:
    """Receive a delivery: 202 if it is settled, another status if it is to be repeated."""
    return answered(
        request,
        lambda: _received(request, path),
        _refused,
        too_large=_too_large,
        logged_path="/hooks/•••",
    )


def _refused(error: RequestError) -> HttpResponse:
    if isinstance(error, NotFound):
        return _unauthenticated(404, "not_found", UNKNOWN)
    if isinstance(error, SignatureInvalid):
        return _unauthenticated(401, SIGNATURE_INVALID, str(error))
    return of_request_error(None, error)


def _received(request: HttpRequest, path: str) -> HttpResponse:
    if len(request.body) > settings.MAX_WEBHOOK_BYTES:
        return _too_large()
    headers = {name.lower(): value for name, value in request.headers.items()}
    given = receiving.Request(request.body, headers, audit_events.address())
    endpoint = receiving.authenticate(path, given)
    count("webhook", f"webhook {endpoint.pk}")
    return _response(receiving.receive(endpoint, given))


def _response(receipt: Receipt) -> HttpResponse:
    delivery = receipt.delivery
    if receipt.error is not None:
        if receiving.is_permanent(receipt.error):
            return problem(422, "not_launched", INVALID)
        response = problem(503, "not_launched_yet", NOT_NOW)
        response["Retry-After"] = str(RETRY_SECONDS)
        return response
    body = {
        "delivery": str(delivery.pk),
        "outcome": delivery.outcome,
        "repeated": receipt.is_repeated,
    }
    return JsonResponse(body, status=202)


def _unauthenticated(status: int, code: str, detail: str) -> HttpResponse:
    """Return the response to a request that proved nothing; count it by address."""
    return limited() or problem(status, code, detail)


def _too_large() -> HttpResponse:
    detail = TOO_LARGE.format(most=settings.MAX_WEBHOOK_BYTES)
    return problem(413, "request_entity_too_large", detail)
