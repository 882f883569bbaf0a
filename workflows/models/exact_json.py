"""JSON that is read exactly as it was stored, on every database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.fields.json import KeyTransform

from workflows.infra.database import is_postgresql

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper


class ExactJSONField(models.JSONField):
    """A JSON field that PostgreSQL stores as text.

    jsonb turns 1e22 into an integer and -0.0 into 0.0, and orders keys in its own way. SQLite
    stores text anyway. Queries into the value use `as_json`, with its index.
    """

    def db_type(self, connection: BaseDatabaseWrapper) -> str | None:
        """Return the type of the column."""
        if is_postgresql(connection):
            return "text"
        return super().db_type(connection)

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> Any:
        """Return what is sent to the database: JSON text."""
        if value is None or hasattr(value, "as_sql"):
            return super().get_db_prep_value(value, connection, prepared)
        return json.dumps(value, cls=self.encoder)

    def get_transform(self, lookup_name: str) -> Any:
        """Return what reads a key of the value in a query."""
        found = models.TextField().get_transform(lookup_name)
        if found is not None:
            return found
        return lambda lhs, *args, **options: KeyTransform(
            lookup_name, AsJson(lhs), *args, **options
        )


class AsJson(models.Func):
    """A column of JSON text as JSON, for conditions on what is in it."""

    template = "%(expressions)s"

    def __init__(self, *expressions: Any, **options: Any) -> None:
        """Take the column."""
        super().__init__(*expressions, output_field=models.JSONField(), **options)

    def as_postgresql(
        self, compiler: Any, connection: BaseDatabaseWrapper, **options: Any
    ) -> Any:
        """Return the cast that the indexes on params and results are made of."""
        return self.as_sql(
            compiler, connection, template="(%(expressions)s)::jsonb", **options
        )
