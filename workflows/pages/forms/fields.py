"""Form fields from properties of a JSON schema.

The schema is pydantic's, so that the launch form (of a type) and the form of an approval
(of a stored schema) are built by the same code. Cleaned values are JSON; rules that the
schema cannot express are checked by pydantic afterwards.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.urls import reverse

from workflows.engine.errors import NotSerialisable
from workflows.engine.frozen import freeze
from workflows.models import Agent
from workflows.pages.forms.datetime_field import LocalDateTimeField, ZonedDateTimeField
from workflows.pages.render.text import readable_name
from workflows.pages.render.zones import current_zone

Schema = Mapping[str, Any]
PAGE_TIME = re.compile(  # what inputs of the format can show, to the millisecond
    r"(\d{4}-\d\d-\d\dT)?\d\d:\d\d(:\d\d(\.\d{1,3})?)?"
)
TIMES = ("time", "date-time-local")
LONG_TEXT = 200  # characters; fields for longer texts are text areas
MAX_RADIO_CHOICES = 5  # more become a drop-down
ROWS = 4  # of a text area
NOTHING = "—"
INVALID_JSON = "Enter valid JSON."


class JsonField(forms.JSONField):
    """Any JSON as text, for schemas without a more specific field."""

    default_error_messages = {"invalid": INVALID_JSON}  # noqa: RUF012 - Django's
    widget = forms.Textarea(
        attrs={"rows": ROWS, "spellcheck": "false", "class": "code"}
    )

    def prepare_value(self, value: Any) -> Any:
        """Return a value as text, "" for None."""
        return "" if value is None else super().prepare_value(value)

    def to_python(self, value: Any) -> Any:
        """Return the value. Raises ValidationError, also for one that can't be stored."""
        try:
            found = super().to_python(value)
            freeze(found)
        except RecursionError as error:
            raise ValidationError("Nested too deeply.") from error
        except NotSerialisable as error:
            raise ValidationError(str(error)) from error
        except ValueError as error:  # a number of too many digits
            raise ValidationError(INVALID_JSON) from error
        return found

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Return what the form shows again: invalid JSON as it was submitted."""
        try:
            found = super().bound_data(data, initial)
            if not isinstance(found, InvalidJSONInput):
                freeze(found)
        except (ValueError, RecursionError, NotSerialisable):
            return InvalidJSONInput(data)
        return found


class ExactTextField(forms.CharField):
    """Text that is not stripped, with line breaks normalized to `\\n`.

    Browsers submit line breaks as two characters, which would count twice against a limit.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"strip": False, **options})

    def to_python(self, value: Any) -> Any:
        """Return the text with normalized line breaks."""
        return super().to_python(with_unix_newlines(value))


def with_unix_newlines(value: Any) -> Any:
    """Return a text with `\\n` as line breaks; any other value unchanged."""
    if not isinstance(value, str):
        return value
    return value.replace("\r\n", "\n").replace("\r", "\n")


class LinesField(ExactTextField):
    """A list of simple values, one per line; empty lines are ignored."""

    widget = forms.Textarea(attrs={"rows": ROWS})

    def __init__(self, *, item: forms.Field, **options: Any) -> None:
        """Set the field that cleans each line."""
        super().__init__(**options)
        self.item = item

    @staticmethod
    def can_show(values: Any) -> bool:
        """Return whether each of these values fits on a line."""
        return not isinstance(values, list | tuple) or all(
            str(one) and with_unix_newlines(str(one)).count("\n") == 0 for one in values
        )

    def prepare_value(self, value: Any) -> Any:
        """Return a list as lines."""
        return "\n".join(map(str, value)) if isinstance(value, list | tuple) else value

    def clean(self, value: Any) -> list[Any]:
        """Return the values. Raises ValidationError with line numbers."""
        lines = (super().clean(value) or "").split("\n")
        if not isinstance(self.item, ExactTextField):  # whitespace matters in text only
            lines = [line.strip() for line in lines]
        cleaned, problems = [], []
        for number, line in enumerate(filter(None, lines), 1):
            try:
                cleaned.append(self.item.clean(line))
            except ValidationError as error:
                problems += [f"Line {number}: {text}" for text in error.messages]
        if problems:
            raise ValidationError(problems)
        return cleaned


