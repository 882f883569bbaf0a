"""Streams of server-sent events: of a run, of runs, of open approvals, of pauses."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

from ninja import Query, Router, Schema
from ninja.params import functions as param_functions
from pydantic import Field

from workflows.api.filters import RunQuery
from workflows.api.live import frames, streams
from workflows.api.live.list_source import (
    ListSource,
    approvals_page,
    pauses_page,
    runs_page,
)
from workflows.api.live.run_source import Position, RunSource
from workflows.api.live.viewers import Viewer
from workflows.api.paging import DEFAULT_LIMIT, MAX_LIMIT
from workflows.api.requests import ApiRequest, errors

runs_router = Router(tags=["events"])
approvals_router = Router(tags=["events"])
pauses_router = Router(tags=["events"])

LastEventId = Annotated[
    str,
    param_functions.Header(
        "",
        alias="Last-Event-ID",
        max_length=frames.MAX_ID_LENGTH,
        description="`id` of the last event that you have: the stream continues behind it.",
    ),
]


class Window(Schema):
    """The length of the page that is followed."""

    limit: int = Field(
        DEFAULT_LIMIT, ge=1, le=MAX_LIMIT, description="Rows of the page."
    )


def _documented(kind: str, schema: str) -> dict[str, Any]:
    """Return the documentation of a stream; the schema is that of each event."""
    references = [f"#/components/schemas/{name}" for name in (schema, "Closed")]
    data = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"anyOf": [{"$ref": one} for one in references]},
    }
    event = {
        "type": "object",
        "properties": {
            "event": {"enum": [kind, "closed"]},
            "id": {"type": "string"},
            "data": data,
        },
    }
    description = (
        f"Server-sent events: `{kind}` with `{schema}` as JSON in `data`, and `closed` with"
        " `Closed`, which is the last one."
    )
    content = {frames.CONTENT_TYPE: {"schema": event}}
    return {"responses": {200: {"description": description, "content": content}}}


RUN: Final = _documented("run", "RunEvent")
RUN["responses"][204] = {
    "description": "The run has ended, and Last-Event-ID is its last event."
}


@runs_router.get(
    "/events",
    response={**errors(400, 403)},
    openapi_extra=_documented("runs", "RunListEvent"),
)
def stream_runs(
    request: ApiRequest,
    query: Query[RunQuery],
    window: Query[Window],
    last_event_id: LastEventId,
) -> Any:
    """Stream the newest runs of a filter: one event for each change of the first page."""
    viewer, position = Viewer.of(request), frames.position_in(last_event_id)
    page = runs_page(query, window.limit, viewer)
    return streams.respond(request, ListSource("runs", page, viewer, position), viewer)


@runs_router.get(
    "/{uuid:run_id}/events", response={**errors(400, 404)}, openapi_extra=RUN
)
def stream_run(request: ApiRequest, run_id: UUID, last_event_id: LastEventId) -> Any:
    """Stream a run: its history so far, then each change, until it ends."""
    viewer, position = Viewer.of(request), frames.position_in(last_event_id)
    source = RunSource(run_id, viewer, Position.read(position))
    return streams.respond(request, source, viewer)


@approvals_router.get(
    "/events",
    response={**errors(400)},
    openapi_extra=_documented("approvals", "ApprovalListEvent"),
)
def stream_approvals(
    request: ApiRequest, window: Query[Window], last_event_id: LastEventId
) -> Any:
    """Stream the open approvals that you may respond to, oldest first."""
    viewer, position = Viewer.of(request), frames.position_in(last_event_id)
    page = approvals_page(window.limit)
    source = ListSource("approvals", page, viewer, position)
    return streams.respond(request, source, viewer)


@pauses_router.get(
    "/events",
    response={**errors(400)},
    openapi_extra=_documented("pauses", "PauseListEvent"),
)
def stream_pauses(request: ApiRequest, last_event_id: LastEventId) -> Any:
    """Stream the paused workflows that you may see: one event for each change."""
    viewer, position = Viewer.of(request), frames.position_in(last_event_id)
    source = ListSource("pauses", pauses_page, viewer, position)
    return streams.respond(request, source, viewer)
