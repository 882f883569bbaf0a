"""Addresses that are secrets: responses to what is posted there, without a log of the address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.core.exceptions import RequestDataTooBig
from django.http import UnreadablePostError

from workflows.api.problems import of_exception, of_request_error, problem
from workflows.audit import audit_events
from workflows.engine.errors import RequestError
from workflows.pages.rate_limits import count

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

NOT_RECEIVED: Final = "The body was not received."


def answered(
    request: HttpRequest,
    respond: Callable[[], HttpResponse],
    refuse: Callable[[RequestError], HttpResponse],
    *,
    too_large: Callable[[], HttpResponse],
    logged_path: str,
) -> HttpResponse:
    """Return the response to a request, also after an error.

    `logged_path` replaces the address in the log.
    """
    try:
        response = respond()
    except RequestError as error:
        response = refuse(error)
    except RequestDataTooBig:
        response = too_large()
    except UnreadablePostError:
        response = problem(400, "bad_request", NOT_RECEIVED)
    except Exception as error:
        request.path = logged_path
        response = of_exception(request, error)
    # Django would log the path of each refused request, and with it the address.
    response._has_been_logged = True  # type: ignore[attr-defined] # noqa: SLF001 - as its log_response does
    return response


def limited() -> HttpResponse | None:
    """Count a request that proved nothing, by address; return a refusal after too many."""
    try:
        count("webhook_failure", audit_events.address() or "unknown")
    except RequestError as error:
        return of_request_error(None, error)
    return None
