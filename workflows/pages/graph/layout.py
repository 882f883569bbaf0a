"""Positions of the nodes and edges of a graph, in pixels, from top to bottom.

`layers` has the nodes by layer. Each is placed as near as possible to the nodes above and
below that it is connected with, and never closer to its neighbour than the gap: least
squares under an order, solved exactly by pooling neighbours that would overlap. Edges that
lead back run around the right side, through the gaps between layers, so that no edge
crosses a node.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workflows.pages.graph.layers import Layers, LayoutEdge, arrange, neighbours

GAP_X = 28.0  # between neighbouring nodes
GAP_Y = 24.0  # between a node and the labels below it
LABEL_HEIGHT = 20.0
LANE = 16.0  # between parallel edges
LOOP = 34.0  # width of a self loop, to the right of its node
ASIDE = 7.0  # from a line to a text to its right
COUNT_LINE = 13.0  # vertical distance between staggered counts
COUNT_ROOM = 50.0  # reserved for the count of an edge, which a run can add at any time
MARGIN = 14.0
TOP = 34.0  # space for the mark of the entry and for edges that lead back to it
ROUNDS = 24
SNAP = 18.0  # smaller offsets are aligned


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a node."""

    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Point:
    """A position in the diagram."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Route:
    """The SVG path of an edge, with the positions of its arrow head and label."""

    path: str
    tip: Point
    label: Point  # middle of the label; for an edge around the side, its left end
    is_back: bool = False
    is_loop: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """The finished positions of a graph."""

    width: float
    height: float
    nodes: Mapping[str, Point]  # the middle of each node's upper side
    routes: tuple[Route, ...]  # one per edge, in order


def lay_out(
    sizes: Mapping[str, Size],
    edges: Sequence[LayoutEdge],
    entry: str,
    count_room: float = COUNT_ROOM,
) -> Layout:
    """Return the positions of all nodes and edges, with room for a count at each edge."""
    layers = arrange(list(sizes), list(edges), entry)
    plan = _Plan(sizes, list(edges), layers, count_room)
    plan.place_horizontally()
    plan.place_vertically()
    plan.place_back_edges()
    return plan.layout()


class _Plan:
    """The positions while they are computed."""

    def __init__(
        self,
        sizes: Mapping[str, Size],
        edges: list[LayoutEdge],
        layers: Layers,
        count_room: float,
    ) -> None:
        self.count_room = count_room
        self.sizes = sizes
        self.edges = edges
        self.layers = layers
        self.x: dict[str, float] = {}
        self.top: list[float] = []  # of each layer
        self.depth: list[float] = []  # height of each layer
        self.lanes: dict[int, float] = {}  # x of each edge that runs around the side
        self.right = 0.0
        self._loops = {
            edge.source: LOOP + self._room(edge)
            for edge in edges
            if edge.source == edge.target
        }

    # -- horizontal -------------------------------------------------------------------

    def place_horizontally(self) -> None:
        """Set the x of each node and joint, with the leftmost side at the margin."""
        above, below = neighbours(self.layers)
        for row in self.layers.rows:
            self._place_row(row, dict.fromkeys(row, 0.0))
        for sweep in range(ROUNDS):
            rows = self.layers.rows if sweep % 2 == 0 else self.layers.rows[::-1]
            near = above if sweep % 2 == 0 else below
            if sweep >= ROUNDS - 2:  # finally, use the neighbours above and below
                near = {
                    name: [*above.get(name, ()), *below.get(name, ())]
                    for name in self.x
                }
            for row in rows:
                self._place_row(
                    row, {name: self._preferred_x(name, near) for name in row}
                )
        for _ in range(3):
            self._straighten(self.layers.rows, above)
            self._straighten(self.layers.rows[::-1], below)
        self._shift()

    def _straighten(self, rows: list[list[str]], near: Mapping[str, list[str]]) -> None:
        """Align nodes that are nearly in line with their only neighbour."""
        for row in rows:
            wishes = {name: self.x[name] for name in row}
            for name in row:
                others = near.get(name, ())
                if len(others) == 1 and abs(self.x[others[0]] - self.x[name]) < SNAP:
                    wishes[name] = self.x[others[0]]
            self._place_row(row, wishes)

    def _preferred_x(self, name: str, near: Mapping[str, list[str]]) -> float:
        """Return the preferred x of a node: the weighted mean of its neighbours."""
        others = near.get(name)
        if not others:
            return self.x[name]
        weights = [self._weight(name, other) for other in others]
        places = [self.x[other] for other in others]
        return sum(map(float.__mul__, weights, places)) / sum(weights)

    def _weight(self, name: str, other: str) -> float:
        """Return the weight of a connection: long edges should be straight, short ones may bend."""
        joints = self.layers.is_joint(name) + self.layers.is_joint(other)
        return (1.0, 2.0, 6.0)[joints]

    def _place_row(self, row: list[str], wishes: Mapping[str, float]) -> None:
        """Place a layer as near to the preferred positions as order and gaps allow."""
        if not row:
            return
        offsets = [0.0]
        for left, right in itertools.pairwise(row):
            apart = self._extent(left)[1] + GAP_X + self._extent(right)[0]
            offsets.append(offsets[-1] + apart)
        wanted = [
            wishes[name] - offset for name, offset in zip(row, offsets, strict=True)
        ]
        for name, place, offset in zip(row, rising(wanted), offsets, strict=True):
            self.x[name] = place + offset

    def _extent(self, name: str) -> tuple[float, float]:
        """Return how far a node or joint extends to the left and right."""
        if not self.layers.is_joint(name):
            half = self.sizes[name].width / 2
            return half, half + self._loops.get(name, 0.0)
        edge = self.layers.labels.get(name)
        half = LANE / 4 if edge is None else self.edges[edge].label_width / 2
        return half, half

    def _room(self, edge: LayoutEdge) -> float:
        """Return the width reserved to the right of an edge for its label and its count."""
        return max(edge.label_width, self.count_room)

    def _shift(self) -> None:
        left = min(x - self._extent(name)[0] for name, x in self.x.items())
        for name in self.x:
            self.x[name] = round(self.x[name] - left + MARGIN, 1)
        self.right = max(x + self._extent(name)[1] for name, x in self.x.items())

    # -- vertical ---------------------------------------------------------------------

    def place_vertically(self) -> None:
        """Set the top and height of each layer."""
        y = TOP
        for row in self.layers.rows:
            depth = max((self._height(name) for name in row), default=0.0)
            self.top.append(y)
            self.depth.append(depth)
            y += depth + GAP_Y

    def _height(self, name: str) -> float:
        if not self.layers.is_joint(name):
            return self.sizes[name].height
        return LABEL_HEIGHT if name in self.layers.labels else 0.0

    def place_back_edges(self) -> None:
        """Set the lane of each edge that leads back, at the right; short ones inside."""
        taken: dict[int, float] = {
            row: max(
                (self.x[name] + self._extent(name)[1] for name in names), default=0.0
            )
            for row, names in enumerate(self.layers.rows)
        }
        rank = self.layers.rank
        spans = {
            index: (rank[self.edges[index].target], rank[self.edges[index].source])
            for index in self.layers.back
        }
        for index in sorted(spans, key=lambda i: (spans[i][1] - spans[i][0], i)):
            rows = range(min(spans[index]), max(spans[index]) + 1)
            lane = max(taken[row] for row in rows) + LANE
            self.lanes[index] = lane
            end = lane + ASIDE + self._room(self.edges[index])
            taken.update(dict.fromkeys(rows, end))
            self.right = max(self.right, end)

    # -- result -----------------------------------------------------------------------

    def layout(self) -> Layout:
        """Return the finished layout."""
        self._move_joints_to_ports(*self._ports())
        leave, arrive = self._straightened(*self._ports())
        router = _Router(self)
        routes = tuple(
            router.route(index, edge, leave.get(index, 0.0), arrive.get(index, 0.0))
            for index, edge in enumerate(self.edges)
        )
        right = max(
            self.right,
            *(
                route.label.x + ASIDE + self.count_room
                for edge, route in zip(self.edges, routes, strict=True)
                if not edge.label_width
            ),
            0.0,
        )
        return Layout(
            width=round(right + MARGIN, 1),
            height=round(self.top[-1] + self.depth[-1] + GAP_Y + MARGIN, 1),
            nodes={name: Point(self.x[name], self.upper(name)) for name in self.sizes},
            routes=routes,
        )

    def upper(self, name: str) -> float:
        """Return the y of a node's upper side; nodes are centred in their layer."""
        row = self.layers.rank[name]
        return self.top[row] + (self.depth[row] - self.sizes[name].height) / 2

    def lower(self, name: str) -> float:
        return self.upper(name) + self.sizes[name].height

    def _ports(self) -> tuple[dict[int, float], dict[int, float]]:
        """Return the x where each edge leaves its source and reaches its target."""
        leaving: dict[str, list[tuple[float, int]]] = defaultdict(list)
        reaching: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for index, chain in self.layers.chains.items():
            leaving[chain[0]].append((self.x[chain[1]], index))
            reaching[chain[-1]].append((self.x[chain[-2]], index))
        for index, lane in self.lanes.items():
            leaving[self.edges[index].source].append((lane, index))
            reaching[self.edges[index].target].append((lane, index))
        return self._spread(leaving), self._spread(reaching)

    def _move_joints_to_ports(
        self, leave: Mapping[int, float], arrive: Mapping[int, float]
    ) -> None:
        """Move the first and last joint of each edge below and above its ends."""
        wishes = dict(self.x)
        for index, (_, *joints, _) in self.layers.chains.items():
            if len(joints) == 1:
                wishes[joints[0]] = (leave[index] + arrive[index]) / 2
            elif joints:
                wishes[joints[0]], wishes[joints[-1]] = leave[index], arrive[index]
        for row in self.layers.rows:
            if row and all(self.layers.is_joint(name) for name in row):
                self._place_row(
                    row, {name: max(wishes[name], self._min_x(name)) for name in row}
                )
        self._move_inside()
        self.right = max(
            self.right, *(x + self._extent(n)[1] for n, x in self.x.items())
        )

    def _move_inside(self) -> None:
        """Move everything to the right if a label would extend over the left margin."""
        left = min(x - self._extent(name)[0] for name, x in self.x.items())
        missing = round(max(MARGIN - left, 0.0), 1)
        self.x = {name: x + missing for name, x in self.x.items()}
        self.lanes = {index: x + missing for index, x in self.lanes.items()}
        self.right += missing

    def _min_x(self, name: str) -> float:
        return MARGIN + self._extent(name)[0]

    def _straightened(
        self, leave: dict[int, float], arrive: dict[int, float]
    ) -> tuple[dict[int, float], dict[int, float]]:
        """Shift single ends along their node where that makes a line straight."""
        sources = [self.edges[index].source for index in leave]
        targets = [self.edges[index].target for index in arrive]
        for index, chain in self.layers.chains.items():
            joints = chain[1:-1]
            first = self.x[joints[0]] if joints else arrive[index]
            if sources.count(chain[0]) == 1 and abs(first - leave[index]) < SNAP:
                leave[index] = first
            last = self.x[joints[-1]] if joints else leave[index]
            if targets.count(chain[-1]) == 1 and abs(last - arrive[index]) < SNAP:
                arrive[index] = last
        return leave, arrive

    def _spread(self, ends: Mapping[str, list[tuple[float, int]]]) -> dict[int, float]:
        places: dict[int, float] = {}
        for name, found in ends.items():
            step = min(26.0, (self.sizes[name].width - 32) / max(len(found), 1))
            first = self.x[name] - step * (len(found) - 1) / 2
            for place, (_, index) in enumerate(sorted(found)):
                places[index] = round(first + place * step, 1)
        return places


