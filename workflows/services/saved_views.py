"""Saved views of the runs list: kept under a name, perhaps for everyone."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from django.db import IntegrityError, transaction
from django.db.models import Q

from workflows.access import permissions
from workflows.audit import trail
from workflows.errors import InvalidView, NotAllowed, ViewNotFound
from workflows.models import SavedView
from workflows.models.labels import MAX_NAME_LENGTH

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from workflows.access.permissions import Permissions

MAX_QUERY_LENGTH = 4_000  # characters
MAX_VIEWS = 50  # views of one person
OF_VALUES = ("where", "text", "label", "fields")  # of a query


def visible_views(person: User) -> list[SavedView]:
    """Return a person's own views, and those that others share with such as them."""
    views = SavedView.objects.filter(Q(owner=person) | Q(shared=True))
    sight = permissions.permissions_for(person)
    return [
        view
        for view in views.select_related("owner").order_by("name", "id")
        if view.owner_id == person.pk or _is_for(view, sight)
    ]


def _is_for(view: SavedView, sight: Permissions) -> bool:
    """Tell whether a view names nothing that is beyond these rights.

    One that looks for values is for those who may read them: of its workflow, or of all.
    """
    asked = dict(parse_qsl(view.query))
    of_values = any(asked.get(name) for name in OF_VALUES)
    names, workflow = sight.read if of_values else sight.see, asked.get("workflow")
    if workflow:
        return workflow in names
    return names.are_all or not of_values


def save(name: str, query: str, *, by: User, shared: bool) -> SavedView:
    """Keep a query under a name; a view of that name of the same person is replaced.

    Raises InvalidView.
    """
    name = _clean(name)
    if len(query) > MAX_QUERY_LENGTH:
        raise InvalidView("These filters are too long to be kept.")
    if by.saved_views.exclude(name=name).count() >= MAX_VIEWS:
        raise InvalidView(f"You have {MAX_VIEWS} views. Delete one to save another.")
    with transaction.atomic():
        view, _ = SavedView.objects.get_or_create(owner=by, name=name)
        with trail.changing("save view", view, by=by):
            view.query, view.shared = query, shared
            view.save(update_fields=["query", "shared"])
    return view


def change(view_id: int, name: str, *, by: User, shared: bool) -> SavedView:
    """Rename a view, share it or keep it to oneself.

    Raises ViewNotFound, NotAllowed, InvalidView.
    """
    name = _clean(name)
    view = _own(view_id, by)
    view.name, view.shared = name, shared
    try:
        with trail.changing("change view", view, by=by):
            view.save(update_fields=["name", "shared"])
    except IntegrityError as error:
        raise InvalidView(f"{view.owner} has another view called “{name}”.") from error
    return view


def delete(view_id: int, *, by: User) -> SavedView:
    """Forget a view. Raises ViewNotFound, NotAllowed."""
    view = _own(view_id, by)
    with trail.changing("delete view", view, by=by):
        SavedView.objects.filter(pk=view.pk).delete()
    return view


def _own(view_id: int, person: User) -> SavedView:
    """Return a view that a person may change: their own, and for admins every shared one."""
    view = next((one for one in visible_views(person) if one.pk == view_id), None)
    if view is None:
        raise ViewNotFound
    if view.owner_id != person.pk and not person.is_superuser:
        raise NotAllowed(f"“{view.name}” is {view.owner}'s view. Save one of your own.")
    return view


def _clean(name: str) -> str:
    cleaned = " ".join(name.replace("\x00", "").split())
    if not cleaned or len(cleaned) > MAX_NAME_LENGTH:
        raise InvalidView(
            f"Give the view a name of up to {MAX_NAME_LENGTH} characters."
        )
    return cleaned
