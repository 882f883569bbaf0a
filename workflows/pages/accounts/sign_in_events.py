"""Audit events of sign-ins, refused sign-ins and changes of second factors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allauth.account.signals import user_logged_in
from allauth.mfa.signals import (
    authenticator_added,
    authenticator_removed,
    authenticator_reset,
)
from django.contrib.auth.signals import user_login_failed
from django.db import transaction

from workflows.audit import audit_events
from workflows.pages.accounts.provider_groups import follow_provider

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest

MAX_NAME_LENGTH = 150  # characters of a user name
FACTORS = {"totp": "authenticator app", "recovery_codes": "recovery codes"}
METHODS = {"password": "password", "socialaccount": "provider", "mfa": "second factor"}


def listen() -> None:
    """Connect the signals of Django and allauth."""
    user_logged_in.connect(_signed_in, dispatch_uid="audit sign-in")
    user_login_failed.connect(_refused, dispatch_uid="audit refused sign-in")
    authenticator_added.connect(_added, dispatch_uid="audit factor")
    authenticator_removed.connect(_removed, dispatch_uid="audit factor")
    authenticator_reset.connect(_reset, dispatch_uid="audit factor")


def _signed_in(
    request: HttpRequest, user: User, sociallogin: Any = None, **_: object
) -> None:
    records = request.session.get("account_authentication_methods", [])
    methods = [METHODS.get(one.get("method"), "other") for one in records]
    with transaction.atomic():
        reason = f"{user.get_username()}: {' and '.join(dict.fromkeys(methods))}"
        audit_events.note("sign in", by=user, reason=reason)
        if sociallogin is not None:
            follow_provider(user, sociallogin)


def _refused(
    credentials: dict[str, Any], request: HttpRequest | None = None, **_: object
) -> None:
    """Record a wrong password or code, but not those that a lockout no longer tries.

    The row is the same for names without an account, and takes the same time.
    """
    if request is None or getattr(request, "axes_locked_out", False):
        return
    name = str(credentials.get("username") or "").replace("\x00", "")[:MAX_NAME_LENGTH]
    with transaction.atomic():
        audit_events.note("refuse sign-in", by=None, reason=name)


def _added(user: User, authenticator: Any, **_: object) -> None:
    _note("add second factor", user, authenticator)


def _removed(user: User, authenticator: Any, **_: object) -> None:
    _note("remove second factor", user, authenticator)


def _reset(user: User, authenticator: Any, **_: object) -> None:
    _note("renew second factor", user, authenticator)


def _note(action: str, user: User, authenticator: Any) -> None:
    kind = FACTORS.get(authenticator.type, "passkey")
    with transaction.atomic():
        audit_events.note(action, by=user, reason=f"{user.get_username()}: {kind}")