class _Router:
    """The SVG paths of the edges of a finished plan."""

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan

    def route(self, index: int, edge: LayoutEdge, leave: float, arrive: float) -> Route:
        if edge.source == edge.target:
            return self._loop(index, edge)
        start = Point(leave, self._plan.lower(edge.source))
        tip = Point(arrive, self._plan.upper(edge.target))
        if index in self._plan.lanes:
            return self._around(index, start, tip)
        return self._down(index, start, tip)

    def _down(self, index: int, start: Point, tip: Point) -> Route:
        """Return the route through the joints: straight within a layer, curved in the gaps."""
        chain = self._plan.layers.chains[index]
        at, parts = start, [f"M{start.x:g} {start.y:g}"]
        label = Point((start.x + tip.x) / 2, (start.y + tip.y) / 2)
        for joint in chain[1:-1]:
            row, x = self._plan.layers.rank[joint], self._plan.x[joint]
            upper, lower = (
                self._plan.top[row],
                self._plan.top[row] + self._plan.depth[row],
            )
            parts.append(_curve(at, Point(x, upper)))
            if lower > upper:
                parts.append(f"V{lower:g}")
            if joint in self._plan.layers.labels or joint == chain[1]:
                middle = (upper + lower) / 2 + self._offset(index, joint)
                label = Point(x, middle)
            at = Point(x, lower)
        parts.append(_curve(at, tip))
        return Route("".join(parts), tip, label)

    def _offset(self, index: int, joint: str) -> float:
        """Return the vertical offset of the count of an edge without a label.

        Such edges pass a layer close to each other, so their counts are staggered.
        """
        if self._plan.edges[index].label_width:
            return 0.0
        row = self._plan.layers.rows[self._plan.layers.rank[joint]]
        counted = [
            one
            for one in row
            if self._plan.layers.is_joint(one) and one not in self._plan.layers.labels
        ]
        if len(counted) == 1:
            return 0.0
        return COUNT_LINE * (counted.index(joint) % 3 - 1)

    def _around(self, index: int, start: Point, tip: Point) -> Route:
        """Return the route of an edge that leads back: down, right, up the side, and in."""
        edge, rank = self._plan.edges[index], self._plan.layers.rank
        lane, inset = (
            self._plan.lanes[index],
            3.0 * (self._plan.layers.back.index(index) % 3),
        )
        low = (
            self._plan.top[rank[edge.source]]
            + self._plan.depth[rank[edge.source]]
            + 10
            + inset
        )
        high = self._plan.top[rank[edge.target]] - 13 - inset
        path = (
            f"M{start.x:g} {start.y:g}V{low - 8:g}q0 8 8 8H{lane - 8:g}"
            f"q8 0 8 -8V{high + 8:g}q0 -8 -8 -8H{tip.x + 8:g}q-8 0 -8 8V{tip.y:g}"
        )
        return Route(path, tip, Point(lane, (low + high) / 2), is_back=True)

    def _loop(self, index: int, edge: LayoutEdge) -> Route:
        """Return the route of a self loop: a bow at the right side of its node."""
        nth = sum(
            other.source == other.target == edge.source
            for other in self._plan.edges[:index]
        )
        right = self._plan.x[edge.source] + self._plan.sizes[edge.source].width / 2
        middle = (self._plan.upper(edge.source) + self._plan.lower(edge.source)) / 2
        reach, half = LOOP - 8 + 6 * nth, 10.0 + 4 * nth
        path = (
            f"M{right:g} {middle - half:g}C{right + reach:g} {middle - half - 8:g}"
            f" {right + reach:g} {middle + half + 8:g} {right:g} {middle + half:g}"
        )
        tip = Point(right, middle + half)
        label = Point(right + LOOP - 6, middle + 14.0 * nth)
        return Route(path, tip, label, is_loop=True)


def _curve(start: Point, end: Point) -> str:
    """Return a curve that starts and ends vertically."""
    if abs(start.x - end.x) < 1:
        return f"L{end.x:g} {end.y:g}"
    half = (start.y + end.y) / 2
    return f"C{start.x:g} {half:g} {end.x:g} {half:g} {end.x:g} {end.y:g}"


def rising(wanted: Sequence[float]) -> list[float]:
    """Return the monotonically increasing numbers nearest to `wanted`, by least squares.

    Neighbours that would decrease are pooled at their mean (pool adjacent violators).
    """
    pools: list[tuple[float, int]] = []  # mean, how many
    for value in wanted:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (left, m), (right, n) = pools[-2:]
            pools[-2:] = [((left * m + right * n) / (m + n), m + n)]
    return [mean for mean, count in pools for _ in range(count)]
