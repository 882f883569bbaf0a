"""Runs and decisions as query sets that are limited to what a user may see.

The only module of the pages that starts a query from `Run.objects` or
`Decision.objects`: a list that starts here cannot forget the viewer's permissions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workflows.access import permissions
from workflows.models import Run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.models import Decision


def visible_runs(user: User) -> QuerySet[Run]:
    """Return the runs that a user may see, with all columns and in no order."""
    return permissions.visible_runs(user).order_by()


def visible_decisions(user: User) -> QuerySet[Decision]:
    """Return the decisions that a user may see, in no order."""
    return permissions.visible_decisions(user).order_by()


def existing_runs(ids: Iterable[UUID | None]) -> set[UUID]:
    """Return which of these runs are still stored, whoever may see them."""
    wanted = {run_id for run_id in ids if run_id}
    return set(Run.objects.filter(pk__in=wanted).values_list("pk", flat=True))
