"""Filters of the list of documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.access import permissions

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.models import Document


def matching_documents(user: User, search: str, who: str) -> QuerySet[Document]:
    """Return the documents a user may see, by text in the name and by uploader."""
    rows = permissions.visible_documents(user).select_related("uploaded_by")
    if search:
        rows = rows.filter(name__icontains=search)
    if who:
        rows = rows.filter(uploaded_by__username=who)
    return rows
