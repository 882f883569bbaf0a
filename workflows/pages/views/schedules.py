"""Schedules: the list, one with its moments, its form, and actions on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from workflows.access import permissions
from workflows.errors import InvalidParams, InvalidSchedule
from workflows.infra import clock
from workflows.pages.access import members_only
from workflows.pages.catalog import entries, entry, installed_workflow
from workflows.pages.forms.launch_form import PREFIX
from workflows.pages.forms.schedules import (
    BackfillForm,
    ScheduleForm,
    initial_of,
    preview_of,
    profile_form,
    profile_of,
    zone_names,
)
from workflows.pages.forms.schema_form import SchemaForm
from workflows.pages.forms.service_errors import add_service_errors
from workflows.pages.lists.live_lists import LISTS
from workflows.pages.post_only_views import posts_only
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import reason_of, status_of_form
from workflows.pages.views.workflows import params_of, params_schema
from workflows.schedules import calendar, service
from workflows.system import system

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpResponse

    from workflows.models import Schedule
    from workflows.pages.forms.launch_form import AgentForm
    from workflows.pages.requests import HtmxRequest
    from workflows.registry import AnyWorkflow


@require_safe
@members_only
def list_schedules(request: HtmxRequest) -> HttpResponse:
    """Show the schedules that the user may see, of one workflow or of all."""
    launchable = permissions.permissions_for(request.user).launch
    context = {
        **LISTS["schedules"].context(request.GET.dict(), request.user),
        "launchable": [one for one in entries(request.user) if one.name in launchable],
    }
    return render(request, "schedules/list.html", context)


@require_safe
@members_only
@answers_request_errors
def schedule(request: HtmxRequest, schedule_id: UUID) -> HttpResponse:
    """Show a schedule, its next times and a page of its moments."""
    found = service.find(schedule_id, by=request.user)
    can_change = service.can_change(request.user, found)
    query = {"schedule": str(schedule_id), "before": request.GET.get("before", "")}
    context = {
        **LISTS["schedule"].context(query, request.user),
        "can_change": can_change,
        "can_backfill": can_change and found.owner_id == request.user.pk,
        "can_pause": service.can_pause(request.user, found),
        "is_installed": installed_workflow(found.workflow_name) is not None,
    }
    return render(request, "schedules/detail.html", context)


# Form -----------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def new(request: HtmxRequest, name: str) -> HttpResponse:
    """Show the form of a new schedule of a workflow; create it on POST."""
    workflow = system.find_workflow(name, by=request.user)
    permissions.require(
        permissions.can_launch(request.user, name), "launch this workflow"
    )
    return _form_page(request, workflow, None)


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def edit(request: HtmxRequest, schedule_id: UUID) -> HttpResponse:
    """Show the form of a schedule; change it on POST, which makes the user its owner."""
    found = service.find(schedule_id, by=request.user)
    permissions.require(service.can_change(request.user, found), "change this schedule")
    workflow = system.find_workflow(found.workflow_name, by=request.user)
    return _form_page(request, workflow, found)


class _Forms:
    """The three forms of the page: schedule, profile, and params of the workflow."""

    def __init__(
        self, request: HtmxRequest, workflow: AnyWorkflow, found: Schedule | None
    ) -> None:
        self.request, self.workflow, self.found = request, workflow, found
        sent: dict[str, Any] = (
            {"data": request.POST} if request.method == "POST" else {}
        )
        self.schedule = ScheduleForm(
            initial=initial_of(found) if found else None, **sent
        )
        self.profile: AgentForm | None = profile_form(workflow, found, **sent)
        options: dict[str, Any] = {"by": request.user, **sent}
        if sent:
            options["files"] = request.FILES
        # otherwise they would be launched by someone who may not know them
        if found and permissions.can_read(request.user, workflow.name):
            options["initial"] = found.params
        self.params = SchemaForm(params_schema(workflow), **options)

    def save(self) -> Schedule | None:
        """Return the saved schedule; None, with errors at the fields, if it is invalid."""
        several = (self.schedule, self.params, self.profile)
        valid = [one.is_valid() for one in several if one is not None]
        if not all(valid):
            return None
        try:
            params = params_of(self.workflow, self.params)
            plan = self.schedule.plan(params, profile_of(self.profile))
            if self.found is None:
                return service.create(self.workflow.name, plan, by=self.request.user)
            return service.change(self.found.pk, plan, by=self.request.user)
        except InvalidParams as error:
            self.params.add_validation_errors(error)
        except InvalidSchedule as error:
            add_service_errors(self.schedule, error)
        return None


def _form_page(
    request: HtmxRequest, workflow: AnyWorkflow, found: Schedule | None
) -> HttpResponse:
    several = _Forms(request, workflow, found)
    if request.method == "POST":
        saved = several.save()
        if saved is not None:
            messages.success(request, f"Schedule “{saved.name}” saved.")
            return redirect("schedule", schedule_id=saved.pk)
    hides = bool(found) and not permissions.can_read(request.user, workflow.name)
    context = {
        "schedule": found,
        "workflow": entry(workflow),
        "form": several.schedule,
        "profile": several.profile,
        "params": several.params,
        "preview": several.schedule.preview,
        "zones": zone_names(),
        "hides_params": hides,
        "takes_over": found is not None and found.owner_id != request.user.pk,
    }
    status = status_of_form(request)
    return render(request, "schedules/form.html", context, status=status)


@require_safe
@members_only
def preview(request: HtmxRequest) -> HttpResponse:
    """Return the times of an expression in words and as the next ones."""
    cron = request.GET.get(f"{PREFIX}-cron", "")
    shown = preview_of(cron, request.GET.get(f"{PREFIX}-zone", ""))
    return render(request, "schedules/_preview.html", {"preview": shown})


# Actions --------------------------------------------------------------------------------


@posts_only
@members_only
@answers_request_errors
def pause(request: HtmxRequest, schedule_id: UUID) -> HttpResponse:
    """Pause a schedule."""
    found = service.pause(schedule_id, by=request.user, reason=reason_of(request))
    messages.success(request, f"Schedule “{found.name}” paused.")
    return redirect("schedule", schedule_id=schedule_id)


@posts_only
@members_only
@answers_request_errors
def resume(request: HtmxRequest, schedule_id: UUID) -> HttpResponse:
    """Resume a paused schedule."""
    found = service.resume(schedule_id, by=request.user)
    messages.success(request, f"Schedule “{found.name}” resumed.")
    return redirect("schedule", schedule_id=schedule_id)


@posts_only
@members_only
@answers_request_errors
def delete(request: HtmxRequest, schedule_id: UUID) -> HttpResponse:
    """Delete a schedule."""
    found = service.delete(schedule_id, by=request.user, reason=reason_of(request))
    messages.success(request, f"Schedule “{found.name}” deleted.")
    return redirect("schedules")


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def backfill(request: HtmxRequest, schedule_id: UUID) -> HttpResponse:
    """Show the moments of a period; queue them on POST."""
    found = service.find(schedule_id, by=request.user)
    permissions.require(service.can_change(request.user, found), "change this schedule")
    service.require_owner(found, request.user)
    sent = request.POST if request.method == "POST" else request.GET or None
    form, planned = BackfillForm(sent), None
    if form.is_valid():
        try:
            if request.method == "POST":
                count = service.backfill(found.pk, *form.period(), by=request.user)
                runs = "1 run" if count == 1 else f"{count} runs"
                messages.success(request, f"{runs} queued.")
                return redirect("schedule", schedule_id=schedule_id)
            planned = service.preview_backfill(found, *form.period())
        except InvalidSchedule as error:
            add_service_errors(form, error)
    zone = calendar.zone_of(found.zone)
    context = {
        "schedule": found,
        "form": form,
        "planned": planned,
        "known": len(planned.known) if planned else 0,
        "times": [one.astimezone(zone) for one in planned.to_launch] if planned else [],
        "now": clock.now(),
    }
    status = status_of_form(request)
    return render(request, "schedules/backfill.html", context, status=status)
