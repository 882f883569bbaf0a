"""Sign-in, lockout after too many attempts, and password change."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from allauth.account.internal.flows.login import perform_password_login
from allauth.account.models import Login
from axes.models import AccessAttempt
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.contrib.auth.password_validation import password_validators_help_texts
from django.contrib.auth.views import LoginView, PasswordChangeView
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse, reverse_lazy
from django.utils import timezone

from workflows.access import permissions
from workflows.audit import audit_events
from workflows.errors import RateLimited
from workflows.infra.client_ip import address_of
from workflows.pages.access import members_only
from workflows.pages.post_only_views import page_of
from workflows.pages.rate_limits import count, limited
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import status_of_form
from workflows.pages.sessions.unsaved_input import path_of, store, unsigned

if TYPE_CHECKING:
    from django.http import HttpRequest

TOO_MANY_REQUESTS = 429
OTHER_ACCOUNT = (
    "Your unsaved input was not restored: it was entered with another account."
)
MAX_NAME_LENGTH = 150  # characters; no account has a longer name


def ways_to_sign_in() -> dict[str, Any]:
    """Return what the sign-in page offers besides a password: name and URL of each."""
    apps = {
        kind: given.get("APPS", ())
        for kind, given in settings.SOCIALACCOUNT_PROVIDERS.items()
    }
    by_oidc = [
        (app["name"], reverse("openid_connect_login", args=[app["provider_id"]]))
        for app in apps.get("openid_connect", ())
    ]
    by_saml = [
        (app["name"], reverse("saml_login", args=[app["client_id"]]))
        for app in apps.get("saml", ())
    ]
    named = [{"name": name, "address": address} for name, address in by_oidc + by_saml]
    return {"providers": named}


class SignIn(LoginView):
    """The sign-in page of the site and of the admin."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Sign in, unless this client address has tried too often."""
        try:
            count("login", address_of(request))
        except RateLimited as error:
            return locked_response(request, error.seconds)
        return super().post(request, *args, **kwargs)

    def get_success_url(self) -> str:
        """Return the target page; for a URL that only accepts POST, the page above it."""
        return page_of(path_of(super().get_success_url()))

    def get_context_data(self, **more: Any) -> dict[str, Any]:
        """Keep unsaved form input across a wrong password."""
        return super().get_context_data(
            **more, kept=self.request.POST.get("kept", ""), **ways_to_sign_in()
        )

    def form_valid(self, form: Any) -> HttpResponse:
        """Sign in; restore unsaved form input of the same account."""
        kept, user = unsigned(self.request.POST.get("kept", "")), form.get_user()
        target = self.get_success_url()
        if kept is not None and kept.account != user.pk:
            messages.warning(self.request, OTHER_ACCOUNT)
        elif kept is not None:
            store(self.request, kept)
            target = kept.page
        credentials = {"username": user.get_username()}
        login = Login(user=user, redirect_url=target)
        response: HttpResponse = perform_password_login(
            self.request, credentials, login
        )
        return response


class NewPasswordForm(PasswordChangeForm):
    """The current password, and a new one twice."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Put the password rules into the help text of the new password."""
        super().__init__(*args, **options)
        self.fields["old_password"].label = "Current password"
        new, repeated = self.fields["new_password1"], self.fields["new_password2"]
        new.help_text = " ".join(password_validators_help_texts())
        repeated.label, repeated.help_text = "Confirm new password", ""


class NewPassword(PasswordChangeView):
    """Change of the user's own password; signs the user out on other devices."""

    form_class = NewPasswordForm
    template_name = "registration/password.html"
    success_url = reverse_lazy("home")

    def form_valid(self, form: Any) -> HttpResponse:
        """Save the password with an audit event, and keep this session signed in."""
        user = form.user
        with transaction.atomic():
            response = super().form_valid(form)
            audit_events.note("change password", by=user, reason=str(user))
        messages.success(
            self.request, "Password changed. You were signed out on other devices."
        )
        return response

    def render_to_response(self, context: Any, **more: Any) -> HttpResponse:
        """Render the form; 422 for one that was rejected."""
        more["status"] = status_of_form(self.request)
        context["roles"] = list(self.request.user.groups.order_by("name"))
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
    """Return the sign-in page for a name with too many failed attempts.

    The response is the same for names without an account, so that it does not disclose
    which accounts exist.
    """
    name = (request.POST.get("username") or "")[:MAX_NAME_LENGTH].replace("\x00", "")
    tried = AccessAttempt.objects.filter(username=name, ip_address=address_of(request))
    last = tried.order_by("-attempt_time").values_list("attempt_time", flat=True)
    pause: dt.timedelta = settings.AXES_COOLOFF_TIME
    ends = (last.first() or timezone.now()) + pause
    seconds = max(1, round((ends - timezone.now()).total_seconds()))
    return locked_response(request, seconds)


def locked_response(request: HttpRequest, seconds: int) -> HttpResponse:
    """Return the sign-in page with the time of the next allowed attempt."""
    context = {
        "form": AuthenticationForm(request),
        "next": request.POST.get("next", ""),
        "kept": request.POST.get("kept", ""),
        "again_at": timezone.now() + dt.timedelta(seconds=seconds),
        "minutes": -(-seconds // 60),
        **ways_to_sign_in(),
    }
    response = render(
        request, "registration/login.html", context, status=TOO_MANY_REQUESTS
    )
    response["Retry-After"] = str(seconds)
    response["Cache-Control"] = "no-store"
    return response
