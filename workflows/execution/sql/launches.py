"""The insert of new runs, some of them claimed already by a worker of the same process.

A run may be inserted as claimed only where nobody waits for the slot: where the worker has
more free slots than runs are pending, each of which goes first. The statement counts them.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from django.db import DEFAULT_DB_ALIAS
from django.db.models import JSONField

from workflows.audit.step_records import StageRow
from workflows.execution.sql.claim_statements import (
    ATTEMPTS,
    AUDIT_EVENTS,
    CLAIMED_FIELDS,
    PAUSES,
    RUNS,
)
from workflows.models import AuditEvent, Run, StageStatus, Status
from workflows.models.new_rows import stored_row

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from django.db.models import Model

    from workflows.execution.sql.tables import Column, Table


@dataclass(frozen=True, slots=True)
class Offer:
    """The slots that a worker has reserved for all runs of a batch."""

    worker: str
    fence: int  # a random number that no other claim has
    now: dt.datetime
    further: int  # more free slots, for as many pending runs


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to insert, with the audit event of its launch."""

    run: Run
    event: AuditEvent


JSON_COLUMNS: Final = {
    field.attname
    for model in (Run, AuditEvent)
    for field in model._meta.concrete_fields  # noqa: SLF001 - Django's documented model API
    if isinstance(field, JSONField)
}
MAX_GRAPHS: Final = 64  # of which the JSON text is kept
# The columns of a run that is inserted as claimed which differ from a pending one's, as
# expressions of the parameters of an offer.
CLAIMED_VALUES: Final = {
    "status": f"'{Status.RUNNING}'",
    "worker": "{worker}",
    "lease_expires_at": "{until}",
    "fence": "{fence}",
    "attempt": "1",
    "version": "1",
    "started_at": "{now}",
    "updated_at": "{now}",
    "current_stage": "{sent}",
}
# In the order of the index of pending runs, so that the planner reads that index: the rows of
# any other index or scan would have to be sorted, however few it estimates to be pending.
COUNT_PENDING: Final = f"""
    SELECT COUNT(*) FROM (
        SELECT 1 FROM {RUNS.name} WHERE status = 'pending' AND limit_key IS NULL
        ORDER BY workflow_name, priority DESC, id LIMIT {{limit}}
    ) AS found
"""  # noqa: S608 - names are ours
# Whether runs of the workflows {among} may be inserted as claimed: the slots left over are
# enough for all pending runs, and none of the workflows is paused.
IS_FREE: Final = (
    f"({COUNT_PENDING}) <= {{further}} AND NOT EXISTS (SELECT 1 FROM {PAUSES}"  # noqa: S608 - names are ours
    " WHERE workflow_name {among})"
)
OFFER: Final = {  # parameters of the statement before those of the rows
    "worker": "text",
    "fence": "bigint",
    "now": "timestamptz",
    "lease": "float8",
    "further": "bigint",
    "limit": "bigint",
    "names": "text[]",
}


class RowValues:
    """Reads the values of rows in the order of a table's columns, JSON as its text.

    A member of an enumeration is left as it is: it is a text or a number for both drivers.
    """

    def __init__(self, table: Table) -> None:
        names = table.column_names
        self._read = attrgetter(*names)
        self._json = [
            (place, name) for place, name in enumerate(names) if name in JSON_COLUMNS
        ]

    def of(self, row: Model) -> list[Any]:
        """Return the values of one row."""
        values = [*self._read(row)]
        for place, name in self._json:
            value = values[place]
            if value is not None:
                values[place] = (
                    _graphs.of(value) if name == "graph" else json.dumps(value)
                )
        return values


class _GraphTexts:
    """JSON texts of graphs, which are the same object for each run of a workflow."""

    def __init__(self) -> None:
        # the graph is kept with its text, so that no other object gets its id
        self._texts: dict[int, tuple[Mapping[str, Any], str]] = {}

    def of(self, graph: Mapping[str, Any]) -> str:
        """Return the text of a graph, which nobody modifies."""
        found = self._texts.get(id(graph))
        if found is None:
            if len(self._texts) >= MAX_GRAPHS:
                self._texts.clear()
            found = self._texts[id(graph)] = graph, json.dumps(graph)
        return found[1]


_graphs = _GraphTexts()
run_row = RowValues(RUNS)
event_row = RowValues(AUDIT_EVENTS)
attempt_row = RowValues(ATTEMPTS)
_CURRENT_STAGE: Final = RUNS.column_names.index("current_stage")
_read_claimed = attrgetter(*CLAIMED_FIELDS)
_CLAIMED_JSON: Final = JSON_COLUMNS & CLAIMED_FIELDS.keys()


