"""Events that code writes itself, in the transaction of what they report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Q

from workflows.models import EventKind, Interest, OutboxEvent

if TYPE_CHECKING:
    from collections.abc import Mapping


def write(kind: EventKind, workflow: str, values: Mapping[str, Any]) -> None:
    """Write an event about a workflow, if anyone is interested in it."""
    wanted = Interest.objects.filter(
        Q(kind="") | Q(kind=kind),
        Q(workflow_name="") | Q(workflow_name=workflow),
        run_id=None,
    )
    if wanted.exists():
        OutboxEvent.objects.create(
            kind=kind, workflow_name=workflow, facts=dict(values)
        )
