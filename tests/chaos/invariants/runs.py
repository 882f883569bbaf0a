"""Runs and their attempts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from tests.chaos.app.workflows import AT_ONCE, PLANNED
from tests.chaos.invariants import Invariant, Results, holds

if TYPE_CHECKING:
    from tests.chaos.evidence import Evidence, Row

ENDED: Final = frozenset({"completed", "failed", "cancelled"})
# outcomes of the last attempt of a run in each status; a run that is cancelled while no
# worker has it keeps the outcome it had
OUTCOMES: Final = {
    "completed": {"completed"},
    "failed": {"failed", "lost"},
    "cancelled": {"cancelled", "lost", "waiting", "released", "failed"},
}


def accepted_runs_end(evidence: Evidence) -> Results:
    """Every run that was launched has ended; child runs are a matter of their parents."""
    for run in evidence.runs.values():
        if run["parent_id"]:
            continue
        text = f"run {run['id']} of {run['workflow_name']} is {run['status']}"
        yield holds(run["status"] in ENDED, text)


def ended_runs_hold_nothing(evidence: Evidence) -> Results:
    """A run that has ended has no lease, no secret, and waits for nothing."""
    for run in evidence.runs.values():
        if run["status"] in ENDED:
            held = [
                name
                for name in ("lease_expires_at", "waiting_for", "secrets")
                if run[name]
            ]
            yield holds(not held, f"run {run['id']} still has {', '.join(held)}")


def ends_are_explained(evidence: Evidence) -> Results:
    """A completed run has a result and no error; any other one has a message and a code."""
    for run in evidence.runs.values():
        error = run["error_message"] and run["error_code"]
        if run["status"] == "completed":
            no_error = not (run["error_message"] or run["error_code"])
            text = f"run {run['id']} completed without a result, or with an error"
            yield holds(run["result"] is not None and no_error, text)
        elif run["status"] in ENDED:
            name, message = run["workflow_name"], run["error_message"]
            text = (
                f"run {run['id']} of {name} {run['status']} without a message or a"
                f" code: {message!r}, {run['error_code']!r}"
            )
            yield holds(error, text)


def failures_are_planned(evidence: Evidence) -> Results:
    """A run fails only because of a node that was written to fail, or of its child run."""
    refused_writes = bool(evidence.requests("refused writes"))
    children = {run["parent_id"] for run in evidence.runs.values() if _troubled(run)}
    for run in evidence.runs.values():
        if run["status"] == "failed":
            is_stored = (
                run["error_code"] != "checkpoint_save_failed" or not refused_writes
            )
            is_planned = PLANNED in run["error_message"] or run["id"] in children
            text = f"run {run['id']} failed: {run['error_message']}"
            yield holds(is_planned or not is_stored, text)


def _troubled(run: Row) -> bool:
    return run["status"] in {"failed", "cancelled"}


def runs_end_once(evidence: Evidence) -> Results:
    """One attempt completes a run, and it is the last one."""
    ends = Counter(
        row["run_id"]
        for row in evidence.rows("attempt")
        if row["outcome"] == "completed"
    )
    for run in evidence.runs.values():
        wanted = int(run["status"] == "completed")
        text = f"{ends[run['id']]} attempts completed run {run['id']} ({run['status']})"
        yield holds(ends[run["id"]] == wanted, text)


def attempts_are_numbered(evidence: Evidence) -> Results:
    """The attempts of a run are numbered from 1 to the number in its row, without gaps."""
    attempts = evidence.by_run("attempt")
    for run in evidence.runs.values():
        numbers = sorted(row["number"] for row in attempts[run["id"]])
        wanted = list(range(1, run["attempt"] + 1))
        text = f"run {run['id']} has attempts {numbers}, its row says {run['attempt']}"
        yield holds(numbers == wanted, text)


def attempts_are_closed(evidence: Evidence) -> Results:
    """Every attempt of a run that has ended has an outcome and a time at which it ended."""
    for row in evidence.rows("attempt"):
        if evidence.status_of(row) in ENDED:
            text = f"attempt {row['number']} of run {row['run_id']} is open"
            yield holds(row["outcome"] and row["ended_at"], text)


def last_attempts_agree(evidence: Evidence) -> Results:
    """The outcome of the last attempt is that of the run."""
    attempts = evidence.by_run("attempt")
    for run in evidence.runs.values():
        last = max(attempts[run["id"]], key=lambda row: row["number"], default=None)
        if last is not None and last["outcome"] and run["status"] in ENDED:
            text = (
                f"run {run['id']} {run['status']}, its last attempt: {last['outcome']}"
            )
            yield holds(last["outcome"] in OUTCOMES[run["status"]], text)


def limits_are_kept(evidence: Evidence) -> Results:
    """Never more runs of a limited workflow are executed at the same time than its limit."""
    limited = {
        run["id"]
        for run in evidence.runs.values()
        if run["workflow_name"] == "chaos-limited"
    }
    changes = sorted(
        change
        for row in evidence.rows("attempt")
        if row["run_id"] in limited and row["ended_at"] is not None
        # an attempt that ends makes room for one that begins at the same time
        for change in ((row["started_at"], 1), (row["ended_at"], -1))
    )
    executed = 0
    for moment, change in changes:
        executed += change
        yield holds(executed <= AT_ONCE, f"{executed} runs are executed at {moment}")


def log_lines_are_numbered(evidence: Evidence) -> Results:
    """The log lines of an attempt are numbered from 1, without gaps; 0 is from before it."""
    lines = evidence.by_run("logline")
    for run_id in evidence.runs:
        for attempt in {row["attempt"] for row in lines[run_id]}:
            own = [row for row in lines[run_id] if row["attempt"] == attempt]
            numbers = [row["number"] for row in own if row["number"]]
            wanted = list(range(1, len(numbers) + 1))
            text = f"attempt {attempt} of run {run_id} has lines {sorted(numbers)}"
            yield holds(sorted(numbers) == wanted, text)


def runs_are_counted(evidence: Evidence) -> Results:
    """The hourly counts add up to the runs that ended."""
    counted: Counter[tuple[str, str]] = Counter()
    for row in evidence.rows("runtally"):
        counted[row["workflow_name"], row["status"]] += row["count"]
    ended = Counter(
        (run["workflow_name"], run["status"])
        for run in evidence.runs.values()
        if run["status"] in ENDED
    )
    for key in ended.keys() | counted.keys():
        text = f"{ended[key]} runs of {key} ended, the counts say {counted[key]}"
        yield holds(ended[key] == counted[key], text)


INVARIANTS: list[Invariant] = [
    accepted_runs_end,
    ended_runs_hold_nothing,
    ends_are_explained,
    failures_are_planned,
    runs_end_once,
    attempts_are_numbered,
    attempts_are_closed,
    last_attempts_agree,
    limits_are_kept,
    log_lines_are_numbered,
    runs_are_counted,
]
