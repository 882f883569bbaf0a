"""Building a graph: refused calls, checks, and its shape."""

from __future__ import annotations

from typing import Any

import pytest

from workflows.engine import (
    CheckpointConfig,
    ConfigurationError,
    DefinitionError,
    Graph,
    GraphConfig,
    LogObserver,
    MemoryStore,
    NoOpObserver,
    State,
    always,
    key,
    key_equals,
    node,
    stores,
)


async def same(state: State) -> State:
    """Change nothing."""
    return state


def a_graph(*names: str) -> Graph:
    graph = Graph("g")
    for name in names:
        graph.add_node(name, same)
    return graph


def code_of(call: Any, *args: Any) -> str:
    with pytest.raises(DefinitionError) as caught:
        call(*args)
    assert "Graph “g”" in str(caught.value)
    return caught.value.code


def test_a_refused_call_does_not_change_the_graph() -> None:
    graph = a_graph("a", "b")
    graph.add_edge("a", "b")
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    before = graph.describe()
    assert code_of(graph.add_node, "", same) == "build.empty_name"
    assert code_of(graph.add_node, "c", None) == "build.nil_node"
    assert code_of(graph.add_node, "a", same) == "build.duplicate_node"
    assert code_of(graph.add_edge, "", "b") == "build.empty_name"
    assert code_of(graph.add_edge, "a", "") == "build.empty_name"
    assert code_of(graph.add_edge, "zz", "yy") == "build.unknown_node"
    assert code_of(graph.set_entry_point, "") == "build.empty_name"
    assert code_of(graph.set_entry_point, "zz") == "build.entry_already_set"
    assert code_of(graph.set_exit_point, "") == "build.empty_name"
    assert code_of(graph.set_exit_point, "zz") == "build.unknown_node"
    assert graph.describe() == before


def test_an_edge_between_unknown_nodes_reports_its_source_first() -> None:
    with pytest.raises(DefinitionError, match="zz"):
        a_graph("a").add_edge("zz", "yy")


def test_what_cannot_be_called_with_a_state_is_no_node() -> None:
    def three(state: State, runtime: object, more: object) -> State:
        return state

    def by_name(state: State, *, wanted: int) -> State:
        return state

    def nothing() -> None:
        return None

    for function in (three, by_name, nothing):
        with pytest.raises(
            DefinitionError, match=f"{function.__name__} cannot be a node"
        ):
            Graph("g").add_node("n", function)
    with pytest.raises(DefinitionError, match="cannot be node “n”"):
        Graph("g").add_node("n", 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("built", "code"),
    [
        ((), "invalid_graph.no_nodes"),
        (("node",), "invalid_graph.no_entry"),
        (("node", "entry"), "invalid_graph.no_exit"),
    ],
)
async def test_execution_validates_in_a_fixed_order(
    built: tuple[str, ...], code: str
) -> None:
    graph = Graph("g")
    if "node" in built:
        graph.add_node("a", same)
    if "entry" in built:
        graph.set_entry_point("a")
    with pytest.raises(DefinitionError) as caught:
        await graph.execute(State())
    assert caught.value.code == code


def test_parallel_edges_and_self_loops_retain_their_order() -> None:
    graph = a_graph("a", "b")
    graph.add_edge("a", "b", key_equals("x", 1))
    graph.add_edge("a", "a", name="again")
    graph.add_edge("a", "b")
    edges = graph.describe().edges_from("a")
    assert [(edge.target, edge.index) for edge in edges] == [
        ("b", 0),
        ("a", 1),
        ("b", 2),
    ]
    assert edges[1].name == "again"


def test_check_names_nodes_without_an_incoming_route() -> None:
    graph = a_graph("a", "b", "lost", "found")
    graph.add_edge("a", "b")
    graph.add_edge("lost", "b")
    graph.add_edge("found", "b")
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    with pytest.raises(DefinitionError, match="“lost”, “found”") as caught:
        graph.check()
    assert caught.value.code == "check.unreachable"


