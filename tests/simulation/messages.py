"""Invariants of messages to waiting runs, beside those of `tests.chaos`."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from tests.chaos.invariants import Invariant, Results, holds
from tests.chaos.invariants.runs import ENDED
from workflows.engine.first_of import FIRST_EDGE

if TYPE_CHECKING:
    from tests.chaos.evidence import Evidence

WAITS = frozenset({"event", "callback"})  # kinds of nodes


def sent_messages_are_stored_once(evidence: Evidence) -> Results:
    """A message that was confirmed to its sender is stored once, however often it was sent."""
    stored = Counter(row["value"]["number"] for row in evidence.rows("eventmessage"))
    for line in evidence.requests("message"):
        number = line["number"]
        wanted = {1} if line["reply"] == "accepted" else {0, 1}
        text = f"message {number}, {line['reply']}, is stored {stored[number]} times"
        yield holds(stored[number] in wanted, text)


def messages_move_the_run_of_their_key(evidence: Evidence) -> Results:
    """A received message has the name and the key of the wait, and is marked as delivered."""
    messages = {row["id"]: row for row in evidence.rows("eventmessage")}
    taken: Counter[object] = Counter()
    for wait in evidence.rows("eventwait"):
        if wait["status"] != "received":
            continue
        message = messages.get(wait["message_id"])
        taken[wait["message_id"]] += 1
        is_same = message is not None and [
            message[name] for name in ("workflow_name", "name", "key")
        ] == [wait[name] for name in ("workflow_name", "name", "key")]
        text = f"run {wait['run_id']} received {message}"
        yield holds(is_same and message and message["delivered_at"], text)
    for message_id, number in taken.items():  # keys of the simulation are of one run
        yield holds(number == 1, f"message {message_id} moved {number} waits")


def steps_have_their_message(evidence: Evidence) -> Results:
    """A step that waited for a message completed with the one that it received."""
    received = {
        (row["run_id"], row["sequence"]): row["message_id"]
        for row in evidence.rows("eventwait")
        if row["status"] == "received"
    }
    numbers = {
        row["id"]: row["value"]["number"] for row in evidence.rows("eventmessage")
    }
    for (run_id, step), stage in evidence.completed.items():
        if evidence.kind_of(run_id, stage["node_name"]) in WAITS:
            number = numbers.get(received.get((run_id, step), ""))
            yield holds(number, f"step {step} of run {run_id} received no message")
            result = evidence.runs[run_id]["result"]
            if result:
                text = f"run {run_id} received {number} and has {result['notice']}"
                yield holds(result["notice"] == {"number": number}, text)


def first_of_several_waits_decides(evidence: Evidence) -> Results:
    """One part came first; the result has the message if that did, and none otherwise."""
    parts: dict[str, list[str]] = defaultdict(list)
    for row in evidence.rows("decision"):
        if row["edge_index"] >= FIRST_EDGE and row["taken"]:
            parts[row["run_id"]].append(row["from_node"])
    for run in evidence.runs.values():
        if run["workflow_name"] == "chaos-first" and run["result"]:
            received = [
                row
                for row in evidence.rows("eventwait")
                if row["run_id"] == run["id"] and row["status"] == "received"
            ]
            notice = run["result"]["notice"]
            wanted = ["chance" if received else "too_late"]
            first = [run["result"]["first"]]
            text = (
                f"run {run['id']} received {received} and has {notice}, first {first}"
            )
            yield holds(bool(received) == bool(notice) and first == wanted, text)
            text = f"run {run['id']}: decided for {parts[run['id']]}, is {first}"
            yield holds(parts[run["id"]] == first, text)


def no_wait_is_left_open(evidence: Evidence) -> Results:
    """No wait of a run that has ended is open."""
    for row in evidence.rows("eventwait"):
        if evidence.status_of(row) in ENDED:
            text = f"the wait of step {row['sequence']} of run {row['run_id']} is open"
            yield holds(row["status"] != "open", text)


INVARIANTS: list[Invariant] = [
    sent_messages_are_stored_once,
    messages_move_the_run_of_their_key,
    steps_have_their_message,
    first_of_several_waits_decides,
    no_wait_is_left_open,
]
