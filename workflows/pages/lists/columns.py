"""Columns of the run list: built-in ones, and any field of params or result."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workflows.errors import WorkflowNotFound
from workflows.pages.lists.json_conditions import MAX_PATH_KEYS, at, is_key
from workflows.pages.redaction import HIDDEN, is_redacted
from workflows.system import system

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from django.contrib.auth.models import User
    from django.db.models import QuerySet

    from workflows.models import Run

BUILT_IN = {
    "workflow": "Workflow",
    "launched": "Launched",
    "by": "By",
    "duration": "Duration",
    "labels": "Labels",
    "started": "Started",
    "ended": "Ended",
    "attempts": "Attempts",
    "steps": "Steps",
    "worker": "Worker",
    "error": "Error",
}
RENAMED = {"took": "duration"}  # in saved views and bookmarks
DEFAULT_COLUMNS = ("workflow", "launched", "by", "duration")
MAX_FIELDS = 6
MAX_FIELD_LENGTH = 120  # characters
MAX_CELL_LENGTH = 80  # characters


@dataclass(frozen=True, slots=True)
class Field:
    """A value inside params or result, shown as a column."""

    name: str  # result.label
    column: str
    path: tuple[str, ...]

    @property
    def key(self) -> str:
        """Return the name of the annotation that holds the value."""
        return f"field_{self.name.encode().hex()}"

    def of(self, run: Run) -> Any:
        """Return the value of a run; HIDDEN if the run is redacted."""
        if is_redacted(run):
            return HIDDEN
        return getattr(run, self.key, None)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a list of runs, in addition to status and id."""

    ours: tuple[str, ...] = DEFAULT_COLUMNS
    fields: tuple[Field, ...] = ()
    is_chosen: bool = False

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Columns:
        """Read the columns of a query, ignoring unknown ones."""
        column = query.get("column", "")
        names = (
            [RENAMED.get(name, name) for name in column.split(",")] if column else []
        )
        ours = tuple(name for name in BUILT_IN if name in names)
        fields = tuple(_fields(query.get("fields", "")))
        chosen = bool(names or fields)
        return cls(ours if names else DEFAULT_COLUMNS, fields, chosen)

    @property
    def query(self) -> dict[str, str]:
        """Return the columns as fields of a query string; {} for the default."""
        query = {}
        if self.is_chosen and self.ours != DEFAULT_COLUMNS:
            query["column"] = ",".join(self.ours)
        if self.fields:
            query["fields"] = self.fields_text
        return query

    @property
    def fields_text(self) -> str:
        """Return the custom fields as text for the form."""
        return ", ".join(one.name for one in self.fields)

    @property
    def choices(self) -> list[tuple[str, str, bool]]:
        """Return name and title of each built-in column, and whether it is shown."""
        return [(name, title, name in self.ours) for name, title in BUILT_IN.items()]

    @property
    def titles(self) -> list[str]:
        """Return the column headings."""
        return [*(BUILT_IN[name] for name in self.ours), *(f.name for f in self.fields)]

    def fill(self, runs: QuerySet[Run]) -> QuerySet[Run]:
        """Return the runs annotated with the values of custom fields."""
        found = runs.annotate(
            **{one.key: at(one.column, one.path) for one in self.fields}
        )
        return found.prefetch_related("labels")


def _fields(text: str) -> Iterator[Field]:
    names: set[str] = set()
    for part in text.replace("\x00", "")[: MAX_FIELDS * MAX_FIELD_LENGTH].split(","):
        name = part.strip()
        column, *path = (key.strip() for key in name.split("."))
        fits = column in {"params", "result"} and 0 < len(path) < MAX_PATH_KEYS
        if (
            fits
            and all(map(is_key, path))
            and name not in names
            and len(names) < MAX_FIELDS
        ):
            names.add(name)
            yield Field(name, column, tuple(path))


def as_text(value: Any) -> str:
    """Return a value as one line of text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


@dataclass(slots=True)
class Row:
    """A run as a row of the list."""

    run: Run
    ours: Sequence[str]
    labels: list[str] = field(default_factory=list)
    values: list[tuple[str, str]] = field(default_factory=list)  # name and text

    @classmethod
    def of(cls, run: Run, columns: Columns) -> Row:
        """Return the row of a run, with its labels and the values of custom fields."""
        labels = labels_of(run)
        values = [(one.name, as_text(one.of(run))) for one in columns.fields]
        return cls(run, columns.ours, labels, values)


def labels_of(run: Run) -> list[str]:
    """Return the labels of a run; none if the run is redacted."""
    return [] if is_redacted(run) else [label.name for label in run.labels.all()]


def known_fields(workflow: str, person: User) -> list[str]:
    """Return the fields of a workflow's params as suggestions."""
    try:
        found = system.find_workflow(workflow, by=person)
    except WorkflowNotFound:
        return []
    names = getattr(found.params_type, "model_fields", {})
    return [f"params.{name}" for name in names]
