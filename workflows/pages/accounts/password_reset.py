"""Reset of a forgotten password with a link that is mailed.

The response is the same for addresses without an account, and takes the same time: mail is
sent on another thread. The link leads to PUBLIC_URL, whatever the Host header says.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.forms import PasswordResetForm, SetPasswordForm
from django.contrib.auth.password_validation import password_validators_help_texts
from django.contrib.auth.views import PasswordResetConfirmView
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse_lazy
from django.views.decorators.http import require_http_methods

from workflows.audit import audit_events
from workflows.deliveries import mail
from workflows.infra.client_ip import address_of
from workflows.pages.rate_limits import count
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import status_of_form

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from workflows.pages.requests import HtmxRequest

logger = logging.getLogger(__name__)


class ResetForm(PasswordResetForm):
    """The mail address of an account; mail is sent to active ones with a password."""

    def send_mail(self, *args: Any, **options: Any) -> None:
        """Send the link on another thread."""
        del options
        context, recipient = args[2], args[4]
        text = render_to_string("registration/reset_mail.txt", context)
        subject = "Reset your Signalbox password"
        send_later(EmailMessage(subject, text, None, [recipient]))


def send_later(message: EmailMessage) -> None:
    """Send a mail on a thread of its own; log a failure without the address."""
    threading.Thread(target=_send, args=(message,), daemon=True).start()


def _send(message: EmailMessage) -> None:
    try:
        message.connection = get_connection(timeout=settings.EMAIL_TIMEOUT)
        message.send()
    except (OSError, ValueError) as error:  # SMTPException is an OSError
        logger.warning("A mail was not sent: %s", type(error).__name__)


@require_http_methods(["GET", "HEAD", "POST"])
@answers_request_errors
def request_reset(request: HtmxRequest) -> HttpResponse:
    """Show the form for a mail address; on POST mail a link to it."""
    form = ResetForm(request.POST or None)
    form.fields["email"].label = "E-mail address"
    context = {"form": form, "is_configured": mail.is_configured()}
    if request.method == "POST":
        count("login", address_of(request))
    if request.method == "POST" and mail.is_configured() and form.is_valid():
        count("reset_mail", str(form.cleaned_data["email"]).lower())
        site = urlsplit(settings.PUBLIC_URL)
        form.save(domain_override=site.netloc, use_https=site.scheme == "https")
        return render(request, "registration/reset_sent.html")
    status = status_of_form(request)
    return render(request, "registration/reset.html", context, status=status)


class NewPasswordForm(SetPasswordForm):  # type: ignore[type-arg] # generic for type checkers only
    """A new password, twice."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Put the password rules into the help text."""
        super().__init__(*args, **options)
        new, repeated = self.fields["new_password1"], self.fields["new_password2"]
        new.help_text = " ".join(password_validators_help_texts())
        repeated.label, repeated.help_text = "Confirm new password", ""


class ConfirmReset(PasswordResetConfirmView):
    """The page of the link; the person signs in afterwards, with their second factor."""

    form_class = NewPasswordForm
    template_name = "registration/reset_confirm.html"
    success_url = reverse_lazy("login")

    def form_valid(self, form: Any) -> HttpResponse:
        """Save the password, which ends all sessions, and a lockout of the account."""
        name = form.user.get_username()
        with transaction.atomic():
            response = super().form_valid(form)
            AccessAttempt.objects.filter(username=name).delete()
            audit_events.note("reset password", by=None, reason=name)
        messages.success(self.request, "Password changed. Sign in with the new one.")
        return response

    def render_to_response(self, context: Any, **more: Any) -> HttpResponse:
        """Render the form; 422 for one that was rejected."""
        more["status"] = status_of_form(self.request)
        return super().render_to_response(context, **more)


def confirm_reset(request: HttpRequest, uidb64: str, token: str) -> HttpResponse:
    """Show the form for a new password, or that the link is no longer valid."""
    response: Any = ConfirmReset.as_view()(request, uidb64=uidb64, token=token)
    return response  # type: ignore[no-any-return] # of Django's view
