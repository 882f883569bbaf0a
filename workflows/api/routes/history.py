"""The history of runs: stages, decisions, states, attempts and log lines."""

from __future__ import annotations

import json
from typing import Annotated, Any
from uuid import UUID

from django.db.models import Q
from django.http import Http404, HttpResponse
from ninja import Query, Router, Schema
from ninja.params import functions as param_functions
from pydantic import Field

from workflows.api import representations
from workflows.api.filters import DecisionQuery
from workflows.api.paging import Paging, link_next, number
from workflows.api.requests import ApiRequest, errors, readable_run, visible_run
from workflows.api.schemas import (
    AttemptOut,
    DecisionOut,
    DecisionPage,
    ItemPage,
    LogPage,
    StagePage,
    StateOut,
)
from workflows.api.stages import stage_page
from workflows.engine.errors import CheckpointMismatch
from workflows.errors import InvalidCursor, StateUnavailable
from workflows.models import Level, StageItem
from workflows.pages.lists import step_items
from workflows.pages.lists.live_lists import redacted_for
from workflows.pages.redaction import is_redacted, redact_rows
from workflows.system import system

router = Router(tags=["history"])
decisions_router = Router(tags=["decisions"])
MAX_SEQUENCE = 2**31 - 1  # of a step
Sequence = Annotated[int, param_functions.Path(ge=0, le=MAX_SEQUENCE)]


@router.get("/{uuid:run_id}/stages", response={200: StagePage, **errors(400, 404)})
def list_stages(
    request: ApiRequest, response: HttpResponse, run_id: UUID, paging: Query[Paging]
) -> Any:
    """List the stages of a run, in the order in which they were recorded.

    The one in progress, if any, is last.
    """
    run = visible_run(request, run_id)
    page = stage_page(run, paging.after_number, paging.limit)
    rows = redact_rows(run, page.rows)
    return {
        "items": [representations.stage(row) for row in rows],
        "next": link_next(request, response, page.after),
    }


@router.get(
    "/{uuid:run_id}/steps/{int:sequence}/items",
    response={200: ItemPage, **errors(400, 404)},
)
def list_items(
    request: ApiRequest,
    response: HttpResponse,
    run_id: UUID,
    sequence: Sequence,
    paging: Query[Paging],
) -> Any:
    """List the items of a parallel step: those that failed first, then the others in order.

    Items that have not run, or run now, are not among them.
    """
    run = visible_run(request, run_id)
    stage = step_items.stage_with_items(run, sequence)
    if stage is None:
        raise Http404
    page = step_items.page_of(
        step_items.failures_of(run, sequence),
        StageItem.objects.filter(run=run, sequence=sequence),
        _item_place(paging.after),
        paging.limit,
    )
    values = [] if is_redacted(run) else step_items.values_of(run, stage)
    after = page.after and [page.after.is_failed, page.after.index]
    return {
        "items": [
            representations.item(row, values) for row in redact_rows(run, page.rows)
        ],
        "next": link_next(request, response, after),
    }


def _item_place(key: Any) -> step_items.Place | None:
    """Return the key of a cursor as the place of an item. Raises InvalidCursor."""
    if key is None:
        return None
    match key:
        case [bool() as is_failed, int() as index]:
            return step_items.Place(is_failed, number(index) or 0)
    raise InvalidCursor


@router.get("/{uuid:run_id}/attempts", response={200: list[AttemptOut], **errors(404)})
def list_attempts(request: ApiRequest, run_id: UUID) -> Any:
    """List the attempts of a run: each launch, resume and recovery begins one."""
    run = visible_run(request, run_id)
    rows = redact_rows(run, run.attempts.all())
    return [representations.attempt(row) for row in rows]


class StepQuery(Schema):
    """A step of a run."""

    sequence: int | None = Field(None, ge=0, le=MAX_SEQUENCE)


@router.get(
    "/{uuid:run_id}/decisions", response={200: list[DecisionOut], **errors(404)}
)
def list_run_decisions(
    request: ApiRequest,
    run_id: UUID,
    query: Query[StepQuery],
) -> Any:
    """List the edges that a run evaluated, in order; of one step with `sequence`."""
    run = visible_run(request, run_id)
    rows = run.decisions.select_related("decided_by")
    if query.sequence is not None:
        rows = rows.filter(sequence=query.sequence)
    return [representations.decision(row) for row in redact_rows(run, rows)]


@router.get(
    "/{uuid:run_id}/states/{int:sequence}",
    response={200: StateOut, **errors(403, 404, 409)},
)
def get_state(request: ApiRequest, run_id: UUID, sequence: Sequence) -> Any:
    """Get the state of a run after a step; 0 is the initial state."""
    run = readable_run(request, run_id)
    try:
        _, after, _ = system.get_states(run.pk, sequence)
    except CheckpointMismatch as error:
        raise StateUnavailable(str(error)) from error
    if after is None:
        raise Http404
    return {"sequence": sequence, "state": json.loads(json.dumps(after))}


class LogQuery(Paging):
    """Filters of log lines."""

    level: Level | None = Field(None, description="Minimum level: 10, 20, 30 or 40.")


@router.get("/{uuid:run_id}/log", response={200: LogPage, **errors(400, 403, 404)})
def list_log_lines(
    request: ApiRequest,
    response: HttpResponse,
    run_id: UUID,
    query: Query[LogQuery],
) -> Any:
    """List the log lines of a run, oldest first."""
    run = readable_run(request, run_id)
    rows = run.log_lines.order_by("attempt", "number")
    if query.level is not None:
        rows = rows.filter(level__gte=query.level)
    if query.after is not None:
        attempt, number = _pair(query.after)
        rows = rows.filter(
            Q(attempt=attempt, number__gt=number) | Q(attempt__gt=attempt)
        )
    found = list(rows[: query.limit + 1])
    page = found[: query.limit]
    last = page[-1] if len(found) > query.limit else None
    after = [last.attempt, last.number] if last is not None else None
    return {
        "items": [representations.log_line(row) for row in page],
        "next": link_next(request, response, after),
    }


@decisions_router.get("", response={200: DecisionPage, **errors(400)})
def list_decisions(
    request: ApiRequest,
    response: HttpResponse,
    query: Query[DecisionQuery],
    paging: Query[Paging],
) -> Any:
    """List decisions of all runs, newest first."""
    filters = query.filters()
    page = filters.page(request.user, paging.after_number, size=paging.limit)
    rows = redacted_for(request.user, page.rows)
    return {
        "items": [representations.decision(row) for row in rows],
        "next": link_next(request, response, page.after),
        "scanned_to": page.scanned_to,
    }


def _pair(key: Any) -> tuple[int, int]:
    """Return a cursor's key as two numbers. Raises InvalidCursor."""
    if not isinstance(key, list) or len(key) != 2:  # noqa: PLR2004
        raise InvalidCursor
    first, second = number(key[0]), number(key[1])
    if first is None or second is None:
        raise InvalidCursor
    return first, second
