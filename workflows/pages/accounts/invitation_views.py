"""Pages of invitations: invite, revoke, and the page of the link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import Group, User
from django.contrib.auth.password_validation import password_validators_help_texts
from django.core.mail import EmailMessage
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from workflows.access import invitations, permissions
from workflows.access.account_errors import InvitationNotFound
from workflows.deliveries import mail
from workflows.infra.client_ip import address_of
from workflows.pages.access import members_only
from workflows.pages.accounts.password_reset import send_later
from workflows.pages.post_only_views import posts_only
from workflows.pages.rate_limits import count
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import status_of_form
from workflows.pages.secret_page import secret_page

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.models import Invitation
    from workflows.pages.requests import HtmxRequest

GONE = 404


class InvitationForm(forms.Form):
    """Whom to invite, to which groups."""

    email = forms.EmailField(
        label="E-mail address",
        required=False,
        help_text="Empty: copy the link instead.",
    )
    groups = forms.ModelMultipleChoiceField(
        queryset=Group.objects.order_by("name"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )


class AccountForm(UserCreationForm):  # type: ignore[type-arg] # generic for type checkers only
    """The name and password of a new account."""

    class Meta:
        model = User
        fields = ("username",)

    def __init__(self, *args: Any, **options: Any) -> None:
        """Name the fields as the sign-in page does."""
        super().__init__(*args, **options)
        self.fields["username"].label = "User name"
        self.fields["username"].help_text = ""
        rules = " ".join(password_validators_help_texts())
        self.fields["password1"].help_text = rules
        self.fields["password2"].label = "Confirm password"
        self.fields["password2"].help_text = ""


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def invite(request: HtmxRequest) -> HttpResponse:
    """Show the form; on POST mail the link, or show it once."""
    permissions.require(permissions.can_invite(request.user), "invite people")
    form = InvitationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        invitation, secret = invitations.invite(
            form.cleaned_data["email"],
            list(form.cleaned_data["groups"]),
            by=request.user,
        )
        link = f"{settings.PUBLIC_URL}{reverse('invitation', args=[secret])}"
        is_mailed = bool(invitation.email) and mail.is_configured()
        if is_mailed:
            send_later(_mail(invitation, link))
        context = {"invitation": invitation, "link": link, "is_mailed": is_mailed}
        return secret_page(request, "members/invited.html", context, status=201)
    context = {
        "form": form,
        "open": invitations.open_invitations(),
        "is_configured": mail.is_configured(),
    }
    status = status_of_form(request)
    return render(request, "members/invite.html", context, status=status)


def _mail(invitation: Invitation, link: str) -> EmailMessage:
    text = render_to_string(
        "members/invitation_mail.txt", {"invitation": invitation, "link": link}
    )
    return EmailMessage("Your Signalbox account", text, None, [invitation.email])


@posts_only
@members_only
@answers_request_errors
def revoke(request: HtmxRequest, invitation_id: int) -> HttpResponse:
    """Make a link invalid."""
    invitations.revoke(invitation_id, by=request.user)
    messages.success(request, "Invitation revoked.")
    return redirect("invite")


@require_http_methods(["GET", "HEAD", "POST"])
@answers_request_errors
def accept(request: HtmxRequest, secret: str) -> HttpResponse:
    """Show the form of a new account; create it on POST."""
    count("login", address_of(request))
    invitation = invitations.find(secret)
    if invitation is None:
        return render(request, "registration/invitation.html", {}, status=GONE)
    form = AccountForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            account = invitations.accept(invitation, form.save(commit=False))
        except InvitationNotFound:
            return render(request, "registration/invitation.html", {}, status=GONE)
        name = account.get_username()
        messages.success(request, f"Account “{name}” created. Sign in with it.")
        return redirect("login")
    context = {"form": form, "invitation": invitation}
    status = status_of_form(request)
    return render(request, "registration/invitation.html", context, status=status)
