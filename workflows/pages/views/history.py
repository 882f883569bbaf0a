"""A run's whole history, a page at a time, for runs too long for one page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import UUID

from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from workflows.access import permissions
from workflows.audit.exporter import pieces
from workflows.models import Level
from workflows.pages.access import members_only, rights
from workflows.pages.errors import answers_request_errors
from workflows.pages.redaction import redact
from workflows.pages.run.log import as_text, line_html, lines
from workflows.pages.run.page import RunPage
from workflows.pages.run.steps import add_changes, add_durations, together
from workflows.pages.run.view import RunView
from workflows.pages.streaming import streamed
from workflows.pages.views.runs import readable_run, visible_run

if TYPE_CHECKING:
    from workflows.pages.requests import HtmxRequest

STEPS = 100  # on one page
LINES = 500
DIGITS = 18  # read of a number
MOST = 2**63 - 1  # what the key of a log line may be


def number(request: HtmxRequest, name: str) -> int:
    """Return a whole number from the query, 0 if there is none."""
    text = request.GET.get(name, "")[:DIGITS]
    return min(int(text), MOST) if text.isascii() and text.isdigit() else 0


@require_safe
@members_only
@answers_request_errors
def steps(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Show a run's steps from a number on."""
    run = visible_run(request, run_id)
    after = number(request, "after")
    stages = list(
        run.stages.filter(sequence__gt=after).order_by("sequence")[: STEPS + 1]
    )
    last = stages[:STEPS][-1].sequence if stages else after
    decisions = run.decisions.filter(sequence__gt=after, sequence__lte=last)
    if not permissions.may_read(request.user, run.workflow_name):
        redact(run)
    steps = together(
        run,
        (stage for stage in stages if stage.sequence <= last),
        decisions.select_related("decided_by"),
        run.retries.filter(sequence__gt=after, sequence__lte=last),
    )
    page = RunPage(run, rights(request.user, run))
    add_durations(steps, page.timeline.spent)
    context = {
        "run": run,
        "steps": steps,
        "trouble": add_changes(run, steps),
        "after": after,
        "next": last if len(stages) > STEPS else None,
    }
    return render(request, "runs/steps.html", context)


@require_safe
@members_only
@answers_request_errors
def log(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Show a run's log from a line on: from a level up, with a text in the lines."""
    run = readable_run(request, run_id)
    after, view = number(request, "after"), RunView.read(request.GET.dict())
    rows = lines(run, view).filter(pk__gt=after).order_by("pk")
    found = list(rows[: LINES + 1])
    context = {
        "run": run,
        "lines": [line_html(line) for line in found[:LINES]],
        "view": view,
        "levels": Level.choices,
        "after": after,
        "next": found[LINES - 1].pk if len(found) > LINES else None,
        "rest": view.lines_query.lstrip("?"),
    }
    return render(request, "runs/log.html", context)


@require_safe
@members_only
@answers_request_errors
def log_file(request: HtmxRequest, run_id: UUID) -> StreamingHttpResponse:
    """Give the lines as a text file, however many there are."""
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
    """Give a run's result as a JSON file."""
    run = readable_run(request, run_id)
    return json_file(run.result, f"{run.workflow_name}-{run.short_id}")


@require_safe
@members_only
@answers_request_errors
def params(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Give what a run was launched with as a JSON file."""
    run = readable_run(request, run_id)
    return json_file(run.params, f"{run.workflow_name}-{run.short_id}-params")


@require_safe
@members_only
@answers_request_errors
def bundle(request: HtmxRequest, run_id: UUID) -> StreamingHttpResponse:
    """Give a run's whole history, hashed and signed, as a JSON file."""
    run = readable_run(request, run_id)
    return streamed(
        request,
        lambda: pieces(run, with_addresses=permissions.may_audit(request.user)),
        name=f"{run.workflow_name}-{run.short_id}-history.json",
        content_type="application/json",
    )


def json_file(value: object, name: str) -> HttpResponse:
    """Return a value as a JSON file for download."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    response = HttpResponse(text, content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="{name}.json"'
    return response
