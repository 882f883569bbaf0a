"""Agents and providers: list, forms, deletion, and trying an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from django.contrib import messages
from django.db.models import Count
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import (
    require_http_methods,
    require_safe,
)

from workflows.access import permissions
from workflows.models import Agent, Price, Provider
from workflows.pages.access import members_only
from workflows.pages.forms.agent_trial import Trial
from workflows.pages.forms.agents import (
    KEY_DROPPED,
    AgentForm,
    ProviderForm,
    TryForm,
)
from workflows.pages.post_only_views import posts_only
from workflows.pages.rate_limits import limited
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import INVALID, status_of_form
from workflows.pages.views import crud

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest

MANAGE = "change agents"


@require_safe
@members_only
def list_agents(request: HtmxRequest) -> HttpResponse:
    """Show the agents and their providers."""
    context = {
        "agents": Agent.objects.select_related("provider"),
        "providers": Provider.objects.annotate(agent_count=Count("agents")),
        "can_manage": permissions.can_manage_agents(request.user),
    }
    return render(request, "agents/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def provider(request: HtmxRequest, provider_id: int | None = None) -> HttpResponse:
    """Show the form of a provider or of a new one; save it on POST."""
    crud.require_manager(request, MANAGE)
    found = get_object_or_404(Provider, pk=provider_id) if provider_id else None
    form = ProviderForm(request.POST or None, instance=found)
    if request.method == "POST" and form.is_valid():
        saved: Provider = crud.save(request, form, "provider")
        if form.drops_key:
            messages.warning(request, KEY_DROPPED)
            return redirect("provider", provider_id=saved.pk)
        return redirect("agents")
    context = {"form": form, "provider": found}
    return render(
        request, "agents/provider.html", context, status=status_of_form(request)
    )


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def agent(request: HtmxRequest, agent_id: int | None = None) -> HttpResponse:
    """Show the form of an agent or of a new one; save it on POST."""
    crud.require_manager(request, MANAGE)
    found = get_object_or_404(Agent, pk=agent_id) if agent_id else None
    form = AgentForm(request.POST or None, instance=found)
    if request.method == "POST" and form.is_valid():
        saved: Agent = crud.save(request, form, "agent")
        return redirect("agent", agent_id=saved.pk)
    context = agent_context(found, form)
    return render(request, "agents/agent.html", context, status=status_of_form(request))


def agent_context(
    found: Agent | None, form: AgentForm, try_form: TryForm | None = None
) -> dict[str, Any]:
    """Return the template context of an agent's page."""
    price = Price.objects.filter(model=found.model).first() if found else None
    return {
        "form": form,
        "agent": found,
        "price": price,
        "try_form": try_form or TryForm(),
        "has_providers": Provider.objects.exists(),
    }


@posts_only
@members_only
@answers_request_errors
@limited("launch")
def try_agent(request: HtmxRequest, agent_id: int) -> HttpResponse:
    """Call an agent and show the whole response, for browsers without scripts."""
    crud.require_manager(request, MANAGE)
    found = get_object_or_404(Agent, pk=agent_id)
    try_form = TryForm(request.POST)
    context = agent_context(found, AgentForm(instance=found), try_form)
    if not try_form.is_valid():
        return render(request, "agents/agent.html", context, status=INVALID)
    trial = Trial(found.name, try_form.cleaned_data["prompt"], request.user.pk)
    async_to_sync(trial.finish)()
    return render(request, "agents/agent.html", {**context, "trial": trial})


@posts_only
@members_only
@answers_request_errors
def delete_provider(request: HtmxRequest, provider_id: int) -> HttpResponse:
    """Delete a provider without agents. Raises InUse for one that has some."""
    crud.require_manager(request, MANAGE)
    crud.delete(request, get_object_or_404(Provider, pk=provider_id), "provider")
    return redirect("agents")


@posts_only
@members_only
@answers_request_errors
def delete_agent(request: HtmxRequest, agent_id: int) -> HttpResponse:
    """Delete an agent; the records of its calls are kept."""
    crud.require_manager(request, MANAGE)
    crud.delete(request, get_object_or_404(Agent, pk=agent_id), "agent")
    return redirect("agents")
