"""Forms of second factors, whose codes are guessed no more often than passwords.

Failures count per account, from all addresses together: a code is asked for after the
password.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from allauth.core import context
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import (
    AddWebAuthnForm,
    AuthenticateWebAuthnForm,
    LoginWebAuthnForm,
    ReauthenticateWebAuthnForm,
)
from axes.models import AccessAttempt
from django import forms
from django.conf import settings
from django.contrib.auth.signals import user_login_failed
from django.db.models import Q, Sum
from django.utils import timezone

from workflows.pages.accounts.sign_in_events import MAX_NAME_LENGTH

INCORRECT = "Incorrect code."
UNREADABLE = "The passkey was not accepted. Try again."
PERIOD_SECONDS = 30  # for which the code of an app is valid
LOCKED = "Too many wrong codes. Try again in {} minutes."


def code_name(username: str) -> str:
    """Return the name under which failures with codes of an account are counted."""
    return f"{username[: MAX_NAME_LENGTH - 8]} (code)"


def require_unlocked(username: str) -> None:
    """Raise ValidationError if too many codes of an account were wrong lately."""
    since = timezone.now() - settings.AXES_COOLOFF_TIME
    recent = AccessAttempt.objects.filter(
        username=code_name(username), attempt_time__gt=since
    )
    failures = recent.aggregate(total=Sum("failures_since_start"))["total"] or 0
    if failures >= settings.AXES_FAILURE_LIMIT:
        minutes = round(settings.AXES_COOLOFF_TIME.total_seconds() / 60)
        raise forms.ValidationError(LOCKED.format(minutes))


class _Guarded:
    """A form with the code or key of `user`."""

    user: Any

    def guarded(self, check: Any) -> Any:
        """Return the result of a check, unless too many failed; count its failure."""
        username = self.user.get_username()
        require_unlocked(username)
        try:
            result = check()
        except forms.ValidationError:
            user_login_failed.send(
                sender=type(self),
                credentials={"username": code_name(username)},
                request=context.request,
            )
            # a lockout of axes would replace this page by the one for passwords
            context.request.axes_locked_out = False
            raise
        AccessAttempt.objects.filter(username=code_name(username)).delete()
        return result


def use_once(authenticator: Authenticator) -> None:
    """Mark the code of an app as used. Raises ValidationError if it was used before.

    allauth remembers used codes per process; of two processes, only one updates the row.
    """
    if authenticator.type != Authenticator.Type.TOTP:
        return
    now = timezone.now()
    period = now - dt.timedelta(seconds=now.timestamp() % PERIOD_SECONDS)
    unused = Q(last_used_at=None) | Q(last_used_at__lt=period)
    rows = Authenticator.objects.filter(unused, pk=authenticator.pk)
    if not rows.update(last_used_at=now):
        raise forms.ValidationError(INCORRECT)


class CodeForm(_Guarded, AuthenticateForm):  # type: ignore[misc] # allauth has no types
    """The code of an authenticator app, or a recovery code, at sign-in."""

    def clean_code(self) -> str:
        """Return the code. Raises ValidationError."""
        return str(self.guarded(self._once))

    def _once(self) -> Any:
        code = super().clean_code()
        use_once(self.authenticator)
        return code


class ConfirmCodeForm(_Guarded, ReauthenticateForm):  # type: ignore[misc] # likewise
    """The same, before a change of the account."""

    def clean_code(self) -> str:
        """Return the code. Raises ValidationError."""
        return str(self.guarded(self._once))

    def _once(self) -> Any:
        code = super().clean_code()
        use_once(self.authenticator)
        return code


class _Readable:
    """A form with the response of a passkey, in which fields may be missing."""

    def clean_credential(self) -> Any:
        """Return the authenticator. Raises ValidationError."""
        try:
            return super().clean_credential()  # type: ignore[misc] # of the next class
        except (KeyError, TypeError, ValueError) as error:
            raise forms.ValidationError(UNREADABLE) from error


class KeyForm(_Guarded, _Readable, AuthenticateWebAuthnForm):  # type: ignore[misc] # likewise
    """A passkey at sign-in, after a password."""

    def clean_credential(self) -> Any:
        """Return the authenticator. Raises ValidationError."""
        return self.guarded(super().clean_credential)


class SignInKeyForm(_Readable, LoginWebAuthnForm):  # type: ignore[misc] # likewise
    """A passkey in place of a password."""


class ConfirmKeyForm(_Readable, ReauthenticateWebAuthnForm):  # type: ignore[misc] # likewise
    """A passkey before a change of the account."""


class NewKeyForm(AddWebAuthnForm):  # type: ignore[misc] # likewise
    """A passkey that is added."""

    def clean(self) -> dict[str, Any]:
        """Return the values. Raises ValidationError."""
        try:
            values: dict[str, Any] = super().clean()
        except (KeyError, TypeError, ValueError) as error:
            raise forms.ValidationError(UNREADABLE) from error
        return values
