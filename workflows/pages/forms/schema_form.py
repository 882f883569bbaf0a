"""Forms from JSON schemas, for launching runs and for approvals.

Form validation comes first, then that of the workflow's types. Each error is attached to
its field, and entered values are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, cast

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.forms.boundfield import BoundField

from workflows.access.permissions import visible_documents
from workflows.documents.service import store_document
from workflows.models import Document
from workflows.pages.forms import entries
from workflows.pages.forms import json_schema as schemas
from workflows.pages.forms.fields import (
    NOTHING,
    DocumentField,
    DocumentsField,
    UploadInput,
    field_for,
    with_unix_newlines,
)
from workflows.runtime.errors import ProviderError

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser
    from django.http import QueryDict

    from workflows.errors import InvalidParams

DOCUMENTS = (DocumentField, DocumentsField)
GIVEN = ":given"  # suffix of the checkbox that includes an optional group
UPLOAD = ":file"  # suffix of the upload of a choice of documents
FREE = "values"  # the only field of a type without declared properties
CSRF, OWN, VALUE = (
    "csrfmiddlewaretoken",
    "launch-",
    "value-",
)  # names in the launch page
BOTH_GIVEN = (
    "Both a document and an upload were given. “{name}” is now selected: submit again to"
    " use it, or choose another."
)
RECENT = 200  # documents in a drop-down, newest first


@dataclass(slots=True)
class Row:
    """A field of a form as rendered, with its upload if it has one."""

    bound: BoundField
    upload: BoundField | None = None
    is_optional: bool | None = None  # may be left empty; None: as the field


@dataclass(slots=True)
class Group:
    """The fields of one model; groups nest as models do."""

    title: str = ""
    description: str = ""
    given: BoundField | None = None  # checkbox that includes an optional group
    parts: list[Row | Group] = field(default_factory=list)
    is_entry: bool = False  # one of the models of a list
    brief: str = ""  # of an entry: its first values

    @property
    def is_group(self) -> bool:
        """Return True, by which templates distinguish groups from rows."""
        return True

    @property
    def has_errors(self) -> bool:
        """Return whether a field has an error, so that the group is shown open."""
        return any(
            one.has_errors if isinstance(one, Group) else bool(one.bound.errors)
            for one in self.parts
        )


class SchemaForm(forms.Form):
    """A form for the values of a model, built from its JSON schema."""

    def __init__(
        self,
        schema: Mapping[str, Any],
        *,
        by: AbstractBaseUser | None = None,
        has_entries: bool = False,
        **options: Any,
    ) -> None:
        """Build the fields; `initial` takes params as stored with a run.

        With `has_entries`, lists of models are groups of fields, not JSON.
        """
        initial = options.get("initial") or {}
        self._is_free = schemas.is_free(schema)
        if self._is_free:
            schema = {"properties": {FREE: {"type": "object", "title": "Parameters"}}}
            initial = {FREE: initial} if initial else {}
        options["initial"] = flat(initial)
        super().__init__(label_suffix="", **options)
        self.schema = schema
        self._by, self._has_entries = by, has_entries
        self._lists: list[str] = []  # paths of lists of models, outer ones first
        self._optional: list[str] = []  # paths of groups that may be left out
        self._found: dict[str, schemas.Property] = {}
        self.group = Group()
        self._tree: list[tuple[Group, str]] = []
        self._add(schemas.properties(schema), self.group)
        self._offer_documents()

    # -- building ------------------------------------------------------------------------

    def _add(self, found: Iterator[schemas.Property], group: Group) -> None:
        for one in found:
            if schemas.is_group(self.schema, one):
                inner = Group(one.title, one.description, self._given(one))
                group.parts.append(inner)
                self._found[one.path] = one
                below = schemas.properties(
                    self.schema, one.schema, one.path, one.default
                )
                self._add(below, inner)
            elif schema := self._schema_of_entries(one):
                self._add_entries(one, schema, group)
            else:
                self._add_field(one)
                group.parts.append(self._row(one.path))

    def _schema_of_entries(self, one: schemas.Property) -> Mapping[str, Any] | None:
        """Return the schema of the entries of a list that is shown as groups."""
        has_room = len(self.fields) < entries.MAX_FIELDS
        if not (self._has_entries and has_room and entries.fits(self._shown(one))):
            return None
        return schemas.elements(self.schema, one)

    def _add_entries(
        self, one: schemas.Property, schema: Mapping[str, Any], group: Group
    ) -> None:
        """Add a group for each entry of a list, and one for a new entry."""
        shown = self._shown(one) or []
        self._lists.append(one.path)
        self._found[one.path] = one
        by_number = {str(number): value for number, value in enumerate(shown)}
        self.initial = {**self.initial, **flat(by_number, one.path)}
        outer = Group(one.title, one.description)
        group.parts.append(outer)
        for entry in entries.entry_properties(one, schema, shown):
            value = self._shown(entry)
            label = entries.ADD if value is None else entries.KEEP
            given = self._given(entry, label)
            brief = entries.brief(value)
            inner = Group(entry.title, "", given, is_entry=True, brief=brief)
            outer.parts.append(inner)
            self._found[entry.path] = entry
            self._add(schemas.properties(self.schema, schema, entry.path), inner)

    def _given(
        self, one: schemas.Property, label: str = "Include"
    ) -> BoundField | None:
        """Return the checkbox that includes a nullable group."""
        if not one.is_nullable:
            return None
        self._optional.append(one.path)
        name = one.path + GIVEN
        self.fields[name] = forms.BooleanField(label=label, required=False)
        self.fields[name].initial = self._shown(one) is not None
        return self[name]

    def _add_field(self, one: schemas.Property) -> None:
        options = {
            "label": one.title,
            "help_text": one.description,
            "required": self._must_be_chosen(one) and not one.is_nullable,
        }
        if not (one.is_required or one.has_default or one.path in self.initial):
            parts = [one.description, "If empty, set at launch."]
            options["help_text"] = " ".join(filter(None, parts))
        made = field_for({**one.schema, "default": self._shown(one)}, options)
        if one.default is not None:
            made.initial = one.default
        if self._is_below(one.path, self._optional):
            # browsers refuse to send an empty required field that is not shown
            made.widget.use_required_attribute = _never
        self._found[one.path] = one
        self.fields[one.path] = made
        if isinstance(made, DOCUMENTS):
            # either the choice or the upload is enough: `clean` checks both
            made.required = False
            self.fields[one.path + UPLOAD] = forms.FileField(
                required=False,
                label=f"Upload for {one.title}",
                widget=UploadInput(),
            )

    def _shown(self, one: schemas.Property) -> Any:
        """Return the value that the untouched form shows: of a run, or the default."""
        return self.initial.get(one.path, one.default)

    def _is_shown(self, one: schemas.Property) -> bool:
        """Return whether the untouched form shows a value."""
        is_known = one.has_default or one.path in self.initial
        return is_known and (one.is_nullable or self._shown(one) is not None)

    def add_prefix(self, field_name: str) -> str:
        """Return the name of an input, without collisions with other inputs of the page."""
        if self.prefix:
            return super().add_prefix(field_name)
        is_taken = field_name == CSRF or field_name.startswith((OWN, VALUE))
        return f"{VALUE}{field_name}" if is_taken else field_name

    def _must_be_chosen(self, one: schemas.Property) -> bool:
        """Return whether empty is invalid: a required field, or a choice with a default."""
        return one.is_required or ("enum" in one.schema and one.default is not None)

    def _row(self, path: str) -> Row:
        upload = path + UPLOAD
        one = self._found[path]
        return Row(
            self[path],
            self[upload] if upload in self.fields else None,
            is_optional=not self._must_be_chosen(one),
        )

    def _offer_documents(self) -> None:
        names = self._document_names()
        if not names:
            return
        choices = document_choices(
            {one for name in names for one in self._chosen(name)}, self._by
        )
        for name in names:
            one = self.fields[name]
            if isinstance(one, DocumentsField):
                one.choices = choices
            elif isinstance(one, DocumentField):
                one.choices = [("", NOTHING), *choices]

    def _chosen(self, name: str) -> list[str]:
        value = self[name].value() or []
        several = value if isinstance(value, list | tuple) else [value]
        return [str(one) for one in several]

    def _document_names(self) -> list[str]:
        return [name for name, f in self.fields.items() if isinstance(f, DOCUMENTS)]

    # -- cleaning ------------------------------------------------------------------------

    def clean(self) -> dict[str, Any]:
        """Store uploads, and add errors for missing values."""
        for name in self._document_names():
            given = self.cleaned_data.get(name + UPLOAD)
            if isinstance(given, UploadedFile):
                self._store(name, given)
            elif self._is_missing(name):
                self.add_error(name, "Choose or upload a document.")
        for name in list(self.errors):
            if self._is_below(name, self._left_out()) or self._is_untouched(name):
                self.errors.pop(name)
        for path in self._emptied():
            self.add_error(path, "This can’t be empty.")
        return self.cleaned_data

    def _emptied(self) -> list[str]:
        """Return the fields that were emptied although their type needs a value."""
        left_out = self._left_out()
        return [
            path
            for path, one in self._found.items()
            if path in self.fields
            and path not in self.errors
            and not (one.is_nullable or one.is_required or one.default is None)
            and self.cleaned_data.get(path) is None
            and not (self._is_below(path, left_out) or self._is_untouched(path))
        ]

    def _is_untouched(self, path: str) -> bool:
        """Return whether a field was submitted as shown; it then keeps its value.

        This preserves values that inputs show in part only, such as microseconds. A field
        that was not submitted, as by a script, is untouched too.
        """
        one = self._found.get(path)
        if one is None or path not in self.fields or not self._is_shown(one):
            return False
        field, bound = self.fields[path], self[path]
        is_omitted = field.widget.value_omitted_from_data(
            self.data, self.files, bound.html_name
        )
        shown = field.prepare_value(self._shown(one))
        if isinstance(field, forms.BooleanField):
            return bool(bound.data) == bool(shown)
        shown = field.widget.format_value(shown)
        return is_omitted or _as_sent(bound.data) == _as_sent(shown)

    @staticmethod
    def _is_below(path: str, groups: list[str]) -> bool:
        return any(path == one or path.startswith(f"{one}.") for one in groups)

    def _left_out(self) -> list[str]:
        """Return the optional groups that are not included."""
        return [
            name.removesuffix(GIVEN)
            for name in self.fields
            if name.endswith(GIVEN) and not self.cleaned_data.get(name)
        ]

    def _is_missing(self, name: str) -> bool:
        has_error = name in self.errors or name + UPLOAD in self.errors
        is_required = (
            self._found[name].is_required and not self._found[name].is_nullable
        )
        return is_required and not has_error and not self.cleaned_data.get(name)

    def _store(self, name: str, given: UploadedFile[Any]) -> None:
        """Store an uploaded file and select it, so that it is not uploaded again."""
        try:
            document = store_document(
                given.name or "", cast("IO[bytes]", given), by=self._by
            )
        except ProviderError as error:
            self.add_error(name, str(error))
            return
        chosen = str(document.pk)
        data = cast("QueryDict", self.data).copy()
        if isinstance(self.fields[name], DocumentsField):
            several = [*self.cleaned_data.get(name, ()), chosen]
            self.cleaned_data[name] = list(dict.fromkeys(several))
            data.setlist(self.add_prefix(name), self.cleaned_data[name])
        else:
            other = self.cleaned_data.get(name)
            self.cleaned_data[name] = chosen
            data[self.add_prefix(name)] = chosen
            if (
                other and other != chosen
            ):  # the form does not show which was chosen last
                self.add_error(name, BOTH_GIVEN.format(name=document.name))
        self.data = data
        self._offer_documents()

    def values(self) -> dict[str, Any]:
        """Return the entered values as nested JSON, without those left to defaults."""
        values: dict[str, Any] = {}
        left_out = self._left_out()
        for path, one in self._found.items():
            if self._is_below(path, left_out):
                if not self._is_below(path.rpartition(".")[0], left_out):
                    put(values, path, None)
            elif path not in self.fields:
                put(values, path, {})
            elif self._is_untouched(path):
                put(values, path, self._shown(one))
            else:
                self._put_filled(values, one)
        for path in reversed(self._lists):
            one = self._found[path]
            names = [schemas.unescaped(name) for name in path.split(".")]
            shown, is_nullable = self._shown(one), one.is_nullable
            entries.join(values, names, shown, is_nullable=is_nullable)
        return values[FREE] if self._is_free else values

    def _put_filled(self, values: dict[str, Any], one: schemas.Property) -> None:
        """Set an entered value; leave out an empty one that the type has a factory for."""
        value = self.cleaned_data.get(one.path)
        is_document = isinstance(self.fields[one.path], DocumentField)
        if value == "" and (one.is_nullable or is_document):
            value = None
        is_known = one.is_required or one.has_default
        if not is_known and value in (None, "", []):
            return
        if value is not None or one.is_nullable:
            put(values, one.path, value)

    def add_validation_errors(self, error: InvalidParams) -> None:
        """Attach the errors of the workflow's types to their fields."""
        for name, messages in error.errors.items():
            for message in messages:
                path, text = self._place(name, message)
                self.add_error(path, text)

    def _place(self, name: str, message: str) -> tuple[str | None, str]:
        """Return the field of a message, and the rest of the message."""
        inner, separator, rest = message.partition(": ")
        name = schemas.escaped(name)
        parts = [name, *inner.split(".")] if separator else [name]
        for count in range(len(parts), 0, -1):
            path = ".".join(parts[:count])
            if path in self.fields:
                if count == len(parts) and separator:
                    return path, rest
                return path, _item(parts[count:], rest) if separator else message
        return None, f"{name}: {message}" if name else message


