"""The diagram of a workflow's graph: positions, texts and, for a run, states and counts.

The layout depends on the graph alone and is cached; a run only adds states and counts.
`templates/workflows/_graph.html` renders the diagram as SVG.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from workflows.pages.graph.branches import JOIN, drawn_edges, drawn_nodes, join_of
from workflows.pages.graph.layers import LayoutEdge
from workflows.pages.graph.layout import (
    ASIDE,
    COUNT_ROOM,
    Layout,
    Point,
    Route,
    Size,
    lay_out,
)
from workflows.pages.graph.questions import without_unasked
from workflows.pages.graph.text_width import text_width
from workflows.pages.render.text import readable_name, wrap

TITLE_CHARS = 24  # in one line of a node
LABEL_CHARS = 26  # of an edge
TITLE_SIZE = 13.0
LABEL_SIZE = 11.5  # pixels: the font sizes in app.css
THOUSANDS_FROM = 10_000  # larger counts are shown in thousands
TEXT_LEFT, TEXT_RIGHT = (
    40.0,
    12.0,
)  # of a node: before its texts, for the icon, and after
COUNTER_WIDTH = 51.0  # reserved for "×9999" after the title of a node
SAMPLE_NOTE = "Completed · 120 ms"  # nodes have room for a text of this length
LINE = 16.0  # between two lines of a title
JOIN_HEIGHT = 6.0  # of the bar that joins branches
LANE_WIDTH = 26.0  # of its part for a branch
MAX_SHRUNK_WIDTH = 620  # pixels; a wider diagram is scrolled instead of shrunk

KINDS = {
    "parallel": "parallel map",
    "chain": "sequential chain",
    "conditional": "conditional",
    "branches": "parallel branches",
    "approval": "approval",
    "wait": "wait",
    "subworkflow": "sub-workflow",
    "subworkflows": "sub-workflows",
    "launch": "launch",
    "continue": "new run",
    "event": "event",
    "callback": "callback",
    "first_of": "first of several",
    "ask": "question about a failed step",
}
ASKS = "asks a person if it fails"
ORDER = {"": 0, "rejected": 1, "taken": 2}  # lines with higher numbers are on top
UNCONDITIONAL = frozenset({"", "always", "otherwise"})


def times(count: int) -> str:
    """Return a count as a short text: `×12`, `×34k`; "" for one."""
    if count < 2:  # noqa: PLR2004 - a single time is not shown
        return ""
    return f"×{count}" if count < THOUSANDS_FROM else f"×{count // 1000}k"


@dataclass(frozen=True, slots=True)
class NodeState:
    """The state of a node in a run."""

    state: str = ""  # a StageStatus; "" = not reached
    text: str = ""  # status with progress or active time
    step_count: int = 0
    href: str = ""
    full: str = ""  # status with all durations, for the tooltip


@dataclass(frozen=True, slots=True)
class EdgeState:
    """The counts of decisions on an edge in a run."""

    taken: int = 0
    rejected: int = 0
    href: str = ""

    @property
    def outcome(self) -> str:
        """Return "taken", "rejected" or ""; subclasses for several runs have more values."""
        if self.taken:
            return "taken"
        return "rejected" if self.rejected else ""

    @property
    def count(self) -> str:
        """Return the text next to the edge."""
        return times(self.taken)


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text with its position."""

    text: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the diagram."""

    number: int  # in the graph
    name: str
    kind: str
    title: str  # full text, as tooltip and for screen readers
    lines: tuple[Text, ...]
    note: Text
    state: NodeState
    left: float
    top: float
    width: float
    height: float
    is_entry: bool
    is_exit: bool

    @property
    def round(self) -> int:
        """Return the radius of its corners."""
        return 3 if self.kind == JOIN else 10

    @property
    def middle(self) -> float:
        """Return the y of its middle."""
        return self.top + self.height / 2

    @property
    def center(self) -> float:
        """Return the x of its middle."""
        return self.left + self.width / 2

    @property
    def mark(self) -> str:
        """Return the name of the icon: of the status, else of the kind."""
        return self.state.state or ("" if self.kind == "node" else self.kind)

    @property
    def icon_x(self) -> float:
        """Return the x of its icon."""
        return self.left + 15

    @property
    def icon_y(self) -> float:
        """Return the y of its icon."""
        return self.middle - 8

    @property
    def step_count(self) -> str:
        """Return the number of steps as text, "" for one."""
        return times(self.state.step_count)

    @property
    def step_count_x(self) -> float:
        """Return the x of the end of the number of steps."""
        return self.left + self.width - TEXT_RIGHT

    @property
    def step_count_y(self) -> float:
        """Return the y of the number of steps: that of the title."""
        return self.lines[0].y if self.lines else self.middle

    @property
    def bottom(self) -> float:
        """Return the y of its lower side."""
        return self.top + self.height


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge of the diagram."""

    number: int  # in the graph
    path: str
    arrow: str  # points of a polygon
    title: str
    label: Text | None
    anchor: str  # of the label: middle, or start for an edge around the side
    mask: tuple[float, float, float]  # x, y, width of the background of the label
    count: Text | None  # after the label in the same line, or alone
    is_conditional: bool
    on_failure: bool  # part of the failure route of its source
    state: EdgeState

    @property
    def outcome(self) -> str:
        return self.state.outcome