class IsoField(forms.Field):
    """A field whose cleaned value has an ISO form: dates, times, ids."""

    def __init__(self, *, inner: forms.Field, **options: Any) -> None:
        """Set the field that parses the value."""
        super().__init__(**options, widget=inner.widget)
        self.inner = inner

    def clean(self, value: Any) -> str | None:
        """Return the value as text. Raises ValidationError."""
        found = self.inner.clean(super().clean(value))
        if found in (None, ""):
            return None
        return found.isoformat() if isinstance(found, dt.date | dt.time) else str(found)


class JsonChoiceField(forms.TypedChoiceField):
    """A choice of one JSON value, with its type."""

    def __init__(self, *, values: list[Any], **options: Any) -> None:
        """Offer the values as radio buttons, or as a drop-down if there are many."""
        few = len(values) <= MAX_RADIO_CHOICES
        choices = [(key_of(value), label_of(value)) for value in values]
        self.known = {key_of(value): value for value in values}
        if not few or not options["required"]:
            choices.insert(0, ("", NOTHING))
        super().__init__(
            choices=choices,
            coerce=self.known.__getitem__,
            empty_value=None,
            widget=forms.RadioSelect if few else forms.Select,
            **options,
        )

    def prepare_value(self, value: Any) -> Any:
        """Return the key of a value; a key unchanged."""
        if isinstance(value, str) and value in self.known:
            return value
        key = key_of(value)
        return key if value is not None or key in self.known else ""


class JsonChoicesField(forms.TypedMultipleChoiceField):
    """A choice of several JSON values, with their types."""

    def __init__(self, *, values: list[Any], **options: Any) -> None:
        """Offer the values as checkboxes."""
        self.known = {key_of(value): value for value in values}
        super().__init__(
            choices=[(key_of(value), label_of(value)) for value in values],
            coerce=self.known.__getitem__,
            empty_value=[],
            widget=forms.CheckboxSelectMultiple,
            **options,
        )

    def prepare_value(self, value: Any) -> Any:
        """Return the keys of values."""
        return [
            item if isinstance(item, str) and item in self.known else key_of(item)
            for item in value or ()
        ]


