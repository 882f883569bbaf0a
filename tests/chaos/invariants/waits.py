"""Approvals and child runs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.chaos.invariants import Invariant, Results, holds
from tests.chaos.invariants.runs import ENDED

if TYPE_CHECKING:
    from tests.chaos.evidence import Evidence


def no_approval_is_left_open(evidence: Evidence) -> Results:
    """No approval of a run that has ended is open."""
    for row in evidence.rows("approval"):
        if evidence.status_of(row) in ENDED:
            text = (
                f"the approval of step {row['sequence']} of run {row['run_id']} is open"
            )
            yield holds(row["status"] != "open", text)


def approval_steps_have_a_response(evidence: Evidence) -> Results:
    """A step that asked for approval completes only after a response, or at its expiry."""
    approvals = {(r["run_id"], r["sequence"]): r for r in evidence.rows("approval")}
    for (run, step), stage in evidence.completed.items():
        if evidence.kind_of(run, stage["node_name"]) == "approval":
            row = approvals.get((run, step))
            status = row["status"] if row else "missing"
            text = f"step {step} of run {run} completed, its approval is {status}"
            yield holds(status in {"answered", "expired"}, text)


def responses_decide(evidence: Evidence) -> Results:
    """The response determines the next node."""
    for row in evidence.rows("approval"):
        following = evidence.completed.get((row["run_id"], row["sequence"] + 1))
        if following is not None and row["response"] is not None:
            wanted = row["response"]["outcome"]
            text = (
                f"run {row['run_id']}: response {wanted}, then {following['node_name']}"
            )
            yield holds(following["node_name"] == wanted, text)


def steps_have_one_child(evidence: Evidence) -> Results:
    """A step launches one child run, and completes only after the child did."""
    children = Counter(
        (run["parent_id"], run["parent_sequence"])
        for run in evidence.runs.values()
        if run["parent_id"]
    )
    completed = Counter(
        (run["parent_id"], run["parent_sequence"])
        for run in evidence.runs.values()
        if run["parent_id"] and run["status"] == "completed"
    )
    for place, number in children.items():
        yield holds(number == 1, f"step {place} has {number} child runs")
    for (run, step), stage in evidence.completed.items():
        if evidence.kind_of(run, stage["node_name"]) == "subworkflow":
            text = f"step {step} of run {run} completed before its child"
            yield holds(completed[run, step], text)


def no_child_is_left_over(evidence: Evidence) -> Results:
    """No child run outlives the run that waits for it."""
    for run in evidence.runs.values():
        above = evidence.runs.get(run["parent_id"])
        if above is not None and above["status"] in ENDED:
            text = f"child {run['id']} is {run['status']}, its parent has ended"
            yield holds(run["status"] in ENDED, text)


def parents_have_the_result_of_their_child(evidence: Evidence) -> Results:
    """The result of a child run arrives at its parent unchanged."""
    for run in evidence.runs.values():
        above = evidence.runs.get(run["parent_id"])
        if above is not None and above["status"] == "completed":
            text = f"run {above['id']} has another result than its child {run['id']}"
            yield holds(above["result"]["child"] == run["result"], text)


INVARIANTS: list[Invariant] = [
    no_approval_is_left_open,
    approval_steps_have_a_response,
    responses_decide,
    steps_have_one_child,
    no_child_is_left_over,
    parents_have_the_result_of_their_child,
]
