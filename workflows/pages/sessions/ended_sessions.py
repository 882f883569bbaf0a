"""Responses to requests whose session has ended, without loss of entered values.

A GET is redirected to the sign-in page and back. A form gets the sign-in page as its
response, with its fields kept; after signing in, the form's page is shown with the form
filled in and a notice that it was not submitted. A script gets 401 with a message, and
its page keeps the entered values itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.signals import user_logged_in
from django.http import HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.views.csrf import csrf_failure as default_csrf_failure

from workflows.pages.post_only_views import page_of
from workflows.pages.render.text import readable_name
from workflows.pages.sessions import unsaved_input
from workflows.pages.sessions.form_fill import fill
from workflows.pages.sessions.unsaved_input import UnsavedInput

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest

Respond = Callable[["HttpRequest"], HttpResponseBase]

OK, FOUND, UNAUTHORIZED, FORBIDDEN, NOT_ALLOWED = 200, 302, 401, 403, 405
SAFE: Final = frozenset({"GET", "HEAD"})
# fields that users do not type: not listed if the form no longer exists
UNTYPED: Final = frozenset(
    {"once", "question", "off", "query", "scope", "confirmed", "newest", "do", "run"}
)
NOTICE_TAGS: Final = ('<div id="messages"', "<main")  # the first one gets the notice
SIGNED_OUT: Final = "Signed out. Nothing was sent."
OLDER_PAGE: Final = "This page was opened before the last sign-in, so nothing was sent."


def preserve_unsaved_input(get_response: Respond) -> Respond:
    """Return a middleware that responds to requests whose session has ended."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if _is_login_redirect(request, response):
            response = signed_out(request, response)
        elif response.status_code == NOT_ALLOWED and not getattr(
            response, "content", b"-"
        ):
            response = _not_allowed(request, response)
        elif request.method == "GET" and response.status_code == OK:
            _fill_in(request, response)
        account = getattr(request, "signed_in_account", None)
        if account is not None:
            unsaved_input.remember_account(response, account)
        return response

    return respond


def _note_account(request: HttpRequest | None, user: User, **_more: object) -> None:
    """Set the account of a sign-in on the request, for the response's cookie."""
    if request is not None:
        request.signed_in_account = user.pk  # type: ignore[attr-defined]


user_logged_in.connect(_note_account, dispatch_uid="remember account")


def _is_login_redirect(request: HttpRequest, response: HttpResponseBase) -> bool:
    if response.status_code != FOUND or request.user.is_authenticated:
        return False
    target = urlsplit(response.headers["Location"])
    return target.path in _login_paths() and "next" in parse_qs(target.query)


def _login_paths() -> set[str]:
    return {reverse("login"), reverse("admin:login")}


