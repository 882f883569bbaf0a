"""Export of runs as a streamed CSV, JSON Lines or JSON file.

Rows are read in chunks by key as the client reads the response, so that memory use does
not depend on their number. Text that a spreadsheet would evaluate as a formula gets a
leading apostrophe (CSV injection).
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workflows.agents import usage
from workflows.agents.usage import Usage
from workflows.models import Status
from workflows.pages.lists.columns import as_text, labels_of
from workflows.pages.lists.pagination import iter_chunks
from workflows.pages.redaction import HIDDEN, by_workflow, is_redacted
from workflows.pages.run.related_runs import Continuation, continuations

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from uuid import UUID

    from django.db.models import Q, QuerySet

    from workflows.access.permissions import WorkflowSet
    from workflows.models import Run
    from workflows.pages.lists.columns import Columns

KINDS = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/x-ndjson; charset=utf-8",
    "json": "application/json; charset=utf-8",
}
SEPARATORS = {"csv": "", "jsonl": "", "json": ",\n"}
CHUNK = 200  # rows read per query
FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")
HEAD = (
    "id",
    "workflow",
    "title",
    "status",
    "launched_by",
    "created_at",
    "started_at",
    "completed_at",
    "seconds",
    "labels",
    "error_code",
    "error_node",
    "error_message",
    "cancel_reason",
    "profile",
    "continues",
    "continued_by",
    *Usage().columns(),
)


def defused(text: str) -> str:
    """Return a text that no spreadsheet evaluates."""
    return f"'{text}" if text.startswith(FORMULA_PREFIXES) else text


@dataclass(frozen=True, slots=True)
class Export:
    """Runs, and the format and columns in which they are written."""

    runs: QuerySet[Run]
    condition: Q
    columns: Columns
    kind: str  # one of KINDS
    read: WorkflowSet  # the workflows whose data the user may view

    def parts(self) -> Iterator[str]:
        """Yield the parts of the file; each is computed when the previous one was sent."""
        columns = [defused(one.name) for one in self.columns.fields]
        return file_parts(self.kind, [*HEAD, *columns], self._texts())

    def _texts(self) -> Iterator[str]:
        for chunk in iter_chunks(self._filled(), self.condition, size=CHUNK):
            runs = by_workflow(self.read, chunk)
            if runs:
                yield self._rows(runs) if self.kind == "csv" else self._objects(runs)

    def _filled(self) -> QuerySet[Run]:
        runs = self.columns.fill(self.runs).defer(None).select_related("launched_by")
        unused = ("graph", "secrets")
        return runs.defer(
            *unused, *(("params", "result") if self.kind == "csv" else ())
        )

    # -- texts --------------------------------------------------------------------------

    def _rows(self, runs: Sequence[Run]) -> str:
        return csv_lines(
            [
                csv_cell(value)
                for value in (
                    *record.values(),
                    *(f.of(run) for f in self.columns.fields),
                )
            ]
            for run, record in _records(runs)
        )

    def _objects(self, runs: Sequence[Run]) -> str:
        objects = [_object(run, record) for run, record in _records(runs)]
        return records_text(self.kind, objects)


def file_parts(
    kind: str, columns: Sequence[str], texts: Iterable[str]
) -> Iterator[str]:
    """Yield the parts of a file of one of KINDS; `texts` are its chunks of records."""
    if kind == "csv":  # spreadsheets need the byte order mark to detect UTF-8
        yield "\ufeff" + csv_lines([columns])
    elif kind == "json":
        yield "[\n"
    separator = ""
    for text in texts:
        yield separator + text
        separator = SEPARATORS[kind]
    if kind == "json":
        yield "\n]\n"


def records_text(kind: str, records: Iterable[Mapping[str, Any]]) -> str:
    """Return one chunk of records: rows of their values, or JSON objects."""
    if kind == "csv":
        return csv_lines([csv_cell(one) for one in row.values()] for row in records)
    objects = [json.dumps(record, ensure_ascii=False) for record in records]
    if kind == "json":
        return SEPARATORS[kind].join(objects)
    return "".join(f"{one}\n" for one in objects)


def csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows of cells as lines of CSV."""
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def _records(runs: Sequence[Run]) -> Iterator[tuple[Run, dict[str, Any]]]:
    """Yield each run with the fields that all formats have."""
    used = usage.of_runs(run.pk for run in runs)
    found = continuations(run.pk for run in runs)
    for run in runs:
        continuation = found.get(run.pk, Continuation())
        yield run, run_record(run, used.get(run.pk), continuation)


def run_record(
    run: Run, used: Usage | None, continuation: Continuation
) -> dict[str, Any]:
    """Return the fields of a run that all formats have, with its agent usage."""
    elapsed = run.elapsed if run.is_ended else None
    is_failed = run.status == Status.FAILED
    values = (
        str(run.pk),
        run.workflow_name,
        run.title,
        run.status,
        run.launched_by.get_username() if run.launched_by else "",
        _iso(run.created_at),
        _iso(run.started_at),
        _iso(run.completed_at),
        round(elapsed.total_seconds(), 3) if elapsed is not None else None,
        labels_of(run),
        run.error_code if is_failed else "",
        run.error_node if is_failed else "",
        run.error_text,
        "" if is_failed else run.cancel_reason,
        run.profile_name,
        _id(continuation.continues),
        _id(continuation.continued_by),
        *(used or Usage()).columns().values(),
    )
    return dict(zip(HEAD, values, strict=True))


def _id(run_id: UUID | None) -> str | None:
    return None if run_id is None else str(run_id)


def _object(run: Run, record: dict[str, Any]) -> dict[str, Any]:
    values = {"params": run.params, "result": run.result}
    if is_redacted(run):
        values = dict.fromkeys(values, HIDDEN)
    return {**record, **values}


def _iso(value: dt.datetime | None) -> str | None:
    return value.isoformat(timespec="milliseconds") if value else None


def csv_cell(value: Any) -> Any:
    """Return a value as a cell: numbers unchanged, other values as safe text."""
    if value is None or (
        isinstance(value, int | float) and not isinstance(value, bool)
    ):
        return value
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        value = ", ".join(value)
    return defused(as_text(value))
