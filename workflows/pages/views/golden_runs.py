"""Golden runs: the form that marks a run."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib import messages
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from workflows.access import permissions
from workflows.errors import InvalidParams
from workflows.models import GoldenRun
from workflows.pages import redaction
from workflows.pages.access import members_only
from workflows.pages.forms.golden_runs import GoldenForm
from workflows.pages.lists.golden_results import golden_rows
from workflows.pages.query_string import text_in
from workflows.pages.request_errors import answers_request_errors
from workflows.pages.requests import reason_of, status_of_form
from workflows.pages.views.runs import visible_run
from workflows.services import golden_runs
from workflows.system import system

if TYPE_CHECKING:
    from django.http import HttpResponse

    from workflows.models import Run
    from workflows.pages.requests import HtmxRequest


@require_http_methods(["GET", "HEAD", "POST"])
@members_only
@answers_request_errors
def mark(request: HtmxRequest, run_id: UUID) -> HttpResponse:
    """Show what of a run can be expected of later ones; mark it on POST, or unmark it."""
    found = visible_run(request, run_id)
    may = permissions.can_operate_run(request.user, found)
    permissions.require(may, "mark this run golden")
    if request.method == "POST" and request.POST.get("off"):
        system.unmark_golden(run_id, by=request.user, reason=reason_of(request))
        messages.success(request, f"Run {found.short_id} is not golden any more.")
        return redirect("run", run_id=run_id)
    golden = GoldenRun.objects.filter(run=found).first()
    if golden is None:
        golden_runs.require_markable(found)
    form = _form(request, found, golden)
    if (
        request.method == "POST"
        and form.is_valid()
        and _is_marked(request, found, form)
    ):
        messages.success(request, f"Run {found.short_id} is golden.")
        return redirect("run", run_id=run_id)
    context = {"run": found, "form": form, "golden": golden}
    return render(request, "runs/golden.html", context, status=status_of_form(request))


@require_safe
@members_only
def list_golden_runs(request: HtmxRequest) -> HttpResponse:
    """Show golden runs with their last results, of one workflow or all."""
    workflow = text_in(request.GET, "workflow")
    context = {"rows": golden_rows(request.user, workflow), "workflow": workflow}
    return render(request, "runs/golden_list.html", context)


def _form(request: HtmxRequest, found: Run, golden: GoldenRun | None) -> GoldenForm:
    is_readable = permissions.can_read(request.user, found.workflow_name)
    shown = found if is_readable else redaction.redact(found)
    known = GoldenRun.objects.filter(workflow_name=found.workflow_name)
    names = known.order_by("dataset").values_list("dataset", flat=True).distinct()
    return GoldenForm(shown, golden, list(names), request.POST or None)


def _is_marked(request: HtmxRequest, found: Run, form: GoldenForm) -> bool:
    """Mark the run; return False, with the errors on the form, if that is refused."""
    try:
        system.mark_golden(
            found.pk, form.expectation, by=request.user, reason=reason_of(request)
        )
    except InvalidParams as error:
        for name, texts in error.errors.items():
            form.add_error(name if name in form.fields else None, list(texts))
        return False
    return True
