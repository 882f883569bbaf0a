"""The OpenAPI document, for authenticated clients."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from ninja import Router
from pydantic_core import to_json

router = Router()


@router.get("/openapi.json", include_in_schema=False)
def get_openapi_document(request: HttpRequest) -> HttpResponse:
    """Get the OpenAPI 3.1 document of this API."""
    del request
    from workflows.api.application import api  # noqa: PLC0415 - it includes this route

    text = to_json(api.get_openapi_schema(), by_alias=True)
    return HttpResponse(text, content_type="application/json")
