"""The drawing of a graph: no overlaps, complete, deterministic."""

from __future__ import annotations

import random
import time
from itertools import combinations
from typing import Any
from xml.etree import ElementTree

import pytest
from django.template.loader import render_to_string
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import GRAPH
from workflows.pages.graph.diagram import Diagram, EdgeState, Node, NodeState, draw
from workflows.pages.graph.layers import LayoutEdge, arrange, crossings, neighbours
from workflows.pages.graph.layout import rising


def a_graph(count: int, ends: list[tuple[int, int]], **edge: Any) -> dict[str, Any]:
    """Return a graph with `count` nodes and edges between pairs of node numbers."""
    names = [f"step_{number}" for number in range(count)]
    places: dict[int, int] = {}
    edges = []
    for source, target in ends:
        index = places[source] = places.get(source, -1) + 1
        edges.append(
            {"source": names[source], "target": names[target], "index": index, **edge}
        )
    return {
        "entry": names[0],
        "exits": [names[-1]],
        "nodes": [{"name": name, "kind": "node"} for name in names],
        "edges": edges,
    }


def overlap(one: Node, other: Node) -> bool:
    """Return whether two nodes overlap."""
    horizontal = (
        one.left + one.width <= other.left or other.left + other.width <= one.left
    )
    vertical = one.bottom <= other.top or other.bottom <= one.top
    return not horizontal and not vertical


def as_svg(diagram: Diagram) -> ElementTree.Element:
    """Return the SVG of the page, parsed as XML."""
    html = render_to_string("workflows/_graph.html", {"diagram": diagram, "name": "g"})
    return ElementTree.fromstring(html.strip())  # noqa: S314 - trusted template


def node_of(diagram: Diagram, name: str) -> Node:
    return next(node for node in diagram.nodes if node.name == name)


def test_a_step_is_placed_below_its_predecessors() -> None:
    diagram = draw(GRAPH)
    tops = {node.name: node.top for node in diagram.nodes}
    assert tops["read_pages"] < tops["judge_pages"] < tops["weigh"] < tops["review"]
    assert tops["review"] < tops["publish"] == tops["reject"]


def test_a_chain_is_drawn_straight() -> None:
    diagram = draw(a_graph(5, [(0, 1), (1, 2), (2, 3), (3, 4)]))
    assert len({node.center for node in diagram.nodes}) == 1


def test_a_loop_is_routed_around_the_side() -> None:
    diagram = draw(a_graph(3, [(0, 1), (1, 2), (2, 0)]))
    assert len(diagram.nodes) == 3
    back = next(edge for edge in diagram.edges if edge.title == "step_2 → step_0")
    right = max(node.left + node.width for node in diagram.nodes)
    assert f"H{right + 16 - 8:g}" in back.path


def test_self_loops_and_parallel_edges_are_drawn_separately() -> None:
    graph = a_graph(2, [(0, 0), (0, 0), (0, 1), (0, 1), (0, 1)], predicate="is_ready")
    diagram = draw(graph)
    assert len({edge.path for edge in diagram.edges}) == 5
    labels = [edge.label for edge in diagram.edges if edge.label]
    assert len({(label.x, label.y) for label in labels}) == 5


def test_a_graph_of_one_step_is_drawn() -> None:
    diagram = draw(a_graph(1, []))
    assert len(diagram.nodes) == 1
    assert diagram.width > diagram.nodes[0].width


def test_a_graph_without_steps_is_empty_and_no_error() -> None:
    assert draw({}).nodes == ()


def test_the_same_graph_has_the_same_drawing() -> None:
    ends = [(n, (n * 7 + 3) % 30) for n in range(30)] + [(n, n + 1) for n in range(29)]
    again = dict(reversed(a_graph(30, ends).items()))
    assert draw(a_graph(30, ends)) == draw(again)


