"""Errors of the API as problem details (RFC 9457): a sentence, a code and the fields."""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import HttpResponse, UnreadablePostError
from django.utils.cache import patch_vary_headers
from ninja import Schema
from ninja.errors import HttpError, ValidationError
from pydantic import Field
from pydantic_core import to_json

from workflows.engine.errors import InputInvalid, RequestError
from workflows.errors import ReasonInvalid
from workflows.pages.views.error_pages import SAFE, cause_of
from workflows.runtime.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.http import HttpRequest
    from ninja import NinjaAPI

logger = logging.getLogger(__name__)

CONTENT_TYPE: Final = "application/problem+json"
SIGNATURE_INVALID: Final = "signature_invalid"  # of a delivery to a webhook
UNKNOWN: Final = "The server could not process the request. The error was logged."
SENTENCES: Final = {
    400: "The request is malformed.",
    401: "Send an API token in the header “Authorization: Bearer sbx_…”.",
    403: "The request was refused: a session needs the header X-CSRFToken.",
    404: "There is nothing at this address. See /api/v1/openapi.json.",
    405: "The method is not allowed here.",
    413: "The request is too large.",
    416: "The range is not within the file.",
    500: UNKNOWN,
}
"""Responses of Django itself, which have a page as their body."""
MEANINGS: Final = {
    400: "The request is malformed: JSON, cursor.",
    401: "No token, or an unknown, expired or revoked one.",
    403: "You or your token lack a permission.",
    404: "Not found, or not visible to you.",
    409: "The status does not permit it, or another request was first.",
    412: "The run has another version than If-Match.",
    413: "The file is too large.",
    416: "The range is not within the file.",
    422: "Fields are invalid.",
    429: "Too many requests; Retry-After says when to try again.",
    503: "Overload or an outage; Retry-After says when to try again.",
}
"""What the documented statuses mean."""


class FieldError(Schema):
    """A message about one field of the request."""

    field: str = Field(description="Path of the field, such as “params.limit”.")
    message: str


class Problem(Schema):
    """An error: what happened and what to do (RFC 9457)."""

    type: str = "about:blank"
    title: str = Field(description="The meaning of the status.")
    status: int
    code: str = Field(description="Stable name of the error, such as “run_not_found”.")
    detail: str = Field(description="A sentence for people.")
    errors: list[FieldError] = Field(
        default_factory=list, description="Messages by field, with status 422."
    )


def problem(
    status: int, code: str, detail: str, errors: Sequence[FieldError] = ()
) -> HttpResponse:
    """Return the response to a request that failed."""
    body = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        errors=list(errors),
    )
    response = HttpResponse(
        to_json(body.model_dump(), inf_nan_mode="null"),
        status=status,
        content_type=CONTENT_TYPE,
    )
    response["Cache-Control"] = "no-store"
    if status == HTTPStatus.UNAUTHORIZED and code != SIGNATURE_INVALID:
        response["WWW-Authenticate"] = 'Bearer realm="Signalbox"'
    return response


def code_of(kind: type[Exception]) -> str:
    """Return the name of an error class in snake case: RunNotFound → run_not_found."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


def of_request_error(request: HttpRequest | None, error: Exception) -> HttpResponse:
    """Return the response to an error of the application, with its own sentence."""
    del request
    status = int(getattr(error, "status", 422))  # of an unusable file without one
    named = error.errors if isinstance(error, InputInvalid) else {}
    if isinstance(error, ReasonInvalid):
        named = {"reason": [str(error)]}
    fields = [
        FieldError(field=name, message=message)
        for name, messages in named.items()
        for message in messages
    ]
    code = str(getattr(error, "code", "")) or code_of(type(error))
    response = problem(status, code, str(error), fields)
    if (seconds := getattr(error, "seconds", None)) is not None:
        response["Retry-After"] = str(seconds)
    return response


def of_validation(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """Return the response to a request whose fields do not fit the schema."""
    del request
    fields = [
        FieldError(field=_path(one["loc"]), message=str(one["msg"]))
        for one in error.errors
    ]
    detail = " ".join(f"{one.field}: {one.message}." for one in fields)
    return problem(422, "invalid_request", detail, fields)


def _path(parts: Sequence[Any]) -> str:
    """Return the path of a field, without where it was and the name of the argument."""
    places = {"body", "query", "path", "header", "form", "file", "cookie"}
    names = [str(part) for part in parts]
    if len(names) > 1 and names[0] in places:
        names = names[2:] if names[0] == "body" and len(names) > 2 else names[1:]  # noqa: PLR2004
    return ".".join(names)


def of_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    """Return the response to an error that ninja raised, such as malformed JSON."""
    del request
    status = error.status_code
    detail = error.message if status == HTTPStatus.BAD_REQUEST else ""
    return problem(status, _name(status), detail or _sentence(status))


def of_refused_input(request: HttpRequest, error: Exception) -> HttpResponse:
    """Return the response to a request that Django refuses to read."""
    del request
    status = 413 if isinstance(error, RequestDataTooBig) else 400
    return problem(status, _name(status), _sentence(status))


def of_exception(request: HttpRequest, error: Exception) -> HttpResponse:
    """Return 503 during an outage of the database, 500 for any other error."""
    cause = cause_of(request, error)
    if cause is not None:
        is_sent = cause.sent and request.method not in SAFE
        detail = f"{cause.sentence} {cause.sent}" if is_sent else cause.sentence
        response = problem(503, cause.code, detail)
        response["Retry-After"] = str(cause.retry_seconds)
        return response
    logger.error("%s %s failed.", request.method, request.path, exc_info=error)
    return problem(500, "internal_error", UNKNOWN)


def install(api: NinjaAPI) -> None:
    """Register the responses to all exceptions."""
    handlers: dict[type[Exception], Callable[[HttpRequest, Any], HttpResponse]] = {
        RequestError: of_request_error,
        ProviderError: of_request_error,  # also StorageFailed
        ValidationError: of_validation,
        HttpError: of_http_error,  # also AuthenticationError
        SuspiciousOperation: of_refused_input,
        UnreadablePostError: of_refused_input,
        Exception: of_exception,
    }
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)


def as_problem(response: Any, code: str = "", detail: str = "") -> Any:
    """Return an error page as a problem; any other response unchanged."""
    status = response.status_code
    if status < HTTPStatus.BAD_REQUEST or response.get("Content-Type") == CONTENT_TYPE:
        return response
    converted = problem(status, code or _name(status), detail or _sentence(status))
    for name in ("Allow", "Connection", "Content-Range", "Retry-After"):
        if name in response:
            converted[name] = response[name]
    converted.cookies = response.cookies
    patch_vary_headers(converted, ("Authorization", "Cookie"))
    return converted


def _name(status: int) -> str:
    return HTTPStatus(status).name.lower()


def _sentence(status: int) -> str:
    return SENTENCES.get(status, f"{HTTPStatus(status).phrase}.")
