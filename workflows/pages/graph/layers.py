"""Layers of a graph: the layer of each node, and the order within each layer.

Layered drawing of a directed graph (Sugiyama, Tagawa and Toda, 1981): edges that lead back
are set aside; the others give each node its layer by the longest path to it; an edge over
several layers is split into joints, one per layer; then the order in each layer is improved
by medians to reduce crossings. The result is deterministic.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median

SWEEPS = 24  # down and up; crossings stop decreasing long before


@dataclass(frozen=True, slots=True)
class LayoutEdge:
    """An edge with the width of its label."""

    source: str
    target: str
    label_width: float = 0  # 0: no label


@dataclass(slots=True)
class Layers:
    """Nodes and joints by layer, from left to right, and the chain of each edge."""

    rows: list[list[str]]
    chains: dict[int, list[str]]  # of edges that lead down: source, joints, target
    back: list[int]  # edges that lead up or stay on their layer
    rank: dict[str, int]
    labels: dict[str, int] = field(
        default_factory=dict
    )  # joint → edge with its label there

    def is_joint(self, name: str) -> bool:
        """Return whether a name is that of a joint, not of a node."""
        return name.startswith("\x00")


def arrange(names: list[str], edges: list[LayoutEdge], entry: str) -> Layers:
    """Return the layers of a graph: nodes in even layers, labels in odd ones."""
    back = _back_edges(names, edges, entry)
    forward = [
        index
        for index, edge in enumerate(edges)
        if index not in back and edge.source != edge.target
    ]
    rank = _ranks(names, [edges[index] for index in forward])
    layers = Layers(
        rows=[[] for _ in range(max(rank.values(), default=0) + 1)],
        chains={},
        back=sorted(back),
        rank=rank,
    )
    for name in _depth_first_order(names, edges, entry):
        layers.rows[rank[name]].append(name)
    for index in forward:
        _add_chain(layers, index, edges[index])
    _reduce_crossings(layers)
    return layers


def _back_edges(names: list[str], edges: list[LayoutEdge], entry: str) -> set[int]:
    """Return the edges that close a cycle, without self loops."""
    outgoing: dict[str, list[int]] = defaultdict(list)
    for index, edge in enumerate(edges):
        outgoing[edge.source].append(index)
    back: set[int] = set()
    done: set[str] = set()
    for start in [entry, *names]:
        if start in done:
            continue
        path = {start}
        stack = [(start, iter(outgoing[start]))]
        while stack:
            name, rest = stack[-1]
            index = next(rest, -1)
            if index < 0:
                stack.pop()
                path.discard(name)
                done.add(name)
                continue
            target = edges[index].target
            if target in path and target != name:
                back.add(index)
            elif target not in path and target not in done:
                path.add(target)
                stack.append((target, iter(outgoing[target])))
    return back


def _ranks(names: list[str], edges: list[LayoutEdge]) -> dict[str, int]:
    """Return the layer of each node: two below the lowest node that leads to it."""
    waiting = dict.fromkeys(names, 0)
    outgoing: dict[str, list[str]] = defaultdict(list)
    for edge in edges:
        waiting[edge.target] += 1
        outgoing[edge.source].append(edge.target)
    rank = dict.fromkeys(names, 0)
    ready = [name for name in names if not waiting[name]]
    for name in ready:  # grows while it is read
        for target in outgoing[name]:
            rank[target] = max(rank[target], rank[name] + 2)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return rank


def _depth_first_order(
    names: list[str], edges: list[LayoutEdge], entry: str
) -> list[str]:
    """Return the nodes in depth-first order, following edges in their order."""
    outgoing: dict[str, list[str]] = defaultdict(list)
    for edge in edges:
        outgoing[edge.source].append(edge.target)
    order: list[str] = []
    visited: set[str] = set()
    stack = [*reversed(names), entry]
    while stack:
        name = stack.pop()
        if name not in visited:
            visited.add(name)
            order.append(name)
            stack.extend(reversed(outgoing[name]))
    return order


def _add_chain(layers: Layers, index: int, edge: LayoutEdge) -> None:
    first, last = layers.rank[edge.source], layers.rank[edge.target]
    joints = [f"\x00{index}.{row}" for row in range(first + 1, last)]
    for row, joint in enumerate(joints, start=first + 1):
        layers.rows[row].append(joint)
        layers.rank[joint] = row
    if edge.label_width:
        layers.labels[joints[0]] = index
    layers.chains[index] = [edge.source, *joints, edge.target]


def _reduce_crossings(layers: Layers) -> None:
    """Order each layer by the medians of its neighbours; keep the best order."""
    above, below = neighbours(layers)
    best, fewest = [list(row) for row in layers.rows], crossings(layers.rows, below)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        order = range(1, len(layers.rows))
        if sweep % 2:
            order = range(len(layers.rows) - 2, -1, -1)
        for row in order:
            adjacent = layers.rows[row + 1 if sweep % 2 else row - 1]
            near = below if sweep % 2 else above
            # every other round, ties are reversed: a different start
            _sort(layers.rows[row], adjacent, near, reverse_ties=sweep % 4 > 1)
        crossed = crossings(layers.rows, below)
        if crossed < fewest:
            best, fewest = [list(row) for row in layers.rows], crossed
    layers.rows = best


def neighbours(layers: Layers) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the neighbours above and below each node or joint."""
    above: dict[str, list[str]] = defaultdict(list)
    below: dict[str, list[str]] = defaultdict(list)
    for chain in layers.chains.values():
        for upper, lower in itertools.pairwise(chain):
            above[lower].append(upper)
            below[upper].append(lower)
    return above, below


def _sort(
    row: list[str],
    adjacent: list[str],
    near: dict[str, list[str]],
    *,
    reverse_ties: bool,
) -> None:
    """Sort a layer by the median position of neighbours; items without any stay."""
    place = {name: index for index, name in enumerate(adjacent)}
    preferred = {
        name: median(place[other] for other in near[name])
        for name in row
        if near.get(name)
    }
    movable = [name for name in row if name in preferred]
    movable = sorted(
        movable[::-1] if reverse_ties else movable, key=preferred.__getitem__
    )
    moved = iter(movable)
    row[:] = [next(moved) if name in preferred else name for name in row]


def crossings(rows: list[list[str]], below: dict[str, list[str]]) -> int:
    """Count the pairs of edges that cross between neighbouring layers."""
    total = 0
    for upper, lower in itertools.pairwise(rows):
        place = {name: index for index, name in enumerate(lower)}
        passed: list[int] = []  # sorted ends of the edges to the left
        for name in upper:
            ends = sorted(place[other] for other in below.get(name, ()))
            total += sum(len(passed) - bisect_left(passed, end + 1) for end in ends)
            for end in ends:
                insort(passed, end)
    return total
