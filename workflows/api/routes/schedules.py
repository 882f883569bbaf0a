"""Schedules: list, create, change, pause, backfill, and their past times."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from ninja import Query, Router
from ninja import Status as Reply
from pydantic import Field

from workflows.access import permissions
from workflows.api.paging import Paging, link_next
from workflows.api.requests import ApiRequest, errors
from workflows.api.schemas import Reason
from workflows.api.schemas_schedules import (
    BackfillPeriod,
    BackfillPlan,
    BackfillQueued,
    MomentOut,
    MomentPage,
    ScheduleIn,
    ScheduleOut,
    SchedulePage,
)
from workflows.errors import InvalidCursor
from workflows.models import CatchUp, MomentResult, Overlap, Schedule, ScheduleMoment
from workflows.pages.lists.pagination import forward_page
from workflows.pages.lists.schedules import moments_page
from workflows.pages.redaction import is_redacted, redact
from workflows.schedules import calendar, service
from workflows.schedules.service import Plan

router = Router(tags=["schedules"])
of_workflow_router = Router(tags=["schedules"])


class ScheduleQuery(Paging):
    """Filters of schedules."""

    workflow: str = Field("", max_length=100)


@router.get("", response={200: SchedulePage, **errors(400)})
def list_schedules(
    request: ApiRequest, response: HttpResponse, query: Query[ScheduleQuery]
) -> Any:
    """List the schedules that you may see, oldest first."""
    rows = service.visible_schedules(request.user)
    if name := query.workflow.replace("\x00", ""):
        rows = rows.filter(workflow_name=name)
    page = forward_page(rows, after=query.after_id, size=query.limit)
    return {
        "items": [_schedule(request, row) for row in page.rows],
        "next": link_next(request, response, page.after),
    }


@of_workflow_router.post(
    "/{name}/schedules", response={201: ScheduleOut, **errors(403, 404)}
)
def create_schedule(
    request: ApiRequest, response: HttpResponse, name: str, body: ScheduleIn
) -> Any:
    """Create a schedule. You own it: its runs are launched with your permissions."""
    created = service.create(name, _plan(body), by=request.user)
    response["Location"] = reverse("api:get_schedule", args=[created.pk])
    return Reply(201, _found(request, created.pk))


@router.get("/{uuid:schedule_id}", response={200: ScheduleOut, **errors(404)})
def get_schedule(request: ApiRequest, schedule_id: UUID) -> Any:
    """Get a schedule."""
    return _found(request, schedule_id)


@router.put("/{uuid:schedule_id}", response={200: ScheduleOut, **errors(403, 404)})
def change_schedule(request: ApiRequest, schedule_id: UUID, body: ScheduleIn) -> Any:
    """Replace a schedule, and become its owner.

    Those of other people need the permission to operate as well.
    """
    service.change(schedule_id, _plan(body), by=request.user)
    return _found(request, schedule_id)


@router.delete("/{uuid:schedule_id}", response={204: None, **errors(403, 404)})
def delete_schedule(
    request: ApiRequest, schedule_id: UUID, query: Query[Reason]
) -> Any:
    """Delete a schedule with its past times; its runs are kept."""
    service.delete(schedule_id, by=request.user, reason=query.reason)
    return Reply(204, None)


@router.post(
    "/{uuid:schedule_id}/pause", response={200: ScheduleOut, **errors(403, 404)}
)
def pause_schedule(request: ApiRequest, schedule_id: UUID, body: Reason) -> Any:
    """Pause a schedule: times during the pause are neither launched nor missed."""
    service.pause(schedule_id, by=request.user, reason=body.reason)
    return _found(request, schedule_id)


@router.post(
    "/{uuid:schedule_id}/resume", response={200: ScheduleOut, **errors(403, 404)}
)
def resume_schedule(request: ApiRequest, schedule_id: UUID) -> Any:
    """Resume a paused schedule from its next time."""
    service.resume(schedule_id, by=request.user)
    return _found(request, schedule_id)


@router.get(
    "/{uuid:schedule_id}/moments", response={200: MomentPage, **errors(400, 404)}
)
def list_moments(
    request: ApiRequest,
    response: HttpResponse,
    schedule_id: UUID,
    paging: Query[Paging],
) -> Any:
    """List what became of the past times of a schedule, newest first."""
    found = service.find(schedule_id, by=request.user)
    can_read = permissions.can_read(request.user, found.workflow_name)
    page = moments_page(
        found, _time(paging.after), can_read=can_read, size=paging.limit
    )
    return {
        "items": [_moment(row) for row in page.rows],
        "next": link_next(request, response, page.after),
    }


@router.post(
    "/{uuid:schedule_id}/backfill/preview",
    response={200: BackfillPlan, **errors(403, 404)},
)
def preview_backfill(
    request: ApiRequest, schedule_id: UUID, body: BackfillPeriod
) -> Any:
    """List the times of a past period that a backfill would launch; nothing is changed."""
    found = service.find(schedule_id, by=request.user)
    permissions.require(service.can_change(request.user, found), "change this schedule")
    service.require_owner(found, request.user)
    return {"moments": service.preview_backfill(found, body.first, body.last).to_launch}


@router.post(
    "/{uuid:schedule_id}/backfill", response={202: BackfillQueued, **errors(403, 404)}
)
def start_backfill(request: ApiRequest, schedule_id: UUID, body: BackfillPeriod) -> Any:
    """Queue the times of a past period that launched nothing; only the owner may."""
    count = service.backfill(schedule_id, body.first, body.last, by=request.user)
    return Reply(202, BackfillQueued(queued=count))


# Rows -----------------------------------------------------------------------------------


def _plan(body: ScheduleIn) -> Plan:
    return Plan(**body.model_dump(exclude={"params"}), params=body.params)


def _found(request: ApiRequest, schedule_id: UUID) -> ScheduleOut:
    return _schedule(request, service.find(schedule_id, by=request.user))


def _schedule(request: ApiRequest, row: Schedule) -> ScheduleOut:
    can_change = service.can_change(request.user, row)
    if not permissions.can_read(request.user, row.workflow_name):
        redact(row)
    hidden = is_redacted(row)
    return ScheduleOut(
        id=row.pk,
        workflow=row.workflow_name,
        name=row.name,
        cron=row.cron,
        description=calendar.describe(row.cron),
        zone=row.zone,
        hidden=hidden,
        params=None if hidden else row.params,
        profile=row.profile,
        priority=row.priority,
        overlap=Overlap(row.overlap),
        catch_up=CatchUp(row.catch_up),
        jitter_seconds=row.jitter_seconds,
        ends_at=row.ends_at,
        owner=row.owner_name,
        paused=row.is_paused,
        paused_by=row.paused_by_name or None,
        pause_reason=row.pause_reason or None,
        next=row.next_moment,
        can_change=can_change,
        created_at=row.created_at,
        updated_at=row.updated_at,
        url=reverse("schedule", args=[row.pk]),
    )


def _moment(row: ScheduleMoment) -> MomentOut:
    return MomentOut(
        moment=row.moment,
        result=MomentResult(row.result),
        backfill=row.is_backfill,
        run=row.run_id,
        message=row.message,
        processed_at=row.processed_at,
    )


def _time(key: Any) -> dt.datetime | None:
    """Return the key of a cursor as a time. Raises InvalidCursor."""
    if key is None:
        return None
    try:
        found = dt.datetime.fromisoformat(key)
    except (TypeError, ValueError) as error:
        raise InvalidCursor from error
    if found.tzinfo is None:
        raise InvalidCursor
    return found
