"""Labels of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from workflows.audit import audit_events
from workflows.errors import InvalidLabel
from workflows.infra import notifications
from workflows.models import Run, RunLabel
from workflows.models.labels import MAX_LABEL_LENGTH

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

MAX_LABELS = 20  # per run


def clean(name: str) -> str:
    """Return the normalised label: lower case, single spaces. Raises InvalidLabel."""
    label = " ".join(name.split()).lower()
    if not label or len(label) > MAX_LABEL_LENGTH or "," in label or "\x00" in label:
        raise InvalidLabel(name)
    return label


def add(run: Run, name: str, *, by: AbstractBaseUser | None, reason: str) -> str:
    """Add a label to a run unless present. Raises InvalidLabel."""
    label = clean(name)
    with transaction.atomic():
        Run.objects.filter(pk=run.pk).lock()  # for the limit, with concurrent additions
        existing = set(run.labels.values_list("name", flat=True))
        if label in existing:
            return label
        if len(existing) >= MAX_LABELS:
            raise InvalidLabel(
                name, f"Run {run.short_id} has {MAX_LABELS} labels already."
            )
        RunLabel.objects.create(run=run, name=label, added_by_id=by.pk if by else None)
        _record(run, "label", label, by=by, reason=reason)
    return label


def remove(run: Run, name: str, *, by: AbstractBaseUser | None, reason: str) -> str:
    """Remove a label from a run if present. Raises InvalidLabel."""
    label = clean(name)
    with transaction.atomic():
        if run.labels.filter(name=label).delete()[0]:
            _record(run, "unlabel", label, by=by, reason=reason)
    return label


def _record(
    run: Run, action: str, label: str, *, by: AbstractBaseUser | None, reason: str
) -> None:
    details = f"{label}: {reason}" if reason else label
    audit_events.record(run, action, by=by, reason=details, after=run.status)
    notifications.changed_on_commit(run.pk)
