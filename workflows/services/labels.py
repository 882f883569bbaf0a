"""Labels on runs: words by which people find them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from workflows.audit import trail
from workflows.errors import InvalidLabel
from workflows.infra import notifications
from workflows.models import Run, RunLabel
from workflows.models.labels import MAX_LABEL_LENGTH

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

MOST = 20  # labels on one run


def clean(name: str) -> str:
    """Return a label as it is kept: in small letters, spaces single. Raises InvalidLabel."""
    label = " ".join(name.split()).lower()
    if not label or len(label) > MAX_LABEL_LENGTH or "," in label or "\x00" in label:
        raise InvalidLabel(name)
    return label


def add(run: Run, name: str, *, by: AbstractBaseUser | None, reason: str) -> str:
    """Put a label on a run; one that is there already stays. Raises InvalidLabel."""
    label = clean(name)
    with transaction.atomic():
        # the run's row is locked, so that two who add at once count each other's
        Run.objects.select_for_update().filter(pk=run.pk).values_list("pk").first()
        there = set(run.labels.values_list("name", flat=True))
        if label in there:
            return label
        if len(there) >= MOST:
            raise InvalidLabel(name, f"Run {run.short_id} has {MOST} labels already.")
        RunLabel.objects.create(run=run, name=label, added_by_id=by.pk if by else None)
        _record(run, "label", label, by=by, reason=reason)
    return label


def remove(run: Run, name: str, *, by: AbstractBaseUser | None, reason: str) -> str:
    """Take a label off a run; one that is not there stays away. Raises InvalidLabel."""
    label = clean(name)
    with transaction.atomic():
        if run.labels.filter(name=label).delete()[0]:
            _record(run, "unlabel", label, by=by, reason=reason)
    return label


def _record(
    run: Run, action: str, label: str, *, by: AbstractBaseUser | None, reason: str
) -> None:
    told = f"{label}: {reason}" if reason else label
    trail.record(run, action, by=by, reason=told, after=run.status)
    notifications.changed_on_commit(run.pk)