def test_check_names_nodes_without_a_path_to_an_exit() -> None:
    graph = a_graph("a", "b", "trap")
    graph.add_edge("a", "b", key("x").is_true())
    graph.add_edge("a", "trap")
    graph.add_edge("trap", "trap")
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    with pytest.raises(DefinitionError, match="from “trap”") as caught:
        graph.check()
    assert caught.value.code == "check.trapped"


def test_check_names_exits_with_edges() -> None:
    graph = a_graph("a", "b")
    graph.add_edge("a", "b")
    graph.add_edge("b", "a")
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    with pytest.raises(DefinitionError, match="“b” is an exit"):
        graph.check()


def test_check_warns_of_a_branch_that_may_match_no_edge() -> None:
    graph = a_graph("a", "b")
    graph.add_edge("a", "b", key("x").is_true())
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    (warning,) = graph.check()
    assert "“a”" in warning
    assert "otherwise" in warning


def test_an_unconditional_edge_needs_no_other_edge() -> None:
    graph = a_graph("a", "b")
    graph.add_edge("a", "b", always)
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    assert graph.check() == []


@pytest.mark.parametrize(
    "config",
    [
        GraphConfig(max_iterations=-1),
        GraphConfig(checkpoint=CheckpointConfig(interval=-1)),
        GraphConfig(checkpoint=CheckpointConfig(store="", interval=1)),
        GraphConfig(checkpoint=CheckpointConfig(store="nowhere", interval=1)),
        GraphConfig(observer="nobody"),
    ],
)
def test_an_invalid_configuration_is_refused_at_once(
    config: GraphConfig,
) -> None:
    with pytest.raises(ConfigurationError):
        Graph("g", config)


def test_dependencies_given_directly_need_no_names() -> None:
    store = MemoryStore()
    config = GraphConfig(
        observer="nobody", checkpoint=CheckpointConfig(store="nowhere", interval=1)
    )
    graph = Graph("g", config, NoOpObserver(), store)
    assert graph.checkpoints is store


def test_without_an_observer_nothing_is_observed_and_a_name_is_resolved() -> None:
    assert isinstance(Graph("g").observer, NoOpObserver)
    assert isinstance(Graph("g", GraphConfig()).observer, LogObserver)
    named = Graph("g", GraphConfig(checkpoint=CheckpointConfig(interval=2)))
    assert named.checkpoints is stores.get("memory")
    assert Graph("g", GraphConfig()).checkpoints is None


def test_next_reports_the_selected_edge_and_the_reason() -> None:
    graph = a_graph("a", "b", "c")
    graph.add_edge("a", "b", key("score").at_least(0.8))
    graph.add_edge("a", "c", key("score").at_least(0.5))
    target, decisions = graph.next("a", State(score=0.6))
    assert target is graph.nodes["c"]
    assert [decision.result for decision in decisions] == [False, True]
    assert decisions[0].reason == "score 0.60, needs at least 0.80"
    assert graph.next(graph.nodes["a"], State(score=0.1))[0] is None
    with pytest.raises(DefinitionError, match="not one of its nodes"):
        graph.next(node(same), State())


def test_a_plain_function_may_be_an_edges_condition() -> None:
    def is_large(state: State) -> bool:
        return bool(state["size"] > 3)

    graph = a_graph("a", "b")
    graph.add_edge("a", "b", is_large)
    assert graph.describe().edges[0].predicate == "is_large"
    assert graph.next("a", State(size=4))[0] is graph.nodes["b"]


def test_a_shape_survives_its_json() -> None:
    graph = a_graph("a", "b")
    graph.add_edge("a", "b", key("x").is_true(), name="yes")
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    shape = graph.describe()
    assert type(shape).from_json(shape.to_json()) == shape
    assert shape.nodes[0].doc == "Change nothing."


def test_an_exit_has_no_next_node() -> None:
    graph = a_graph("a", "b", "c", "d")
    graph.add_edge("a", "b")
    graph.add_edge("b", "c")
    graph.add_edge("c", "d")
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    shape = graph.describe()
    assert shape.unreachable() == ("c", "d")
    assert shape.trapped() == ("c", "d")
