"""A button for each choice of a response that is one choice: its other fields are optional."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from workflows.pages.forms import json_schema as schemas
from workflows.pages.forms.fields import (
    MAX_RADIO_CHOICES,
    JsonChoiceField,
    key_of,
    label_of,
)
from workflows.pages.forms.schema_form import Group, Row, SchemaForm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.forms.boundfield import BoundField

BOOLEANS: Final = [True, False]


@dataclass(frozen=True, slots=True)
class ChoiceButton:
    """A button that submits the form with one value."""

    key: str  # the value in the form
    label: str
    is_initial: bool  # the choice that the form would show as selected


class ChoiceForm(SchemaForm):
    """The form of a response, with buttons in place of the only field that has to be chosen."""

    def __init__(self, schema: Mapping[str, Any], **options: Any) -> None:
        self._path = choice_of(schema)
        super().__init__(schema, **options)

    def _add_field(self, one: schemas.Property) -> None:
        if one.path == self._path and one.schema.get("type") == "boolean":
            # a checkbox that is not sent would be a No that nobody chose
            super()._add_field(_as_choice(one))
            self.fields[one.path].required = True
        else:
            super()._add_field(one)

    @property
    def choice(self) -> BoundField | None:
        """The field whose choices are buttons, None for a form with a single button."""
        return self[self._path] if self._path else None

    @property
    def buttons(self) -> list[ChoiceButton]:
        """A button for each choice."""
        field = self.fields[self._path] if self._path else None
        if not isinstance(field, JsonChoiceField):
            return []
        shown = field.prepare_value(self.initial.get(self._path, field.initial))
        return [
            ChoiceButton(key, label_of(value), is_initial=key == shown)
            for key, value in field.known.items()
        ]

    @property
    def rest(self) -> Group:
        """The other fields."""
        parts = [part for part in self.group.parts if not self._is_choice(part)]
        return Group(parts=parts)

    def _is_choice(self, part: Row | Group) -> bool:
        return isinstance(part, Row) and part.bound.name == self._path


def choice_of(schema: Mapping[str, Any]) -> str:
    """Return the path of the only field that has to be chosen, "" if there is none.

    It is the only required field; or, where all have defaults, the only choice.
    """
    if schemas.is_free(schema):
        return ""
    found = list(schemas.properties(schema))
    required = [one for one in found if one.is_required]
    choices = [one for one in required or found if _is_choice(one)]
    return choices[0].path if len(choices) == 1 >= len(required) else ""


def _is_choice(one: schemas.Property) -> bool:
    """Return whether a field has few values, of which one has to be chosen."""
    schema = one.schema
    if one.is_nullable or "reference" in schema:
        return False
    values = schema.get("enum", BOOLEANS)
    is_known = "enum" in schema or schema.get("type") == "boolean"
    is_known = is_known and "const" not in schema
    return is_known and 1 < len({key_of(one) for one in values}) <= MAX_RADIO_CHOICES


def _as_choice(one: schemas.Property) -> schemas.Property:
    """Return a boolean as a choice of two values."""
    return replace(one, schema={**one.schema, "enum": BOOLEANS})
