"""Requests of clients and their responses."""

from __future__ import annotations

import signal
from collections import Counter
from typing import TYPE_CHECKING

from tests.chaos.invariants import Invariant, Results, holds

if TYPE_CHECKING:
    from tests.chaos.evidence import Evidence, Row

ACCEPTED = "accepted"
INTERNAL_ERROR = 500


def accepted_launches_exist(evidence: Evidence) -> Results:
    """Each launch that was confirmed to a client is the run with that id and order."""
    for line in evidence.lasting("launch"):
        if line["reply"] == ACCEPTED:
            run = evidence.runs.get(line["run"])
            is_there = run is not None and run["params"]["order"] == line["order"]
            yield holds(is_there, f"run {line['run']} of {line['order']} is not there")


def orders_are_executed_once(evidence: Evidence) -> Results:
    """A repeated form launches no second run."""
    orders = Counter(
        run["params"]["order"] for run in evidence.runs.values() if not run["parent_id"]
    )
    for order, number in orders.items():
        yield holds(number == 1, f"{order} was launched {number} times")


def runs_were_ordered(evidence: Evidence) -> Results:
    """Every run was requested by a client."""
    orders = {line["order"] for line in evidence.requests("launch")}
    for run in evidence.runs.values():
        text = f"nobody asked for run {run['id']} ({run['params']['order']})"
        yield holds(run["params"]["order"] in orders, text)


def accepted_responses_are_kept(evidence: Evidence) -> Results:
    """A response that was accepted is that of the approval, with its reason."""
    kept = {
        (r["run_id"], r["comment"]): r["response"] for r in evidence.rows("approval")
    }
    for line in evidence.lasting("respond"):
        if line["reply"] == ACCEPTED:
            stored = kept.get((line["run"], line["reason"]))
            text = f"run {line['run']}: accepted {line['outcome']}, stored {stored}"
            yield holds(stored == {"outcome": line["outcome"]}, text)


def resumes_begin_an_attempt(evidence: Evidence) -> Results:
    """A run that was resumed was executed again, unless it was cancelled before."""
    for line in evidence.lasting("resume"):
        run = evidence.runs.get(line["run"])
        if line["reply"] == ACCEPTED and run is not None:
            text = f"run {line['run']} was resumed after attempt {line['attempt']}, not executed"
            again = run["attempt"] > line["attempt"] or run["status"] == "cancelled"
            yield holds(again, text)


def _watched(evidence: Evidence) -> list[Row]:
    """Return the observations of pages of runs without a rollback."""
    lines = evidence.requests("watch")
    return [line for line in lines if line["run"] not in evidence.rewound]


def watchers_see_no_step_undone(evidence: Evidence) -> Results:
    """A step that a page showed as completed is completed."""
    for line in _watched(evidence):
        for step in line["steps"]:
            text = f"a page of run {line['run']} showed step {step} as completed"
            yield holds((line["run"], step) in evidence.completed, text)


def watchers_see_the_end(evidence: Evidence) -> Results:
    """A page that stays open shows the final status last."""
    for line in evidence.requests("watch"):
        run = evidence.runs.get(line["run"])
        if line["stayed"] and run is not None:
            last = line["statuses"][-1] if line["statuses"] else "nothing"
            text = f"a page of run {line['run']} shows {last}, it is {run['status']}"
            yield holds(last == run["status"], text)


def watchers_see_no_end_undone(evidence: Evidence) -> Results:
    """A run that a page showed as completed is not shown in another status afterwards."""
    for line in _watched(evidence):
        seen = line["statuses"]
        after = seen[seen.index("completed") :] if "completed" in seen else []
        text = f"a page of run {line['run']} showed {seen}"
        yield holds(set(after) <= {"completed"}, text)


def no_answer_is_an_internal_error(evidence: Evidence) -> Results:
    """During a fault the server responds that it is unavailable, never with an internal error."""
    for line in evidence.requests("answer of server"):
        yield holds(
            line["status"] != INTERNAL_ERROR, f"{line['path']}: an internal error"
        )


def clients_understand_answers(evidence: Evidence) -> Results:
    """Clients of the suite know every response that they receive."""
    yield None
    for line in evidence.requests("client failed"):
        yield line["text"]


def processes_end_only_when_killed(evidence: Evidence) -> Results:
    """A process ends because of a signal that kills it, whatever else is broken."""
    for line in evidence.requests("exit"):
        text = f"{line['process']} ended by itself, with {line['code']}"
        yield holds(line["code"] == -signal.SIGKILL, text)


INVARIANTS: list[Invariant] = [
    accepted_launches_exist,
    orders_are_executed_once,
    runs_were_ordered,
    accepted_responses_are_kept,
    resumes_begin_an_attempt,
    watchers_see_no_step_undone,
    watchers_see_the_end,
    watchers_see_no_end_undone,
    no_answer_is_an_internal_error,
    clients_understand_answers,
    processes_end_only_when_killed,
]
