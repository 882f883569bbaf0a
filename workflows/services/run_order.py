"""How lists of runs are sorted and searched."""

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
    """Return what a list is ordered by; without ties, so that pages do not overlap."""
    order = []
    for name in filter(None, (part.strip() for part in sort.split(","))):
        field = name.removeprefix("-")
        if field not in SORTABLE:
            raise InvalidSort(field, SORTABLE)
        turned = F(field).desc if name.startswith("-") else F(field).asc
        # what is not there comes last on every database, whichever way round
        order.append(turned(nulls_last=True))
    return [*order, F("id").desc()]


def mentions(text: str) -> Q:
    """Return the condition that a run has to do with a text."""
    text = text.replace("\x00", "\ufffd")  # PostgreSQL would refuse it
    return (
        Q(workflow_name__icontains=text)
        | Q(error_message__icontains=text)
        | Q(launched_by__username__icontains=text)
        | Q(pk__iendswith=text)  # pages show the end of an id
    )
