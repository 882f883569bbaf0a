"""The type of requests in views, and helpers for forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpRequest

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django_htmx.middleware import HtmxDetails


INVALID = 422  # status of a rejected form


class HtmxRequest(HttpRequest):
    """The request of a signed-in user, with htmx details."""

    htmx: HtmxDetails
    user: User


def status_of_form(request: HttpRequest) -> int:
    """Return the status of a page with a form: 422 after a rejected POST, else 200."""
    return INVALID if request.method == "POST" else 200


def reason_of(request: HttpRequest) -> str:
    """Return the reason that the user entered, "" without one."""
    return request.POST.get("reason", "").replace("\x00", "").strip()
