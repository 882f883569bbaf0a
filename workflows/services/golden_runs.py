"""Mark runs as golden: what later versions of their workflow have to repeat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.db import transaction

from workflows.audit import audit_events
from workflows.errors import InvalidParams, InvalidStatus, PayloadRemoved
from workflows.infra import notifications
from workflows.models import GoldenRun, Run, Status
from workflows.models.golden_runs import DEFAULT_DATASET, MAX_DATASET_LENGTH
from workflows.services.golden_fields import (
    MAX_FIELDS,
    MISSING,
    GoldenField,
    is_number,
    value_at,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import QuerySet

MARKABLE: Final = (Status.COMPLETED, Status.FAILED)  # what a run can be expected to be


@dataclass(frozen=True, slots=True)
class Expectation:
    """What of a golden run matters, besides its status."""

    dataset: str = DEFAULT_DATASET
    checks_path: bool = True
    fields: Sequence[GoldenField] = ()


def is_markable(run: Run) -> bool:
    """Return whether a run has an end and data that can be expected again."""
    return run.status in MARKABLE and run.payload_removed_at is None


def require_markable(run: Run) -> None:
    """Raise InvalidStatus or PayloadRemoved for a run that cannot be golden."""
    if run.payload_removed_at is not None:
        raise PayloadRemoved
    if run.status not in MARKABLE:
        raise InvalidStatus(
            run, wanted="marked golden: it has to be completed or failed"
        )


def golden_runs(workflow: str = "", dataset: str = "") -> QuerySet[GoldenRun]:
    """Return the golden runs of a workflow and a dataset, or of all, in a fixed order."""
    rows = GoldenRun.objects.select_related("run")
    if workflow:
        rows = rows.filter(workflow_name=workflow)
    if dataset:
        rows = rows.filter(dataset=dataset)
    return rows.order_by("workflow_name", "dataset", "run_id")


def clean_dataset(name: str) -> str:
    """Return the normalised name of a dataset. Raises InvalidParams."""
    cleaned = " ".join(name.replace("\x00", "").split()).lower()
    if not cleaned or len(cleaned) > MAX_DATASET_LENGTH:
        message = f"Enter a name of 1 to {MAX_DATASET_LENGTH} characters."
        raise InvalidParams({"dataset": [message]})
    return cleaned


def mark(
    run: Run, expected: Expectation, *, by: AbstractBaseUser | None, reason: str
) -> GoldenRun:
    """Mark a run golden and pin it; a golden run gets the new expectation.

    Raises InvalidStatus, PayloadRemoved, InvalidParams.
    """
    dataset = clean_dataset(expected.dataset)
    with transaction.atomic():
        locked = Run.objects.select_for_update().get(pk=run.pk)
        require_markable(locked)
        _check(locked, expected)
        before = GoldenRun.objects.filter(run=locked).first()
        values = {
            "dataset": dataset,
            "checks_path": expected.checks_path,
            "fields": [field.as_json for field in expected.fields],
            "reason": reason,
            "person_id": by.pk if by else None,
            "person_name": by.get_username() if by else "system",
        }
        first = {
            "workflow_name": locked.workflow_name,
            "was_pinned": locked.is_pinned,
        }
        row, _ = GoldenRun.objects.update_or_create(
            run=locked, defaults=values, create_defaults={**values, **first}
        )
        Run.objects.filter(pk=locked.pk).update(is_pinned=True)
        changed = _sealed(before, locked), _sealed(row, locked, is_pinned=True)
        _record(locked, "mark golden", by, reason, changed)
    return row


def unmark(run: Run, *, by: AbstractBaseUser | None, reason: str) -> None:
    """Unmark a golden run; unpin it unless it was pinned before. Raises InvalidStatus."""
    with transaction.atomic():
        locked = Run.objects.select_for_update().get(pk=run.pk)
        row = GoldenRun.objects.filter(run=locked).first()
        if row is None:
            raise InvalidStatus(locked, wanted="unmarked: it is not golden")
        before = _sealed(row, locked)
        row.delete()
        if not row.was_pinned:
            Run.objects.filter(pk=locked.pk).update(is_pinned=False)
        after = _sealed(None, locked, is_pinned=row.was_pinned)
        _record(locked, "unmark golden", by, reason, (before, after))


def _check(run: Run, expected: Expectation) -> None:
    """Raise InvalidParams unless something is compared that the run has."""
    if not expected.checks_path and not expected.fields:
        raise InvalidParams({"": ["Choose the path, fields of the result, or both."]})
    if len(expected.fields) > MAX_FIELDS:
        message = (
            f"{len(expected.fields)} fields; at most {MAX_FIELDS} can be compared."
        )
        raise InvalidParams({"fields": [message]})
    messages = [text for one in expected.fields if (text := _wrong(run.result, one))]
    names = [one.name for one in expected.fields]
    messages += sorted(
        f"{name}: named more than once." for name in set(names) if names.count(name) > 1
    )
    if messages:
        raise InvalidParams({"fields": messages})


def _wrong(result: object, field: GoldenField) -> str:
    """Return what is wrong with a field, "" if nothing is."""
    value = value_at(result, field.name)
    tolerance = field.tolerance
    if value is MISSING:
        return f"{field.name}: the result has no such field."
    if tolerance is not None and not is_number(value):
        return f"{field.name}: only numbers have a tolerance."
    if tolerance is not None and (not is_number(tolerance) or tolerance < 0):
        return f"{field.name}: the tolerance is a number of 0 or more."
    return ""


def _sealed(
    row: GoldenRun | None, run: Run, is_pinned: bool | None = None
) -> dict[str, Any]:
    """Return what the audit log has of the mark."""
    pinned = run.is_pinned if is_pinned is None else is_pinned
    if row is None:
        return {"golden": False, "pinned": pinned}
    return {
        "golden": True,
        "dataset": row.dataset,
        "path": row.checks_path,
        "fields": row.fields,
        "pinned": pinned,
    }


def _record(
    run: Run,
    action: str,
    by: AbstractBaseUser | None,
    reason: str,
    changed: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    audit_events.record(
        run, action, by=by, reason=reason, after=run.status, changed=changed
    )
    notifications.changed_on_commit(run.pk)
