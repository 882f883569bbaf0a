"""Agents, profiles of workflows, and saved views of the list of runs."""

from __future__ import annotations

from typing import Annotated, Any, Final
from urllib.parse import parse_qsl

from ninja import Router
from ninja import Status as Reply
from ninja.params import functions as param_functions
from pydantic import Field

from workflows.access import permissions
from workflows.agents import profiles
from workflows.api.filters import RunSelection
from workflows.api.requests import ApiRequest, errors
from workflows.api.schemas import Input
from workflows.api.schemas_operations import AgentOut, ProfileOut, ViewOut
from workflows.models import Agent, Profile, SavedView
from workflows.models.labels import MAX_NAME_LENGTH
from workflows.pages.lists.columns import Columns
from workflows.pages.lists.live_lists import encoded_query, views_of
from workflows.system import system

agents_router = Router(tags=["agents"])
profiles_router = Router(tags=["agents"])
views_router = Router(tags=["views"])
MAX_ID: Final = 2**63 - 1
ViewId = Annotated[int, param_functions.Path(ge=0, le=MAX_ID)]


class ViewIn(Input):
    """A saved view."""

    name: str = Field(min_length=1, max_length=MAX_NAME_LENGTH)
    shared: bool = Field(False, description="Whether others can use it.")


class NewView(ViewIn):
    """A saved view with its filters; it replaces your view of that name."""

    filters: RunSelection = Field(default_factory=RunSelection)


@agents_router.get("", response={200: list[AgentOut], **errors()})
def list_agents(request: ApiRequest) -> Any:
    """List the agents that workflows can call, by name."""
    del request
    return [_agent(row) for row in Agent.objects.select_related("provider")]


@profiles_router.get(
    "/{name}/profiles", response={200: list[ProfileOut], **errors(404)}
)
def list_profiles(request: ApiRequest, name: str) -> Any:
    """List the profiles of a workflow; their settings are for people who manage agents."""
    workflow = system.find_workflow(name, by=request.user)
    is_manager = permissions.can_manage_agents(request.user)
    return [_profile(row, is_manager) for row in profiles.of_workflow(workflow)]


@views_router.get("", response={200: list[ViewOut], **errors()})
def list_views(request: ApiRequest) -> Any:
    """List your saved views of the list of runs, and those shared with you."""
    return [_view(row, request) for row in views_of(request.user)]


@views_router.post("", response={201: ViewOut, **errors(403)})
def save_view(request: ApiRequest, body: NewView) -> Any:
    """Save filters of runs under a name."""
    _require_person(request)
    query = encoded_query(body.filters.filters(request.user), Columns.read({}))
    view = system.save_view(body.name, query, by=request.user, shared=body.shared)
    return Reply(201, _view(view, request))


@views_router.put("/{int:view_id}", response={200: ViewOut, **errors(403, 404)})
def change_view(request: ApiRequest, view_id: ViewId, body: ViewIn) -> Any:
    """Rename a view, share or unshare it."""
    _require_person(request)
    view = system.change_view(view_id, body.name, by=request.user, shared=body.shared)
    return _view(view, request)


@views_router.delete("/{int:view_id}", response={204: None, **errors(403, 404)})
def delete_view(request: ApiRequest, view_id: ViewId) -> Any:
    """Delete a view."""
    _require_person(request)
    system.delete_view(view_id, by=request.user)
    return Reply(204, None)


def _require_person(request: ApiRequest) -> None:
    """Raise NotAllowed for a token that does not permit everything of its owner."""
    permissions.require(
        not permissions.is_limited(request.user), "change saved views with this token"
    )


def _agent(row: Agent) -> AgentOut:
    return AgentOut(
        name=row.name,
        model=row.model,
        provider=row.provider.name,
        capabilities=sorted(row.capabilities),
        default=row.is_default,
        enabled=row.is_enabled and row.provider.is_enabled,
    )


def _profile(row: Profile, is_manager: bool) -> ProfileOut:
    return ProfileOut(
        name=row.name,
        description=row.description,
        weight=row.weight,
        stages=row.stages if is_manager else None,
    )


def _view(row: SavedView, request: ApiRequest) -> ViewOut:
    return ViewOut(
        id=row.pk,
        name=row.name,
        owner=row.owner.get_username(),
        shared=row.shared,
        query=dict(parse_qsl(row.query)),
        own=row.owner_id == request.user.pk,
    )
