"""Runs and decisions as query sets that are limited to what a user may see.

Queries of many runs or decisions start here, never at a manager, so that a page cannot
omit the viewer's permissions. `tests/access/test_query_helpers.py` has the exceptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.access import permissions
from workflows.models import Decision, Run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from django.contrib.auth.models import User
    from django.db.models import QuerySet


def visible_runs(user: User) -> QuerySet[Run]:
    """Return the runs that a user may see, with all columns and in no order."""
    return permissions.visible(user, Run.objects.order_by())


def visible_decisions(user: User) -> QuerySet[Decision]:
    """Return the decisions that a user may see, in no order.

    Each is one of the run that made it: forks have copies.
    """
    made = Decision.objects.filter(inherited_from=None)
    return permissions.visible(user, made.order_by())


def existing_runs(ids: Iterable[UUID | None]) -> set[UUID]:
    """Return which of these runs are still stored, regardless of permissions."""
    wanted = {run_id for run_id in ids if run_id}
    return set(Run.objects.filter(pk__in=wanted).values_list("pk", flat=True))
