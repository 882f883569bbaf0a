"""Members and groups as the members page shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import Group, User
from django.db.models import Count, Q

from workflows.access.grants import effect_of
from workflows.pages.lists.pagination import Page, forward_page

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SEARCH_LENGTH = 150  # characters


def members_page(query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of the accounts that match, in the order of their names."""
    search = query.get("q", "").replace("\x00", "")[:MAX_SEARCH_LENGTH].strip()
    group = query.get("group", "").replace("\x00", "")[:MAX_SEARCH_LENGTH]
    after = query.get("after", "").replace("\x00", "")[:MAX_SEARCH_LENGTH] or None
    rows = User.objects.select_related("service_account").prefetch_related("groups")
    if search:
        named = ("username", "first_name", "last_name", "email")
        found = Q()
        for field in named:
            found |= Q(**{f"{field}__icontains": search})
        rows = rows.filter(found)
    if group:
        rows = rows.filter(groups__name=group)
    page: Page[User] = forward_page(rows, after=after, key="username")
    return {"found": page, "search": search, "group": group, "after": after}


def group_rows() -> list[dict[str, Any]]:
    """Return the groups, with the number of active members and the effect of each."""
    active = Count("user", filter=Q(user__is_active=True))
    groups = Group.objects.annotate(members=active).order_by("name")
    fetched = groups.prefetch_related("permissions", "workflow_permissions")
    return [{"group": one, "effect": effect_of(one)} for one in fetched]
