"""Rows, ledger and journal in memory: the input of the checker.

Rows are read with plain SQL, by no code of the product, and the chains are verified by the
product's own command in another process. Ids are hex digits without dashes, JSON columns are
parsed, and moments are aware datetimes, whichever database they come from.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from project.env import ROOT
from tests.chaos import ledger
from tests.chaos.ledger import Execution

Row = dict[str, Any]
Step = tuple[str, int]  # run and number

TABLES = {  # table → JSON columns
    "run": ("params", "result", "graph", "current_stage"),
    "attempt": (),
    "stage": (),
    "decision": ("values",),
    "checkpoint": (),
    "stageitem": (),
    "retry": (),
    "logline": (),
    "approval": ("response", "on_expiry"),
    "auditevent": (),
    "bulkjob": (),
    "bulkitem": (),
    "runtally": (),
    "removedrun": (),
    "worker": (),
    "eventmessage": ("value",),
    "eventwait": (),
}
COPIED, NOTICED = "copied", "noticed"  # lines around the commits that a rollback loses
TIMEOUT_SECONDS = 300  # for another process
IDS = frozenset({"id", "run_id", "parent_id", "job_id", "message_id"})


class Cursor(Protocol):
    """The part of a DB-API cursor that is used."""

    @property
    def description(self) -> Any:
        """The columns of the last query, each with its name first."""

    def execute(self, query: str) -> Any:
        """Execute a query."""

    def fetchall(self) -> Any:
        """Return its rows."""


@dataclass
class Evidence:
    """The rows and files after a run of the suite."""

    tables: dict[str, list[Row]]
    ledger: list[Execution] = field(default_factory=list)
    journal: list[Row] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)  # of `manage.py verify_history`

    def rows(self, table: str) -> list[Row]:
        """Return the rows of a table."""
        return self.tables[table]

    @cached_property
    def runs(self) -> dict[str, Row]:
        """The runs by id."""
        return {run["id"]: run for run in self.rows("run")}

    def by_run(self, table: str) -> dict[str, list[Row]]:
        """Return the rows of a table by run."""
        found: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows(table):
            found[row["run_id"]].append(row)
        return found

    @cached_property
    def completed(self) -> dict[Step, Row]:
        """The stage that completed each step; if there are several, the last."""
        return {
            (row["run_id"], row["sequence"]): row
            for row in self.rows("stage")
            if row["status"] == "completed"
        }

    @cached_property
    def passed(self) -> dict[Step, Row]:
        """The stage that completed each step, or failed with a failure route."""
        taken = {
            (row["run_id"], row["sequence"], row["attempt"])
            for row in self.rows("decision")
            if row["taken"]
        }
        routed = {
            (row["run_id"], row["sequence"]): row
            for row in self.rows("stage")
            if row["status"] == "failed"
            and (row["run_id"], row["sequence"], row["attempt"]) in taken
        }
        return routed | self.completed

    @cached_property
    def calls(self) -> dict[tuple[str, int, int | None], list[Execution]]:
        """The begins and ends of each step and item, in order."""
        found: dict[tuple[str, int, int | None], list[Execution]] = defaultdict(list)
        for line in self.ledger:
            found[line.run, line.step, line.item].append(line)
        return found

    def requests(self, kind: str) -> list[Row]:
        """Return the requests of clients of one kind."""
        return [line for line in self.journal if line["kind"] == kind]

    def lasting(self, kind: str) -> list[Row]:
        """Return the requests of one kind outside of the times lost by rollbacks."""
        lost = {id(line) for line in self._lost_lines}
        return [line for line in self.requests(kind) if id(line) not in lost]

    @cached_property
    def rewound(self) -> frozenset[str]:
        """The runs that a rollback of the database may have rewound.

        Their rows must be consistent; earlier executions and confirmations may have
        happened twice, or not at all.
        """
        found = {line["run"] for line in self._lost_lines if line.get("run")}
        for begin, end in self._rollbacks("executions"):
            found |= {line.run for line in self.ledger[begin:end]}
        above = {run["parent_id"] for run in self.runs.values() if run["id"] in found}
        below = {run["id"] for run in self.runs.values() if run["parent_id"] in found}
        return frozenset(found | above | below)

    @cached_property
    def _lost_lines(self) -> list[Row]:
        """The lines of the journal from the times lost by rollbacks."""
        return [
            line
            for begin, end in self._rollbacks("place")
            for line in self.journal[begin:end]
        ]

    def _rollbacks(self, unit: str) -> list[tuple[int, int | None]]:
        """Return start and end of the lost times in the journal or the ledger."""
        marks = [
            line | {"place": place}
            for place, line in enumerate(self.journal)
            if line["kind"] in {COPIED, NOTICED}
        ]
        return [
            (
                mark[unit],
                next((m[unit] for m in marks[n:] if m["kind"] == NOTICED), None),
            )
            for n, mark in enumerate(marks)
            if mark["kind"] == COPIED
        ]

    def status_of(self, row: Row) -> str:
        """Return the status of the run that a row belongs to, "" if there is none."""
        run = self.runs.get(row["run_id"])
        return run["status"] if run else ""

    def kind_of(self, run_id: str, name: str) -> str:
        """Return the kind of a node, as in the graph that the run was launched with."""
        graph = self.runs[run_id]["graph"]
        for one in [*graph["nodes"], *graph.get("undo", ())]:
            if one["name"] == name:
                return str(one["kind"])
            for branch in one.get("branches", ()):
                for inner in branch["nodes"]:
                    if inner["name"] == name:
                        return str(inner["kind"])
        return ""


def read(
    cursor: Cursor, directory: Path, tables: Iterable[str] = tuple(TABLES)
) -> Evidence:
    """Read the rows of some tables, and the files of a directory."""
    return Evidence(
        {table: _rows(cursor, table, TABLES[table]) for table in tables},
        ledger.executions(directory / "ledger"),
        ledger.lines(directory / "journal"),
    )


def _rows(cursor: Cursor, table: str, as_json: tuple[str, ...]) -> list[Row]:
    cursor.execute(f"SELECT * FROM workflows_{table} ORDER BY id")  # noqa: S608 - names are ours
    names = [column[0] for column in cursor.description]
    return [
        {
            name: _value(name, value, is_json=name in as_json)
            for name, value in zip(names, row, strict=True)
        }
        for row in cursor.fetchall()
    ]


def _value(name: str, value: Any, *, is_json: bool) -> Any:
    if is_json:
        return json.loads(value) if isinstance(value, str) else value
    if name in IDS and isinstance(value, str | uuid.UUID):
        return str(value).replace("-", "")
    if name.endswith("_at") and isinstance(value, str):
        moment = dt.datetime.fromisoformat(value)
        return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return value


def execute(
    environment: Mapping[str, str], *arguments: str, accepted: tuple[int, ...] = (0,)
) -> str:
    """Return the output of another Python process; assert its exit code."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": "project.settings", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode in accepted, done.stdout + done.stderr
    return done.stdout


def verification(environment: Mapping[str, str]) -> list[str]:
    """Return the findings of `manage.py verify_history`."""
    text = execute(environment, "manage.py", "verify_history", accepted=(0, 1))
    *findings, summary = text.splitlines()
    assert summary.startswith("Verified"), text
    return findings
