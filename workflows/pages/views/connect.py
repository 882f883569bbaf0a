"""The provider wizard: preset, connection test, model, default agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgiref.sync import async_to_sync
from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from workflows.agents.connection import Connection, contact
from workflows.agents.presets import PRESETS, preset_named, preset_of
from workflows.models import Agent, Provider
from workflows.pages.access import members_only
from workflows.pages.forms.connect import ConnectForm, FirstAgentForm
from workflows.pages.rate_limits import limited
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import INVALID
from workflows.pages.views import crud

if TYPE_CHECKING:
    from workflows.pages.requests import HtmxRequest

MANAGE = "change agents"
UNTESTED = "untested"  # the button that saves after a failed test


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
@limited("launch")
def connect(request: HtmxRequest) -> HttpResponse:
    """Show the presets, or the form of one; test the connection and save it on POST."""
    crud.require_manager(request, MANAGE)
    slug = request.GET.get("preset", "")
    preset = preset_named(slug)
    if preset is None and request.method == "POST":
        return redirect("connect")
    if preset is None:
        context = {
            "presets": PRESETS,
            "allows_private": settings.ALLOW_PRIVATE_PROVIDERS,
        }
        return render(request, "agents/presets.html", context)
    form = ConnectForm(preset, request.POST or None)
    connection = None
    if request.method == "POST" and form.is_valid():
        provider = form.connected()
        if UNTESTED not in request.POST:
            connection = async_to_sync(contact)(provider)
        if connection is None or connection.is_working:
            saved = crud.save(request, form, "provider")
            return redirect("provider-models", provider_id=saved.pk)
    context = {"form": form, "preset": preset, "connection": connection}
    status = INVALID if request.method == "POST" else 200
    return render(request, "agents/connect.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
@limited("launch")
def models(request: HtmxRequest, provider_id: int) -> HttpResponse:
    """Test a provider and show its models; add an agent with one of them on POST."""
    crud.require_manager(request, MANAGE)
    provider = get_object_or_404(Provider, pk=provider_id)
    if request.method == "POST":
        form = FirstAgentForm(provider, Connection(), request.POST)
        if form.is_valid():
            saved: Agent = crud.save(request, form, "agent")
            return redirect("agent", agent_id=saved.pk)
    connection = async_to_sync(contact)(provider)
    form = FirstAgentForm(provider, connection, request.POST or None)
    context = {
        "provider": provider,
        "connection": connection,
        "form": form,
        "preset": preset_of(provider.base_url),
    }
    status = INVALID if request.method == "POST" else 200
    return render(request, "agents/models.html", context, status=status)
