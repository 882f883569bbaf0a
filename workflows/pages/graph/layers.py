"""Layers of a graph: which step stands below which, and side by side in what order.

The classic way to draw a directed graph in layers (Sugiyama, Tagawa and Toda, 1981):
links that lead back are set aside, the others give each step its layer by the longest
way to it; a link over several layers is cut into joints, one a layer; then the order in
each layer is improved, by medians, until links cross each other little. The same graph
always gives the same drawing.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections import defaultdict
from dataclasses import dataclass, field
from statistics import median

SWEEPS = 24  # down and up again; crossings settle long before


@dataclass(frozen=True, slots=True)
class Link:
    """A line to draw, with the width of what is written on it."""

    source: str
    target: str
    label_width: float = 0  # 0: nothing is written on it


@dataclass(slots=True)
class Layers:
    """Steps and joints by layer, from left to right, and the chain of each link."""

    rows: list[list[str]]
    chains: dict[int, list[str]]  # of links that lead down: source, joints, target
    back: list[int]  # links that lead up or stay on their layer, to be led around
    rank: dict[str, int]
    labels: dict[str, int] = field(default_factory=dict)  # joint → link it is named on

    def is_joint(self, name: str) -> bool:
        """Tell whether this is a place where a link passes, not a step."""
        return name.startswith("\x00")


def arrange(names: list[str], links: list[Link], entry: str) -> Layers:
    """Return the layers of a graph; steps stand in even layers, labels between them."""
    back = _leading_back(names, links, entry)
    forward = [
        index
        for index, link in enumerate(links)
        if index not in back and link.source != link.target
    ]
    rank = _ranks(names, [links[index] for index in forward])
    layers = Layers(
        rows=[[] for _ in range(max(rank.values(), default=0) + 1)],
        chains={},
        back=sorted(back),
        rank=rank,
    )
    for name in _reading_order(names, links, entry):
        layers.rows[rank[name]].append(name)
    for index in forward:
        _add_chain(layers, index, links[index])
    _untangle(layers)
    return layers


def _leading_back(names: list[str], links: list[Link], entry: str) -> set[int]:
    """Return the links to a step that leads to their own source; not self loops."""
    ways: dict[str, list[int]] = defaultdict(list)
    for index, link in enumerate(links):
        ways[link.source].append(index)
    back: set[int] = set()
    done: set[str] = set()
    for start in [entry, *names]:
        if start in done:
            continue
        path = {start}
        stack = [(start, iter(ways[start]))]
        while stack:
            name, rest = stack[-1]
            index = next(rest, -1)
            if index < 0:
                stack.pop()
                path.discard(name)
                done.add(name)
                continue
            target = links[index].target
            if target in path and target != name:
                back.add(index)
            elif target not in path and target not in done:
                path.add(target)
                stack.append((target, iter(ways[target])))
    return back


def _ranks(names: list[str], links: list[Link]) -> dict[str, int]:
    """Return each step's layer: two below the lowest step that leads to it."""
    waiting = dict.fromkeys(names, 0)
    ways: dict[str, list[str]] = defaultdict(list)
    for link in links:
        waiting[link.target] += 1
        ways[link.source].append(link.target)
    rank = dict.fromkeys(names, 0)
    ready = [name for name in names if not waiting[name]]
    for name in ready:  # grows while it is read
        for target in ways[name]:
            rank[target] = max(rank[target], rank[name] + 2)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return rank


def _reading_order(names: list[str], links: list[Link], entry: str) -> list[str]:
    """Return the steps as one meets them, following links in their order."""
    ways: dict[str, list[str]] = defaultdict(list)
    for link in links:
        ways[link.source].append(link.target)
    order: list[str] = []
    seen: set[str] = set()
    stack = [*reversed(names), entry]
    while stack:
        name = stack.pop()
        if name not in seen:
            seen.add(name)
            order.append(name)
            stack.extend(reversed(ways[name]))
    return order


def _add_chain(layers: Layers, index: int, link: Link) -> None:
    first, last = layers.rank[link.source], layers.rank[link.target]
    joints = [f"\x00{index}.{row}" for row in range(first + 1, last)]
    for row, joint in enumerate(joints, start=first + 1):
        layers.rows[row].append(joint)
        layers.rank[joint] = row
    if link.label_width:
        layers.labels[joints[0]] = index
    layers.chains[index] = [link.source, *joints, link.target]


def _untangle(layers: Layers) -> None:
    """Order each layer by the medians of its neighbours; keep the best order seen."""
    above, below = neighbours(layers)
    best, fewest = [list(row) for row in layers.rows], crossings(layers.rows, below)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        order = range(1, len(layers.rows))
        if sweep % 2:
            order = range(len(layers.rows) - 2, -1, -1)
        for row in order:
            beside = layers.rows[row + 1 if sweep % 2 else row - 1]
            near = below if sweep % 2 else above
            # every other round, those that tie change places: another start
            _sort(layers.rows[row], beside, near, turned=sweep % 4 > 1)
        crossed = crossings(layers.rows, below)
        if crossed < fewest:
            best, fewest = [list(row) for row in layers.rows], crossed
    layers.rows = best


def neighbours(layers: Layers) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return what each step or joint hangs from, and what hangs from it."""
    above: dict[str, list[str]] = defaultdict(list)
    below: dict[str, list[str]] = defaultdict(list)
    for chain in layers.chains.values():
        for upper, lower in itertools.pairwise(chain):
            above[lower].append(upper)
            below[upper].append(lower)
    return above, below


def _sort(
    row: list[str], beside: list[str], near: dict[str, list[str]], *, turned: bool
) -> None:
    """Sort a layer by the median place of neighbours; what has none stays put."""
    place = {name: index for index, name in enumerate(beside)}
    wish = {
        name: median(place[other] for other in near[name])
        for name in row
        if near.get(name)
    }
    movable = [name for name in row if name in wish]
    movable = sorted(movable[::-1] if turned else movable, key=wish.__getitem__)
    moved = iter(movable)
    row[:] = [next(moved) if name in wish else name for name in row]


def crossings(rows: list[list[str]], below: dict[str, list[str]]) -> int:
    """Count the pairs of links that cross between neighbouring layers."""
    total = 0
    for upper, lower in itertools.pairwise(rows):
        place = {name: index for index, name in enumerate(lower)}
        passed: list[int] = []  # sorted ends of the links to the left
        for name in upper:
            ends = sorted(place[other] for other in below.get(name, ()))
            total += sum(len(passed) - bisect_left(passed, end + 1) for end in ends)
            for end in ends:
                insort(passed, end)
    return total
