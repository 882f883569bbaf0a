"""Workers, queue and recoveries, for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.shortcuts import render
from django.views.decorators.http import require_safe

from workflows.access import permissions
from workflows.pages.access import members_only
from workflows.pages.lists.live_lists import LISTS
from workflows.pages.request_errors import answers_request_errors

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest


@require_safe
@members_only
@answers_request_errors
def list_workers(request: HtmxRequest) -> HttpResponse:
    """Show the workers with their runs, the queue and recent recoveries."""
    permissions.require(permissions.can_view_workers(request.user), "view the workers")
    context = LISTS["workers"].context({}, request.user)
    return render(request, "workers/list.html", context)
