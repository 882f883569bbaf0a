"""A page that shows a secret once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.shortcuts import render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest, HttpResponse


def secret_page(
    request: HttpRequest, template: str, context: Mapping[str, Any], *, status: int
) -> HttpResponse:
    """Return the page, which no cache may keep."""
    response = render(request, template, dict(context), status=status)
    response["Cache-Control"] = "no-store"
    return response
