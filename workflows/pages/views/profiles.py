"""Profiles of a workflow: comparison of their results, forms and deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.contrib import messages
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import (
    require_http_methods,
    require_safe,
)

from workflows.access import permissions
from workflows.agents import profile_stats, profiles
from workflows.models import Profile
from workflows.pages.access import members_only
from workflows.pages.catalog import entry
from workflows.pages.forms.profiles import ProfileForm
from workflows.pages.lists.golden_results import results_by_profile, summary_of
from workflows.pages.post_only_views import posts_only
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import reason_of, status_of_form
from workflows.pages.views import crud
from workflows.services import promotion
from workflows.services.assessments import Accuracy, accuracy_of
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.http import HttpResponse

    from workflows.agents.profile_stats import ProfileStats
    from workflows.pages.requests import HtmxRequest

MANAGE = "change profiles"


class Review(NamedTuple):
    """How the runs of a profile were reviewed, and whether it can be promoted."""

    accuracy: Accuracy | None
    golden: str  # such as "7 of 8 same"
    is_default: bool
    exists: bool


@require_safe
@members_only
@answers_request_errors
def list_profiles(request: HtmxRequest, name: str) -> HttpResponse:
    """Compare the profiles of a workflow."""
    found = system.find_workflow(name, by=request.user)
    known = {one.name: one for one in profiles.of_workflow(found)}
    compared = profile_stats.compare(name, [profiles.NO_PROFILE, *known])
    forks = profile_stats.outgoing_edges(name, [one.name for one in compared])
    context = {
        "workflow": entry(found),
        "rows": _table(name, compared, known),
        "forks": forks,
        "has_prompts": bool(found.prompts),
        "can_manage": permissions.can_manage_agents(request.user),
        "accuracy": accuracy_of(name),
    }
    return render(request, "workflows/profiles.html", context)


def _table(
    name: str, compared: Sequence[ProfileStats], known: Mapping[str, Profile]
) -> list[tuple[ProfileStats, Profile | None, Review]]:
    """Return each profile with its row and how its runs were reviewed."""
    shares = {one.name: one for one in accuracy_of(name).profiles}
    golden = results_by_profile(name)
    weights = {row.name: row.weight for row in known.values()}
    return [
        (
            one,
            known.get(one.name),
            Review(
                shares.get(one.name),
                summary_of(golden.get(one.name)),
                promotion.is_default(one.name, weights),
                one.name in {"", *known},
            ),
        )
        for one in compared
    ]


@posts_only
@members_only
@answers_request_errors
def promote(request: HtmxRequest, name: str) -> HttpResponse:
    """Make a profile the default of its workflow."""
    chosen = request.POST.get("profile", "").replace("\x00", "")
    system.promote_profile(name, chosen, by=request.user, reason=reason_of(request))
    title = f"Profile “{chosen}”" if chosen else "The workflow’s own settings"
    messages.success(request, f"{title}: the default of launches from now on.")
    return redirect("profiles", name=name)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def profile(
    request: HtmxRequest, name: str, profile_id: int | None = None
) -> HttpResponse:
    """Show the form of a profile or of a new one; save it on POST."""
    crud.require_manager(request, MANAGE)
    found = system.find_workflow(name, by=request.user)
    instance = None
    if profile_id:
        instance = get_object_or_404(Profile, pk=profile_id, workflow_name=name)
    form = ProfileForm(found, request.POST or None, instance=instance)
    if request.method == "POST" and form.is_valid():
        label = _audit_label(name, str(form.cleaned_data["name"]))
        crud.save(request, form, "profile", reason=label)
        return redirect("profiles", name=name)
    context = {"form": form, "profile": instance, "workflow": entry(found)}
    status = status_of_form(request)
    return render(request, "workflows/profile.html", context, status=status)


@posts_only
@members_only
@answers_request_errors
def delete_profile(request: HtmxRequest, name: str, profile_id: int) -> HttpResponse:
    """Delete a profile; runs keep the profile they were launched with."""
    crud.require_manager(request, MANAGE)
    system.find_workflow(name, by=request.user)
    found = get_object_or_404(Profile, pk=profile_id, workflow_name=name)
    crud.delete(request, found, "profile", reason=_audit_label(name, found.name))
    return redirect("profiles", name=name)


def _audit_label(workflow: str, profile: str) -> str:
    """Return how the audit log names a profile: names are unique per workflow only."""
    return f"{workflow}: {profile}"
