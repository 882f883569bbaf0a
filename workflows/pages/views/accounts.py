"""Signing in, what those see who guessed too often, and a new password of one's own."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.contrib.auth.password_validation import password_validators_help_texts
from django.contrib.auth.views import LoginView, PasswordChangeView
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils import timezone

from workflows.access import permissions
from workflows.audit import trail
from workflows.errors import RateLimited
from workflows.infra.client_ip import address_of
from workflows.pages.access import members_only
from workflows.pages.errors import answers_request_errors
from workflows.pages.methods import page_of
from workflows.pages.rates import count, limited
from workflows.pages.requests import status_of_form
from workflows.pages.sessions.kept_input import path_of, store, unsigned

if TYPE_CHECKING:
    from django.http import HttpRequest

TOO_MANY = 429
NOT_YOURS = (
    "What was typed before was not kept: another account than yours had been signed in."
)
MAX_NAME_LENGTH = 150  # characters; of a longer name there is no account


class SignIn(LoginView):
    """The sign-in page, also that of the admin."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Let in whoever knows the password, unless this address tried too often."""
        try:
            count("login", address_of(request))
        except RateLimited as refused:
            return turned_away(request, refused.seconds)
        return super().post(request, *args, **kwargs)

    def get_success_url(self) -> str:
        """Return the page to go to: of an address that only takes forms, its page."""
        return page_of(path_of(super().get_success_url()))

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        """Carry what was typed through a wrong password."""
        return super().get_context_data(**more, kept=self.request.POST.get("kept", ""))

    def form_valid(self, form: Any) -> HttpResponse:
        """Let somebody in; what the same account had typed waits in its form."""
        kept = unsigned(self.request.POST.get("kept", ""))
        answer = super().form_valid(form)
        if kept is None:
            return answer
        if kept.account != form.get_user().pk:
            messages.warning(self.request, NOT_YOURS)
            return answer
        store(self.request, kept)
        return redirect(kept.page)


class NewPasswordForm(PasswordChangeForm):
    """The old password, and a new one twice."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Say what a password has to be like in a line under its name."""
        super().__init__(*args, **options)
        new, again = self.fields["new_password1"], self.fields["new_password2"]
        new.help_text = " ".join(password_validators_help_texts())
        again.label, again.help_text = "New password once more", ""


class NewPassword(PasswordChangeView):
    """A member's own password, changed by who knows the old one; other sign-ins end."""

    form_class = NewPasswordForm
    template_name = "registration/password.html"
    success_url = reverse_lazy("home")

    def form_valid(self, form: Any) -> HttpResponse:
        """Keep it, tell the audit, and stay signed in here."""
        person = form.user
        with transaction.atomic():
            answer = super().form_valid(form)
            trail.note("change password", by=person, reason=str(person))
        messages.success(
            self.request,
            "Your password was changed. Other sign-ins of yours have ended.",
        )
        return answer

    def render_to_response(self, context: Any, **more: Any) -> HttpResponse:
        """Show the form, with the status of one that was refused."""
        more["status"] = status_of_form(self.request)
        person = self.request.user
        context["roles"] = list(person.groups.order_by("name"))
        context["are_open"] = permissions.are_open()
        return super().render_to_response(context, **more)


new_password = members_only(
    answers_request_errors(limited("login")(NewPassword.as_view()))
)


def locked_out(
    request: HttpRequest,
    _response: object = None,
    _credentials: object = None,
) -> HttpResponse:
    """Say when to try again, to whoever gave too many wrong passwords for a name.

    It says the same of names that nobody has: nobody learns here which there are.
    """
    name = (request.POST.get("username") or "")[:MAX_NAME_LENGTH].replace("\x00", "")
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
        "kept": request.POST.get("kept", ""),
        "again_at": timezone.now() + dt.timedelta(seconds=seconds),
        "minutes": -(-seconds // 60),
    }
    answer = render(request, "registration/login.html", context, status=TOO_MANY)
    answer["Retry-After"] = str(seconds)
    answer["Cache-Control"] = "no-store"
    return answer
