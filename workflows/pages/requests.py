"""The request as our views get it: signed in, and perhaps from htmx."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpRequest

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django_htmx.middleware import HtmxDetails


class HtmxRequest(HttpRequest):
    """A member's request."""

    htmx: HtmxDetails
    user: User
