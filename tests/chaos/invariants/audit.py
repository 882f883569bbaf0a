"""Audit events, the sealed history, and bulk operations."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from tests.chaos.invariants import Invariant, Results, holds
from tests.chaos.invariants.requests import ACCEPTED

if TYPE_CHECKING:
    from tests.chaos.evidence import Evidence

ACTIONS: Final = ("cancel", "resume", "respond")


def _events(evidence: Evidence) -> Counter[tuple[str, str, str]]:
    """Return the number of audit events by run, action and reason."""
    return Counter(
        (row["run_id"], row["action"], row["reason"])
        for row in evidence.rows("auditevent")
    )


def launches_are_audited(evidence: Evidence) -> Results:
    """Each run that a person launched has one audit event of it, and no child run has one."""
    launches = Counter(
        row["run_id"]
        for row in evidence.rows("auditevent")
        if row["action"] == "launch"
    )
    for run in evidence.runs.values():
        wanted = 0 if run["parent_id"] else 1
        text = f"run {run['id']} has {launches[run['id']]} events of its launch"
        yield holds(launches[run["id"]] == wanted, text)


def accepted_actions_are_audited(evidence: Evidence) -> Results:
    """Each cancel, resume and response that was accepted has its audit event."""
    events = _events(evidence)
    for action in ACTIONS:
        for line in evidence.lasting(action):
            if line["reply"] == ACCEPTED:
                number = events[line["run"], action, line["reason"]]
                text = (
                    f"{action} of run {line['run']} ({line['reason']}): {number} events"
                )
                yield holds(1 <= number <= line["sends"], text)


def audited_actions_were_requested(evidence: Evidence) -> Results:
    """Each audit event of an action has the reason of a client's request for it."""
    reasons = {
        line["reason"]
        for kind in (*ACTIONS, "bulk")
        for line in evidence.requests(kind)
    }
    for row in evidence.rows("auditevent"):
        if row["action"] in ACTIONS:
            text = f"nobody asked for {row['action']} of run {row['run_id']}: {row['reason']}"
            yield holds(row["reason"] in reasons, text)


def cancelled_runs_were_asked_to(evidence: Evidence) -> Results:
    """A run is cancelled only if someone asked for it."""
    events = evidence.by_run("auditevent")
    for run in evidence.runs.values():
        if run["status"] == "cancelled":
            actions = {row["action"] for row in events[run["id"]]}
            yield holds("cancel" in actions, f"nobody cancelled run {run['id']}")


def responses_are_audited(evidence: Evidence) -> Results:
    """Each approval that a person responded to has one audit event with the reason."""
    events = _events(evidence)
    for row in evidence.rows("approval"):
        if row["status"] == "answered":
            number = events[row["run_id"], "respond", row["comment"]]
            text = f"the response of run {row['run_id']} has {number} events"
            yield holds(number == 1, text)


def chains_verify(evidence: Evidence) -> Results:
    """The history of every run is what was recorded."""
    yield None
    yield from evidence.findings


def bulk_operations_end(evidence: Evidence) -> Results:
    """A bulk operation ends, without a lease, and counts each of its runs once."""
    items = Counter((row["job_id"], row["result"]) for row in evidence.rows("bulkitem"))
    for job in evidence.rows("bulkjob"):
        done, refused = items[job["id"], "done"], items[job["id"], "refused"]
        is_whole = job["ended_at"] and not job["lease_expires_at"]
        is_counted = (job["done"], job["refused"]) == (done, refused)
        text = f"job {job['id']}: {done} done, {refused} refused of {job['total']}"
        yield holds(is_whole and is_counted and done + refused == job["total"], text)


def bulk_actions_are_audited(evidence: Evidence) -> Results:
    """Each run on which a bulk operation succeeded has one audit event with its reason."""
    events = _events(evidence)
    jobs = {job["id"]: job for job in evidence.rows("bulkjob")}
    for row in evidence.rows("bulkitem"):
        if row["result"] == "done":
            job = jobs[row["job_id"]]
            number = events[row["run_id"], job["action"], job["reason"]]
            text = f"{job['action']} of run {row['run_id']} by a job: {number} events"
            yield holds(number == 1, text)


INVARIANTS: list[Invariant] = [
    launches_are_audited,
    accepted_actions_are_audited,
    audited_actions_were_requested,
    cancelled_runs_were_asked_to,
    responses_are_audited,
    chains_verify,
    bulk_operations_end,
    bulk_actions_are_audited,
]
