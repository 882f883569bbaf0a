"""Agents and providers: the list, one of either, trying one out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from django.contrib import messages
from django.db.models import Count, ProtectedError
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import (
    require_http_methods,
    require_safe,
)

from workflows.access import permissions
from workflows.audit import trail
from workflows.errors import StillNeeded
from workflows.models import Agent, Price, Provider
from workflows.pages.access import members_only
from workflows.pages.errors import answers_request_errors
from workflows.pages.forms.agent_trial import Trial
from workflows.pages.forms.agents import AgentForm, ProviderForm, TryForm
from workflows.pages.methods import posts_only
from workflows.pages.rates import limited
from workflows.pages.requests import INVALID, status_of_form

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest

MANAGE = "change agents"


@require_safe
@members_only
def list_agents(request: HtmxRequest) -> HttpResponse:
    """Show who can be asked, and who serves them."""
    context = {
        "agents": Agent.objects.select_related("provider"),
        "providers": Provider.objects.annotate(agent_count=Count("agents")),
        "may_manage": permissions.may_manage_agents(request.user),
    }
    return render(request, "agents/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def provider(request: HtmxRequest, provider_id: int | None = None) -> HttpResponse:
    """Show a provider or a new one; keep what is sent."""
    permissions.require(permissions.may_manage_agents(request.user), MANAGE)
    found = get_object_or_404(Provider, pk=provider_id) if provider_id else None
    form = ProviderForm(request.POST or None, instance=found)
    if request.method == "POST" and form.is_valid():
        _save(request, form, "provider")
        return redirect("agents")
    context = {"form": form, "provider": found}
    return render(
        request, "agents/provider.html", context, status=status_of_form(request)
    )


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def agent(request: HtmxRequest, agent_id: int | None = None) -> HttpResponse:
    """Show an agent or a new one; keep what is sent."""
    permissions.require(permissions.may_manage_agents(request.user), MANAGE)
    found = get_object_or_404(Agent, pk=agent_id) if agent_id else None
    form = AgentForm(request.POST or None, instance=found)
    if request.method == "POST" and form.is_valid():
        saved = _save(request, form, "agent")
        return redirect("agent", agent_id=saved.pk)
    context = agent_context(found, form)
    return render(request, "agents/agent.html", context, status=status_of_form(request))


def agent_context(
    found: Agent | None, form: AgentForm, trying: TryForm | None = None
) -> dict[str, Any]:
    """Return what the page of an agent shows."""
    price = Price.objects.filter(model=found.model).first() if found else None
    return {
        "form": form,
        "agent": found,
        "price": price,
        "try_form": trying or TryForm(),
        "has_providers": Provider.objects.exists(),
    }


@posts_only
@members_only
@answers_request_errors
@limited("launch")
def try_agent(request: HtmxRequest, agent_id: int) -> HttpResponse:
    """Ask an agent and show the whole answer: the way without scripts."""
    permissions.require(permissions.may_manage_agents(request.user), MANAGE)
    found = get_object_or_404(Agent, pk=agent_id)
    trying = TryForm(request.POST)
    context = agent_context(found, AgentForm(instance=found), trying)
    if not trying.is_valid():
        return render(request, "agents/agent.html", context, status=INVALID)
    trial = Trial(found.name, trying.cleaned_data["prompt"], request.user.pk)
    async_to_sync(trial.finish)()
    return render(request, "agents/agent.html", {**context, "trial": trial})


@posts_only
@members_only
@answers_request_errors
def delete_provider(request: HtmxRequest, provider_id: int) -> HttpResponse:
    """Delete a provider that serves no agent."""
    return _deleted(request, get_object_or_404(Provider, pk=provider_id), "provider")


@posts_only
@members_only
@answers_request_errors
def delete_agent(request: HtmxRequest, agent_id: int) -> HttpResponse:
    """Delete an agent; its calls stay recorded."""
    return _deleted(request, get_object_or_404(Agent, pk=agent_id), "agent")


def _deleted(request: HtmxRequest, found: Agent | Provider, kind: str) -> HttpResponse:
    permissions.require(permissions.may_manage_agents(request.user), MANAGE)
    try:
        with trail.changing(f"delete {kind}", found, by=request.user):
            found.delete()
    except ProtectedError as error:
        names = ", ".join(sorted(str(row) for row in error.protected_objects))
        raise StillNeeded(
            f"“{found}” is still needed by {names}: give them another provider first."
        ) from error
    messages.success(request, f"“{found}” was deleted.")
    return redirect("agents")


def _save(
    request: HtmxRequest, form: AgentForm | ProviderForm, kind: str
) -> Agent | Provider:
    """Save what a form holds, with who did it, and say so."""
    with trail.changing(f"save {kind}", form.instance, by=request.user):
        saved = form.save()
    messages.success(request, f"“{saved}” was saved.")
    return saved