@pytest.mark.parametrize("seed", range(6))
def test_sixty_steps_are_drawn_in_time_and_without_overlap(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - test data, not a secret
    ends = [(n, n + 1) for n in range(59)]
    ends += [(rng.randrange(60), rng.randrange(60)) for _ in range(50)]
    graph = a_graph(60, ends, predicate="is_ready", name=f"run {seed}")
    started = time.perf_counter()
    diagram = draw(graph)
    assert time.perf_counter() - started < 5  # usually 0.2 s
    assert len(diagram.nodes) == 60
    assert len(diagram.edges) == 109
    assert not any(overlap(*pair) for pair in combinations(diagram.nodes, 2))
    assert all(n.left >= 0 and n.left + n.width <= diagram.width for n in diagram.nodes)
    assert diagram.is_wide or diagram.width <= 620
    as_svg(diagram)


@given(
    st.integers(1, 12).flatmap(
        lambda count: st.tuples(
            st.just(count),
            st.lists(
                st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)),
                max_size=25,
            ),
        )
    )
)
def test_any_graph_is_drawn_completely_within_its_frame(
    case: tuple[int, list[tuple[int, int]]],
) -> None:
    count, ends = case
    diagram = draw(a_graph(count, ends))
    assert len(diagram.nodes) == count
    assert len(diagram.edges) == len(ends)
    assert not any(overlap(*pair) for pair in combinations(diagram.nodes, 2))
    assert all(n.left >= 0 and n.left + n.width <= diagram.width for n in diagram.nodes)
    assert all(n.top >= 0 and n.bottom <= diagram.height for n in diagram.nodes)


def test_edges_cross_only_where_crossings_are_unavoidable() -> None:
    names = [f"step_{number}" for number in range(6)]
    # Two parents whose children are listed in the opposite order.
    ends = [(0, 1), (0, 2), (1, 4), (2, 3), (1, 5)]
    layers = arrange(names, [LayoutEdge(names[a], names[b]) for a, b in ends], names[0])
    assert crossings(layers.rows, neighbours(layers)[1]) == 0


def test_a_long_name_is_wrapped_then_cut_and_shown_in_full_on_hover() -> None:
    name = "compare_every_clause_with_the_library_of_approved_clauses_again"
    graph = {"entry": name, "exits": [name], "nodes": [{"name": name}], "edges": []}
    node = draw(graph).nodes[0]
    assert [line.text for line in node.lines] == [
        "Compare every clause",
        "with the library of app…",
    ]
    assert node.title.startswith(name)


def test_a_run_shows_states_step_counts_and_its_path() -> None:
    diagram = draw(
        GRAPH,
        {"weigh": NodeState("completed", "Completed · 120 ms", step_count=2)},
        {
            ("weigh", 0): EdgeState(rejected=2),
            ("weigh", 1): EdgeState(taken=2),
        },
    )
    weigh = node_of(diagram, "weigh")
    assert (weigh.mark, weigh.note.text, weigh.step_count) == (
        "completed",
        "Completed · 120 ms",
        "×2",
    )
    outcomes = {edge.title: edge.outcome for edge in diagram.edges}
    assert outcomes["weigh → publish, if is confident: not taken 2×"] == "rejected"
    assert outcomes["weigh → review: taken 2×"] == "taken"
    assert outcomes["review → reject"] == ""


def test_taken_edges_are_drawn_on_top() -> None:
    diagram = draw(GRAPH, {}, {("read_pages", 0): EdgeState(taken=1)})
    assert diagram.edges[-1].outcome == "taken"


def test_states_are_distinguished_by_text_and_shape_as_well() -> None:
    svg = as_svg(draw(GRAPH, {"weigh": NodeState("failed", "Failed", 1, "#stage-7")}))
    link = next(e for e in svg.iter() if e.get("href") == "#stage-7")
    assert "Failed" in "".join(link.itertext())
    assert any(e.get("class") == "icon" for e in link.iter())


def test_hostile_names_stay_text() -> None:
    payload = "</text><script>alert(1)</script>\"'&"
    graph = {
        "entry": payload,
        "exits": [payload],
        "nodes": [{"name": payload, "kind": payload, "doc": payload}],
        "edges": [
            {"source": payload, "target": payload, "index": 0, "predicate": payload}
        ],
    }
    state = NodeState(payload, payload, 3, f"#{payload}")
    svg = as_svg(
        draw(graph, {payload: state}, {(payload, 0): EdgeState(taken=2, href=payload)})
    )
    assert not any(element.tag == "script" for element in svg.iter())
    assert "<script>" in "".join(svg.itertext())


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [
        ([], []),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]),
        ([3.0, 1.0], [2.0, 2.0]),
        ([1.0, 5.0, 3.0, 1.0, 9.0], [1.0, 3.0, 3.0, 3.0, 9.0]),
    ],
)
def test_the_layout_finds_the_nearest_rising_positions(
    wanted: list[float], nearest: list[float]
) -> None:
    assert rising(wanted) == nearest
