"""Runs: list, one run, and the actions on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from ninja import Query, Router
from ninja import Status as Reply

from workflows.api import representations
from workflows.api.filters import RunQuery
from workflows.api.paging import Paging, link_next
from workflows.api.requests import (
    ApiRequest,
    errors,
    require_version,
    visible_run,
    with_etag,
)
from workflows.api.routes.workflows import IdempotencyKey
from workflows.api.schemas import (
    ChangedResponse,
    ForkOptions,
    ForkPreviewOut,
    LabelName,
    NoteOut,
    NoteText,
    OverrideDecision,
    Rerun,
    Resume,
    RunDetail,
    RunPage,
    WorkflowReason,
)
from workflows.errors import InvalidParams
from workflows.models import ForkKind, Run
from workflows.pages.lists.columns import labels_of
from workflows.pages.lists.live_lists import redacted_for
from workflows.pages.lists.pagination import keyset_page
from workflows.pages.redaction import redact_rows
from workflows.services.fork_plans import ForkRequest
from workflows.system import system

router = Router(tags=["runs"])


@router.get("", response={200: RunPage, **errors(400, 403)})
def list_runs(
    request: ApiRequest,
    response: HttpResponse,
    query: Query[RunQuery],
    paging: Query[Paging],
) -> Any:
    """List runs, newest first."""
    filters = query.filters(request.user)
    runs = query.between(filters.by_index(request.user).prefetch_related("labels"))
    page = keyset_page(
        runs,
        filters.by_value(),
        before=paging.after_id,
        size=paging.limit,
        indexed=filters.is_indexed,
        limit=filters.scan_limit,
    )
    found = redacted_for(request.user, page.rows)
    return {
        "items": representations.run_summaries(found, request.user),
        "next": link_next(request, response, page.after),
        "scanned_to": page.scanned_to,
    }


@router.get("/{uuid:run_id}", response={200: RunDetail, **errors(404)})
def get_run(request: ApiRequest, run_id: UUID) -> Any:
    """Get a run. Its ETag begins with its version; `If-None-Match` is supported."""
    run = visible_run(request, run_id)
    return with_etag(
        request, representations.run_detail(run, request.user), run.version
    )


@router.delete("/{uuid:run_id}", response={204: None, **errors(403, 404, 409, 412)})
def delete_run(request: ApiRequest, run_id: UUID, query: Query[WorkflowReason]) -> Any:
    """Delete an ended run with its history; its audit events are kept."""
    require_version(request, run_id)
    system.delete_run(run_id, by=request.user, reason=query.reason)
    return Reply(204, None)


# Actions --------------------------------------------------------------------------------


@router.post(
    "/{uuid:run_id}/cancel", response={200: RunDetail, **errors(403, 404, 409, 412)}
)
def cancel_run(request: ApiRequest, run_id: UUID, body: WorkflowReason) -> Any:
    """Cancel a run: at once if no worker has it, else at its next await or node."""
    require_version(request, run_id)
    system.cancel(run_id, by=request.user, reason=body.reason)
    return _detail(request, run_id)


@router.post(
    "/{uuid:run_id}/resume", response={200: RunDetail, **errors(403, 404, 409, 412)}
)
def resume_run(request: ApiRequest, run_id: UUID, body: Resume) -> Any:
    """Queue a failed or cancelled run again, from its last completed step."""
    require_version(request, run_id)
    system.resume(run_id, by=request.user, reason=body.reason, token=body.token)
    return _detail(request, run_id)


@router.post("/{uuid:run_id}/rerun", response={202: RunDetail, **errors(403, 404, 409)})
def rerun(
    request: ApiRequest,
    response: HttpResponse,
    run_id: UUID,
    body: Rerun,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Launch a new run with the params of this one, from the start or from a step.

    From a step, the new run shares the history before it: those steps are not repeated, and
    the run has to have ended. `state` and recorded answers require `from_step`.
    """
    if body.from_step is None:
        if body.state is not None:
            message = "Give the step before which this is the state: from_step."
            raise InvalidParams({"state": [message]})
        if body.answers == "recorded":
            message = "Give the step from which answers are replayed: from_step."
            raise InvalidParams({"answers": [message]})
        run = system.rerun(
            run_id,
            by=request.user,
            reason=body.reason,
            params=body.params,
            token=body.token,
            idempotency_key=idempotency_key,
        )
        return _new_run(request, response, run)
    change = ForkRequest(body.from_step, state=body.state, params=body.params)
    return _forked(request, response, run_id, change, body, idempotency_key, body.token)


