"""Snapshots of rows for audit events: stored field values by name.

Secrets are compared but not stored: an event records only that one exists or was replaced.
Times are omitted: the event has its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.db import models

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET_NAMES: Final = frozenset({"password", "path"})
PLAIN: Final = (str, int, float, bool, dict, list)  # stored in JSON unchanged


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that is compared, but not stored."""

    value: bytes | str


def of(row: models.Model) -> dict[str, Any]:
    """Return the stored fields of a row; {} if it does not exist."""
    kind = type(row)
    stored = kind._base_manager.filter(pk=row.pk).first() if row.pk else None  # noqa: SLF001 - Django's documented model API
    if stored is None:
        return {}
    found = {
        field.name: _value(stored, field)
        for field in kind._meta.concrete_fields  # noqa: SLF001 - Django's documented model API
        if not field.primary_key and not isinstance(field, models.DateTimeField)
    }
    for field in kind._meta.many_to_many:  # noqa: SLF001 - Django's documented model API
        found[field.name] = sorted(
            str(one) for one in getattr(stored, field.name).all()
        )
    return found


def _value(row: models.Model, field: models.Field[Any, Any]) -> Any:
    if field.is_relation:
        related = getattr(row, field.name)
        return None if related is None else str(related)
    value = field.value_from_object(row)
    if isinstance(field, models.BinaryField) or field.name in SECRET_NAMES:
        return Secret(bytes(value) if isinstance(value, memoryview) else value or "")
    if value is None or isinstance(value, PLAIN):
        return value
    return field.value_to_string(row)


def difference(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the differing fields before and after, as JSON values."""
    names = [
        name
        for name in {**before, **after}
        if name not in before or name not in after or before[name] != after[name]
    ]
    was = {name: _to_json(before[name], "kept") for name in names if name in before}
    known = "another" if before else "kept"
    return was, {name: _to_json(after[name], known) for name in names if name in after}


def _to_json(value: Any, secret: str) -> Any:
    if isinstance(value, Secret):
        return secret if value.value else "none"
    return value
