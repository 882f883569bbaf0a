"""Workflows: the list, and a workflow with its graph and launch form."""

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
from workflows.engine.errors import LimitKeyInvalid
from workflows.engine.factory import FactoryWorkflow
from workflows.errors import (
    AgentUnavailable,
    InvalidParams,
    KeyReused,
    LimitReached,
)
from workflows.models import Run
from workflows.pages.access import members_only
from workflows.pages.catalog import can_evaluate, entry
from workflows.pages.forms.launch_form import (
    PREFIX,
    AgentForm,
    MoreOptionsForm,
    agent_form,
    initial_of,
    missing_agents,
)
from workflows.pages.forms.schema_form import SchemaForm
from workflows.pages.lists import webhooks
from workflows.pages.lists.live_lists import LISTS, list_visible_runs
from workflows.pages.lists.overview import health_of
from workflows.pages.lists.schedules import of_workflow
from workflows.pages.lists.usage import usage_of
from workflows.pages.post_only_views import posts_only
from workflows.pages.rate_limits import limited
from workflows.pages.render.shell_commands import LaunchCommands
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import INVALID, reason_of
from workflows.services import first_steps, pauses
from workflows.system import system

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.pages.requests import HtmxRequest
    from workflows.registry import AnyWorkflow

UNTYPED = "params"  # the only field of a workflow without a params type
UNTYPED_SCHEMA = {"properties": {UNTYPED: {"type": "object", "title": "Parameters"}}}
ONCE = f"{PREFIX}-once"  # the token that makes a form sent twice one launch
SHOW = f"{PREFIX}-show"  # the button that shows the launch as a command
MAX_RECENT_RUNS = 8  # dots on a card


