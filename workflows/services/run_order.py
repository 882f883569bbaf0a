"""Sort order and text search of runs."""

from __future__ import annotations

from django.db.models import F, OrderBy, Q

from workflows.errors import InvalidSort

SORTABLE = (
    "id",
    "workflow_name",
    "status",
    "created_at",
    "updated_at",
    "started_at",
    "completed_at",
)


def order(sort: str) -> list[OrderBy]:
    """Return a total order, so that pages do not overlap. Raises InvalidSort."""
    order = []
    for name in filter(None, (part.strip() for part in sort.split(","))):
        field = name.removeprefix("-")
        if field not in SORTABLE:
            raise InvalidSort(field, SORTABLE)
        direction = F(field).desc if name.startswith("-") else F(field).asc
        # nulls last on every database, in both directions
        order.append(direction(nulls_last=True))
    return [*order, F("id").desc()]


def mentions(text: str) -> Q:
    """Return the condition that a run mentions a text."""
    text = text.replace("\x00", "\ufffd")  # PostgreSQL rejects NUL
    return (
        Q(workflow_name__icontains=text)
        | Q(error_message__icontains=text)
        | Q(launched_by__username__icontains=text)
        | Q(pk__iendswith=text)  # pages show the last digits of ids
    )