def signed_out(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Return the response to a request without a session.

    `response` redirects to the sign-in page, which is right for GET and HEAD.
    """
    page = unsaved_input.page_sent_from(request)
    if script_response := _script_response(request, page, SIGNED_OUT, UNAUTHORIZED):
        return script_response
    if request.method in SAFE:
        return response
    kept = UnsavedInput.of(request)
    if kept.is_worth_saving:
        return sign_in_page(request, kept)
    return redirect(f"{reverse('login')}?{urlencode({'next': page})}")


def sign_in_page(request: HttpRequest, kept: UnsavedInput) -> HttpResponse:
    """Return the sign-in page as the response to a form, with its fields kept."""
    context = {
        "form": AuthenticationForm(request),
        "next": kept.page,
        "kept": kept.signed(),
        "was_sent": True,
        "is_too_long": kept.is_too_long,
    }
    login = render(request, "registration/login.html", context, status=UNAUTHORIZED)
    return _uncached(login)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """Respond to a form without a valid CSRF token; keep the input of our own pages.

    The Origin header is set by the browser and cannot be forged by another site: so the
    input that is kept was entered by the user on a page of this site.
    """
    if not _is_same_origin(request):
        return default_csrf_failure(request, reason)
    if request.path in _login_paths():
        if request.user.is_authenticated:
            return redirect("home")
        return default_csrf_failure(request, reason)
    return _from_an_older_page(request)


def _is_same_origin(request: HttpRequest) -> bool:
    """Return whether the Origin header names this site."""
    own = f"{request.scheme}://{request.get_host()}"
    return request.headers.get("Origin") == own


def _from_an_older_page(request: HttpRequest) -> HttpResponse:
    """Respond to a form whose page was opened before the last sign-in."""
    kept = UnsavedInput.of(request)
    if response := _script_response(request, kept.page, OLDER_PAGE, FORBIDDEN):
        return response
    if not request.user.is_authenticated:
        return sign_in_page(request, kept)
    advice = "Your input is too long to restore: go back, copy it and reload the page."
    if not kept.is_too_long:
        unsaved_input.store(request, kept)
        advice = "Your input is kept and filled in there."
    context = {
        "heading": "Send the form again",
        "message": f"{OLDER_PAGE} {advice}",
        "back": kept.page,
        "back_label": "Back to the form",
    }
    return render(request, "refused.html", context, status=FORBIDDEN)


def _script_response(
    request: HttpRequest, page: str, sentence: str, status: int
) -> HttpResponse | None:
    """Return the response to htmx or a client that accepts JSON, else None."""
    if request.headers.get("HX-Request") == "true":
        context = {"page": page, "sentence": sentence, "is_out": status == UNAUTHORIZED}
        text = render_to_string("signed_out.html", context, request)
        return _uncached(HttpResponse(text, status=status))
    if "application/json" not in request.headers.get("Accept", ""):
        return None
    code = "signed_out" if status == UNAUTHORIZED else "older_page"
    error = {"code": code, "message": sentence}
    return _uncached(JsonResponse({"errors": [error], "page": page}, status=status))


def _uncached(response: HttpResponse) -> HttpResponse:
    if response.status_code == UNAUTHORIZED:  # RFC 9110 requires the header with 401
        response.headers["WWW-Authenticate"] = 'Cookie realm="Signalbox"'
    add_never_cache_headers(response)
    return response


def _not_allowed(request: HttpRequest, response: HttpResponseBase) -> HttpResponse:
    """Return a page, or text for a script, in place of Django's empty 405."""
    is_safe = request.method in SAFE
    sentence = (
        "This URL only accepts form submissions."
        if is_safe
        else "This URL doesn’t accept form submissions."
    )
    if "text/html" in request.headers.get("Accept", ""):
        back = page_of(request.path) if is_safe else request.path
        context = {
            "heading": "Method not allowed",
            "message": sentence,
            "back": back,
            "back_label": "Open the page of this form" if is_safe else "Open the page",
        }
        shown = render(request, "refused.html", context, status=NOT_ALLOWED)
    else:
        shown = HttpResponse(sentence, content_type="text/plain", status=NOT_ALLOWED)
    shown.headers["Allow"] = response.headers["Allow"]
    return shown


# Filling in -----------------------------------------------------------------------------


def _fill_in(request: HttpRequest, response: HttpResponseBase) -> None:
    """Fill in the form of a page that input is kept for."""
    is_page = response.headers.get("Content-Type", "").startswith("text/html")
    if not is_page or not isinstance(response, HttpResponse):
        return
    if unsaved_input.IN_SESSION not in request.session:
        return
    kept = unsaved_input.pop(request)
    if kept is None:
        return
    filled = fill(response.text, request.get_full_path(), kept.action, kept.fields)
    left = [
        (readable_name(name), text) for name, text in filled.left if name not in UNTYPED
    ]
    context = {"found": filled.found, "left": left, "files": kept.files}
    notice = render_to_string("unsaved_input.html", context)
    response.content = _with_notice(filled.html, notice)
    add_never_cache_headers(response)


def _with_notice(html: str, notice: str) -> str:
    """Return a page with a notice among its messages, or at the top of <main>."""
    for tag in NOTICE_TAGS:
        start = html.find(tag)
        if start >= 0:
            end = html.index(">", start) + 1
            return html[:end] + notice + html[end:]
    return html