class UploadInput(forms.FileInput):
    """An input for PDFs, with the size limit and upload URL for scripts."""

    def __init__(self, *, several: bool = False) -> None:
        super().__init__()
        self.allow_multiple_selected = several

    @property
    def limit(self) -> str:
        """Return the size limit for display."""
        return f"{settings.MAX_UPLOAD_BYTES / 1_000_000:,.6g} MB"

    def build_attrs(
        self, base_attrs: dict[str, Any], extra_attrs: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Add accepted types, size limit and upload URL."""
        upload_attrs = {
            "accept": "application/pdf,.pdf",
            "data-limit": settings.MAX_UPLOAD_BYTES,
            "data-limit-text": self.limit,
            "data-address": reverse("documents"),
            "multiple": self.allow_multiple_selected,
        }
        return super().build_attrs({**base_attrs, **upload_attrs}, extra_attrs)


class DocumentField(forms.ChoiceField):
    """A choice of a document; the form adds an upload."""


class DocumentsField(forms.MultipleChoiceField):
    """A choice of several documents; the form adds an upload."""


class AgentField(forms.ChoiceField):
    """A choice of an agent by name, or of none."""

    def __init__(self, **options: Any) -> None:
        """Offer the agents at the time the form is rendered."""
        super().__init__(choices=agent_choices, **{**options, "required": False})


def agent_choices() -> list[tuple[str, str]]:
    """Return the enabled agents as choices, after an empty one."""
    rows = Agent.objects.filter(is_enabled=True).select_related("provider")
    named = [(one.name, f"{one.name} · {one.model}") for one in rows]
    return [("", NOTHING), *named]


def key_of(value: Any) -> str:
    """Return the key of a value in the HTML form."""
    is_key = isinstance(value, str) and value and not value.startswith("json:")
    return value if is_key else f"json:{json.dumps(value)}"


def label_of(value: Any) -> str:
    """Return the label of a value as a choice."""
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if value is None:
        return NOTHING
    return readable_name(value) if isinstance(value, str) else json.dumps(value)


# From a schema --------------------------------------------------------------------------


def field_for(schema: Schema, options: dict[str, Any]) -> forms.Field:
    """Return the field of a property whose references and `null` are resolved."""
    if refers := REFERENCES.get(str(schema.get("reference", ""))):
        return refers(**options)
    if "const" in schema:
        return JsonChoiceField(values=[schema["const"]], **options)
    if "enum" in schema:
        return JsonChoiceField(values=list(schema["enum"]), **options)
    build = BUILDERS.get(str(schema.get("type", "")), _json)
    return build(schema, options)


def _json(schema: Schema, options: dict[str, Any]) -> forms.Field:  # noqa: ARG001 - a builder
    options["help_text"] = " ".join(filter(None, [options["help_text"], "JSON."]))
    return JsonField(**options)


def _text(schema: Schema, options: dict[str, Any]) -> forms.Field:
    build = FORMATS.get(schema.get("format", ""))
    shown = schema.get("default")
    is_time = schema.get("format") in TIMES and isinstance(shown, str)
    if build is not None and not (is_time and not PAGE_TIME.fullmatch(str(shown))):
        return build(options)
    longest = schema.get("maxLength")
    has_lines = isinstance(shown, str) and "\n" in with_unix_newlines(shown)
    is_multiline = schema.get("format") == "multiline" or has_lines
    is_long = is_multiline or (longest or 0) > LONG_TEXT
    attrs: dict[str, Any] = {"rows": ROWS} if is_long else {}
    if examples := schema.get("examples"):
        attrs["placeholder"] = str(examples[0])
    return ExactTextField(
        min_length=schema.get("minLength"),
        max_length=longest,
        widget=(forms.Textarea if is_long else forms.TextInput)(attrs=attrs),
        **options,
    )


def _iso(inner: forms.Field, options: dict[str, Any], kind: str = "") -> forms.Field:
    inner.required = False
    field = IsoField(inner=inner, **options)
    if kind:
        field.widget.input_type = kind
    return field


FORMATS: dict[str, Callable[[dict[str, Any]], forms.Field]] = {
    "date": lambda o: _iso(forms.DateField(), o, "date"),
    "time": lambda o: _iso(forms.TimeField(), o, "time"),
    "uuid": lambda o: _iso(forms.UUIDField(), o),
    "date-time-local": lambda o: _iso(LocalDateTimeField(), o, "datetime-local"),
    "date-time": lambda o: ZonedDateTimeField(**o),
    "email": lambda o: forms.EmailField(**o),
    "uri": lambda o: forms.URLField(assume_scheme="https", **o),
}


def _number(schema: Schema, options: dict[str, Any]) -> forms.Field:
    is_whole = schema.get("type") == "integer"
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    step = schema.get("multipleOf")
    attrs = {} if is_whole or step else {"step": "any"}
    kind = forms.IntegerField if is_whole else forms.FloatField
    return kind(
        min_value=low,
        max_value=high,
        step_size=step,
        widget=forms.NumberInput(attrs=attrs),
        **options,
    )


def _boolean(schema: Schema, options: dict[str, Any]) -> forms.Field:
    if schema.get("nullable"):
        return JsonChoiceField(values=[True, False], **options)
    return forms.BooleanField(**{**options, "required": False})


def _list(schema: Schema, options: dict[str, Any]) -> forms.Field:
    item = schema.get("items") or {}
    if item.get("reference") == "document":
        return DocumentsField(**options)
    if "enum" in item:
        return JsonChoicesField(values=list(item["enum"]), **options)
    is_simple = item.get("type") in SIMPLE and LinesField.can_show(
        schema.get("default")
    )
    if "prefixItems" in schema or not is_simple:
        return _json(schema, options)
    options["help_text"] = " ".join(
        filter(None, [options["help_text"], "One per line."])
    )
    inner = field_for(item, {"required": True, "help_text": ""})
    if isinstance(inner, ZonedDateTimeField):
        options["help_text"] += (
            f" Times without an offset such as +02:00 are in {current_zone()}."
        )
    return LinesField(item=inner, **options)


REFERENCES: dict[str, Callable[..., forms.Field]] = {
    "document": DocumentField,
    "agent": AgentField,
}
SIMPLE = frozenset({"string", "integer", "number"})
BUILDERS: dict[str, Callable[[Schema, dict[str, Any]], forms.Field]] = {
    "string": _text,
    "integer": _number,
    "number": _number,
    "boolean": _boolean,
    "array": _list,
}