@dataclass(frozen=True, slots=True)
class Diagram:
    """The positions and texts of a graph, for a template."""

    width: float
    height: float
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]  # taken ones last, so that they are on top

    @property
    def has_failure_routes(self) -> bool:
        """Return whether some edges are followed when a step fails."""
        return any(edge.on_failure for edge in self.edges)

    @property
    def is_wide(self) -> bool:
        """Return whether it is scrolled instead of shrunk."""
        return self.width > MAX_SHRUNK_WIDTH


def draw(
    graph: Mapping[str, Any],
    nodes: Mapping[str, NodeState] | None = None,
    edges: Mapping[tuple[str, int], EdgeState] | None = None,
    *,
    count_room: float = COUNT_ROOM,
) -> Diagram:
    """Return the diagram of a graph, with the states of a run if given.

    `graph` is a GraphShape as a dict, as stored on a run. The keys of `edges` are source
    and index among the edges of the source. `count_room` is the width reserved for the
    count of an edge, in pixels.
    """
    asked = {name for name, state in (nodes or {}).items() if state.step_count}
    shown = without_unasked(graph, asked)
    plan = _plan(json.dumps(shown, sort_keys=True), count_room)
    shapes = [_edge(place, plan, edges or {}) for place in range(len(plan.edges))]
    return Diagram(
        width=plan.layout.width,
        height=plan.layout.height,
        nodes=tuple(
            _node(place, plan, nodes or {}) for place in range(len(plan.nodes))
        ),
        edges=tuple(sorted(shapes, key=lambda edge: ORDER.get(edge.outcome, 3))),
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """A graph with its layout."""

    entry: str
    exits: frozenset[str]
    nodes: tuple[Mapping[str, Any], ...]
    edges: tuple[Mapping[str, Any], ...]
    sizes: Mapping[str, Size]
    layout_edges: tuple[LayoutEdge, ...]
    layout: Layout


@lru_cache(maxsize=256)
def _plan(text: str, count_room: float) -> _Plan:
    graph = json.loads(text)
    nodes = tuple(drawn_nodes(graph))
    names = {node["name"] for node in nodes}
    edges = tuple(
        edge
        for edge in drawn_edges(graph)
        if edge["source"] in names and edge["target"] in names
    )
    sizes = {node["name"]: _size(node) for node in nodes}
    layout_edges = tuple(
        LayoutEdge(
            edge.get("from") or edge["source"],
            edge.get("to") or edge["target"],
            _label_width(edge, count_room),
        )
        for edge in edges
    )
    entry = graph.get("entry") or next(iter(sizes), "")
    layout = (
        lay_out(sizes, layout_edges, entry, count_room)
        if sizes
        else Layout(0, 0, {}, ())
    )
    # a run ends at the join, not at the split
    exits = frozenset(
        join_of(name) if join_of(name) in names else name
        for name in graph.get("exits") or ()
    )
    return _Plan(entry, exits, nodes, edges, sizes, layout_edges, layout)


def _size(node: Mapping[str, Any]) -> Size:
    if node.get("kind") == JOIN:
        return Size(32 + LANE_WIDTH * max(node["lanes"], 2), JOIN_HEIGHT)
    lines = wrap(readable_name(node["name"]), TITLE_CHARS)
    title = max(text_width(line, TITLE_SIZE) for line in lines) + COUNTER_WIDTH
    width = TEXT_LEFT + max(title, text_width(SAMPLE_NOTE, LABEL_SIZE)) + TEXT_RIGHT
    return Size(width, 50 + LINE * (len(lines) - 1))


def _label(edge: Mapping[str, Any]) -> str:
    """Return the label of an edge: its name, else that of its condition."""
    name = edge.get("branch") or edge.get("name") or edge.get("predicate") or ""
    return "" if name in UNCONDITIONAL else readable_name(name, capital=False)


def _label_width(edge: Mapping[str, Any], count_room: float) -> float:
    text = _label(edge)
    if not text:
        return 0.0
    return text_width(wrap(text, LABEL_CHARS, lines=1)[0], LABEL_SIZE) + count_room


def _node(number: int, plan: _Plan, states: Mapping[str, NodeState]) -> Node:
    shape = plan.nodes[number]
    name, kind = shape["name"], shape.get("kind") or "node"
    size, place = plan.sizes[name], plan.layout.nodes[name]
    left = place.x - size.width / 2
    if kind == JOIN:
        return _join(number, shape, plan, states)
    state = states.get(name, NodeState())
    lines = wrap(readable_name(name), TITLE_CHARS)
    texts = tuple(
        Text(line, left + TEXT_LEFT, place.y + 21 + LINE * row)
        for row, line in enumerate(lines)
    )
    note = state.text or _kind_text(shape)
    return Node(
        number=number,
        name=name,
        kind=kind,
        title=_title(shape, state),
        lines=texts if note else (*(Text(t.text, t.x, t.y + 8) for t in texts),),
        note=Text(note, left + TEXT_LEFT, place.y + size.height - 12),
        state=state,
        left=round(left, 1),
        top=place.y,
        width=round(size.width, 1),
        height=size.height,
        is_entry=name == plan.entry,
        is_exit=name in plan.exits,
    )


def _kind_text(shape: Mapping[str, Any]) -> str:
    """Return the kind of a node, with the number of persons who respond to an approval."""
    text = KINDS.get(shape.get("kind") or "node", "")
    votes = shape.get("votes") or 1
    text = f"{text} by {votes}" if text and votes != 1 else text
    return ", ".join(filter(None, [text, ASKS if shape.get("asks") else ""]))


def _join(
    number: int, shape: Mapping[str, Any], plan: _Plan, states: Mapping[str, NodeState]
) -> Node:
    """Return the bar that joins branches, with the state of the node that has them."""
    size, place = plan.sizes[shape["name"]], plan.layout.nodes[shape["name"]]
    state = states.get(shape["of"], NodeState())
    return Node(
        number=number,
        name=shape["name"],
        kind=JOIN,
        title=f"{shape['of']} {shape['text']}.",
        lines=(),
        note=Text("", place.x, place.y),
        state=NodeState(state=state.state),
        left=round(place.x - size.width / 2, 1),
        top=place.y,
        width=size.width,
        height=size.height,
        is_entry=False,
        is_exit=shape["name"] in plan.exits,
    )


def _title(shape: Mapping[str, Any], state: NodeState) -> str:
    """Return name, docstring, kind, status and count of a node, one sentence each."""
    count = f"{state.step_count} steps" if state.step_count > 1 else ""
    texts = (
        shape["name"],
        shape.get("doc"),
        _kind_text(shape),
        state.full or state.text,
        count,
    )
    return ". ".join(str(text).strip().rstrip(".") for text in texts if text) + "."


def _edge(place: int, plan: _Plan, states: Mapping[tuple[str, int], EdgeState]) -> Edge:
    shape, layout_edge = plan.edges[place], plan.layout_edges[place]
    route = plan.layout.routes[place]
    state = states.get((shape["source"], shape.get("index") or 0), EdgeState())
    text = wrap(_label(shape), LABEL_CHARS, lines=1)[0]
    aside = route.is_back or route.is_loop
    count = state.count
    at = route.label
    x = at.x + ASIDE if aside else at.x
    return Edge(
        number=place,
        path=route.path,
        arrow=_arrow(route),
        title=_edge_title(shape, state),
        label=Text(text, round(x, 1), at.y + 4) if text else None,
        anchor="start" if aside else "middle",
        mask=_mask(at, layout_edge.label_width, aside=aside),
        count=Text(count, round(at.x + ASIDE, 1), at.y + 4) if count else None,
        is_conditional=bool(_label(shape)) and "branch" not in shape,
        on_failure=bool(shape.get("on_failure")),
        state=state,
    )


def _arrow(route: Route) -> str:
    x, y = route.tip.x, route.tip.y
    if route.is_loop:
        return f"{x + 8:g},{y - 6:g} {x + 8:g},{y + 3:g} {x:g},{y:g}"
    return f"{x - 4.5:g},{y - 8:g} {x + 4.5:g},{y - 8:g} {x:g},{y:g}"


def _mask(at: Point, width: float, *, aside: bool) -> tuple[float, float, float]:
    if not width or aside:
        return (0.0, 0.0, 0.0)
    shown = width - 6
    return (round(at.x - shown / 2, 1), at.y - 9, round(shown, 1))


def _edge_title(shape: Mapping[str, Any], state: EdgeState) -> str:
    when = _label(shape)
    if "branch" in shape:
        branch = f", branch {when}" if when else ""
        return f"{shape['source']} → {shape['target']}{branch}"
    text = f"{shape['source']} → {shape['target']}" + (f", if {when}" if when else "")
    counts = [
        f"{verb} {count}×"
        for verb, count in (("taken", state.taken), ("not taken", state.rejected))
        if count
    ]
    return f"{text}: {', '.join(counts)}" if counts else text
