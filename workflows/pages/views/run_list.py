"""Runs: the list, with its filters, columns and saved views."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef
from django.shortcuts import render
from django.views.decorators.http import require_safe

from workflows import bulk
from workflows.access import permissions
from workflows.models import Run, Status
from workflows.pages.access import members_only
from workflows.pages.catalog import entries
from workflows.pages.lists import period
from workflows.pages.lists.columns import known_fields
from workflows.pages.lists.live_lists import LISTS, known_labels, views_of

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest

OFFERED = 200  # people


@require_safe
@members_only
def list_runs(request: HtmxRequest) -> HttpResponse:
    """Show the runs that match the filters, a page at a time."""
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
        "may_operate": permissions.permissions_for(request.user).operate.is_any,
    }
    return render(request, "runs/list.html", context)


def as_sent(request: HtmxRequest) -> dict[str, str]:
    """Return a query with one word a name; the columns ticked are one word together."""
    columns = ",".join(request.GET.getlist("column"))
    return request.GET.dict() | ({"column": columns} if columns else {})


def launchers(person: User) -> list[User]:
    """Return the people who have launched a run that a person may see, by name."""
    theirs = Run.objects.filter(launched_by=OuterRef("pk")).order_by()
    theirs = permissions.visible(person, theirs)
    return list(User.objects.filter(Exists(theirs)).order_by("username")[:OFFERED])
