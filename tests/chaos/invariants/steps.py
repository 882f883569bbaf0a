"""Steps, their states, and the executions in the ledger."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from tests.chaos.invariants import Invariant, Results, holds
from tests.chaos.invariants.runs import ENDED
from tests.chaos.ledger import BEGIN, END

if TYPE_CHECKING:
    from tests.chaos.evidence import Evidence, Row

OPEN: Final = frozenset({"started", "waiting"})
# outcomes of attempts that may leave a step behind that was neither finished nor cancelled
INTERRUPTING: Final = frozenset({"lost", "released", "failed"})


def steps_are_complete(evidence: Evidence) -> Results:
    """Each step up to the number in the run's row was completed, once, or took a failure route.

    Steps of branches have the numbers before that of the node that joins them. The step at
    which a run ended has the number before the first one that undoes another.
    """
    stages = evidence.by_run("stage")
    for run in evidence.runs.values():
        done = sorted(
            row["sequence"]
            for row in stages[run["id"]]
            if (row["status"] == "completed" or _is_routed(evidence, row))
            and (row["branch"] is None or row["sequence"] <= run["sequence"])
        )
        undone = [row["sequence"] for row in stages[run["id"]] if row["kind"] == "undo"]
        if undone and min(undone) - 1 not in done:
            done = sorted([*done, min(undone) - 1])
        text = f"run {run['id']} is at step {run['sequence']} and completed {done}"
        yield holds(done == list(range(1, run["sequence"] + 1)), text)


def _is_routed(evidence: Evidence, row: Row) -> bool:
    """Return whether a stage failed and took a failure route."""
    return (
        row["status"] == "failed"
        and evidence.passed.get((row["run_id"], row["sequence"])) is row
    )


def states_are_complete(evidence: Evidence) -> Results:
    """There is one state for the start and one for each completed step."""
    states = evidence.by_run("checkpoint")
    for run in evidence.runs.values():
        kept = sorted(row["sequence"] for row in states[run["id"]])
        wanted = list(range(run["sequence"] + 1)) if kept or run["sequence"] else []
        text = f"run {run['id']} is at step {run['sequence']} and has states {kept}"
        yield holds(kept == wanted, text)


def states_belong_to_their_step(evidence: Evidence) -> Results:
    """The state after a step was stored by the attempt that completed it, for its node."""
    for row in evidence.rows("checkpoint"):
        stage = evidence.completed.get((row["run_id"], row["sequence"]))
        if row["sequence"] and stage is not None and stage["branch"] is None:
            written = row["attempt"], row["node_name"]
            text = f"the state after step {row['sequence']} of run {row['run_id']}: {written}"
            yield holds(written == (stage["attempt"], stage["node_name"]), text)


def no_step_is_left_open(evidence: Evidence) -> Results:
    """No step of a run that has ended is in progress."""
    for row in evidence.rows("stage"):
        if evidence.status_of(row) in ENDED:
            text = f"step {row['sequence']} of run {row['run_id']} is {row['status']}"
            yield holds(row["status"] not in OPEN, text)


def steps_in_progress_are_executed(evidence: Evidence) -> Results:
    """A step is in progress only in a run that a worker holds, and it is the next one."""
    for run in evidence.runs.values():
        stage = run["current_stage"]
        is_next = stage is None or _is_next(run, stage)
        text = f"run {run['id']} is {run['status']} at step {run['sequence']}: {stage}"
        yield holds(stage is None or (run["status"] == "running" and is_next), text)


def _is_next(run: Row, stage: Row) -> bool:
    """Return whether a step follows on that of the run's row, after its branches."""
    steps = 0
    for node in run["graph"]["nodes"]:
        if node["name"] == stage["node"]:
            steps = sum(len(branch["nodes"]) for branch in node.get("branches", ()))
    return bool(stage["sequence"] == run["sequence"] + 1 + steps)