def run_values(run: Run, offer: Offer | None) -> list[Any]:
    """Return the row of a run with the stage that it begins if it is claimed."""
    values = run_row.of(run)
    values[_CURRENT_STAGE] = first_stage(run, offer.now) if offer else None
    return values


def offer_values(offer: Offer | None, lease: float, names: Sequence[str]) -> list[Any]:
    """Return the parameters of `OFFER`; without an offer no run is claimed.

    `names` are the workflows of the runs.
    """
    if offer is None:
        return ["", 0, None, lease, -1, 0, names]
    slots = [offer.further, offer.further + 1]
    return [offer.worker, offer.fence, offer.now, lease, *slots, names]


@functools.cache
def insert_runs(rows: int, until: str) -> str:
    """Return PostgreSQL's statement for this number of runs, see `row_count`.

    `until` is the end of a lease of so many seconds. The result has the id and the status
    of each run that was inserted.
    """
    offer = {
        name: f"${number}::{kind}"
        for number, (name, kind) in enumerate(OFFER.items(), 1)
    }
    offer["until"] = until.format(offer["lease"])
    among = f"= ANY({offer['names']})"
    numbers = count(len(OFFER) + 1)
    runs = RUNS.parameter_rows(rows, numbers)
    events = AUDIT_EVENTS.parameter_rows(rows, numbers)
    values = ", ".join(_value(column, offer) for column in RUNS.columns)
    attempt = {
        "run_id": "id",
        "number": "attempt",
        "worker": "worker",
        "started_at": "started_at",
        "ended_at": "NULL::timestamptz",
    }
    opened = ", ".join(attempt.get(name, "''") for name in ATTEMPTS.column_names)
    return (
        f"WITH offer AS MATERIALIZED ("  # noqa: S608 - names are ours
        f"SELECT {IS_FREE.format(among=among, **offer)} AS holds),"
        f" launched AS (INSERT INTO {RUNS.name} ({RUNS.names})"
        f" SELECT {values} FROM {runs}, offer {RUNS.conflict}"
        " RETURNING id, status, worker, attempt, started_at),"
        f" event AS (INSERT INTO {AUDIT_EVENTS.name} ({AUDIT_EVENTS.names})"
        f" SELECT {AUDIT_EVENTS.typed_columns} FROM {events}"
        " JOIN launched ON launched.id = sent.run_id),"
        f" opened AS (INSERT INTO {ATTEMPTS.name} ({ATTEMPTS.names})"
        f" SELECT {opened} FROM launched WHERE status = '{Status.RUNNING}')"
        " SELECT id, status FROM launched"
    )


def _value(column: Column, offer: Mapping[str, str]) -> str:
    sent = f'sent."{column.name}"{column.cast}'
    if column.name not in CLAIMED_VALUES:
        return sent
    claimed = CLAIMED_VALUES[column.name].format(sent=sent, **offer)
    pending = "NULL" if column.name == "current_stage" else sent
    return f"CASE WHEN offer.holds THEN {claimed} ELSE {pending} END"


def first_stage(run: Run, now: dt.datetime) -> str | None:
    """Return the current stage of a new run that is claimed: see `FIRST_STAGE`."""
    entry = run.graph.get("entry")
    if not entry:
        return None  # its factory builds the graph when the run is prepared
    return _stage_at(entry, now)


@functools.lru_cache(maxsize=64)  # the runs of a batch, and each run is asked for twice
def _stage_at(entry: str, now: dt.datetime) -> str:
    return StageRow(1, entry, 1, StageStatus.STARTED, now).as_current()


def claimed_values(run: Run, offer: Offer) -> dict[str, Any]:
    """Return the columns of `CLAIMED_VALUES` except for the lease."""
    stage = first_stage(run, offer.now)
    return {
        "current_stage": None if stage is None else json.loads(stage),
        "status": Status.RUNNING.value,
        "worker": offer.worker,
        "fence": offer.fence,
        "attempt": 1,
        "version": 1,
        "started_at": offer.now,
        "updated_at": offer.now,
    }


def claimed(run: Run, offer: Offer) -> Run:
    """Return a run that was inserted as claimed, as a claim would have read it.

    It shares nothing with `run`, which belongs to its launcher: JSON is read back.
    """
    values = dict(zip(CLAIMED_FIELDS, _read_claimed(run), strict=True))
    for name in _CLAIMED_JSON:
        if values[name] is not None:
            values[name] = json.loads(json.dumps(values[name]))
    values |= claimed_values(run, offer)
    return stored_row(Run, values, DEFAULT_DB_ALIAS)
