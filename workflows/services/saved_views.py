"""Saved views of the runs list, private or shared."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from django.db import IntegrityError, transaction
from django.db.models import Q

from workflows.access import permissions
from workflows.audit import audit_events
from workflows.errors import InvalidView, NotAllowed, ViewNotFound
from workflows.models import SavedView
from workflows.models.labels import MAX_NAME_LENGTH

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from workflows.access.permissions import Permissions

MAX_QUERY_LENGTH = 4_000  # characters
MAX_VIEWS = 50  # views of one person
OF_VALUES = (
    "q",
    "title",
    "where",
    "text",
    "label",
    "fields",
)  # query keys that filter by values of runs


def visible_views(person: User) -> list[SavedView]:
    """Return the views of a person and the shared ones they have permissions for."""
    views = SavedView.objects.filter(Q(owner=person) | Q(shared=True))
    granted = permissions.permissions_for(person)
    return [
        view
        for view in views.select_related("owner").order_by("name", "id")
        if view.owner_id == person.pk or _is_permitted(view, granted)
    ]


def _is_permitted(view: SavedView, granted: Permissions) -> bool:
    """Return whether a view filters only by what these permissions cover.

    A view that filters by values requires the permission to read them, for its workflow
    or for all.
    """
    query = dict(parse_qsl(view.query))
    of_values = any(query.get(name) for name in OF_VALUES)
    names, workflow = granted.read if of_values else granted.view, query.get("workflow")
    if workflow:
        return workflow in names
    return names.are_all or not of_values


def save(name: str, query: str, *, by: User, shared: bool) -> SavedView:
    """Save a query under a name; replaces the person's view of that name.

    Raises InvalidView.
    """
    name = _clean(name)
    if len(query) > MAX_QUERY_LENGTH:
        raise InvalidView("These filters are too long to save.")
    if by.saved_views.exclude(name=name).count() >= MAX_VIEWS:
        raise InvalidView(f"You have {MAX_VIEWS} views. Delete one to save another.")
    with transaction.atomic():
        view, _ = SavedView.objects.get_or_create(owner=by, name=name)
        with audit_events.changing("save view", view, by=by):
            view.query, view.shared = query, shared
            view.save(update_fields=["query", "shared"])
    return view


def change(view_id: int, name: str, *, by: User, shared: bool) -> SavedView:
    """Rename, share or unshare a view.

    Raises ViewNotFound, NotAllowed, InvalidView.
    """
    name = _clean(name)
    view = _own(view_id, by)
    view.name, view.shared = name, shared
    try:
        with audit_events.changing("change view", view, by=by):
            view.save(update_fields=["name", "shared"])
    except IntegrityError as error:
        raise InvalidView(f"{view.owner} already has a view “{name}”.") from error
    return view


def delete(view_id: int, *, by: User) -> SavedView:
    """Delete a view. Raises ViewNotFound, NotAllowed."""
    view = _own(view_id, by)
    with audit_events.changing("delete view", view, by=by):
        SavedView.objects.filter(pk=view.pk).delete()
    return view


def _own(view_id: int, person: User) -> SavedView:
    """Return a view that a person may change: their own; superusers also shared ones."""
    view = next((one for one in visible_views(person) if one.pk == view_id), None)
    if view is None:
        raise ViewNotFound
    if view.owner_id != person.pk and not permissions.is_superuser(person):
        raise NotAllowed(f"“{view.name}” belongs to {view.owner}. Save your own view.")
    return view


def _clean(name: str) -> str:
    cleaned = " ".join(name.replace("\x00", "").split())
    if not cleaned or len(cleaned) > MAX_NAME_LENGTH:
        raise InvalidView(f"Enter a name of up to {MAX_NAME_LENGTH} characters.")
    return cleaned
