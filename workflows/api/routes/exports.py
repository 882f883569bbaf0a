"""Exports: all rows that match, streamed; and the signed history of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http.response import HttpResponseBase
from ninja import Query, Router, Schema
from pydantic import Field

from workflows.access import permissions
from workflows.api import representations, representations_operations
from workflows.api.exports import DOCUMENTED, FormatQuery, RowExport, respond
from workflows.api.filters import AuditQuery, DecisionQuery, HistoryQuery, RunQuery
from workflows.api.requests import ApiRequest, errors, readable_run
from workflows.api.routes.operations import require_auditor
from workflows.api.schemas import DecisionOut, StageOut
from workflows.api.schemas_operations import AuditEventOut, CallOut
from workflows.api.stages import stage_page
from workflows.models import AgentCall, Run
from workflows.pages.lists.columns import Columns
from workflows.pages.lists.export import CHUNK, Export
from workflows.pages.lists.live_lists import redacted_for
from workflows.pages.lists.pagination import iter_chunks
from workflows.pages.redaction import redact
from workflows.pages.views.history import history_bundle

router = Router(tags=["exports"])
bundle_router = Router(tags=["exports"])
MAX_FIELDS_LENGTH = 1_000  # characters
CONTENT_CHUNK: Final = 10  # calls whose prompts and answers are in memory at once
NEEDED: Final = (
    *("id", "workflow_name", "status", "cancel_reason"),
    *("created_at", "attempt", "current_stage"),
)


class ColumnsQuery(Schema):
    """Columns of an export of runs."""

    fields: str = Field(
        "",
        max_length=MAX_FIELDS_LENGTH,
        description="Further columns of CSV: “params.limit, result.total”.",
    )


@router.get("/runs", response=errors(400, 403), openapi_extra=DOCUMENTED)
def export_runs(
    request: ApiRequest,
    query: Query[RunQuery],
    columns: Query[ColumnsQuery],
    output: Query[FormatQuery],
) -> HttpResponseBase:
    """Export the runs that match, newest first; JSON with params and results."""
    filters = query.filters(request.user)
    file = Export(
        query.between(filters.by_index(request.user)),
        filters.by_value(),
        Columns.read({"fields": columns.fields}),
        output.format,
        permissions.permissions_for(request.user).read,
    )
    return respond(request, "runs", output.format, file.parts)


@router.get("/decisions", response=errors(400), openapi_extra=DOCUMENTED)
def export_decisions(
    request: ApiRequest, query: Query[DecisionQuery], output: Query[FormatQuery]
) -> HttpResponseBase:
    """Export the decisions that match, newest first."""
    filters = query.filters()
    rows = filters.rows(request.user).filter(filters.of_edge())

    def represent(chunk: list[Any]) -> list[DecisionOut]:
        found = redacted_for(request.user, chunk)
        return [representations.decision(row) for row in found]

    chunks = _chunks(rows, represent, filters.condition)
    file = RowExport(chunks, DecisionOut, output.format)
    return respond(request, "decisions", output.format, file.parts)


class StageRow(StageOut):
    """A stage with its run."""

    run: UUID
    workflow: str


@router.get("/stages", response=errors(400, 403), openapi_extra=DOCUMENTED)
def export_stages(
    request: ApiRequest, query: Query[RunQuery], output: Query[FormatQuery]
) -> HttpResponseBase:
    """Export the stages of the runs that match, the newest runs first."""
    filters = query.filters(request.user)
    runs = query.between(filters.by_index(request.user))
    runs = runs.select_related(None).defer(None).only(*NEEDED)
    read = permissions.permissions_for(request.user).read

    def chunks() -> Iterator[list[StageRow]]:
        for found in iter_chunks(runs, filters.by_value(), size=CHUNK):
            for run in found:
                yield from _stages_of(run, hidden=run.workflow_name not in read)

    return respond(
        request,
        "stages",
        output.format,
        RowExport(chunks(), StageRow, output.format).parts,
    )


def _stages_of(run: Run, *, hidden: bool) -> Iterator[list[StageRow]]:
    """Yield the stages of a run in chunks."""
    after = None
    while True:
        page = stage_page(run, after, CHUNK)
        rows = [redact(row) for row in page.rows] if hidden else page.rows
        yield [
            StageRow(
                run=run.pk,
                workflow=run.workflow_name,
                **representations.stage(row).model_dump(),
            )
            for row in rows
        ]
        after = page.after
        if after is None:
            return


@router.get("/calls", response=errors(400), openapi_extra=DOCUMENTED)
def export_calls(
    request: ApiRequest, query: Query[HistoryQuery], output: Query[FormatQuery]
) -> HttpResponseBase:
    """Export the agent calls of runs that match, newest first; also of deleted runs."""
    rows = AgentCall.objects.exclude(workflow_name="")  # those are trials of people
    rows = query.between(permissions.visible(request.user, rows))
    if query.content:
        rows = rows.select_related("content")

    def represent(chunk: list[AgentCall]) -> list[CallOut]:
        found = redacted_for(request.user, chunk)
        return [
            representations_operations.call(row, content=query.content) for row in found
        ]

    size = CONTENT_CHUNK if query.content else CHUNK
    chunks = _chunks(rows, represent, size=size)
    file = RowExport(chunks, CallOut, output.format)
    return respond(request, "calls", output.format, file.parts)


@router.get("/audit", response=errors(400, 403), openapi_extra=DOCUMENTED)
def export_audit_events(
    request: ApiRequest, query: Query[AuditQuery], output: Query[FormatQuery]
) -> HttpResponseBase:
    """Export the events of the audit log that match, newest first."""
    require_auditor(request)
    filters = query.filters()
    represent = partial(representations_operations.audit_events, user=request.user)
    rows, condition = filters.rows(request.user), filters.condition(request.user)
    file = RowExport(_chunks(rows, represent, condition), AuditEventOut, output.format)
    return respond(request, "audit", output.format, file.parts)


@bundle_router.get(
    "/{uuid:run_id}/history",
    response=errors(403, 404),
    openapi_extra={
        "responses": {
            200: {
                "description": "The history with its signature.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            }
        }
    },
)
def export_history(request: ApiRequest, run_id: UUID) -> HttpResponseBase:
    """Export the signed history of a run, which `verify_history` checks offline."""
    run = readable_run(request, run_id)
    return history_bundle(request, request.user, run)


def _chunks(
    rows: QuerySet[Any],
    represent: Callable[[list[Any]], Sequence[Schema]],
    condition: Q | None = None,
    *,
    size: int = CHUNK,
) -> Iterator[Sequence[Schema]]:
    """Yield the rows that match as schemas, in chunks that are read one by one."""
    for chunk in iter_chunks(rows, condition, size=size):
        yield represent(chunk)
