"""What a row says, as the audit keeps it: its fields by name, as the database has them.

A secret is never told: only that there is one, or that there is another now. Moments are
left out: when a row was written is when the deed was done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.db import models

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET_NAMES: Final = frozenset({"password"})
PLAIN: Final = (str, int, float, bool, dict, list)  # that JSON keeps as they are


@dataclass(frozen=True, slots=True)
class Secret:
    """Something that can be compared, and is not shown."""

    value: bytes | str


def of(row: models.Model) -> dict[str, Any]:
    """Return what is stored of a row; nothing of one that is not there."""
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
    """Return what differs, as it was and as it is, to be shown to people."""
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