@router.post(
    "/{uuid:run_id}/override", response={202: RunDetail, **errors(403, 404, 409)}
)
def override_decision(
    request: ApiRequest,
    response: HttpResponse,
    run_id: UUID,
    body: OverrideDecision,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Launch a run that shares this one up to a step, and then takes another edge."""
    change = ForkRequest(body.step, ForkKind.OVERRIDE, edge=body.edge)
    return _forked(request, response, run_id, change, body, idempotency_key)


@router.post(
    "/{uuid:run_id}/change-response",
    response={202: RunDetail, **errors(403, 404, 409)},
)
def change_response(
    request: ApiRequest,
    response: HttpResponse,
    run_id: UUID,
    body: ChangedResponse,
    idempotency_key: IdempotencyKey = None,
) -> Any:
    """Launch a run that shares this one up to an approval, and has another response to it."""
    change = ForkRequest(body.step, ForkKind.RESPONSE, response=body.value)
    return _forked(request, response, run_id, change, body, idempotency_key)


@router.get(
    "/{uuid:run_id}/fork-preview",
    response={200: ForkPreviewOut, **errors(400, 403, 404, 409)},
)
def preview_fork(
    request: ApiRequest,
    run_id: UUID,
    step: Annotated[int, Query(ge=1, le=2**31 - 1)] = 1,
    kind: ForkKind = ForkKind.RERUN,
    edge: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None,
) -> Any:
    """Return what a rerun from a step, an override or another response would run again.

    `step` is the one that runs again, the one after which `edge` is taken, or that of the
    approval. Nothing is launched.
    """
    found = system.preview_fork(
        run_id, ForkRequest(step, kind, edge=edge), by=request.user
    )
    return representations.fork_preview(found)


def _forked(  # noqa: PLR0913, PLR0917 - of a request
    request: ApiRequest,
    response: HttpResponse,
    run_id: UUID,
    change: ForkRequest,
    options: ForkOptions,
    idempotency_key: str | None,
    token: str = "",
) -> Any:
    run = system.fork(
        run_id,
        replace(change, replay=options.answers == "recorded"),
        by=request.user,
        reason=options.reason,
        token=token,
        idempotency_key=idempotency_key,
    )
    return _new_run(request, response, run)


def _new_run(request: ApiRequest, response: HttpResponse, run: Run) -> Any:
    response["Location"] = reverse("api:get_run", args=[run.pk])
    if run.already_launched:
        response["Idempotent-Replayed"] = "true"
    return Reply(202, _detail(request, run.pk))


@router.post(
    "/{uuid:run_id}/release", response={200: RunDetail, **errors(403, 404, 409, 412)}
)
def release_run(request: ApiRequest, run_id: UUID, body: WorkflowReason) -> Any:
    """Expire the lease of a lost worker, so that another worker recovers the run."""
    require_version(request, run_id)
    system.release(run_id, by=request.user, reason=body.reason)
    return _detail(request, run_id)


@router.put("/{uuid:run_id}/pin", response={200: RunDetail, **errors(403, 404, 409)})
def pin_run(request: ApiRequest, run_id: UUID, body: WorkflowReason) -> Any:
    """Pin a run, which exempts it from retention."""
    system.set_pinned(run_id, by=request.user, reason=body.reason)
    return _detail(request, run_id)


@router.delete("/{uuid:run_id}/pin", response={200: RunDetail, **errors(403, 404, 409)})
def unpin_run(request: ApiRequest, run_id: UUID, query: Query[WorkflowReason]) -> Any:
    """Unpin a run."""
    system.set_pinned(run_id, by=request.user, reason=query.reason, pinned=False)
    return _detail(request, run_id)


@router.post("/{uuid:run_id}/labels", response={200: list[str], **errors(403, 404)})
def add_label(request: ApiRequest, run_id: UUID, body: LabelName) -> Any:
    """Add a label to a run; return its labels, none if you may not read its data."""
    system.label(run_id, body.name, by=request.user)
    return labels_of(visible_run(request, run_id))


@router.delete("/{uuid:run_id}/labels", response={200: list[str], **errors(403, 404)})
def remove_label(request: ApiRequest, run_id: UUID, query: Query[LabelName]) -> Any:
    """Remove a label from a run; return those that remain, as far as you may see them."""
    system.unlabel(run_id, query.name, by=request.user)
    return labels_of(visible_run(request, run_id))


@router.get("/{uuid:run_id}/notes", response={200: list[NoteOut], **errors(404)})
def list_notes(request: ApiRequest, run_id: UUID) -> Any:
    """List the notes on a run, oldest first."""
    run = visible_run(request, run_id)
    return [_note(row) for row in redact_rows(run, run.notes.all())]


@router.post("/{uuid:run_id}/notes", response={201: NoteOut, **errors(403, 404)})
def add_note(request: ApiRequest, run_id: UUID, body: NoteText) -> Any:
    """Add a note to a run."""
    return Reply(201, _note(system.add_note(run_id, body.text, by=request.user)))


def _note(row: Any) -> NoteOut:
    return NoteOut(author=row.author_name, text=row.text, created_at=row.created_at)


def _detail(request: ApiRequest, run_id: UUID) -> Any:
    return representations.run_detail(visible_run(request, run_id), request.user)
