"""Rows that people name, change and delete: schedules, webhooks, destinations, alert rules."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from django.db import IntegrityError

from workflows.audit import audit_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User
    from django.db.models import Model

    from workflows.engine.errors import InputInvalid
    from workflows.errors import NotFound

Row = TypeVar("Row", bound="Model")


def locked(found: Row, missing: type[NotFound]) -> Row:
    """Lock a row that was found; return it as it is now. Raises `missing` if it was deleted."""
    rows = type(found)._default_manager  # noqa: SLF001 - `objects` is not typed on Model
    row = rows.select_for_update().filter(pk=found.pk).first()
    if row is None:
        raise missing
    return row


@contextmanager
def unique_name(taken: str, invalid: type[InputInvalid]) -> Iterator[None]:
    """Raise `invalid`, with this message at the name, if the block violates a constraint.

    The block has to be a transaction or a savepoint, which is rolled back then.
    """
    try:
        yield
    except IntegrityError as error:
        raise invalid({"name": [taken]}) from error


def delete(
    row: Model, action: str, *, by: User, reason: str, workflow: str = ""
) -> None:
    """Delete a locked row with an audit event. Raises ReasonMissing."""
    audit_events.require_reason(reason, by=by)
    with audit_events.changing(
        action, row, by=by, reason=f"{row}: {reason}", workflow=workflow
    ):
        type(row)._default_manager.filter(pk=row.pk).delete()  # noqa: SLF001 - as above
