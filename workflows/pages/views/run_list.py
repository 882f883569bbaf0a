"""The list of runs with its filters, columns and saved views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef
from django.shortcuts import render
from django.views.decorators.http import require_safe

from workflows import bulk
from workflows.access import permissions
from workflows.models import Status
from workflows.pages.access import members_only
from workflows.pages.catalog import entries
from workflows.pages.lists import period
from workflows.pages.lists.columns import known_fields
from workflows.pages.lists.live_lists import LISTS, known_labels, views_of
from workflows.pages.visible_rows import visible_runs

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest

MAX_OFFERED_USERS = 200


@require_safe
@members_only
def list_runs(request: HtmxRequest) -> HttpResponse:
    """Show a page of the runs that match the filters."""
    context = LISTS["runs"].context(as_sent(request), request.user)
    context |= {
        "workflows": entries(request.user),
        "statuses": Status.choices,
        "people": launchers(request.user),
        "spans": period.CHOICES,
        "labels": known_labels(request.user),
        "fields": known_fields(context["filters"].workflow, request.user),
        "views": views_of(request.user),
        "most": bulk.MAX_RUNS,
        "can_operate": permissions.permissions_for(request.user).operate.is_any,
    }
    return render(request, "runs/list.html", context)


def as_sent(request: HtmxRequest) -> dict[str, str]:
    """Return the query with one value per name; repeated columns joined by commas."""
    columns = ",".join(request.GET.getlist("column"))
    return request.GET.dict() | ({"column": columns} if columns else {})


def launchers(person: User) -> list[User]:
    """Return the users who launched a run that this user may see, by name."""
    runs = visible_runs(person).filter(launched_by=OuterRef("pk"))
    users = User.objects.filter(Exists(runs)).order_by("username")
    return list(users[:MAX_OFFERED_USERS])
