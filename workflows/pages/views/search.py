"""Search: the page of the header's box, the palette, and completions of expressions."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

from workflows.pages.access import members_only
from workflows.pages.query_string import MAX_TEXT_LENGTH, int_in, text_in
from workflows.pages.search import completion
from workflows.pages.search.palette import matching_items, recent_runs
from workflows.pages.search.results import is_expression, run_with_id, search

if TYPE_CHECKING:
    from workflows.pages.requests import HtmxRequest

MAX_SEARCH_LENGTH: Final = 200  # characters of a text that is searched


@require_safe
@members_only
def search_page(request: HtmxRequest) -> HttpResponse:
    """Show what a text finds; an id leads to its run, an expression to the run list."""
    text = text_in(request.GET, "q", MAX_TEXT_LENGTH)
    if (run_id := run_with_id(request.user, text)) is not None:
        return redirect("run", run_id)
    if is_expression(text):
        return redirect(f"{reverse('runs')}?{urlencode({'q': text})}")
    found = search(request.user, text[:MAX_SEARCH_LENGTH])
    context = {"found": found, "recent": [] if text else recent_runs(request.user)}
    return render(request, "search/results.html", context)


@require_safe
@members_only
def palette(request: HtmxRequest) -> HttpResponse:
    """Return the options of the palette for a text."""
    text = text_in(request.GET, "q", MAX_SEARCH_LENGTH)
    context = {
        "text": text,
        "items": matching_items(request.user, text),
        "recent": recent_runs(request.user) if not text else [],
    }
    return render(request, "search/_palette.html", context)


@require_safe
@members_only
def complete(request: HtmxRequest) -> JsonResponse:
    """Return completions of an expression at the caret."""
    text = request.GET.get("q", "")[:MAX_TEXT_LENGTH]
    at = int_in(request.GET, "at")
    place = len(text) if at is None else min(at, len(text))
    found = completion.completions(text, place, request.user)
    return JsonResponse({"items": [asdict(one) for one in found]})
