"""Requests whose session has ended: nothing is done, nothing typed is lost, and it is said.

Whoever looks at a page is led to the sign-in page and back. A form gets the sign-in page
as its answer, with its fields kept; once somebody has signed in, the form's page comes
back with the form filled in and a sentence that nothing was sent yet. A request of a
script gets 401 with a sentence, and its page keeps what was typed by itself.
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

from workflows.pages.methods import page_of
from workflows.pages.render.text import in_words
from workflows.pages.sessions import kept_input
from workflows.pages.sessions.form_fill import fill
from workflows.pages.sessions.kept_input import KeptInput

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest

Respond = Callable[["HttpRequest"], HttpResponseBase]

OK, FOUND, UNAUTHORIZED, FORBIDDEN, NOT_ALLOWED = 200, 302, 401, 403, 405
SAFE: Final = frozenset({"GET", "HEAD"})
# what forms carry besides what is typed: not worth a line where the form is gone
UNTYPED: Final = frozenset(
    {"once", "question", "off", "query", "scope", "confirmed", "newest", "do", "run"}
)
PLACES: Final = ('<div id="messages"', "<main")  # where a sentence goes, first of these
SIGNED_OUT_SAYS: Final = "Signed out. Nothing was sent."
OLDER_PAGE_SAYS: Final = (
    "This page was opened before the last sign-in, so nothing was sent."
)


def keeps_typed_input(get_response: Respond) -> Respond:
    """Return a middleware that answers requests whose session has ended."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if _asks_to_sign_in(request, response):
            response = signed_out(request, response)
        elif response.status_code == NOT_ALLOWED and not getattr(
            response, "content", b"-"
        ):
            response = _not_allowed(request, response)
        elif request.method == "GET" and response.status_code == OK:
            _fill_in(request, response)
        account = getattr(request, "signed_in_account", None)
        if account is not None:
            kept_input.remember_account(response, account)
        return response

    return respond


def _note_account(request: HttpRequest | None, user: User, **_more: object) -> None:
    """Let the answer to a sign-in, by whichever door, remember the account."""
    if request is not None:
        request.signed_in_account = user.pk  # type: ignore[attr-defined]


user_logged_in.connect(_note_account, dispatch_uid="remember account")


def _asks_to_sign_in(request: HttpRequest, response: HttpResponseBase) -> bool:
    if response.status_code != FOUND or request.user.is_authenticated:
        return False
    place = urlsplit(response.headers["Location"])
    return place.path in _doors() and "next" in parse_qs(place.query)


def _doors() -> set[str]:
    return {reverse("login"), reverse("admin:login")}


