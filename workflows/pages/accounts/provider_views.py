"""The way to the provider and back, when the provider is down or answers nonsense.

The views of SAML import its packages when they are called: they are an extra.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

import requests
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.providers.openid_connect import views
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, QueryDict
from django.utils.http import urlencode
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from workflows.errors import RateLimited
from workflows.infra.client_ip import address_of
from workflows.pages.accounts.adapters import SIGN_IN, provider_failed, refused_sign_in
from workflows.pages.rate_limits import count
from workflows.pages.views.accounts import locked_response

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from django.http import HttpRequest, HttpResponse

logger = logging.getLogger(__name__)
MALFORMED = (KeyError, TypeError, ValueError)  # of a response that is not as specified
MALFORMED_XML = (*MALFORMED, AttributeError, SyntaxError)
MAX_RESPONSE_LENGTH = 200_000  # characters of a SAML response, in base64


@require_safe
def login(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Redirect to the provider."""
    _require_sign_in(request)
    return _guarded(views.login, request, provider_id)


@require_safe
def callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Sign in whom the provider redirects here."""
    return _guarded(views.callback, request, provider_id)


def _require_sign_in(request: HttpRequest) -> None:
    """Raise Http404 for a request of allauth's other processes.

    One of them attaches the identity at the provider to the account that is signed in,
    by a link that anyone can make that person follow.
    """
    if set(request.GET.getlist("process")) - {SIGN_IN}:
        raise Http404


def _guarded(
    view: Callable[..., Any], request: HttpRequest, provider_id: str
) -> HttpResponse:
    try:
        response: HttpResponse = view(request, provider_id)
    except (requests.RequestException, *MALFORMED) as error:
        logger.warning("The sign-in provider failed: %r", error)
        name = get_adapter().get_provider(request, provider_id).name
        return refused_sign_in(request, provider_failed(name))
    return response


# SAML -------------------------------------------------------------------------------


@require_safe
def saml_login(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """Redirect to the provider."""
    _require_sign_in(request)
    return _saml_guarded("login", request, organization_slug)


@csrf_exempt  # the form comes from the provider; finishing needs the session that asked
@require_POST
def saml_response(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """Keep the provider's response for the request to which this one redirects.

    This request has no session, since browsers send no cookie with a form of another site.
    """
    _, name = _saml(organization_slug)
    try:
        count("login", address_of(request))
    except RateLimited as error:
        return locked_response(request, error.seconds)
    given = request.POST.get("SAMLResponse", "")
    if not given or len(given) > MAX_RESPONSE_LENGTH:
        return refused_sign_in(request, provider_failed(name))
    request.POST = QueryDict(urlencode({"SAMLResponse": given}))  # all that is stored
    return _saml_guarded("receive", request, organization_slug)


@require_safe
def saml_finish(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """Sign in whom the response names."""
    return _saml_guarded("finish", request, organization_slug)


@require_safe
def saml_metadata(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """Return the metadata of this server, for the settings of the provider."""
    saml, _ = _saml(organization_slug)
    response: HttpResponse = saml.metadata(request, organization_slug)
    return response


def _saml(slug: str) -> tuple[ModuleType, str]:
    """Return the module of SAML and the name of the provider. Raises Http404 without one."""
    apps = settings.SOCIALACCOUNT_PROVIDERS.get("saml", {}).get("APPS", ())
    for app in apps:
        if app["client_id"] == slug:
            return import_module("workflows.pages.accounts.saml"), str(app["name"])
    raise Http404


def _saml_guarded(view: str, request: HttpRequest, slug: str) -> HttpResponse:
    saml, name = _saml(slug)
    try:
        response: HttpResponse = getattr(saml, view)(request, organization_slug=slug)
    except PermissionDenied:
        logger.warning(
            "A SAML response was refused: it answers no request of its browser."
        )
        return refused_sign_in(request, provider_failed(name))
    except (saml.ResponseRefused, *saml.FAILURES) as error:
        logger.warning("A SAML response was refused: %s", error)
        return refused_sign_in(request, provider_failed(name))
    except MALFORMED_XML as error:
        # or a mistake of this code, which the traceback shows
        logger.warning("A SAML response was not understood: %r", error, exc_info=error)
        return refused_sign_in(request, provider_failed(name))
    return response
