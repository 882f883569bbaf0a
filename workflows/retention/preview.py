"""Numbers of rows and bytes that a purge would delete now; deletes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Count, F, Sum, TextField
from django.db.models.functions import Cast, Coalesce, Length

from workflows.models import (
    Attempt,
    CallContent,
    Decision,
    Run,
    RunFile,
    Stage,
)
from workflows.retention import rules
from workflows.retention.payload_tables import PAYLOAD_TABLES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from django.db.models import Model

    from workflows.retention.rules import Rule

MAX_RUNS: Final = 10_000  # that are counted for one number

# tables that are deleted from, and the column with most of their bytes
PAYLOAD: tuple[tuple[type[Model], str], ...] = (
    *PAYLOAD_TABLES.items(),
    (RunFile, "size"),
)
CONTENT: tuple[tuple[type[Model], str], ...] = ((CallContent, "bytes"),)
SIZES = (RunFile, CallContent)  # whose column is a number of bytes
HISTORY: tuple[tuple[type[Model], str], ...] = (
    (Decision, "reason"),
    (Stage, "error_message"),
)


@dataclass(frozen=True, slots=True)
class Part:
    """The amount of data of some runs that would be deleted."""

    runs: int = 0
    rows: int = 0
    bytes: int = 0  # approximate: of texts and values, without indexes
    is_cut: bool = False  # there are more runs than were counted


@dataclass(frozen=True, slots=True)
class Preview:
    """The data of one workflow that would be deleted."""

    rule: Rule
    contents: Part
    payloads: Part
    runs: Part
    histories: Part

    @property
    def parts(self) -> list[tuple[str, int | None, Part]]:
        """The parts, each with its label and the days after which it is deleted."""
        rule = self.rule
        return [
            ("prompts and answers of agents", rule.content_days, self.contents),
            ("params, results, states, logs, files", rule.payload_days, self.payloads),
            ("runs", rule.run_days, self.runs),
            ("stages and decisions", rule.decision_days, self.histories),
        ]


def preview(only: str = "", *, most: int = MAX_RUNS) -> list[Preview]:
    """Return the data that is due, per workflow; counts at most `most` runs each."""
    return [_of(rule, most) for rule in rules.rules(only)]


def _of(rule: Rule, most: int) -> Preview:
    contents = _ids(rules.contents_due(rule), most)
    payloads = _ids(rules.payloads_due(rule), most)
    run_ids = _ids(rules.runs_due(rule), most)
    histories = _ids(rules.histories_due(rule), most)
    return Preview(
        rule,
        _part(contents, most, CONTENT),
        _part(payloads, most, (*PAYLOAD, (Run, "params"), (Run, "result")), {Run}),
        _part(run_ids, most, (*PAYLOAD, (Attempt, "error_message"), (Run, "graph"))),
        _part(histories, most, HISTORY),
    )


def _ids(due: Any, most: int) -> list[UUID]:
    return list(due.values_list("pk", flat=True)[: most + 1])


def _part(
    ids: Sequence[UUID],
    most: int,
    tables: Sequence[tuple[type[Model], str]],
    uncounted: set[type[Model]] | None = None,
) -> Part:
    """Sum up the rows of these runs; of `uncounted` tables only the bytes."""
    counted = ids[:most]
    rows = size = 0
    for at in range(0, len(counted), 500):
        some = counted[at : at + 500]
        for model, column in tables:
            key = "pk__in" if model is Run else "run_id__in"
            found = model._default_manager.filter(**{key: some})  # noqa: SLF001 - Django's documented model API
            measure = F(column) if model in SIZES else Length(Cast(column, TextField()))
            sums = found.aggregate(rows=Count("pk"), size=Coalesce(Sum(measure), 0))
            size += sums["size"]
            rows += 0 if uncounted and model in uncounted else sums["rows"]
    return Part(len(counted), rows, size, is_cut=len(ids) > most)
