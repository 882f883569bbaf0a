"""The request as our views get it: signed in, and perhaps from htmx."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpRequest

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django_htmx.middleware import HtmxDetails


INVALID = 422  # of a form that was sent and could not be accepted
MAX_REASON_LENGTH = 2_000  # characters


class HtmxRequest(HttpRequest):
    """A member's request."""

    htmx: HtmxDetails
    user: User


def status_of_form(request: HttpRequest) -> int:
    """Return the status with which a form is shown: to be filled in, or put right."""
    return INVALID if request.method == "POST" else 200


def reason_of(request: HttpRequest) -> str:
    """Return why, in the person's words."""
    return (
        request.POST.get("reason", "").replace("\x00", "").strip()[:MAX_REASON_LENGTH]
    )
