"""Decisions, and the path of runs through their graphs."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.chaos.invariants import Invariant, Results, holds
from workflows.engine.first_of import FIRST_EDGE

if TYPE_CHECKING:
    from tests.chaos.evidence import Evidence, Row, Step


def _decisions(evidence: Evidence) -> dict[Step, dict[int, list[Row]]]:
    """Return the decisions of each step and attempt, in the order of the edges.

    Which of several waits came first is recorded as a decision, too, but about no edge.
    """
    found: dict[Step, dict[int, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(_about_edges(evidence), key=lambda row: row["edge_index"]):
        found[row["run_id"], row["sequence"]][row["attempt"]].append(row)
    return found


def _about_edges(evidence: Evidence) -> list[Row]:
    return [row for row in evidence.rows("decision") if row["edge_index"] < FIRST_EDGE]


def decisions_are_complete(evidence: Evidence) -> Results:
    """After each step that is no exit, every edge up to the one taken has its decision."""
    decisions = _decisions(evidence)
    for (run, step), stage in evidence.passed.items():
        is_exit = stage["node_name"] in evidence.runs[run]["graph"]["exits"]
        if is_exit or stage["kind"] == "undo":
            continue
        attempts = decisions[run, step]
        yield holds(attempts, f"run {run} has no decision after step {step}")
        for rows in attempts.values():
            edges = [row["edge_index"] for row in rows]
            taken = [bool(row["taken"]) for row in rows]
            is_whole = edges == list(range(len(rows)))
            is_whole = is_whole and taken == [False] * (len(rows) - 1) + [True]
            text = f"run {run} after step {step}: edges {edges}, taken {taken}"
            yield holds(is_whole, text)


def steps_follow_decisions(evidence: Evidence) -> Results:
    """The node of a step is the one that the decision before it led to, in every attempt."""
    decisions = _decisions(evidence)
    for row in evidence.rows("stage"):
        if row["branch"] is not None:
            continue  # the steps of branches begin at the split, without a decision
        for rows in decisions.get((row["run_id"], row["sequence"] - 1), {}).values():
            targets = [each["to_node"] for each in rows if each["taken"]]
            text = f"step {row['sequence']} of run {row['run_id']} is not {targets}"
            yield holds(row["node_name"] in targets, text)


def decisions_leave_their_step(evidence: Evidence) -> Results:
    """A decision leaves the node of a completed step, along an edge of the graph."""
    for row in _about_edges(evidence):
        stage = evidence.passed.get((row["run_id"], row["sequence"]))
        edge = {
            "source": row["from_node"],
            "target": row["to_node"],
            "index": row["edge_index"],
        }
        edges = _edges(evidence.runs[row["run_id"]]["graph"])
        is_of_step = stage is not None and stage["node_name"] == row["from_node"]
        text = f"decision of step {row['sequence']} of run {row['run_id']}: {edge}"
        yield holds(is_of_step and edge in edges, text)


def _edges(graph: Row) -> list[Row]:
    """Return the edges of a graph, also those within branches and to their join."""
    edges = [
        {name: each[name] for name in ("source", "target", "index")}
        for each in graph["edges"]
    ]
    for node in graph["nodes"]:
        for branch in node.get("branches", ()):
            names = [inner["name"] for inner in branch["nodes"]] + [node["name"]]
            edges += [
                {"source": source, "target": target, "index": 0}
                for source, target in pairwise(names)
            ]
    return edges


def runs_go_from_entry_to_exit(evidence: Evidence) -> Results:
    """The first step of a run is the entry, and the last step of a completed one an exit."""
    for run in evidence.runs.values():
        if run["status"] == "completed":
            first = evidence.completed.get((run["id"], 1))
            last = evidence.completed.get((run["id"], run["sequence"]))
            ends = [stage["node_name"] for stage in (first, last) if stage]
            graph = run["graph"]
            is_whole = ends[:1] == [graph["entry"]] and ends[-1] in graph["exits"]
            yield holds(
                is_whole, f"run {run['id']} went from {ends[:1]} to {ends[-1:]}"
            )


INVARIANTS: list[Invariant] = [
    decisions_are_complete,
    steps_follow_decisions,
    decisions_leave_their_step,
    runs_go_from_entry_to_exit,
]