def _never(_initial: Any) -> bool:
    """Return False, for inputs without the attribute `required`."""
    return False


def _item(place: list[str], text: str) -> str:
    """Return a message about a part of a field's value."""
    if place and place[0].isdigit():
        place = [f"item {int(place[0]) + 1}", *place[1:]]
    where = ", ".join(place)
    return f"{where[:1].upper()}{where[1:]}: {text}" if where else text


def _as_sent(value: Any) -> list[str]:
    """Return what an input shows or submits as comparable texts."""
    several = value if isinstance(value, list | tuple) else [value]
    return [
        str(with_unix_newlines(one)) for one in several if one not in (None, "", False)
    ]


def put(values: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path, creating nested objects."""
    *parents, last = map(schemas.unescaped, path.split("."))
    for name in parents:
        inner = values.get(name)
        if not isinstance(inner, dict):
            inner = values[name] = {}
        values = inner
    values[last] = value


def flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Return nested values by dotted path, including the objects themselves."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        part = schemas.escaped(name)
        here = f"{path}.{part}" if path else part
        found[here] = value
        if isinstance(value, Mapping):
            found |= flat(value, here)
    return found


def document_choices(
    wanted: set[str], by: AbstractBaseUser | None
) -> list[tuple[str, str]]:
    """Return the newest and the `wanted` documents that `by` may see, as choices."""
    columns = ("pk", "name", "page_count")
    visible = Document.objects.all() if by is None else visible_documents(by)
    rows = list(visible.values_list(*columns)[:RECENT])
    missing = wanted - {str(pk) for pk, _, _ in rows}
    if missing and len(rows) == RECENT:
        ids = [one for one in missing if _is_uuid(one)]
        rows += visible.filter(pk__in=ids).values_list(*columns)
    return [(str(pk), f"{name} · {_pages(pages)}") for pk, name, pages in rows]


def _pages(count: int | None) -> str:
    return f"{count or 0} page{'' if count == 1 else 's'}"


def _is_uuid(text: str) -> bool:
    try:
        forms.UUIDField().clean(text)
    except forms.ValidationError:
        return False
    return True
