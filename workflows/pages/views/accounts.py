"""Signing in: the form, and what those see who guessed too often."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.shortcuts import render
from django.utils import timezone

from project.addresses import address_of
from workflows.errors import TooMany
from workflows.pages.rates import count

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

TOO_MANY = 429
MOST_NAME = 150  # characters; of a longer name there is no account


class SignIn(LoginView):
    """The sign-in page, also that of the admin."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Let in whoever knows the password, unless this address tried too often."""
        try:
            count("login", address_of(request))
        except TooMany as refused:
            return turned_away(request, refused.seconds)
        return super().post(request, *args, **kwargs)


def locked_out(
    request: HttpRequest,
    _response: object = None,
    _credentials: object = None,
) -> HttpResponse:
    """Say when to try again, to whoever gave too many wrong passwords for a name.

    It says the same of names that nobody has: nobody learns here which there are.
    """
    name = (request.POST.get("username") or "")[:MOST_NAME].replace("\x00", "")
    tried = AccessAttempt.objects.filter(username=name, ip_address=address_of(request))
    last = tried.order_by("-attempt_time").values_list("attempt_time", flat=True)
    pause: dt.timedelta = settings.AXES_COOLOFF_TIME
    ends = (last.first() or timezone.now()) + pause
    seconds = max(1, round((ends - timezone.now()).total_seconds()))
    return turned_away(request, seconds)


def turned_away(request: HttpRequest, seconds: int) -> HttpResponse:
    """Return the sign-in page with a sentence that says when to try again."""
    context = {
        "form": AuthenticationForm(request),
        "next": request.POST.get("next", ""),
        "again_at": timezone.now() + dt.timedelta(seconds=seconds),
        "minutes": -(-seconds // 60),
    }
    answer = render(request, "registration/login.html", context, status=TOO_MANY)
    answer["Retry-After"] = str(seconds)
    answer["Cache-Control"] = "no-store"
    return answer
