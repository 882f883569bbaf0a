"""The way to the provider and back, when the provider is down or answers nonsense."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import requests
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.providers.openid_connect import views
from django.views.decorators.http import require_safe

from workflows.pages.accounts.adapters import provider_failed, refused_sign_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

logger = logging.getLogger(__name__)
MALFORMED = (KeyError, TypeError, ValueError)  # of a response that is not as specified


@require_safe
def login(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Redirect to the provider."""
    return _guarded(views.login, request, provider_id)


@require_safe
def callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Sign in whom the provider redirects here."""
    return _guarded(views.callback, request, provider_id)


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
