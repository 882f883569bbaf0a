"""Golden runs, assessments, accuracy, and promotion of profiles."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from ninja import Query, Router
from ninja import Status as Reply

from workflows.access import permissions
from workflows.api.paging import Paging, link_next
from workflows.api.requests import ApiRequest, errors, visible_run
from workflows.api.schemas import WorkflowReason
from workflows.api.schemas_reviews import (
    MAX_STEP,
    AccuracyOut,
    AssessmentIn,
    AssessmentOut,
    GoldenFieldOut,
    GoldenRunIn,
    GoldenRunOut,
    GoldenRunPage,
    Promotion,
    WorkflowAccuracyOut,
)
from workflows.models import Assessment, GoldenRun
from workflows.pages.lists.pagination import forward_page
from workflows.pages.redaction import HIDDEN, redact_rows
from workflows.services import golden_runs
from workflows.services.assessments import Accuracy, accuracy_of
from workflows.services.golden_fields import GoldenField
from workflows.services.golden_runs import Expectation
from workflows.system import system

of_run_router = Router(tags=["golden runs"])
golden_router = Router(tags=["golden runs"])
of_workflow_router = Router(tags=["golden runs"])


@of_run_router.put(
    "/{uuid:run_id}/golden", response={200: GoldenRunOut, **errors(403, 404, 409)}
)
def mark_golden(request: ApiRequest, run_id: UUID, body: GoldenRunIn) -> Any:
    """Mark a completed or failed run golden, or change what of it is compared; pin it."""
    fields = [GoldenField(one.field, one.tolerance) for one in body.fields]
    expected = Expectation(body.dataset, body.checks_path, fields)
    row = system.mark_golden(run_id, expected, by=request.user, reason=body.reason)
    return _golden(row, request)


@of_run_router.delete(
    "/{uuid:run_id}/golden", response={204: None, **errors(403, 404, 409)}
)
def unmark_golden(
    request: ApiRequest, run_id: UUID, query: Query[WorkflowReason]
) -> Any:
    """Unmark a golden run; unpin it if marking it had pinned it."""
    system.unmark_golden(run_id, by=request.user, reason=query.reason)
    return Reply(204, None)


@golden_router.get("", response={200: GoldenRunPage, **errors(400)})
def list_golden_runs(
    request: ApiRequest,
    response: HttpResponse,
    paging: Query[Paging],
    workflow: str = "",
    dataset: str = "",
) -> Any:
    """List golden runs, oldest first."""
    rows = golden_runs.golden_runs(_plain(workflow), _plain(dataset).lower())
    page = forward_page(
        permissions.visible(request.user, rows),
        after=paging.after_id,
        size=paging.limit,
    )
    return {
        "items": [_golden(row, request) for row in page.rows],
        "next": link_next(request, response, page.after),
    }


@of_run_router.get(
    "/{uuid:run_id}/assessments", response={200: list[AssessmentOut], **errors(404)}
)
def list_assessments(request: ApiRequest, run_id: UUID) -> Any:
    """List the assessments of a run and of its decisions."""
    run = visible_run(request, run_id)
    return [
        _assessment(row) for row in redact_rows(run, Assessment.objects.filter(run=run))
    ]


@of_run_router.put(
    "/{uuid:run_id}/assessment", response={200: AssessmentOut, **errors(403, 404, 409)}
)
def assess(request: ApiRequest, run_id: UUID, body: AssessmentIn) -> Any:
    """Say whether an ended run, or the edge taken after a step, was right."""
    row: Any = system.assess(
        run_id, body.right, step=body.step, note=body.note, by=request.user
    )
    run = visible_run(request, run_id)
    return _assessment(redact_rows(run, [row])[0])


@of_run_router.delete(
    "/{uuid:run_id}/assessment", response={204: None, **errors(403, 404, 409)}
)
def withdraw_assessment(request: ApiRequest, run_id: UUID, step: int = 0) -> Any:
    """Withdraw an assessment; the audit log keeps it."""
    system.assess(run_id, None, step=min(max(step, 0), MAX_STEP), by=request.user)
    return Reply(204, None)


@of_workflow_router.get(
    "/{name}/accuracy", response={200: WorkflowAccuracyOut, **errors(404)}
)
def get_accuracy(request: ApiRequest, name: str) -> Any:
    """Get the accuracy of a workflow, by all runs and decisions that were assessed."""
    system.find_workflow(name, by=request.user)
    found = accuracy_of(name)
    return WorkflowAccuracyOut(
        runs=_accuracy(found.runs),
        edges=[_accuracy(one) for one in found.edges],
        profiles=[_accuracy(one) for one in found.profiles],
        months=[_accuracy(one) for one in found.months],
    )


@of_workflow_router.post(
    "/{name}/promote-profile", response={204: None, **errors(403, 404)}
)
def promote_profile(request: ApiRequest, name: str, body: Promotion) -> Any:
    """Make a profile the default: launches that name none get it from now on."""
    system.promote_profile(name, body.profile, by=request.user, reason=body.reason)
    return Reply(204, None)


def _accuracy(one: Accuracy) -> AccuracyOut:
    return AccuracyOut(name=one.name, right=one.right, wrong=one.wrong, share=one.share)


def _assessment(row: Assessment) -> AssessmentOut:
    return AssessmentOut(
        run=row.run_id,
        step=row.sequence,
        from_node=row.from_node,
        to_node=row.to_node,
        right=row.is_right,
        note=row.note,
        by=row.person_name,
        at=row.created_at,
    )


def _plain(text: str) -> str:
    return text.replace("\x00", "")


def _golden(row: GoldenRun, request: ApiRequest) -> GoldenRunOut:
    is_readable = permissions.can_read(request.user, row.workflow_name)
    return GoldenRunOut(
        run=row.run_id,
        workflow=row.workflow_name,
        dataset=row.dataset,
        checks_path=row.checks_path,
        fields=[GoldenFieldOut(**one) for one in row.fields] if is_readable else None,
        reason=row.reason if is_readable or not row.reason else HIDDEN,
        marked_by=row.person_name,
        created_at=row.created_at,
    )
