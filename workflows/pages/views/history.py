"""The history of a run: all steps and log lines by page, and downloads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import UUID

from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from workflows.access import permissions
from workflows.audit.bundle_export import pieces
from workflows.models import Level
from workflows.pages.access import members_only, run_permissions
from workflows.pages.documents.downloads import download
from workflows.pages.lists.pagination import forward_page
from workflows.pages.query_string import int_in
from workflows.pages.redaction import redact
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.run.log import as_text, line_html, lines
from workflows.pages.run.page import RunPage
from workflows.pages.run.run_files import find_file
from workflows.pages.run.stage_rows import page_of
from workflows.pages.run.steps import add_changes, add_durations, group_steps
from workflows.pages.run.view_options import RunView
from workflows.pages.streaming import streamed
from workflows.pages.views.runs import readable_run, visible_run
from workflows.runtime.errors import NotFound

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from workflows.models import Run
    from workflows.pages.requests import HtmxRequest

STEPS = 100  # on one page
LINES = 500


@require_safe
@members_only
@answers_request_errors
def steps(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Show a page of a run's steps, those after `?after=`."""
    run = visible_run(request, run_id)
    after = int_in(request.GET, "after") or 0
    stages = page_of(run, after=after, size=STEPS)
    last = stages.rows[-1].sequence if stages.rows else after
    decisions = run.decisions.filter(sequence__gt=after, sequence__lte=last)
    if not permissions.can_read(request.user, run.workflow_name):
        redact(run)
    steps = group_steps(
        run,
        stages.rows,
        decisions.select_related("decided_by"),
        run.retries.filter(sequence__gt=after, sequence__lte=last),
    )
    page = RunPage(run, run_permissions(request.user, run))
    add_durations(steps, page.timeline.durations)
    context = {
        "run": run,
        "steps": steps,
        "changes_error": add_changes(run, steps),
        "after": after,
        "next": stages.after,
    }
    return render(request, "runs/steps.html", context)


@require_safe
@members_only
@answers_request_errors
def log(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Show a page of a run's log, filtered by level and text."""
    run = readable_run(request, run_id)
    after, view = int_in(request.GET, "after") or 0, RunView.read(request.GET.dict())
    page = forward_page(lines(run, view), after=after, size=LINES)
    context = {
        "run": run,
        "lines": [line_html(line) for line in page.rows],
        "view": view,
        "levels": Level.choices,
        "after": after,
        "next": page.after,
        "rest": view.lines_query.lstrip("?"),
    }
    return render(request, "runs/log.html", context)


@require_safe
@members_only
@answers_request_errors
def log_file(request: HtmxRequest, run_id: UUID) -> StreamingHttpResponse:
    """Stream the log as a text file."""
    run = readable_run(request, run_id)
    rows = lines(run, RunView.read(request.GET.dict()))
    return streamed(
        request,
        lambda: as_text(rows, LINES),
        name=f"{run.workflow_name}-{run.short_id}.log",
        content_type="text/plain; charset=utf-8",
    )


@require_safe
@members_only
@answers_request_errors
def result(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Return a run's result as a JSON file."""
    run = readable_run(request, run_id)
    return json_file(run.result, f"{run.workflow_name}-{run.short_id}")


@require_safe
@members_only
@answers_request_errors
def params(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Return a run's parameters as a JSON file."""
    run = readable_run(request, run_id)
    return json_file(run.params, f"{run.workflow_name}-{run.short_id}-params")


@require_safe
@members_only
@answers_request_errors
def file(request: HtmxRequest, run_id: UUID, file_id: UUID) -> HttpResponseBase:
    """Stream a file that a run made, for download."""
    try:
        return download(request, find_file(readable_run(request, run_id), file_id))
    except NotFound as error:
        raise Http404 from error


@require_safe
@members_only
@answers_request_errors
def bundle(request: HtmxRequest, run_id: UUID) -> StreamingHttpResponse:
    """Stream the signed history of a run as a JSON file."""
    return history_bundle(request, request.user, readable_run(request, run_id))


def history_bundle(request: HttpRequest, user: User, run: Run) -> StreamingHttpResponse:
    """Return the signed history of a run as a download. Raises TooManyDownloads."""
    return streamed(
        request,
        lambda: pieces(run, with_addresses=permissions.can_audit(user)),
        name=f"{run.workflow_name}-{run.short_id}-history.json",
        content_type="application/json",
    )


def json_file(value: object, name: str) -> HttpResponse:
    """Return a value as a JSON file for download."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    response = HttpResponse(text, content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="{name}.json"'
    return response
