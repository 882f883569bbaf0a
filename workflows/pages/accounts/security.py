"""The page with a person's second factors and sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allauth.account.internal.flows.reauthentication import get_reauthentication_flows
from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from workflows.pages.access import members_only
from workflows.pages.accounts import user_sessions
from workflows.pages.post_only_views import posts_only
from workflows.pages.request_errors import answers_request_errors

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from workflows.pages.requests import HtmxRequest


@require_safe
@members_only
def security(request: HtmxRequest) -> HttpResponse:
    """Show second factors and sessions."""
    rows = Authenticator.objects.filter(user=request.user).order_by("created_at")
    by_type: dict[str, list[Authenticator]] = {}
    for row in rows:
        by_type.setdefault(row.type, []).append(row)
    codes = by_type.get(Authenticator.Type.RECOVERY_CODES)
    context = {
        "app": (by_type.get(Authenticator.Type.TOTP) or [None])[0],
        "passkeys": [row.wrap() for row in by_type.get("webauthn", ())],
        "codes_left": len(codes[0].wrap().get_unused_codes()) if codes else None,
        # without a password or a factor nothing confirms that it is the owner who adds one
        "can_add": bool(get_reauthentication_flows(request.user)),
        "sessions": user_sessions.sessions_of(
            request.user, request.session.session_key
        ),
    }
    return render(request, "accounts/security.html", context)


@posts_only
@members_only
@answers_request_errors
def end_one(request: HtmxRequest, session_id: int) -> HttpResponse:
    """End one of the person's sessions."""
    user_sessions.end_session(session_id, of=request.user)
    messages.success(request, "Session ended.")
    return redirect("security")


@posts_only
@members_only
def end_others(request: HtmxRequest) -> HttpResponse:
    """End all sessions of the person but this one."""
    keep = request.session.session_key
    user_sessions.sign_out_everywhere(request.user, by=request.user, keep=keep)
    messages.success(request, "Signed out everywhere else.")
    return redirect("security")


@require_safe
def cancelled(request: HttpRequest) -> HttpResponse:
    """Show the sign-in page to someone who cancelled at the provider."""
    messages.info(request, "Sign-in cancelled.")
    return redirect("login")
