"""Saved views of the runs list: save, rename, share, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from workflows.pages.access import members_only
from workflows.pages.errors import answers_request_errors
from workflows.pages.lists.columns import Columns
from workflows.pages.lists.live_lists import views_of, with_query
from workflows.pages.lists.run_filters import RunFilters, read_query
from workflows.pages.methods import posts_only
from workflows.system import system

if TYPE_CHECKING:
    from workflows.pages.requests import HtmxRequest


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def views(request: HtmxRequest) -> HttpResponse:
    """Show a person's views and those shared with them; keep a new one."""
    if request.method == "POST":
        query = read_query(request.POST.get("query", ""))
        kept = with_query(RunFilters.read(query), Columns.read(query))
        view = system.save_view(
            request.POST.get("name", ""), kept, by=request.user, shared=_shared(request)
        )
        messages.success(request, f"The view “{view.name}” was saved.")
        return redirect(f"{reverse('runs')}?{kept}" if kept else "runs")
    return render(request, "runs/views.html", {"views": views_of(request.user)})


@posts_only
@members_only
@answers_request_errors
def change(request: HtmxRequest, view_id: int) -> HttpResponse:
    """Rename a view, share it or not."""
    name = request.POST.get("name", "")
    view = system.change_view(view_id, name, by=request.user, shared=_shared(request))
    messages.success(request, f"The view “{view.name}” was changed.")
    return redirect("views")


@posts_only
@members_only
@answers_request_errors
def delete(request: HtmxRequest, view_id: int) -> HttpResponse:
    """Forget a view."""
    view = system.delete_view(view_id, by=request.user)
    messages.success(request, f"The view “{view.name}” was deleted.")
    return redirect("views")


def _shared(request: HtmxRequest) -> bool:
    return bool(request.POST.get("shared"))
