"""A graph without code, for drawing, checks and fingerprints."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

UNCONDITIONAL = ("", "always")  # names of predicates that are always met


@dataclass(frozen=True, slots=True)
class NodeShape:
    """A node without code."""

    name: str
    kind: str  # a `Kind` of `nodes.py`
    doc: str = ""
    votes: int = 1  # number of persons who respond to an approval
    branches: tuple[BranchShape, ...] = ()
    need: int | None = None  # number of branches that have to finish
    effects: str = ""  # outside of the run; no part of the fingerprint

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> NodeShape:
        """Return the shape from the output of `to_json`."""
        branches = tuple(
            BranchShape(one["name"], tuple(map(cls.from_json, one["nodes"])))
            for one in value.get("branches", ())
        )
        return cls(**{**value, "branches": branches})

    def to_json(self) -> dict[str, Any]:
        """Return the shape as JSON; most have no votes and branches, like those of older runs."""
        values = asdict(self)
        del values["branches"], values["need"]
        if self.votes == 1:
            del values["votes"]
        if not self.effects:
            del values["effects"]
        if self.branches:
            values["need"] = self.need
            values["branches"] = [
                {"name": one.name, "nodes": [node.to_json() for node in one.nodes]}
                for one in self.branches
            ]
        return values


@dataclass(frozen=True, slots=True)
class BranchShape:
    """A branch of a node: its nodes run one after another."""

    name: str
    nodes: tuple[NodeShape, ...]


@dataclass(frozen=True, slots=True)
class EdgeShape:
    """An edge without code."""

    source: str
    target: str
    index: int  # position among the edges of its source, from 0
    predicate: str = ""  # the name of its predicate; empty: unconditional
    name: str = ""
    on_failure: bool = False  # part of the failure route of its source


@dataclass(frozen=True, slots=True)
class GraphShape:
    """A graph without code."""

    entry: str
    exits: tuple[str, ...]
    nodes: tuple[NodeShape, ...]
    edges: tuple[EdgeShape, ...]
    fields: tuple[tuple[str, str], ...] = ()  # of the state: name and type as text
    undo: tuple[tuple[str, NodeShape], ...] = ()  # a node, and what undoes its steps
    on_end: NodeShape | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> GraphShape:
        """Return the shape from the output of `to_json`."""
        return cls(
            entry=value["entry"],
            exits=tuple(value["exits"]),
            nodes=tuple(map(NodeShape.from_json, value["nodes"])),
            edges=tuple(EdgeShape(**edge) for edge in value["edges"]),
            fields=tuple((name, text) for name, text in value.get("fields", ())),
            undo=tuple(_undo_from_json(**undo) for undo in value.get("undo", ())),
            on_end=NodeShape.from_json(value["on_end"])
            if value.get("on_end")
            else None,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the shape as JSON, to store with a run."""
        undo = [{"of": name, **node.to_json()} for name, node in self.undo]
        return {
            **({"undo": undo} if undo else {}),
            **({"on_end": self.on_end.to_json()} if self.on_end else {}),
            "entry": self.entry,
            "exits": list(self.exits),
            "nodes": [node.to_json() for node in self.nodes],
            "edges": [_edge_to_json(edge) for edge in self.edges],
            "fields": [list(field) for field in self.fields],
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the nodes, in the order of their addition."""
        return tuple(node.name for node in self.nodes)

    @property
    def nodes_with_branches(self) -> tuple[NodeShape, ...]:
        """The nodes that have branches."""
        return tuple(node for node in self.nodes if node.branches)

    def edges_from(self, source: str) -> tuple[EdgeShape, ...]:
        """Return the edges that leave a node, in the order in which they are evaluated."""
        return tuple(edge for edge in self.edges if edge.source == source)

    def unreachable(self) -> tuple[str, ...]:
        """Return the nodes without a path from the entry point."""
        reached = _reached([self.entry], self._targets(forward=True))
        return tuple(name for name in self.names if name not in reached)

    def trapped(self) -> tuple[str, ...]:
        """Return the nodes without a path to an exit."""
        reaching = _reached(self.exits, self._targets(forward=False))
        return tuple(name for name in self.names if name not in reaching)

    def exits_with_edges(self) -> tuple[str, ...]:
        """Return the exits that have edges, which are never evaluated."""
        sources = {edge.source for edge in self.edges if not edge.on_failure}
        return tuple(name for name in self.exits if name in sources)

    def without_otherwise(self) -> tuple[str, ...]:
        """Return the nodes whose last edge has a predicate, so that no edge may match."""
        last = {edge.source: edge for edge in self.edges if not edge.on_failure}
        return tuple(
            name
            for name in self.names
            if name in last and last[name].predicate not in UNCONDITIONAL
        )

    def _targets(self, *, forward: bool) -> Mapping[str, list[str]]:
        """Return neighbours by name; the edges of exits are never evaluated and left out."""
        targets: dict[str, list[str]] = {}
        for edge in self.edges:
            if edge.on_failure or edge.source not in self.exits:
                start, end = (
                    (edge.source, edge.target)
                    if forward
                    else (edge.target, edge.source)
                )
                targets.setdefault(start, []).append(end)
        return targets


def _undo_from_json(of: str, **node: Any) -> tuple[str, NodeShape]:
    return of, NodeShape.from_json(node)


def _edge_to_json(edge: EdgeShape) -> dict[str, Any]:
    """Return an edge as JSON; most have no `on_failure`, like those of older runs."""
    values = asdict(edge)
    if not edge.on_failure:
        del values["on_failure"]
    return values


def _reached(start: Iterable[str], targets: Mapping[str, list[str]]) -> set[str]:
    reached = set(start)
    waiting = deque(reached)
    while waiting:
        for target in targets.get(waiting.popleft(), ()):
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    return reached
