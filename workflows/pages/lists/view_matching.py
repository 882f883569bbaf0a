"""Whether a run is in a saved view, as the list would show it to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.pages.lists.run_filters import RunFilters
from workflows.pages.query_string import parse_query

if TYPE_CHECKING:
    from uuid import UUID

    from django.contrib.auth.models import User

    from workflows.models import SavedView


def is_in_view(view: SavedView, user: User, run_id: UUID) -> bool:
    """Return whether a view shows a run to a person, with their present permissions."""
    filters = RunFilters.read(parse_query(view.query))
    runs = filters.by_index(user).filter(pk=run_id)
    return runs.filter(filters.by_value()).exists()
