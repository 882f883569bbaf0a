"""Promote a profile: it gets all launches that name no profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.db import transaction

from workflows.agents import profiles
from workflows.audit import audit_events
from workflows.models import Profile

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

    from workflows.registry import AnyWorkflow

ALL: Final = 100  # weight of the default; that of all others is 0


def promote(
    workflow: AnyWorkflow, name: str, *, by: AbstractBaseUser | None, reason: str
) -> None:
    """Give a profile the whole weight, "" the workflow's settings. Raises InvalidParams."""
    with transaction.atomic():
        rows = Profile.objects.filter(workflow_name=workflow.name)
        before = dict(rows.select_for_update().values_list("name", "weight"))
        chosen = profiles.find(workflow, name)
        rows.exclude(weight=0).update(weight=0)
        if chosen is not None:
            rows.filter(pk=chosen.pk).update(weight=ALL)
        after = dict(rows.values_list("name", "weight"))
        audit_events.note(
            "promote profile",
            by=by,
            reason=f"{workflow.name}: {name or 'defaults'}: {reason}".rstrip(": "),
            changed=({"weights": before}, {"weights": after}),
            workflow=workflow.name,
        )


def is_default(name: str, weights: dict[str, int]) -> bool:
    """Return whether every launch without a profile gets this one, "" the workflow's own."""
    weighted = [known for known, weight in weights.items() if weight]
    return weighted == ([name] if name else [])
