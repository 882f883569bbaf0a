"""The neutral picture of a graph, for drawing, checking and fingerprints."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

UNCONDITIONAL = ("", "always")  # names of predicates that always hold


@dataclass(frozen=True, slots=True)
class NodeShape:
    """One step as drawn."""

    name: str
    kind: str  # node, parallel, chain, conditional, approval, wait or subworkflow
    doc: str = ""


@dataclass(frozen=True, slots=True)
class EdgeShape:
    """One way out of a step, as drawn."""

    source: str
    target: str
    index: int  # its place among the edges of its source, from 0
    predicate: str = ""  # the name of its predicate; empty: always taken
    name: str = ""


@dataclass(frozen=True, slots=True)
class GraphShape:
    """A graph without its code: names and lines."""

    entry: str
    exits: tuple[str, ...]
    nodes: tuple[NodeShape, ...]
    edges: tuple[EdgeShape, ...]
    fields: tuple[tuple[str, str], ...] = ()  # of the state: name and type, as text

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> GraphShape:
        """The shape that `to_json` wrote."""
        return cls(
            entry=value["entry"],
            exits=tuple(value["exits"]),
            nodes=tuple(NodeShape(**node) for node in value["nodes"]),
            edges=tuple(EdgeShape(**edge) for edge in value["edges"]),
            fields=tuple((name, text) for name, text in value.get("fields", ())),
        )

    def to_json(self) -> dict[str, Any]:
        """The shape as JSON, to store with a run."""
        return {
            "entry": self.entry,
            "exits": list(self.exits),
            "nodes": [asdict(node) for node in self.nodes],
            "edges": [asdict(edge) for edge in self.edges],
            "fields": [list(field) for field in self.fields],
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the nodes, in the order in which they were added."""
        return tuple(node.name for node in self.nodes)

    def edges_from(self, source: str) -> tuple[EdgeShape, ...]:
        """The ways out of a node, in the order in which they are tried."""
        return tuple(edge for edge in self.edges if edge.source == source)

    def unreachable(self) -> tuple[str, ...]:
        """The nodes no way leads to from the entry point."""
        reached = _reached([self.entry], self._targets(forward=True))
        return tuple(name for name in self.names if name not in reached)

    def trapped(self) -> tuple[str, ...]:
        """The nodes from which no way leads to an exit."""
        reaching = _reached(self.exits, self._targets(forward=False))
        return tuple(name for name in self.names if name not in reaching)

    def exits_with_edges(self) -> tuple[str, ...]:
        """The exits that have edges, which are never looked at."""
        sources = {edge.source for edge in self.edges}
        return tuple(name for name in self.exits if name in sources)

    def without_otherwise(self) -> tuple[str, ...]:
        """The nodes whose last edge has a predicate, so that none may hold."""
        last = {edge.source: edge for edge in self.edges}
        return tuple(
            name
            for name in self.names
            if name in last and last[name].predicate not in UNCONDITIONAL
        )

    def _targets(self, *, forward: bool) -> Mapping[str, list[str]]:
        """Neighbours by name; the edges of an exit lead nowhere, for they are never looked at."""
        targets: dict[str, list[str]] = {}
        for edge in self.edges:
            if edge.source not in self.exits:
                start, end = (
                    (edge.source, edge.target)
                    if forward
                    else (edge.target, edge.source)
                )
                targets.setdefault(start, []).append(end)
        return targets


def _reached(start: Iterable[str], targets: Mapping[str, list[str]]) -> set[str]:
    reached = set(start)
    waiting = deque(reached)
    while waiting:
        for target in targets.get(waiting.popleft(), ()):
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    return reached
