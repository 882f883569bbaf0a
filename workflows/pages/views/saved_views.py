"""Saved views of the run list: save, rename, share, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from workflows.pages.access import members_only
from workflows.pages.lists.columns import Columns
from workflows.pages.lists.live_lists import encoded_query, views_of
from workflows.pages.lists.run_filters import RunFilters
from workflows.pages.lists.run_sorting import Order
from workflows.pages.post_only_views import posts_only
from workflows.pages.query_string import parse_query
from workflows.pages.request_errors import answers_request_errors
from workflows.system import system

if TYPE_CHECKING:
    from workflows.pages.requests import HtmxRequest


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def views(request: HtmxRequest) -> HttpResponse:
    """Show the user's own and shared views; save a new one on POST."""
    if request.method == "POST":
        fields = parse_query(request.POST.get("query", ""))
        query = encoded_query(
            RunFilters.read(fields), Columns.read(fields), Order.read(fields)
        )
        name, shared = request.POST.get("name", ""), _shared(request)
        view = system.save_view(name, query, by=request.user, shared=shared)
        messages.success(request, f"View “{view.name}” saved.")
        return redirect(f"{reverse('runs')}?{query}" if query else "runs")
    return render(request, "runs/views.html", {"views": views_of(request.user)})


@posts_only
@members_only
@answers_request_errors
def change(request: HtmxRequest, view_id: int) -> HttpResponse:
    """Rename a view, share or unshare it."""
    name = request.POST.get("name", "")
    view = system.change_view(view_id, name, by=request.user, shared=_shared(request))
    messages.success(request, f"View “{view.name}” saved.")
    return redirect("views")


@posts_only
@members_only
@answers_request_errors
def delete(request: HtmxRequest, view_id: int) -> HttpResponse:
    """Delete a view."""
    view = system.delete_view(view_id, by=request.user)
    messages.success(request, f"View “{view.name}” deleted.")
    return redirect("views")


def _shared(request: HtmxRequest) -> bool:
    return bool(request.POST.get("shared"))
