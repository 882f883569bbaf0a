"""Places for the steps and links of a graph, in pixels, from top to bottom.

Steps come from `layers`; here they get their places: each as near as can be above and
below what it is linked with, never closer to its neighbour than the gap (least squares
under an order, solved exactly by pooling neighbours that would overlap). Links that
lead back run around the right side, through the gaps between layers, so that no link
ever passes through a step.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workflows.pages.graph.layers import Layers, Link, arrange, neighbours

GAP_X = 28.0  # between two steps side by side
GAP_Y = 24.0  # between a step and the labels below it
LABEL_HEIGHT = 20.0
LANE = 16.0  # between two links beside each other
LOOP = 34.0  # a self loop, to the right of its step
ASIDE = 7.0  # from a line to a text to its right
COUNT_LINE = 13.0  # between counts that take turns in height
COUNT_ROOM = 50.0  # kept free for the count of a link, which a run may add at any time
MARGIN = 14.0
TOP = 34.0  # room for the mark of the entry, and for links that lead back to it
ROUNDS = 24
SNAP = 18.0  # what is out of line by less is put into line


@dataclass(frozen=True, slots=True)
class Size:
    """How large a step is drawn."""

    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Point:
    """A place on the drawing."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Route:
    """How a link runs: an SVG path, where its arrow head is, where its label goes."""

    path: str
    tip: Point
    label: Point  # the middle of the label; of a link around the side, its left end
    is_back: bool = False
    is_loop: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """A finished drawing without colours."""

    width: float
    height: float
    nodes: Mapping[str, Point]  # the middle of each step's upper side
    routes: tuple[Route, ...]  # one for each link, in their order


def lay_out(
    sizes: Mapping[str, Size],
    links: Sequence[Link],
    entry: str,
    count_room: float = COUNT_ROOM,
) -> Layout:
    """Return the places of all steps and links, with room for a count at each link."""
    layers = arrange(list(sizes), list(links), entry)
    plan = _Plan(sizes, list(links), layers, count_room)
    plan.place_across()
    plan.place_down()
    plan.lead_around()
    return plan.drawn()


