"""Checks of a graph: mistakes raise DefinitionError, doubtful edges give warnings."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any, Final, NoReturn

from .checks import dead_edge
from .errors import DefinitionError
from .nodes import Node

if TYPE_CHECKING:
    from .graph_shape import GraphShape
    from .predicates import Edge


PAUSES: Final = frozenset(
    {
        *("approval", "wait", "subworkflow", "subworkflows"),
        *("event", "callback", "first_of", "ask"),
    }
)
LAUNCHES: Final = frozenset({"launch", "continue"})  # not after the end of a run
MAX_NAME_CHARS = 200  # of a node; database columns and pages have no room for more


def check_new_node(graph: str, name: str, node: object, known: Container[str]) -> None:
    """Raise DefinitionError for a node that is None, or an invalid or duplicate name."""
    if not name:
        refuse(
            "build.empty_name",
            graph,
            "a node needs a name: give add_node a text.",
        )
    if node is None:
        refuse(
            "build.nil_node",
            graph,
            f"node “{name}” is None: give it a function.",
        )
    if len(name) > MAX_NAME_CHARS or not name.isprintable():
        refuse(
            "build.node_name",
            graph,
            f"a node cannot be called {name[:MAX_NAME_CHARS]!r}: use up to"
            f" {MAX_NAME_CHARS} characters that can be shown.",
        )
    if name in known:
        refuse(
            "build.duplicate_node",
            graph,
            f"node “{name}” exists already: choose another name.",
        )


def check_closing_node(
    graph: str,
    node: object,
    nodes: Mapping[str, Node[Any, Any]],
    others: Iterable[Node[Any, Any]],
) -> None:
    """Raise DefinitionError for a node that cannot run after the end of a run."""
    if not isinstance(node, Node):
        refuse(
            "build.nil_node",
            graph,
            f"{node!r} is to undo a step or to run at the end, and is not a node: put @node"
            " above the function.",
        )
    if node.kind in PAUSES:
        refuse(
            "build.closing_node",
            graph,
            f"“{node.name}” cannot undo a step or run at the end: the run is over then, so"
            f" {'an' if node.kind == 'approval' else 'a'} {node.kind} has nothing to continue.",
        )
    if node.when_failed is not None:
        refuse(
            "build.closing_node",
            graph,
            f"“{node.name}” cannot undo a step or run at the end with when_failed=ask(): the"
            " run is over then. Leave it out.",
        )
    if node.kind in LAUNCHES:
        refuse(
            "build.closing_node",
            graph,
            f"“{node.name}” cannot undo a step or run at the end: it launches a run, which"
            " only a step can do.",
        )
    if any(other is node for other in (*nodes.values(), *others)):
        return
    names = {*nodes, *(other.name for other in others)}
    check_new_node(graph, node.name, node, names)


def check_complete(graph: str, nodes: Sized, entry: str, exits: Sized) -> None:
    """Raise DefinitionError unless a graph has nodes, an entry and an exit."""
    if not nodes:
        refuse("invalid_graph.no_nodes", graph, "it has no nodes: call add_node.")
    if not entry:
        refuse(
            "invalid_graph.no_entry",
            graph,
            "no entry point is set: call set_entry_point.",
        )
    if not exits:
        refuse(
            "invalid_graph.no_exit",
            graph,
            "no exit point is set: call set_exit_point.",
        )


def check_asked(graph: str, nodes: Mapping[str, Node[Any, Any]]) -> None:
    """Raise DefinitionError for a node of a factory whose `when_failed` would be ignored."""
    for name, node in nodes.items():
        if node.when_failed is not None and f"ask about {name}" not in nodes:
            refuse(
                "check.ask",
                graph,
                f"node “{name}” has when_failed=ask(), which a factory has to add: call"
                f" graph.add_question({name!r}, ask()) after adding its edges.",
            )


def check_graph(
    name: str, shape: GraphShape, routes: Iterable[Sequence[Edge]]
) -> list[str]:
    """Return warnings about a graph. Raises DefinitionError for mistakes.

    `routes` are the edges of each node, in the order in which they are evaluated.
    """
    for code, culprits, mistake in (
        (
            "check.unreachable",
            shape.unreachable(),
            "no route leads to {}: add one or remove it.",
        ),
        (
            "check.trapped",
            shape.trapped(),
            "no exit can be reached from {}: add an edge that leads to one.",
        ),
        (
            "check.exit_with_edges",
            shape.exits_with_edges(),
            "{} is an exit, so its edges are never evaluated: remove the edges or the exit.",
        ),
    ):
        if culprits:
            refuse(code, name, mistake.format(quoted(culprits)))
    _check_dead_edges(name, routes)
    return [
        f"Graph “{name}”: the last edge of “{node}” has a condition, so the run fails "
        "there when none holds: end with an edge without one (`otherwise`)."
        for node in shape.without_otherwise()
    ]


def _check_dead_edges(name: str, routes: Iterable[Sequence[Edge]]) -> None:
    for edges in routes:
        if dead := dead_edge(edges):
            edge, earlier = dead
            refuse(
                "check.dead_edge",
                name,
                f"the edge from “{edge.source}” to “{edge.target}” is never taken: the one to"
                f" “{earlier.target}” before it is, whenever this one could be. Remove it, put"
                " it first, or give the other a condition.",
            )


def quoted(names: Iterable[str]) -> str:
    """Return names in quotation marks, separated by commas."""
    return ", ".join(f"“{name}”" for name in names)


def refuse(code: str, graph: str, message: str) -> NoReturn:
    """Raise DefinitionError for the graph of that name."""
    raise DefinitionError(f"Graph “{graph}”: {message}", code=code)
