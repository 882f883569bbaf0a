"""Rows in memory without the constructor of Django's models, which takes most of a launch.

The constructor goes through all fields, and sends two signals that nobody here receives. These
rows are the same: Django saves, updates and reads them like any others.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

from django.db.models.base import ModelState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.db import models

Row = TypeVar("Row", bound="models.Model")


def new_row(model: type[Row], **columns: Any) -> Row:
    """Return a row that is not inserted yet, with the defaults of the other columns.

    `columns` are named as in the table: `parent_id`. Raises TypeError for another name.
    """
    constants, computed = _defaults(model)
    row = model.__new__(model)
    row.__dict__.update(constants)
    for name, default in computed.items():
        if name not in columns:
            row.__dict__[name] = default()
    row.__dict__.update(columns)
    if len(row.__dict__) != len(constants) + len(computed):
        unknown = sorted(columns.keys() - constants.keys() - computed.keys())
        raise TypeError(f"{model.__name__} has no columns {unknown}.")
    row._state = ModelState()  # noqa: SLF001 - as the constructor does
    return row


def stored_row(model: type[Row], values: Mapping[str, Any], database: str) -> Row:
    """Return a row as `Model.from_db` does: columns that are missing are read when needed."""
    row = model.__new__(model)
    row.__dict__.update(values)
    row._state = state = ModelState()  # noqa: SLF001 - as `from_db` does
    state.adding, state.db = False, database
    return row


@functools.cache
def _defaults(
    model: type[models.Model],
) -> tuple[dict[str, Any], dict[str, Callable[[], Any]]]:
    """Return the defaults of the columns: values, and functions that return one for each row."""
    constants: dict[str, Any] = {}
    computed: dict[str, Callable[[], Any]] = {}
    for field in model._meta.concrete_fields:  # noqa: SLF001 - Django's documented model API
        if field.has_default() and callable(field.default):
            computed[field.attname] = field.default
        else:
            constants[field.attname] = field.get_default()
    return constants, computed