class _Plan:
    """The drawing while it is being made."""

    def __init__(
        self,
        sizes: Mapping[str, Size],
        links: list[Link],
        layers: Layers,
        count_room: float,
    ) -> None:
        self.count_room = count_room
        self.sizes = sizes
        self.links = links
        self.layers = layers
        self.x: dict[str, float] = {}
        self.top: list[float] = []  # of each layer
        self.depth: list[float] = []  # height of each layer
        self.lanes: dict[int, float] = {}  # x of each link that runs around the side
        self.right = 0.0
        self._loops = {
            link.source: LOOP + self._room(link)
            for link in links
            if link.source == link.target
        }

    # -- across ----------------------------------------------------------------------

    def place_across(self) -> None:
        """Give every step and joint its x, with the leftmost edge at the margin."""
        above, below = neighbours(self.layers)
        for row in self.layers.rows:
            self._settle(row, dict.fromkeys(row, 0.0))
        for turn in range(ROUNDS):
            rows = self.layers.rows if turn % 2 == 0 else self.layers.rows[::-1]
            near = above if turn % 2 == 0 else below
            if turn >= ROUNDS - 2:  # at last, look both ways
                near = {
                    name: [*above.get(name, ()), *below.get(name, ())]
                    for name in self.x
                }
            for row in rows:
                self._settle(row, {name: self._wish(name, near) for name in row})
        for _ in range(3):
            self._straighten(self.layers.rows, above)
            self._straighten(self.layers.rows[::-1], below)
        self._shift()

    def _straighten(self, rows: list[list[str]], near: Mapping[str, list[str]]) -> None:
        """Put what is nearly in line with its only neighbour wholly into line."""
        for row in rows:
            wishes = {name: self.x[name] for name in row}
            for name in row:
                others = near.get(name, ())
                if len(others) == 1 and abs(self.x[others[0]] - self.x[name]) < SNAP:
                    wishes[name] = self.x[others[0]]
            self._settle(row, wishes)

    def _wish(self, name: str, near: Mapping[str, list[str]]) -> float:
        """Return where a step would like to be: at the mean of its neighbours."""
        others = near.get(name)
        if not others:
            return self.x[name]
        weights = [self._weight(name, other) for other in others]
        places = [self.x[other] for other in others]
        return sum(map(float.__mul__, weights, places)) / sum(weights)

    def _weight(self, name: str, other: str) -> float:
        """Long links should be straight; short ones may bend."""
        joints = self.layers.is_joint(name) + self.layers.is_joint(other)
        return (1.0, 2.0, 6.0)[joints]

    def _settle(self, row: list[str], wishes: Mapping[str, float]) -> None:
        """Place a layer: as near to the wishes as order and gaps allow."""
        if not row:
            return
        offsets = [0.0]
        for left, right in itertools.pairwise(row):
            apart = self._reach(left)[1] + GAP_X + self._reach(right)[0]
            offsets.append(offsets[-1] + apart)
        wanted = [
            wishes[name] - offset for name, offset in zip(row, offsets, strict=True)
        ]
        for name, place, offset in zip(row, rising(wanted), offsets, strict=True):
            self.x[name] = place + offset

    def _reach(self, name: str) -> tuple[float, float]:
        """Return how far a step or joint extends to its left and right."""
        if not self.layers.is_joint(name):
            half = self.sizes[name].width / 2
            return half, half + self._loops.get(name, 0.0)
        link = self.layers.labels.get(name)
        half = LANE / 4 if link is None else self.links[link].label_width / 2
        return half, half

    def _room(self, link: Link) -> float:
        """Return the width kept to the right of a link for its label and its count."""
        return max(link.label_width, self.count_room)

    def _shift(self) -> None:
        left = min(x - self._reach(name)[0] for name, x in self.x.items())
        for name in self.x:
            self.x[name] = round(self.x[name] - left + MARGIN, 1)
        self.right = max(x + self._reach(name)[1] for name, x in self.x.items())

    # -- down ------------------------------------------------------------------------

    def place_down(self) -> None:
        """Give every layer its top and its height."""
        y = TOP
        for row in self.layers.rows:
            depth = max((self._tall(name) for name in row), default=0.0)
            self.top.append(y)
            self.depth.append(depth)
            y += depth + GAP_Y

    def _tall(self, name: str) -> float:
        if not self.layers.is_joint(name):
            return self.sizes[name].height
        return LABEL_HEIGHT if name in self.layers.labels else 0.0

    def lead_around(self) -> None:
        """Give every link that leads back a lane at the right, the short ones inside."""
        taken: dict[int, float] = {
            row: max(
                (self.x[name] + self._reach(name)[1] for name in names), default=0.0
            )
            for row, names in enumerate(self.layers.rows)
        }
        rank = self.layers.rank
        spans = {
            index: (rank[self.links[index].target], rank[self.links[index].source])
            for index in self.layers.back
        }
        for index in sorted(spans, key=lambda i: (spans[i][1] - spans[i][0], i)):
            rows = range(min(spans[index]), max(spans[index]) + 1)
            lane = max(taken[row] for row in rows) + LANE
            self.lanes[index] = lane
            end = lane + ASIDE + self._room(self.links[index])
            taken.update(dict.fromkeys(rows, end))
            self.right = max(self.right, end)

    # -- lines -----------------------------------------------------------------------

    def drawn(self) -> Layout:
        """Return the finished layout."""
        self._draw_joints_to_ports(*self._ports())
        leave, arrive = self._slid(*self._ports())
        routes = tuple(
            self._route(index, link, leave.get(index, 0.0), arrive.get(index, 0.0))
            for index, link in enumerate(self.links)
        )
        right = max(
            self.right,
            *(
                route.label.x + ASIDE + self.count_room
                for link, route in zip(self.links, routes, strict=True)
                if not link.label_width
            ),
            0.0,
        )
        return Layout(
            width=round(right + MARGIN, 1),
            height=round(self.top[-1] + self.depth[-1] + GAP_Y + MARGIN, 1),
            nodes={name: Point(self.x[name], self._upper(name)) for name in self.sizes},
            routes=routes,
        )

    def _upper(self, name: str) -> float:
        """Return the y of a step's upper side; steps stand in the middle of a layer."""
        row = self.layers.rank[name]
        return self.top[row] + (self.depth[row] - self.sizes[name].height) / 2

    def _lower(self, name: str) -> float:
        return self._upper(name) + self.sizes[name].height

    def _ports(self) -> tuple[dict[int, float], dict[int, float]]:
        """Return the x where each link leaves its source and reaches its target."""
        leaving: dict[str, list[tuple[float, int]]] = defaultdict(list)
        reaching: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for index, chain in self.layers.chains.items():
            leaving[chain[0]].append((self.x[chain[1]], index))
            reaching[chain[-1]].append((self.x[chain[-2]], index))
        for index, lane in self.lanes.items():
            leaving[self.links[index].source].append((lane, index))
            reaching[self.links[index].target].append((lane, index))
        return self._spread(leaving), self._spread(reaching)

    def _draw_joints_to_ports(
        self, leave: Mapping[int, float], arrive: Mapping[int, float]
    ) -> None:
        """Move the first and last joint of each link below and above its ends."""
        wishes = dict(self.x)
        for index, (_, *joints, _) in self.layers.chains.items():
            if len(joints) == 1:
                wishes[joints[0]] = (leave[index] + arrive[index]) / 2
            elif joints:
                wishes[joints[0]], wishes[joints[-1]] = leave[index], arrive[index]
        for row in self.layers.rows:
            if row and all(self.layers.is_joint(name) for name in row):
                self._settle(
                    row, {name: max(wishes[name], self._least(name)) for name in row}
                )
        self._move_inside()
        self.right = max(
            self.right, *(x + self._reach(n)[1] for n, x in self.x.items())
        )

    def _move_inside(self) -> None:
        """Move all to the right where a label would reach over the left edge."""
        left = min(x - self._reach(name)[0] for name, x in self.x.items())
        missing = round(max(MARGIN - left, 0.0), 1)
        self.x = {name: x + missing for name, x in self.x.items()}
        self.lanes = {index: x + missing for index, x in self.lanes.items()}
        self.right += missing

    def _least(self, name: str) -> float:
        return MARGIN + self._reach(name)[0]

    def _slid(
        self, leave: dict[int, float], arrive: dict[int, float]
    ) -> tuple[dict[int, float], dict[int, float]]:
        """Slide lonely ends a little along their step, where that makes a line straight."""
        sources = [self.links[index].source for index in leave]
        targets = [self.links[index].target for index in arrive]
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

    def _route(self, index: int, link: Link, leave: float, arrive: float) -> Route:
        if link.source == link.target:
            return self._loop(index, link)
        start = Point(leave, self._lower(link.source))
        tip = Point(arrive, self._upper(link.target))
        if index in self.lanes:
            return self._around(index, start, tip)
        return self._down(index, start, tip)

    def _down(self, index: int, start: Point, tip: Point) -> Route:
        """Draw a link through its joints: straight past a layer, curved in the gaps."""
        chain = self.layers.chains[index]
        at, parts = start, [f"M{start.x:g} {start.y:g}"]
        label = Point((start.x + tip.x) / 2, (start.y + tip.y) / 2)
        for joint in chain[1:-1]:
            row, x = self.layers.rank[joint], self.x[joint]
            upper, lower = self.top[row], self.top[row] + self.depth[row]
            parts.append(_curve(at, Point(x, upper)))
            if lower > upper:
                parts.append(f"V{lower:g}")
            if joint in self.layers.labels or joint == chain[1]:
                middle = (upper + lower) / 2 + self._offset(index, joint)
                label = Point(x, middle)
            at = Point(x, lower)
        parts.append(_curve(at, tip))
        return Route("".join(parts), tip, label)

    def _offset(self, index: int, joint: str) -> float:
        """Return how far below its middle the count of a link without a label stands.

        Such links pass a layer close to each other: their counts take turns in height.
        """
        if self.links[index].label_width:
            return 0.0
        row = self.layers.rows[self.layers.rank[joint]]
        counted = [
            one
            for one in row
            if self.layers.is_joint(one) and one not in self.layers.labels
        ]
        if len(counted) == 1:
            return 0.0
        return COUNT_LINE * (counted.index(joint) % 3 - 1)

    def _around(self, index: int, start: Point, tip: Point) -> Route:
        """Draw a link that leads back: down, right, up beside everything, and in."""
        link, rank = self.links[index], self.layers.rank
        lane, inset = self.lanes[index], 3.0 * (self.layers.back.index(index) % 3)
        low = self.top[rank[link.source]] + self.depth[rank[link.source]] + 10 + inset
        high = self.top[rank[link.target]] - 13 - inset
        path = (
            f"M{start.x:g} {start.y:g}V{low - 8:g}q0 8 8 8H{lane - 8:g}"
            f"q8 0 8 -8V{high + 8:g}q0 -8 -8 -8H{tip.x + 8:g}q-8 0 -8 8V{tip.y:g}"
        )
        return Route(path, tip, Point(lane, (low + high) / 2), is_back=True)

    def _loop(self, index: int, link: Link) -> Route:
        """Draw a link from a step to itself: a bow at its right side."""
        nth = sum(
            other.source == other.target == link.source for other in self.links[:index]
        )
        right = self.x[link.source] + self.sizes[link.source].width / 2
        middle = (self._upper(link.source) + self._lower(link.source)) / 2
        reach, half = LOOP - 8 + 6 * nth, 10.0 + 4 * nth
        path = (
            f"M{right:g} {middle - half:g}C{right + reach:g} {middle - half - 8:g}"
            f" {right + reach:g} {middle + half + 8:g} {right:g} {middle + half:g}"
        )
        tip = Point(right, middle + half)
        label = Point(right + LOOP - 6, middle + 14.0 * nth)
        return Route(path, tip, label, is_loop=True)


def _curve(start: Point, end: Point) -> str:
    """Return a curve that leaves and arrives upright."""
    if abs(start.x - end.x) < 1:
        return f"L{end.x:g} {end.y:g}"
    half = (start.y + end.y) / 2
    return f"C{start.x:g} {half:g} {end.x:g} {half:g} {end.x:g} {end.y:g}"


def rising(wanted: Sequence[float]) -> list[float]:
    """Return the never falling numbers nearest to the wanted ones, by least squares.

    Neighbours that would fall are pooled at their mean (pool adjacent violators).
    """
    pools: list[tuple[float, int]] = []  # mean, how many
    for value in wanted:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (left, m), (right, n) = pools[-2:]
            pools[-2:] = [((left * m + right * n) / (m + n), m + n)]
    return [mean for mean, count in pools for _ in range(count)]
