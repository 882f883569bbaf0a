"""Sign-in by SAML, with allauth; imported only where its packages are installed.

allauth verifies the signature, the times and the recipient of a response. What it leaves
open is refused here: a response that is not bound to the request of this browser by a
signed part, an assertion without an audience, and ids that change with each sign-in.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from allauth.socialaccount.providers.saml import views
from allauth.socialaccount.providers.saml.provider import SAMLProvider
from allauth.socialaccount.providers.saml.utils import build_saml_config
from django.conf import settings
from django.http import HttpResponse
from onelogin.saml2.auth import OneLogin_Saml2_Settings
from onelogin.saml2.constants import OneLogin_Saml2_Constants
from onelogin.saml2.errors import OneLogin_Saml2_Error

if TYPE_CHECKING:
    from allauth.socialaccount.models import SocialLogin
    from django.http import HttpRequest

NAMESPACE: Final = "{urn:oasis:names:tc:SAML:2.0:assertion}"
RESTRICTION: Final = f"{NAMESPACE}Conditions/{NAMESPACE}AudienceRestriction"
TRANSIENT: Final = OneLogin_Saml2_Constants.NAMEID_TRANSIENT
FAILURES: Final = (OneLogin_Saml2_Error,)  # of settings or responses
RECEIVED_SECONDS: Final = 300  # until the redirect is followed
SESSIONS: Final = import_module(settings.SESSION_ENGINE)
login = views.login


class ResponseRefused(Exception):
    """A response with a valid signature that signs nobody in, and why."""


class StrictProvider(SAMLProvider):  # type: ignore[misc] # allauth has no types
    """The provider, with further conditions for its responses."""

    def sociallogin_from_response(self, request: HttpRequest, response: Any) -> Any:
        """Return who signs in. Raises ResponseRefused."""
        _check(response)
        if "uid" not in self._extract(response):
            if response.get_nameid_format() == TRANSIENT:
                raise ResponseRefused(
                    "its NameID is transient: set an attribute for uid in SAML_ATTRIBUTES"
                )
            if not response.get_nameid():
                raise ResponseRefused(
                    "it has neither a NameID nor an attribute for uid"
                )
        login: SocialLogin = super().sociallogin_from_response(request, response)
        return login


def _check(response: Any) -> None:
    """Raise ResponseRefused unless the signed assertion is meant for this request.

    The InResponseTo of the outer element is not covered by the signature of an
    assertion. Without that of the subject, an assertion that someone has seen could be
    sent again as the response to another request.
    """
    document = response._last_response  # noqa: SLF001 - the document that was verified
    asked = response.get_last_response_in_response_to()
    confirmed = document.iter(f"{NAMESPACE}SubjectConfirmationData")
    if not asked or any(one.get("InResponseTo") != asked for one in confirmed):
        raise ResponseRefused("its assertion does not name the request")
    if not _names_this_server(response):
        raise ResponseRefused("its assertion has no audience that is this server")


def _names_this_server(response: Any) -> bool:
    """Return whether each restriction of the assertion, of at least one, has this server.

    The response has one assertion, whose signature was verified. Other parts of the
    response may be unsigned.
    """
    document, wanted = response._last_response, response.get_last_assertion_id()  # noqa: SLF001
    here = response.get_settings().get_sp_data()["entityId"]
    restrictions = [
        restriction
        for assertion in document.iter(f"{NAMESPACE}Assertion")
        if assertion.get("ID") == wanted
        for restriction in assertion.iterfind(RESTRICTION)
    ]
    return bool(restrictions) and all(
        here in {one.text for one in restriction.iterfind(f"{NAMESPACE}Audience")}
        for restriction in restrictions
    )


def receive(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """Store a response for a short time, and redirect to where its browser is known."""
    kept = SESSIONS.SessionStore()
    kept.set_expiry(RECEIVED_SECONDS)
    vars(request)["saml_acs_session"] = kept  # where allauth looks first
    response: HttpResponse = views.acs(request, organization_slug=organization_slug)
    return response


class Finish(views.FinishACSView):  # type: ignore[misc] # allauth has no types
    """Sign in whom a response names that was received before."""

    def get_provider(self, organization_slug: str) -> StrictProvider:
        """Return the provider of the settings."""
        return StrictProvider(self.request, app=self.get_app(organization_slug))


finish = Finish.as_view()


def metadata(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """Return what an identity provider has to know, without single logout."""
    app = views.get_app_or_404(request, organization_slug)
    config = build_saml_config(request, app.settings, organization_slug)
    del config["sp"]["singleLogoutService"]
    found = OneLogin_Saml2_Settings(settings=config, sp_validation_only=True)
    return HttpResponse(found.get_sp_metadata(), content_type="text/xml")
