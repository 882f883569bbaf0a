"""Contexts with hostile texts for the templates of sign-in, second factors and sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from workflows.pages.accounts.invitation_views import AccountForm, InvitationForm
from workflows.pages.accounts.password_reset import NewPasswordForm, ResetForm
from workflows.pages.accounts.user_sessions import SignedIn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import Client


def account_pages(payload: str, user: User) -> dict[str, dict[str, Any]]:
    """Return the context of each template, by its name."""
    now = timezone.now()
    errors = {"credential": [payload]}
    field = {"errors": [payload]}
    form = {
        "errors": errors,
        "code": field,
        "password": field,
        "name": {"value": payload},
        "secret": payload,
        "non_field_errors": [payload],
    }
    more = {
        "form": form,
        "webauthn_form": form,
        "js_data": {"x": payload},
        "redirect_field_value": payload,
        "reauthentication_alternatives": [{"url": "/", "description": payload}],
    }
    invitation = {
        "pk": 1,
        "invited_by": {"get_username": payload},
        "email": payload,
        "expires_at": now,
    }
    passkey = {"name": payload, "instance": {"pk": 1, "created_at": now}}
    passwords = {"new_password1": payload, "new_password2": "x"}
    return {
        "registration/login.html": {
            "refusal": payload,
            "next": payload,
            "providers": [{"provider_id": "sso", "name": payload}],
        },
        "members/invite.html": {"form": InvitationForm(), "open": [invitation]},
        "members/invited.html": {"invitation": invitation, "link": payload},
        "registration/invitation.html": {
            "invitation": invitation,
            "form": AccountForm({"username": payload}),
        },
        "registration/reset.html": {
            "form": ResetForm({"email": payload}),
            "is_configured": True,
        },
        "registration/reset_sent.html": {},
        "registration/reset_confirm.html": {
            "form": NewPasswordForm(user, passwords),
            "validlink": True,
        },
        "accounts/security.html": {
            "can_add": True,
            "passkeys": [passkey],
            "codes_left": 3,
            "sessions": [SignedIn(1, payload, payload, now, is_current=False)],
        },
        **dict.fromkeys(
            (
                "account/reauthenticate.html",
                "mfa/authenticate.html",
                "mfa/reauthenticate.html",
                "mfa/webauthn/reauthenticate.html",
                "mfa/webauthn/add_form.html",
                "mfa/totp/activate_form.html",
                "mfa/totp/deactivate_form.html",
                "mfa/recovery_codes/generate.html",
            ),
            more,
        ),
        "mfa/webauthn/authenticator_confirm_delete.html": {
            "object": {"wrap": {"name": payload}}
        },
        "mfa/recovery_codes/index.html": {
            "unused_codes": [payload],
            "can_generate_codes": True,
        },
    }


def view_as_responses(payload: str, client: Client) -> Iterator[tuple[str, Any, int]]:
    """Yield the responses, with their status, around a page with the banner."""
    member = User.objects.create(username=f"{payload[:140]} member")
    started = client.post(reverse("view-as", args=[member.pk]))
    yield "view as", started, 302
    yield "the banner", client.get("/workers/"), 403
    yield "end view as", client.post(reverse("view-as-end")), 302
