"""API tokens: list, creation, revocation; service accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.db.models import Count, Q
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from workflows.access import permissions, tokens
from workflows.errors import InvalidToken
from workflows.models import ServiceAccount, TokenScope
from workflows.pages.access import members_only
from workflows.pages.catalog import title_of
from workflows.pages.forms.service_errors import add_service_errors
from workflows.pages.forms.tokens import ServiceAccountForm, TokenForm
from workflows.pages.post_only_views import posts_only
from workflows.pages.query_string import int_in
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import status_of_form
from workflows.pages.secret_page import secret_page

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.models import ApiToken
    from workflows.pages.requests import HtmxRequest

SCOPES = {scope.value: scope.label.partition(":")[0] for scope in TokenScope}
FIELDS = {"expires_at": "lifetime"}  # of the form, where they differ


@require_safe
@members_only
@answers_request_errors
def list_tokens(request: HtmxRequest) -> HttpResponse:
    """Show the person's tokens; those of service accounts too to who manages accounts."""
    manages = permissions.can_give_roles(request.user)
    used = Count("user__api_tokens", filter=Q(user__api_tokens__revoked_at=None))
    accounts = ServiceAccount.objects.select_related("user").annotate(tokens=used)
    context = {
        "rows": [_row(token) for token in tokens.visible_tokens(request.user)],
        "manages": manages,
        "accounts": accounts if manages else (),
    }
    return render(request, "accounts/tokens.html", context)


def _row(token: ApiToken) -> dict[str, object]:
    return {
        "token": token,
        "scopes": [SCOPES[scope] for scope in token.scopes if scope in SCOPES],
        "workflows": [title_of(name) for name in token.workflows],
    }


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def new_token(request: HtmxRequest) -> HttpResponse:
    """Show the form of a new token; on POST create it and show its secret once."""
    initial = {"owner": int_in(request.GET, "owner") or request.user.pk}
    form = TokenForm(request.POST or None, by=request.user, initial=initial)
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        try:
            token, secret = tokens.create(
                form.owner_account,
                values["name"],
                by=request.user,
                scopes=values["scopes"],
                workflows=values["workflows"],
                expires_at=form.expires_at,
            )
        except InvalidToken as error:
            add_service_errors(form, error, FIELDS)
        else:
            return _created(request, token, secret)
    return render(
        request, "accounts/token.html", {"form": form}, status=status_of_form(request)
    )


def _created(request: HtmxRequest, token: ApiToken, secret: str) -> HttpResponse:
    context = {**_row(token), "secret": secret}
    return secret_page(request, "accounts/token_created.html", context, status=201)


@posts_only
@members_only
@answers_request_errors
def revoke(request: HtmxRequest, token_id: int) -> HttpResponse:
    """Revoke a token."""
    token = tokens.revoke(token_id, by=request.user)
    messages.success(request, f"Token “{token.name}” revoked.")
    return redirect("tokens")


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def new_service_account(request: HtmxRequest) -> HttpResponse:
    """Show the form of a new service account; create it on POST."""
    permissions.require(
        permissions.can_give_roles(request.user), "create service accounts"
    )
    form = ServiceAccountForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            account = tokens.create_service_account(
                **form.cleaned_data, by=request.user
            )
        except InvalidToken as error:
            add_service_errors(form, error, FIELDS)
        else:
            messages.success(request, f"Service account “{account}” created.")
            return redirect("tokens")
    return render(
        request,
        "accounts/service_account.html",
        {"form": form},
        status=status_of_form(request),
    )
