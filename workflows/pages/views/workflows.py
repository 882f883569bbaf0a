"""Workflows: all of them, and one with its graph and launch form."""

from __future__ import annotations

import json
from hashlib import sha256
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from workflows.access import permissions
from workflows.engine.adapters import schema
from workflows.engine.factory import FactoryWorkflow
from workflows.errors import InvalidParams, NobodyToAsk
from workflows.models import Run
from workflows.pages.access import members_only
from workflows.pages.catalog import entry
from workflows.pages.errors import answers_request_errors
from workflows.pages.forms.launch_form import (
    PREFIX,
    AgentForm,
    agent_form,
    initial_of,
    lack_of_agents,
)
from workflows.pages.forms.schema_form import SchemaForm
from workflows.pages.lists.live_lists import LISTS
from workflows.pages.lists.overview import health_of
from workflows.pages.lists.usage import usage_of
from workflows.pages.rates import limited
from workflows.pages.requests import INVALID
from workflows.system import system

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest
    from workflows.registry import AnyWorkflow

FREE = "params"  # the one field of a workflow that names no types
FREE_SCHEMA = {"properties": {FREE: {"type": "object", "title": "Values"}}}
ONCE = f"{PREFIX}-once"  # the field that makes a form which is sent twice one launch
LAST_RUNS = 8  # dots on a card


@require_safe
@members_only
def list_workflows(request: HtmxRequest) -> HttpResponse:
    """Show every workflow with its graph and how its runs go."""
    found = system.list_workflows(by=request.user)
    how = health_of(request.user, [one.name for one in found])
    cards = [
        {
            "workflow": entry(one),
            "runs": last_runs(request, one.name),
            "health": how[one.name],
        }
        for one in found
    ]
    return render(request, "workflows/list.html", {"cards": cards})


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
@limited("launch")
def workflow(request: HtmxRequest, name: str) -> HttpResponse:
    """Show a workflow's graph, launch form and runs; launch it when the form is sent."""
    found = system.find_workflow(name, by=request.user)
    may_launch = permissions.may_launch(request.user, name)
    form, asking = launch_form(request, found), launch_agent_form(request, found)
    if request.method == "POST":
        permissions.require(may_launch, "launch this workflow")
        run = launched(request, found, form, asking)
        if run is not None:
            return redirect("run", run_id=run.pk)
    context = LISTS["workflow"].context({"workflow": name}, request.user)
    once = request.POST.get(ONCE) or token_urlsafe(12)
    named = entry(found)
    usage = usage_of(request.user, name, named.graph)
    context |= {"workflow": named, "form": form, "once": once, "usage": usage}
    context |= {"may_launch": may_launch, "again": request.GET.get("again", "")}
    must_ask = any(not prompt.is_optional for prompt in found.prompts.values())
    lacking = lack_of_agents() if must_ask else ""
    context |= {"asking": asking, "lacking": lacking, "has_stages": bool(found.prompts)}
    status = INVALID if form.is_bound else 200
    return render(request, "workflows/detail.html", context, status=status)


def launch_form(request: HtmxRequest, found: AnyWorkflow) -> SchemaForm:
    """Return the form of a workflow's params: as sent, as a run had them, or fresh."""
    options: dict[str, Any] = {"by": request.user}
    if request.method == "POST":
        options |= {"data": request.POST, "files": request.FILES}
    if run := launched_before(request):
        options["initial"] = run.params
    return SchemaForm(params_schema(found), **options)


def launch_agent_form(request: HtmxRequest, found: AnyWorkflow) -> AgentForm | None:
    """Return the form of whom a run asks; None for a workflow that asks nobody."""
    if request.method == "POST":
        return agent_form(found, data=request.POST)
    if run := launched_before(request):
        return agent_form(found, initial=initial_of(run.profile_name))
    return agent_form(found)


def launched_before(request: HtmxRequest) -> Run | None:
    """Return the run that is to be launched again, if its values may be read.

    Raises RunNotFound.
    """
    again = request.GET.get("again")
    run = system.find_run(again, by=request.user) if again else None
    if run is None or not permissions.may_read(request.user, run.workflow_name):
        return None
    return run


def launched(
    request: HtmxRequest, found: AnyWorkflow, form: SchemaForm, asking: AgentForm | None
) -> Run | None:
    """Return the run that was queued; None, with its messages in the form, if none was."""
    valid = [one.is_valid() for one in (form, asking) if one is not None]
    if not all(valid):
        return None
    options = asking.launch_options() if asking else {}
    try:
        params = given(found, form)
        run = system.execute(
            found.name,
            params,
            by=request.user,
            idempotency_key=once_key(request, [params, options.get("profile")]),
            **options,
        )
    except InvalidParams as refused:
        form.take_errors(refused)
        return None
    except NobodyToAsk as lacking:
        form.add_error(None, str(lacking))
        return None
    messages.success(request, f"Run {run.short_id} was launched.")
    return run


def once_key(request: HtmxRequest, params: Any) -> str | None:
    """Return what makes a form that is sent twice, unchanged, one launch.

    None for a form without its token, such as a script's.
    """
    once = request.POST.get(ONCE, "")
    if not once:
        return None
    sent = json.dumps(params, sort_keys=True, default=str)
    return sha256(f"{request.user.pk} {once} {sent}".encode()).hexdigest()


def params_schema(found: AnyWorkflow) -> dict[str, Any]:
    """Return the JSON schema of a workflow's params; without types, of any object."""
    if found.params_type is not None:
        return dict(schema(found.params_type))
    return FREE_SCHEMA if isinstance(found, FactoryWorkflow) else {}


def given(found: AnyWorkflow, form: SchemaForm) -> dict[str, Any]:
    """Return the params that were filled in. Raises InvalidParams."""
    values = form.values()
    if not isinstance(found, FactoryWorkflow):
        return values
    params = values.get(FREE) or {}
    if not isinstance(params, dict):
        raise InvalidParams({FREE: ['Write an object, such as {"limit": 3}.']})
    return params


def last_runs(request: HtmxRequest, name: str) -> list[Run]:
    """Return the last runs of a workflow, oldest first."""
    runs = permissions.visible(request.user, system.list_runs(workflow=name))
    return list(runs[:LAST_RUNS])[::-1]
