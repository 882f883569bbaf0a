"""What allauth leaves to the project: who may sign in, and how secrets are stored."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.providers.base import AuthError, AuthProcess
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme

from workflows.infra import encryption
from workflows.infra.client_ip import address_of
from workflows.pages.accounts.provider_groups import claims_of, is_saml

if TYPE_CHECKING:
    from allauth.socialaccount.models import SocialLogin
    from django.http import HttpRequest

logger = logging.getLogger(__name__)
BACKEND: Final = "django.contrib.auth.backends.ModelBackend"
SILENT: Final = {"account/messages/logged_in.txt"}  # the page itself says so
SECRET: Final = "secret"  # noqa: S105 - a key of the encrypted values
SIGN_IN: Final = str(AuthProcess.LOGIN)  # what allauth calls the process
FORBIDDEN: Final = 403
INACTIVE: Final = "This account is deactivated. Ask an administrator."


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc] # allauth has no types
    """Accounts: nobody signs up, and addresses come from the trusted proxies."""

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the address by which limits count a client."""
        return address_of(request)

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002 - allauth's
        """Refuse: administrators add or invite people."""
        return False

    def is_safe_url(self, url: str | None) -> bool:
        """Return whether a page to return to is one of this host."""
        host = self.request.get_host()
        return url_has_allowed_host_and_scheme(
            url, {host}, require_https=self.request.is_secure()
        )

    def add_message(
        self,
        request: HttpRequest,
        level: int,
        message_template: str | None = None,
        *args: Any,
        **options: Any,
    ) -> None:
        """Add a message, but none that only repeats what the page shows."""
        if message_template not in SILENT:
            super().add_message(request, level, message_template, *args, **options)

    def login(self, request: HttpRequest, user: User) -> None:
        """Sign in, with the backend that loads the user and its permissions."""
        user.backend = BACKEND
        super().login(request, user)

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:  # noqa: ARG002 - allauth's
        """Return the response to someone whose account is deactivated."""
        return refused_sign_in(request, INACTIVE)


class ProviderAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc] # allauth has no types
    """Accounts of people whom the provider signs in."""

    def is_open_for_signup(
        self, request: HttpRequest, sociallogin: SocialLogin
    ) -> bool:
        """Accept whom the provider accepts."""
        del request, sociallogin
        return True

    def is_auto_signup_allowed(
        self,
        request: HttpRequest,  # noqa: ARG002 - allauth's
        sociallogin: SocialLogin,  # noqa: ARG002 - allauth's
    ) -> bool:
        """Create accounts without a form."""
        return True

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Find the existing account of a verified mail address, if the settings say so.

        Raises ImmediateHttpResponse for a process that would attach the identity to the
        account that is signed in.
        """
        if sociallogin.state.get("process") not in {None, "", SIGN_IN}:
            logger.warning("A sign-in was refused: it asks for another process.")
            text = provider_failed("the provider")
            raise ImmediateHttpResponse(refused_sign_in(request, text))
        email = "" if sociallogin.is_existing else linkable_email(sociallogin)
        if not email:
            return
        named = User.objects.filter(email__iexact=email, is_superuser=False)
        found = list(named.filter(service_account=None)[:2])
        if len(found) == 1:  # of two, neither is meant for sure
            sociallogin.connect(request, found[0])

    def on_authentication_error(
        self, request: HttpRequest, provider: Any, *args: Any, **options: Any
    ) -> None:
        """Show the sign-in page with what went wrong."""
        del args  # may quote the provider's response
        exception, error = options.get("exception"), options.get("error")
        if error != AuthError.CANCELLED:
            why = type(exception).__name__ if exception else error
            logger.warning("The sign-in provider refused: %s", why, exc_info=exception)
            text = provider_failed(provider.name)
            raise ImmediateHttpResponse(refused_sign_in(request, text))


class FactorAdapter(DefaultMFAAdapter):  # type: ignore[misc] # allauth has no types
    """Second factors: secrets are encrypted in the database."""

    def get_totp_issuer(self) -> str:
        """Return the name that an authenticator app shows."""
        return "Signalbox"

    def generate_authenticator_name(self, user: User, type: str) -> str:  # noqa: A002 - allauth's
        """Return the name that is suggested for a new passkey."""
        count = Authenticator.objects.filter(user=user, type=type).count()
        return f"Passkey {count + 1}" if count else "Passkey"

    def encrypt(self, text: str) -> str:
        """Return the stored form of a secret."""
        return encryption.encrypt({SECRET: text}).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Return a secret. Raises InvalidToken when no key fits."""
        return encryption.decrypt(encrypted_text.encode())[SECRET]


def linkable_email(sociallogin: SocialLogin) -> str:
    """Return the mail address by which an existing account may be found, or an empty text.

    A provider of OpenID Connect says whether it verified the address. SAML has no
    agreed attribute for that, so that its setting trusts the provider.
    """
    if is_saml(sociallogin):
        return str(sociallogin.user.email) if settings.SAML_LINK_BY_EMAIL else ""
    claims = claims_of(sociallogin)
    is_verified = settings.OIDC_LINK_BY_EMAIL and claims.get("email_verified") is True
    return str(claims.get("email") or "") if is_verified else ""


def provider_failed(name: str) -> str:
    """Return the sentence about a provider that refused or is down."""
    return f"Signing in through {name} failed. Try again, or ask an administrator."


def refused_sign_in(request: HttpRequest, sentence: str) -> HttpResponse:
    """Return the sign-in page with a sentence that says why."""
    context = {"refusal": sentence, "next": "", "kept": ""}
    return render(request, "registration/login.html", context, status=FORBIDDEN)
