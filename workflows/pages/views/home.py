"""The home page: open approvals, active runs, recent failures and totals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.views.decorators.http import require_safe

from workflows.access import permissions
from workflows.pages.access import members_only
from workflows.pages.catalog import entries
from workflows.pages.lists.live_lists import LISTS
from workflows.pages.lists.overview import health_of
from workflows.pages.lists.schedules import home_schedules
from workflows.pages.views.first_steps import steps_context
from workflows.services import first_steps

if TYPE_CHECKING:
    from django.http import HttpRequest

    from workflows.pages.requests import HtmxRequest


@require_safe
@members_only
def home(request: HtmxRequest) -> HttpResponse:
    """Show the overview for the user."""
    context = LISTS["home"].context(request.COOKIES, request.user)
    workflows = entries(request.user)
    health = health_of(request.user, [one.name for one in workflows])
    context |= {
        "workflows": [
            {"workflow": one, "health": health[one.name]} for one in workflows
        ],
        "can_launch": permissions.permissions_for(request.user).launch,
        "lacks_model": not first_steps.has_model(),
        "schedules": home_schedules(request.user),
        "invites_upload": permissions.can_upload(request.user)
        and not permissions.visible_documents(request.user).exists(),
        "is_warned": permissions.are_open()
        and permissions.can_give_roles(request.user)
        and first_steps.has_others(request.user),
    }
    if not first_steps.are_hidden(request.user):
        steps = steps_context(request.user)
        context |= {} if steps["first_steps"].are_done else steps
    return render(request, "home.html", context)


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Redirect browsers that request `/favicon.ico` to the SVG icon."""
    return redirect(static("favicon.svg"), permanent=False)
