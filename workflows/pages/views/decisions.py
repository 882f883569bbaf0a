"""Decisions: the history of evaluated edges over all runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.models import User
from django.db.models import Exists, OuterRef
from django.http import Http404
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from workflows.access import permissions
from workflows.pages.access import members_only
from workflows.pages.catalog import can_evaluate, title_for, title_of
from workflows.pages.lists import edges, period
from workflows.pages.lists.decision_export import DecisionExport
from workflows.pages.lists.decision_filters import DecisionFilters
from workflows.pages.lists.edge_shares import shares_of
from workflows.pages.lists.export import KINDS
from workflows.pages.lists.live_lists import LISTS
from workflows.pages.lists.overrides import count_overrides
from workflows.pages.render.zones import zone_in
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.streaming import streamed
from workflows.pages.visible_rows import visible_decisions
from workflows.services.assessments import WorkflowAccuracy, accuracy_of
from workflows.system import system

if TYPE_CHECKING:
    from django.http import HttpResponse, StreamingHttpResponse

    from workflows.pages.requests import HtmxRequest

MAX_OFFERED_USERS = 200


@require_safe
@members_only
def list_decisions(request: HtmxRequest) -> HttpResponse:
    """Show the matching decisions, newest first, and the share of a workflow's edges."""
    context = LISTS["decisions"].context(request.GET.dict(), request.user)
    filters = context["filters"]
    edge_refs = edges.list_edges(request.user, filters.workflow)
    context |= {
        "workflows": workflow_names(edge_refs, request.user),
        "edges": edge_choices(edge_refs) if filters.workflow else [],
        "predicates": sorted({edge.predicate for edge in edge_refs} - edges.ALWAYS),
        "people": deciders(request.user),
        "spans": period.CHOICES,
        "me": request.user,
        "title": title_for(request.user, filters.workflow),
        "overrides": count_overrides(filters, request.user),
    }
    if filters.workflow:
        zone = zone_in(request.COOKIES)
        nodes = shares_of(request.user, filters.workflow, filters.period, zone)
        context |= {
            "leaving": nodes,
            "can_evaluate": can_evaluate(request.user, filters.workflow),
            "choices": any(node.is_choice for node in nodes),
            "accuracy": accuracy_for(request.user, filters.workflow),
        }
    return render(request, "decisions/list.html", context)


@require_safe
@members_only
@answers_request_errors
def export(request: HtmxRequest, kind: str) -> StreamingHttpResponse:
    """Stream the matching decisions as a file. Raises TooManyDownloads."""
    if kind not in KINDS:
        raise Http404
    read = permissions.permissions_for(request.user).read
    filters = DecisionFilters.read_folded(request.GET.dict())
    response = streamed(
        request,
        DecisionExport(filters, request.user, kind, read).parts,
        name=f"decisions-{timezone.now():%Y-%m-%d-%H%M}-UTC.{kind}",
        content_type=KINDS[kind],
    )
    response["Cache-Control"] = "no-store"
    return response


def accuracy_for(person: User, workflow: str) -> WorkflowAccuracy | None:
    """Return the accuracy of a workflow that a person may see."""
    return accuracy_of(workflow) if permissions.can_view(person, workflow) else None


def workflow_names(
    edge_refs: list[edges.EdgeRef], person: User
) -> list[tuple[str, str]]:
    """Return name and title of each workflow with decisions or installed, by title."""
    names = {edge.workflow for edge in edge_refs} | {
        one.name for one in system.list_workflows(by=person)
    }
    return sorted(((name, title_of(name)) for name in names), key=lambda one: one[1])


def edge_choices(edge_refs: list[edges.EdgeRef]) -> list[edges.EdgeRef]:
    """Return one edge for each pair of nodes."""
    return sorted({edge.value: edge for edge in edge_refs}.values())


def deciders(person: User) -> list[User]:
    """Return the users with a decision that this user may see, by name."""
    decisions = visible_decisions(person).filter(decided_by=OuterRef("pk"))
    users = User.objects.filter(Exists(decisions)).order_by("username")
    return list(users[:MAX_OFFERED_USERS])