def interruptions_are_explained(evidence: Evidence) -> Results:
    """A step is interrupted only in an attempt that lost or released its run, or failed."""
    outcomes = {
        (row["run_id"], row["number"]): row["outcome"]
        for row in evidence.rows("attempt")
    }
    for row in evidence.rows("stage"):
        outcome = outcomes.get((row["run_id"], row["attempt"]))
        text = (
            f"step {row['sequence']} of run {row['run_id']} is {row['status']} in"
            f" attempt {row['attempt']}, which ended as {outcome}"
        )
        is_explained = outcome in INTERRUPTING or row["status"] != "interrupted"
        yield holds(outcome is not None and is_explained, text)


def calls_were_recorded_first(evidence: Evidence) -> Results:
    """A node is called only after the row of its start was committed."""
    recorded = {
        (row["run_id"], row["sequence"], row["attempt"], row["node_name"])
        for row in evidence.rows("stage")
    }
    for line in evidence.ledger:
        is_step = line.what == BEGIN and line.item is None
        if is_step and line.run in evidence.runs.keys() - evidence.rewound:
            stage = line.run, line.step, line.attempt, line.node
            yield holds(stage in recorded, f"no row for the call {line}")


def recorded_steps_run_once(evidence: Evidence) -> Results:
    """A step that one attempt passed is not called by a later one, nor twice in its own."""
    retries = Counter(
        (row["run_id"], row["sequence"], row["attempt"])
        for row in evidence.rows("retry")
    )
    for (run, step), stage in evidence.passed.items():
        if run in evidence.rewound:
            continue
        calls = [c for c in evidence.calls[run, step, None] if c.what == BEGIN]
        later = [call for call in calls if call.attempt > stage["attempt"]]
        own = [call for call in calls if call.attempt == stage["attempt"]]
        tries = 1 + retries[run, step, stage["attempt"]]
        text = f"step {step} of run {run}: {calls}, completed by {stage['attempt']}"
        is_called = evidence.kind_of(run, stage["node_name"]) == "node"
        yield holds(not later and len(own) == (tries if is_called else 0), text)


def recorded_steps_were_executed(evidence: Evidence) -> Results:
    """What is recorded as completed was executed to its end by that attempt."""
    for (run, step), stage in evidence.completed.items():
        if evidence.kind_of(run, stage["node_name"]) == "node":
            ends = [
                line
                for line in evidence.calls[run, step, None]
                if line.what == END and line.attempt == stage["attempt"]
            ]
            text = f"step {step} of run {run} completed, but its node did not end"
            yield holds(ends, text)


def results_are_of_recorded_calls(evidence: Evidence) -> Results:
    """The result of a run holds the return value of exactly the calls that were recorded."""
    for run in evidence.runs.values():
        if run["status"] == "completed" and run["result"]:
            for text in run["result"]["done"]:
                step, _, token = text.partition("/")
                stage = evidence.completed.get((run["id"], int(step)))
                ends = [
                    (line.attempt, line.token)
                    for line in evidence.calls[run["id"], int(step), None]
                    if line.what == END
                ]
                wanted = (stage["attempt"], token) if stage else None
                yield holds(wanted in ends, f"run {run['id']}: {text}, ends: {ends}")


def results_have_all_steps(evidence: Evidence) -> Results:
    """The result of a completed run has one value for each step that called a node."""
    called: dict[str, list[int]] = defaultdict(list)
    for (run_id, step), stage in sorted(evidence.completed.items()):
        is_called = evidence.kind_of(run_id, stage["node_name"]) == "node"
        if is_called and stage["branch"] is None:
            called[run_id].append(step)
    for run in evidence.runs.values():
        if run["status"] == "completed" and run["result"]:
            found = [int(text.partition("/")[0]) for text in run["result"]["done"]]
            wanted = called[run["id"]]
            text = f"run {run['id']} has values of steps {found}, called {wanted}"
            yield holds(found == wanted, text)


def items_are_complete(evidence: Evidence) -> Results:
    """A parallel step that completed kept each of its items, numbered from 0."""
    items = evidence.by_run("stageitem")
    for (run, step), stage in evidence.completed.items():
        if evidence.kind_of(run, stage["node_name"]) == "parallel":
            kept = sorted(r["index"] for r in items[run] if r["sequence"] == step)
            total = stage["items_total"]
            text = f"step {step} of run {run} has items {kept} of {total}"
            counted = stage["items_done"] == total
            yield holds(counted and kept == list(range(total)), text)


