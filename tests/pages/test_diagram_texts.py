"""Texts in the drawing of a graph are within its bounds and do not overlap."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from tests.pages.test_diagram import a_graph, as_svg
from workflows.pages.graph.diagram import Diagram, EdgeState, NodeState, draw, times
from workflows.pages.graph.text_width import text_width
from workflows.pages.run.compare import TWO_COUNTS_ROOM, SharedEdgeState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any
    from xml.etree.ElementTree import Element

SVG = "{http://www.w3.org/2000/svg}"
SIZES = {"edge-label": 11.5, "edge-count": 11.0, "node-step-count": 12.0}
GAP = 6.0  # between a label and its count
MANY = EdgeState(taken=8888)


@dataclass(frozen=True)
class Box:
    text: str
    left: float
    right: float
    top: float
    bottom: float

    def touches(self, other: Box) -> bool:
        horizontal = self.right <= other.left or other.right <= self.left
        vertical = self.bottom <= other.top or other.bottom <= self.top
        return not horizontal and not vertical


def boxes(diagram: Diagram) -> list[Box]:
    """Return the boxes of edge texts and node counts."""
    return list(_boxes(as_svg(diagram)))


def _boxes(svg: Element) -> Iterator[Box]:
    for element in svg.iter():
        kind = element.get("class", "")
        if not element.tag.endswith("text") or kind not in SIZES:
            continue
        size = SIZES[kind]
        width = text_width(element.text or "", size)
        for part in element:  # the count, on the line of its label
            width += GAP + text_width(part.text or "", SIZES[part.get("class", "")])
        x, y = float(element.get("x", "0")), float(element.get("y", "0"))
        shift = {"middle": width / 2, "end": width}.get(
            element.get("text-anchor", ""), 0
        )
        text = "".join(element.itertext())
        yield Box(text, x - shift, x - shift + width, y - size * 0.8, y + size * 0.2)


def taken_often(graph: Mapping[str, Any]) -> dict[tuple[str, int], EdgeState]:
    return {(edge["source"], edge["index"]): MANY for edge in graph["edges"]}


LOOPS = {
    "self loop": [(0, 0), (0, 1)],
    "self loop at the last step": [(0, 1), (1, 1)],
    "back": [(0, 1), (1, 2), (2, 0)],
    "back twice": [(0, 1), (1, 2), (2, 3), (3, 1), (3, 0)],
    "back and self loop": [(0, 1), (1, 1), (1, 0)],
    "past the right side": [(0, 1), (1, 2), (2, 3), (0, 3), (0, 2)],
    "two self loops": [(0, 0), (0, 0), (0, 1)],
}


@pytest.mark.parametrize("label", ["", "is_ready", "Mwanza warm-water measurement"])
@pytest.mark.parametrize("case", LOOPS)
def test_labels_and_counts_are_within_the_drawing_without_overlap(
    case: str, label: str
) -> None:
    ends = LOOPS[case]
    graph = a_graph(1 + max(map(max, ends)), ends, predicate=label)
    diagram = draw(graph, edges=taken_often(graph))
    found = boxes(diagram)
    assert len(found) == len(ends)
    for box in found:
        assert box.left >= 0, box
        assert box.right <= diagram.width, (box, diagram.width)
        assert box.top >= 0, box
        assert box.bottom <= diagram.height, box
        assert box.text.endswith("×8888")
    assert not [pair for pair in combinations(found, 2) if pair[0].touches(pair[1])]


@pytest.mark.parametrize("seed", range(8))
def test_no_text_leaves_a_large_drawing(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - test data, not a secret
    ends = [(n, n + 1) for n in range(19)]
    ends += [(rng.randrange(20), rng.randrange(20)) for _ in range(14)]
    graph = a_graph(20, ends, predicate=rng.choice(["", "is_ready"]))
    diagram = draw(graph, edges=taken_often(graph))
    for box in boxes(diagram):
        assert box.left >= 0, box
        assert box.right <= diagram.width, (box, diagram.width)


@pytest.mark.parametrize("label", ["", "is_ready"])
def test_counts_of_two_runs_have_room_too(label: str) -> None:
    graph = a_graph(2, [(0, 0), (0, 1), (1, 0)], predicate=label)
    two = SharedEdgeState(taken=9999, first=8888, second=1111)
    edges = {(edge["source"], edge["index"]): two for edge in graph["edges"]}
    diagram = draw(graph, edges=edges, count_room=TWO_COUNTS_ROOM)
    found = boxes(diagram)
    assert {box.text[-13:] for box in found} == {"A×8888 B×1111"}
    assert all(box.right <= diagram.width for box in found)
    assert not [pair for pair in combinations(found, 2) if pair[0].touches(pair[1])]


@pytest.mark.parametrize(
    "name", ["go", "compare_every_clause_ab", "MMMMMMMMMMMMMMMMMMMMMMMM"]
)
def test_the_texts_of_a_step_are_within_it_without_overlap(name: str) -> None:
    graph = {"entry": name, "exits": [name], "nodes": [{"name": name}], "edges": []}
    state = NodeState("completed", "Completed · 120 ms", 9999)
    node = draw(graph, {name: state}).nodes[0]
    right = node.left + node.width
    assert node.note.x + text_width(node.note.text, 11.5) <= right
    title = node.lines[0]
    visits_begin = node.step_count_x - text_width(
        node.step_count, SIZES["node-step-count"]
    )
    assert title.x + text_width(title.text, 13) < visits_begin
    assert node.step_count_x < right


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, ""),
        (1, ""),
        (2, "×2"),
        (9999, "×9999"),
        (10_000, "×10k"),
        (123_456, "×123k"),
    ],
)
def test_counts_stay_short(count: int, shown: str) -> None:
    assert times(count) == shown