@require_safe
@members_only
def list_workflows(request: HtmxRequest) -> HttpResponse:
    """Show the workflows with their graphs and the results of recent runs."""
    found = system.list_workflows(by=request.user)
    health = health_of(request.user, [one.name for one in found])
    cards = [
        {
            "workflow": entry(one),
            "runs": last_runs(request, one.name),
            "health": health[one.name],
        }
        for one in found
    ]
    paused = {one.workflow_name for one in pauses.visible_pauses(request.user)}
    context = {
        "cards": cards,
        "paused": paused,
        "lacks_model": not first_steps.has_model(),
    }
    return render(request, "workflows/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
@limited("launch")
def workflow(request: HtmxRequest, name: str) -> HttpResponse:
    """Show a workflow's graph, launch form and runs; launch a run on POST."""
    found = system.find_workflow(name, by=request.user)
    can_launch = permissions.can_launch(request.user, name)
    form = launch_form(request, found)
    options_form = launch_agent_form(request, found)
    more = MoreOptionsForm(data=request.POST if request.method == "POST" else None)
    commands = None
    if request.method == "POST":
        permissions.require(can_launch, "launch this workflow")
        if SHOW in request.POST:
            commands = commands_of(found, form, options_form, more)
        else:
            run = launch(request, found, form, options_form, more)
            if run is not None:
                return redirect("run", run_id=run.pk)
    context = LISTS["workflow"].context({"workflow": name}, request.user)
    once = request.POST.get(ONCE) or token_urlsafe(12)
    shown = entry(found)
    usage = usage_of(request.user, name, shown.graph)
    context |= {"workflow": shown, "form": form, "once": once, "usage": usage}
    context |= {"schedules": of_workflow(request.user, name)}
    context |= {"webhooks": webhooks.of_workflow(request.user, name)}
    context |= {"can_evaluate": can_evaluate(request.user, name)}
    context |= {"can_view_source": permissions.can_view_source(request.user)}
    context |= {"can_launch": can_launch, "again": request.GET.get("again", "")}
    context |= {
        "asking": options_form,
        "more": more,
        "lacking": missing_agents() if shown.needs_model else "",
        "has_prompts": bool(found.prompts),
    }
    context |= {
        "commands": commands,
        "omits_key": options_form is not None
        and bool(options_form["token"].value())
        and commands is not None,
    }
    status = INVALID if form.is_bound and commands is None else 200
    return render(request, "workflows/detail.html", context, status=status)


@posts_only
@members_only
@answers_request_errors
def pause(request: HtmxRequest, name: str) -> HttpResponse:
    """Pause a workflow."""
    system.pause_workflow(name, by=request.user, reason=reason_of(request))
    messages.success(request, "Workflow paused.")
    return redirect("workflow", name=name)


@posts_only
@members_only
@answers_request_errors
def unpause(request: HtmxRequest, name: str) -> HttpResponse:
    """End the pause of a workflow."""
    system.unpause_workflow(name, by=request.user)
    messages.success(request, "Workflow unpaused.")
    return redirect("workflow", name=name)


def launch_form(request: HtmxRequest, found: AnyWorkflow) -> SchemaForm:
    """Return the form of a workflow's params: as sent, of a run to rerun, or new."""
    options: dict[str, Any] = {"by": request.user}
    if request.method == "POST":
        options |= {"data": request.POST, "files": request.FILES}
    if run := rerun_source(request):
        options["initial"] = run.params
    return SchemaForm(params_schema(found), **options)


def launch_agent_form(request: HtmxRequest, found: AnyWorkflow) -> AgentForm | None:
    """Return the form of profile and API key; None for a workflow without agents."""
    if request.method == "POST":
        return agent_form(found, data=request.POST)
    if run := rerun_source(request):
        return agent_form(found, initial=initial_of(run.profile_name))
    return agent_form(found)


def rerun_source(request: HtmxRequest) -> Run | None:
    """Return the run to rerun, None if the user may not view its data.

    Raises RunNotFound.
    """
    again = request.GET.get("again")
    run = system.find_run(again, by=request.user) if again else None
    if run is None or not permissions.can_read(request.user, run.workflow_name):
        return None
    return run


def launch(
    request: HtmxRequest,
    found: AnyWorkflow,
    form: SchemaForm,
    options_form: AgentForm | None,
    more: MoreOptionsForm,
) -> Run | None:
    """Return the queued run; None, with the errors on the form, if it is invalid."""
    valid = [one.is_valid() for one in (form, options_form, more) if one is not None]
    if not all(valid):
        return None
    options = options_form.launch_options() if options_form else {}
    try:
        params = params_of(found, form)
        once = form_idempotency_key(request, [params, options.get("profile")])
        options |= {"idempotency_key": once, **more.launch_options()}
        source = rerun_source(request)
        if source is not None and source.workflow_name == found.name:
            options["rerun_of"] = source.pk
        run = system.execute(found.name, params, by=request.user, **options)
    except InvalidParams as error:
        form.add_validation_errors(error)
    except (AgentUnavailable, LimitReached, LimitKeyInvalid) as error:
        form.add_error(None, str(error))
    except KeyReused as error:
        more.add_error("key", str(error))
    else:
        _announce(request, run, has_key=bool(more.cleaned_data["key"]))
        return run
    return None


def commands_of(
    found: AnyWorkflow,
    form: SchemaForm,
    options_form: AgentForm | None,
    more: MoreOptionsForm,
) -> LaunchCommands | None:
    """Return the commands of the launch that valid forms describe, None with errors."""
    valid = [one.is_valid() for one in (form, options_form, more) if one is not None]
    if not all(valid):
        return None
    options = options_form.launch_options() if options_form else {}
    try:
        params = params_of(found, form)
    except InvalidParams as error:
        form.add_validation_errors(error)
        return None
    given = more.launch_options()
    return LaunchCommands.of(
        found.name,
        params,
        profile=options.get("profile"),
        priority=given["priority"],
        deadline=given.get("deadline"),
        key=given.get("idempotency_key", ""),
    )


def _announce(request: HtmxRequest, run: Run, *, has_key: bool) -> None:
    """Add the message of a launch; a form sent twice gets that of its first launch."""
    if run.already_launched and has_key:
        text = f"Run {run.short_id} was launched with this idempotency key before."
        messages.info(request, text)
    else:
        messages.success(request, f"Run {run.short_id} launched.")


def form_idempotency_key(request: HtmxRequest, params: Any) -> str | None:
    """Return an idempotency key, so that the same form sent twice launches one run.

    None for a form without the token, such as a script's.
    """
    once = request.POST.get(ONCE, "")
    if not once:
        return None
    sent = json.dumps(params, sort_keys=True, default=str)
    return sha256(f"{request.user.pk} {once} {sent}".encode()).hexdigest()


def params_schema(found: AnyWorkflow) -> dict[str, Any]:
    """Return the JSON schema of a workflow's params; any object without a type."""
    if found.params_type is not None:
        return dict(schema(found.params_type))
    return UNTYPED_SCHEMA if isinstance(found, FactoryWorkflow) else {}


def params_of(found: AnyWorkflow, form: SchemaForm) -> dict[str, Any]:
    """Return the params of a valid form. Raises InvalidParams."""
    values = form.values()
    if not isinstance(found, FactoryWorkflow):
        return values
    params = values.get(UNTYPED) or {}
    if not isinstance(params, dict):
        raise InvalidParams({UNTYPED: ['Enter a JSON object, such as {"limit": 3}.']})
    return params


def last_runs(request: HtmxRequest, name: str) -> list[Run]:
    """Return the most recent runs of a workflow, oldest first."""
    runs = list_visible_runs(request.user, workflow=name)
    return list(runs[:MAX_RECENT_RUNS])[::-1]