def recorded_items_run_once(evidence: Evidence) -> Results:
    """An item whose result was kept was executed to its end, and by no later attempt."""
    for row in evidence.rows("stageitem"):
        if row["run_id"] in evidence.rewound or _is_of_branches(evidence, row):
            continue
        lines = evidence.calls[row["run_id"], row["sequence"], row["index"]]
        ends = [e.attempt for e in lines if e.what == END and e.token in row["data"]]
        begins = [line.attempt for line in lines if line.what == BEGIN]
        text = f"item {row['index']} of run {row['run_id']}: {lines}"
        yield holds(ends and max(begins) <= max(ends), text)


def _is_of_branches(evidence: Evidence, row: Row) -> bool:
    """Return whether an item is the result of a step of a branch."""
    return any(
        stage["sequence"] == row["sequence"]
        and evidence.kind_of(row["run_id"], stage["node_name"]) == "branches"
        for stage in evidence.by_run("stage")[row["run_id"]]
    )


def joins_have_the_results_of_their_branches(evidence: Evidence) -> Results:
    """The join of branches has the return values of exactly the steps that were recorded."""
    stages = evidence.by_run("stage")
    for run in evidence.runs.values():
        parts = run["result"] and run["result"].get("parts")
        if run["status"] != "completed" or not parts:
            continue
        for branch, token in parts.items():
            last = max(
                row["sequence"] for row in stages[run["id"]] if row["branch"] == branch
            )
            stage = evidence.completed.get((run["id"], last))
            ends = [
                (line.attempt, line.token)
                for line in evidence.calls[run["id"], last, None]
                if line.what == END
            ]
            wanted = (stage["attempt"], token) if stage else None
            yield holds(wanted in ends, f"run {run['id']}: {branch} {token}, {ends}")


def steps_are_undone_once(evidence: Evidence) -> Results:
    """Each completed step of a run that ended without success is undone once, the last first."""
    stages = evidence.by_run("stage")
    for run in evidence.runs.values():
        undo = {one["of"] for one in run["graph"].get("undo", ())}
        if not undo or run["status"] not in ENDED:
            continue
        completed = [row for row in stages[run["id"]] if row["status"] == "completed"]
        completed.sort(key=lambda row: row["sequence"])
        done = [row["undoes"] for row in completed if row["kind"] == "undo"]
        wanted = [row["sequence"] for row in completed if row["node_name"] in undo]
        if run["status"] == "completed":
            wanted = []
        text = f"run {run['id']} has to undo steps {wanted}, and has undone {done}"
        yield holds(done == wanted[::-1], text)


def tries_are_numbered(evidence: Evidence) -> Results:
    """The failed tries of a step in one attempt have consecutive numbers."""
    steps = {
        (row["run_id"], row["sequence"], row["attempt"])
        for row in evidence.rows("retry")
    }
    tries = evidence.by_run("retry")
    for run, step, attempt in steps:
        numbers = sorted(
            row["number"]
            for row in tries[run]
            if (row["sequence"], row["attempt"]) == (step, attempt)
        )
        wanted = list(range(numbers[0], numbers[0] + len(numbers)))
        yield holds(numbers == wanted, f"tries of step {step} of run {run}: {numbers}")


INVARIANTS: list[Invariant] = [
    steps_are_complete,
    states_are_complete,
    states_belong_to_their_step,
    no_step_is_left_open,
    steps_in_progress_are_executed,
    interruptions_are_explained,
    calls_were_recorded_first,
    recorded_steps_run_once,
    recorded_steps_were_executed,
    results_are_of_recorded_calls,
    results_have_all_steps,
    items_are_complete,
    recorded_items_run_once,
    joins_have_the_results_of_their_branches,
    steps_are_undone_once,
    tries_are_numbered,
]
