"""The branches of a graph as nodes and edges: lanes between a split and a join.

A node with branches is drawn as the split; a bar below its branches is the join. The edges that
leave the node leave from the bar. What a node waits for the first of is drawn like branches with
one node each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from workflows.engine.first_of import FIRST_EDGE

JOIN: Final = "join"  # the kind of the bar


def names_with_branches(graph: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the nodes that have branches."""
    return frozenset(node["name"] for node in _with_branches(graph))


def all_nodes(graph: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the nodes of a graph, those of branches after the node that joins them."""
    found: list[Mapping[str, Any]] = []
    for node in graph.get("nodes") or ():
        found.append(node)
        for branch in node.get("branches") or ():
            found += branch["nodes"]
    return found


def all_edges(graph: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the edges of a graph and those within branches, on which decisions are made."""
    return [*(graph.get("edges") or ()), *_inner_edges(graph)]


def drawn_nodes(graph: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return all nodes, and a bar for each join."""
    joins = [
        {
            "name": join_of(node["name"]),
            "kind": JOIN,
            "of": node["name"],
            "lanes": len(node["branches"]),
            "text": "continues with what comes first"
            if _is_choice(node)
            else "joins its branches",
        }
        for node in _with_branches(graph)
    ]
    return [*all_nodes(graph), *joins]


def drawn_edges(graph: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return all edges, with those that leave a split; `from` and `to` are where they end."""
    joined = names_with_branches(graph)
    return [
        *({**edge, "from": _leaves(edge, joined)} for edge in graph.get("edges") or ()),
        *_split_edges(graph),
        *({**edge, "to": _reaches(edge, joined)} for edge in _inner_edges(graph)),
    ]


def join_of(name: str) -> str:
    """Return the name of the bar that joins the branches of a node; no node can have it."""
    return f"{name}\njoin"


def split_index(branch: int) -> int:
    """Return the index of the edge from a node to its n-th branch, which is never a decision."""
    return -1 - branch


def parts_of_choices(graph: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of nodes that wait for the first of several, by that of each part."""
    return {
        branch["name"]: node["name"]
        for node in _with_branches(graph)
        if _is_choice(node)
        for branch in node["branches"]
    }


def _is_choice(node: Mapping[str, Any]) -> bool:
    return bool(node.get("kind") == "first_of")


def first_nodes(graph: Mapping[str, Any]) -> Iterator[tuple[str, int, str]]:
    """Yield node, index of the edge, and first node of each branch."""
    for edge in _split_edges(graph):
        yield edge["source"], edge["index"], edge["target"]


def place_in_branches(
    graph: Mapping[str, Any], node: str, sequence: int
) -> tuple[int, int] | None:
    """Return the number of the join of a step of a branch, and its index among such steps."""
    for joining in _with_branches(graph):
        names = [
            one["name"] for branch in joining["branches"] for one in branch["nodes"]
        ]
        if node in names:
            index = names.index(node)
            return sequence - index + len(names), index
    return None


def _with_branches(graph: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for node in graph.get("nodes") or ():
        if node.get("branches"):
            yield node


def _split_edges(graph: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for node in _with_branches(graph):
        for number, branch in enumerate(node["branches"]):
            yield {
                "source": node["name"],
                "target": branch["nodes"][0]["name"],
                "index": split_index(number),
                # a part has the name of its only node
                "branch": "" if _is_choice(node) else branch["name"],
            }


def _inner_edges(graph: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for node in _with_branches(graph):
        for number, branch in enumerate(node["branches"]):
            names = [one["name"] for one in branch["nodes"]]
            index = FIRST_EDGE + number if _is_choice(node) else 0
            for source, target in zip(names, [*names[1:], node["name"]], strict=True):
                yield {"source": source, "target": target, "index": index}


def _leaves(edge: Mapping[str, Any], joined: frozenset[str]) -> str:
    source: str = edge["source"]
    return join_of(source) if source in joined else source


def _reaches(edge: Mapping[str, Any], joined: frozenset[str]) -> str:
    target: str = edge["target"]
    return join_of(target) if target in joined else target
