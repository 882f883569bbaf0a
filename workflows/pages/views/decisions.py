"""Decisions: which way all runs went, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef
from django.shortcuts import render
from django.views.decorators.http import require_safe

from workflows.access import permissions
from workflows.models import Decision
from workflows.pages.access import members_only
from workflows.pages.catalog import title_for, title_of
from workflows.pages.lists import edges, period
from workflows.pages.lists.edge_shares import shares_of
from workflows.pages.lists.live_lists import LISTS
from workflows.pages.render.zones import zone_in
from workflows.system import system

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest

OFFERED = 200  # people


@require_safe
@members_only
def list_decisions(request: HtmxRequest) -> HttpResponse:
    """Show the decisions that match, newest first, and how a workflow's were shared."""
    context = LISTS["decisions"].context(request.GET.dict(), request.user)
    filters = context["filters"]
    ways = edges.known(request.user, filters.workflow)
    context |= {
        "workflows": workflow_names(ways, request.user),
        "edges": edge_choices(ways) if filters.workflow else [],
        "predicates": sorted({way.predicate for way in ways} - edges.ALWAYS),
        "people": deciders(request.user),
        "spans": period.CHOICES,
        "me": request.user,
        "title": title_for(request.user, filters.workflow),
    }
    if filters.workflow:
        zone = zone_in(request.COOKIES)
        leaving = shares_of(request.user, filters.workflow, filters.period, zone)
        context |= {
            "leaving": leaving,
            "choices": any(one.is_choice for one in leaving),
        }
    return render(request, "decisions/list.html", context)


def workflow_names(ways: list[edges.EdgeRef], person: User) -> list[tuple[str, str]]:
    """Return names and titles of the workflows that were ever decided in, by title."""
    names = {way.workflow for way in ways} | {
        one.name for one in system.list_workflows(by=person)
    }
    return sorted(((name, title_of(name)) for name in names), key=lambda one: one[1])


def edge_choices(ways: list[edges.EdgeRef]) -> list[edges.EdgeRef]:
    """Return one way for each pair of nodes."""
    return sorted({way.value: way for way in ways}.values())


def deciders(person: User) -> list[User]:
    """Return the people who have decided something that a person may see, by name."""
    theirs = Decision.objects.filter(decided_by=OuterRef("pk")).order_by()
    theirs = permissions.visible(person, theirs)
    return list(User.objects.filter(Exists(theirs)).order_by("username")[:OFFERED])
