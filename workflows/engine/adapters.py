"""Caches of one validator per type: they are slow to build and every launch needs them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from .round_trip import Codec

_EMPTY = (list, dict, set, frozenset, tuple, str, int, float, bool)


class _FormSchema(GenerateJsonSchema):
    """JSON schemas that include the default of `default_factory=list` and the like.

    Other factories are not called: they may count or read a clock, and the form would show
    another value than the one the run gets. A NaiveDatetime has the format `date-time-local` of
    OpenAPI's registry of formats.
    """

    def sort(
        self,
        value: JsonSchemaValue,
        parent_key: str | None = None,  # noqa: ARG002 - pydantic's signature
    ) -> JsonSchemaValue:
        """Return a schema unchanged: pydantic would sort its keys."""
        return value

    def datetime_schema(self, schema: Any) -> JsonSchemaValue:
        found = super().datetime_schema(schema)
        if schema.get("tz_constraint") == "naive":
            found["format"] = "date-time-local"
        return found

    def default_schema(self, schema: Any) -> JsonSchemaValue:
        found = super().default_schema(schema)
        factory = schema.get("default_factory")
        if factory in _EMPTY and "default" not in found:
            empty = factory()
            found["default"] = (
                list(empty) if isinstance(empty, set | frozenset | tuple) else empty
            )
        return found


@functools.lru_cache(maxsize=1_000)
def adapter(kind: Any) -> TypeAdapter[Any]:
    """Return the validator of a type."""
    return TypeAdapter(kind)


@functools.lru_cache(maxsize=1_000)
def codec(kind: Any) -> Codec:
    """Return the codec between values of a type and JSON."""
    return Codec(adapter(kind))


@functools.lru_cache(maxsize=1_000)
def schema(kind: Any) -> Mapping[str, Any]:
    """Return the JSON schema of a type for a form; callers must not modify it.

    The properties have the keys under which values are stored. Raises pydantic's errors.
    """
    return codec(kind).schema(schema_generator=_FormSchema)