def signed_out(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Return the answer to somebody who is not signed in, or not any more.

    `response` leads to the sign-in page: the right answer to who only looks.
    """
    page = kept_input.page_sent_from(request)
    if answer := _to_a_script(request, page, SIGNED_OUT_SAYS, UNAUTHORIZED):
        return answer
    if request.method in SAFE:
        return response
    kept = KeptInput.of(request)
    if kept.is_worth_keeping:
        return sign_in_page(request, kept)
    return redirect(f"{reverse('login')}?{urlencode({'next': page})}")


def sign_in_page(request: HttpRequest, kept: KeptInput) -> HttpResponse:
    """Return the sign-in page as the answer to a form, with its fields kept."""
    context = {
        "form": AuthenticationForm(request),
        "next": kept.page,
        "kept": kept.signed(),
        "was_sent": True,
        "is_too_long": kept.is_too_long,
    }
    answer = render(request, "registration/login.html", context, status=UNAUTHORIZED)
    return _marked(answer)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """Answer a form without a valid token; one of our own pages loses nothing typed.

    A browser says where a form comes from, and another site cannot have it say that it
    is ours: so what is kept was on the screen of whoever sent it.
    """
    if not _is_ours(request):
        return default_csrf_failure(request, reason)
    if request.path in _doors():
        is_in = request.user.is_authenticated
        return redirect("home") if is_in else default_csrf_failure(request, reason)
    return _from_an_older_page(request)


def _is_ours(request: HttpRequest) -> bool:
    """Tell whether a browser vouches that a page of this site sent a request."""
    own = f"{request.scheme}://{request.get_host()}"
    return request.headers.get("Origin") == own


def _from_an_older_page(request: HttpRequest) -> HttpResponse:
    """Answer a form whose page was opened before the last sign-in."""
    kept = KeptInput.of(request)
    if answer := _to_a_script(request, kept.page, OLDER_PAGE_SAYS, FORBIDDEN):
        return answer
    if not request.user.is_authenticated:
        return sign_in_page(request, kept)
    what = "It is too long to be kept: go back, copy it, and reload the page."
    if not kept.is_too_long:
        kept_input.store(request, kept)
        what = "What you typed is kept, and filled in there."
    context = {
        "heading": "Please send the form again",
        "message": f"{OLDER_PAGE_SAYS} {what}",
        "back": kept.page,
        "back_label": "Back to the form",
    }
    return render(request, "refused.html", context, status=FORBIDDEN)


def _to_a_script(
    request: HttpRequest, page: str, sentence: str, status: int
) -> HttpResponse | None:
    """Return the answer to htmx or another script of ours, None for a browser's own."""
    if request.headers.get("HX-Request") == "true":
        context = {"page": page, "sentence": sentence, "is_out": status == UNAUTHORIZED}
        text = render_to_string("signed_out.html", context, request)
        return _marked(HttpResponse(text, status=status))
    if "application/json" not in request.headers.get("Accept", ""):
        return None
    code = "signed_out" if status == UNAUTHORIZED else "older_page"
    error = {"code": code, "message": sentence}
    return _marked(JsonResponse({"errors": [error], "page": page}, status=status))


def _marked(answer: HttpResponse) -> HttpResponse:
    if answer.status_code == UNAUTHORIZED:  # which the standard wants to say with what
        answer.headers["WWW-Authenticate"] = 'Cookie realm="Signalbox"'
    add_never_cache_headers(answer)
    return answer


def _not_allowed(request: HttpRequest, response: HttpResponseBase) -> HttpResponse:
    """Return a page, or a line for a script, where Django says nothing."""
    is_looking = request.method in SAFE
    sentence = (
        "This address takes forms; there is no page to look at."
        if is_looking
        else "This address can only be looked at: it takes no forms."
    )
    if "text/html" in request.headers.get("Accept", ""):
        back = page_of(request.path) if is_looking else request.path
        context = {
            "heading": "Not possible at this address",
            "message": sentence,
            "back": back,
            "back_label": "To the page it belongs to"
            if is_looking
            else "Open the page",
        }
        answer = render(request, "refused.html", context, status=NOT_ALLOWED)
    else:
        answer = HttpResponse(sentence, content_type="text/plain", status=NOT_ALLOWED)
    answer.headers["Allow"] = response.headers["Allow"]
    return answer


# Filling in -----------------------------------------------------------------------------


def _fill_in(request: HttpRequest, response: HttpResponseBase) -> None:
    """Fill in the form of a page that something is kept for."""
    is_page = response.headers.get("Content-Type", "").startswith("text/html")
    if not is_page or not isinstance(response, HttpResponse):
        return
    if kept_input.IN_SESSION not in request.session:
        return
    kept = kept_input.take(request)
    if kept is None:
        return
    filled = fill(response.text, request.get_full_path(), kept.action, kept.fields)
    left = [(in_words(name), text) for name, text in filled.left if name not in UNTYPED]
    context = {"found": filled.found, "left": left, "files": kept.files}
    notice = render_to_string("kept_input.html", context)
    response.content = _with_notice(filled.html, notice)
    add_never_cache_headers(response)


def _with_notice(html: str, notice: str) -> str:
    """Return a page with a notice among its messages, or at the top of what it shows."""
    for place in PLACES:
        found = html.find(place)
        if found >= 0:
            end = html.index(">", found) + 1
            return html[:end] + notice + html[end:]
    return html
