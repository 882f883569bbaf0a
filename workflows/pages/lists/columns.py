"""The columns of the runs page: ours, and any field of params or result."""

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

OURS = {
    "workflow": "Workflow",
    "launched": "Launched",
    "by": "By",
    "took": "Took",
    "labels": "Labels",
    "started": "Started",
    "ended": "Ended",
    "attempts": "Attempts",
    "steps": "Steps",
    "worker": "Worker",
    "error": "Error",
}
USUAL = ("workflow", "launched", "by", "took")
MAX_FIELDS = 6
MAX_FIELD_LENGTH = 120  # characters
SHOWN = 80  # characters of a value in a cell


@dataclass(frozen=True, slots=True)
class Field:
    """A value inside params or result, shown as a column."""

    name: str  # result.label
    column: str
    path: tuple[str, ...]

    @property
    def key(self) -> str:
        """Return the name its value has on a row."""
        return f"field_{self.name.encode().hex()}"

    def of(self, run: Run) -> Any:
        """Return the run's value, or that it is hidden."""
        if is_redacted(run):
            return HIDDEN
        return getattr(run, self.key, None)


@dataclass(frozen=True, slots=True)
class Columns:
    """What is shown of each run, beside its status and id."""

    ours: tuple[str, ...] = USUAL
    fields: tuple[Field, ...] = ()
    is_chosen: bool = False

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Columns:
        """Take what a query says; what means nothing is left out."""
        asked = query.get("column", "").split(",") if query.get("column") else []
        ours = tuple(name for name in OURS if name in asked)
        fields = tuple(_fields(query.get("fields", "")))
        chosen = bool(asked or fields)
        return cls(ours if asked else USUAL, fields, chosen)

    @property
    def query(self) -> dict[str, str]:
        """Return them as an address tells them."""
        told = {}
        if self.is_chosen and self.ours != USUAL:
            told["column"] = ",".join(self.ours)
        if self.fields:
            told["fields"] = self.fields_text
        return told

    @property
    def fields_text(self) -> str:
        """Return the fields as they are written."""
        return ", ".join(one.name for one in self.fields)

    @property
    def choices(self) -> list[tuple[str, str, bool]]:
        """Return every column of ours: its name, its title, whether it is shown."""
        return [(name, title, name in self.ours) for name, title in OURS.items()]

    @property
    def titles(self) -> list[str]:
        """Return the heads of the columns."""
        return [*(OURS[name] for name in self.ours), *(f.name for f in self.fields)]

    def fill(self, runs: QuerySet[Run]) -> QuerySet[Run]:
        """Return the runs with the values of the fields on each row."""
        found = runs.annotate(
            **{one.key: at(one.column, one.path) for one in self.fields}
        )
        return found.prefetch_related("labels")


def _fields(text: str) -> Iterator[Field]:
    seen: set[str] = set()
    for part in text.replace("\x00", "")[: MAX_FIELDS * MAX_FIELD_LENGTH].split(","):
        name = part.strip()
        column, *path = (key.strip() for key in name.split("."))
        fits = column in {"params", "result"} and 0 < len(path) < MAX_PATH_KEYS
        if (
            fits
            and all(map(is_key, path))
            and name not in seen
            and len(seen) < MAX_FIELDS
        ):
            seen.add(name)
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
    """A run as the list shows it."""

    run: Run
    ours: Sequence[str]
    labels: list[str] = field(default_factory=list)
    values: list[tuple[str, str]] = field(default_factory=list)  # name and text

    @classmethod
    def of(cls, run: Run, columns: Columns) -> Row:
        """Return a run with its labels and the values of its fields."""
        labels = labels_of(run)
        values = [(one.name, as_text(one.of(run))) for one in columns.fields]
        return cls(run, columns.ours, labels, values)


def labels_of(run: Run) -> list[str]:
    """Return the words on a run, or that there are none to be shown."""
    return [] if is_redacted(run) else [label.name for label in run.labels.all()]


def known_fields(workflow: str, person: User) -> list[str]:
    """Return the fields of a workflow's params, to be offered."""
    try:
        found = system.find_workflow(workflow, by=person)
    except WorkflowNotFound:
        return []
    names = getattr(found.params_type, "model_fields", {})
    return [f"params.{name}" for name in names]
