"""Profiles of a workflow: compared by what came of them, and each to be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import (
    require_http_methods,
    require_safe,
)

from workflows.access import permissions
from workflows.agents import profile_stats, profiles
from workflows.audit import trail
from workflows.models import Profile
from workflows.pages.access import members_only
from workflows.pages.catalog import entry
from workflows.pages.errors import answers_request_errors
from workflows.pages.forms.profiles import ProfileForm
from workflows.pages.methods import posts_only
from workflows.pages.requests import status_of_form
from workflows.system import system

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest

MANAGE = "change profiles"


@require_safe
@members_only
@answers_request_errors
def list_profiles(request: HtmxRequest, name: str) -> HttpResponse:
    """Show the profiles of a workflow beside each other."""
    found = system.find_workflow(name, by=request.user)
    known = {one.name: one for one in profiles.of_workflow(found)}
    compared = profile_stats.compare(name, [profiles.OWN, *known])
    forks = profile_stats.forks(name, [one.name for one in compared])
    context = {
        "workflow": entry(found),
        "rows": [(one, known.get(one.name)) for one in compared],
        "forks": forks,
        "has_stages": bool(found.prompts),
        "may_manage": permissions.may_manage_agents(request.user),
    }
    return render(request, "workflows/profiles.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def profile(
    request: HtmxRequest, name: str, profile_id: int | None = None
) -> HttpResponse:
    """Show a profile or a new one; keep what is sent."""
    permissions.require(permissions.may_manage_agents(request.user), MANAGE)
    found = system.find_workflow(name, by=request.user)
    instance = None
    if profile_id:
        instance = get_object_or_404(Profile, pk=profile_id, workflow_name=name)
    form = ProfileForm(found, request.POST or None, instance=instance)
    if request.method == "POST" and form.is_valid():
        kept = form.instance
        with _told(request, "save profile", kept):
            form.save()
        messages.success(request, f"“{kept}” was saved.")
        return redirect("profiles", name=name)
    context = {"form": form, "profile": instance, "workflow": entry(found)}
    status = status_of_form(request)
    return render(request, "workflows/profile.html", context, status=status)


@posts_only
@members_only
@answers_request_errors
def delete_profile(request: HtmxRequest, name: str, profile_id: int) -> HttpResponse:
    """Delete a profile; runs keep what they were launched with."""
    permissions.require(permissions.may_manage_agents(request.user), MANAGE)
    system.find_workflow(name, by=request.user)
    found = get_object_or_404(Profile, pk=profile_id, workflow_name=name)
    with _told(request, "delete profile", found):
        found.delete()
    messages.success(request, f"“{found}” was deleted.")
    return redirect("profiles", name=name)


def _told(
    request: HtmxRequest, action: str, profile: Profile
) -> AbstractContextManager[None]:
    """Tell the audit what becomes of a profile, and of which workflow it is."""
    named = f"{profile.workflow_name}: {profile.name}"
    return trail.changing(action, profile, by=request.user, reason=named)
