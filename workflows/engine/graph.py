"""The state graph: nodes, edges, entry and exits, checked as they are added.

A refused call leaves the graph as it was. `execute` and `resume` walk it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar, overload

from .cancellation import Cancellation
from .checkpoints import CheckpointStore, stores
from .checks import dead_edge
from .clock import Clock, SystemClock
from .config import CheckpointConfig, GraphConfig
from .context import Answer, CheckChild
from .errors import ConfigurationError, DefinitionError
from .nodes import Node, as_node
from .observers import NoOpObserver, Observer, observers
from .predicates import Edge, Evaluation, Predicate
from .resume import How, resume
from .retries import Retry
from .runner import Runner
from .shape import EdgeShape, GraphShape, NodeShape
from .state import State

S = TypeVar("S", bound=State)

MAX_NAME = 200  # characters of a node's name, as rows and pages have room for


class Graph:
    """A graph of steps that one state walks through."""

    def __init__(  # noqa: PLR0913, PLR0917 - all that a run depends on
        self,
        name: str,
        config: GraphConfig | None = None,
        observer: Observer | None = None,
        checkpoints: CheckpointStore | None = None,
        clock: Clock | None = None,
        check_child: CheckChild | None = None,
    ) -> None:
        """Take dependencies as given, else by the names in `config`.

        Raises ConfigurationError for unknown names, an interval without a store, limits below 0.
        """
        self.name = name
        self.config = config or GraphConfig(name=name)
        self.clock = clock or SystemClock()
        self.check_child = check_child  # before a child run is asked for
        self.config.check()
        self.checkpoints = (
            _store(self.config.checkpoint) if checkpoints is None else checkpoints
        )
        self.observer = _observer(config) if observer is None else observer
        self._nodes: dict[str, Node[Any, Any]] = {}
        self._edges: dict[str, list[Edge]] = {}
        self._entry = ""
        self._exits: dict[str, None] = {}  # a set that keeps its order

    @property
    def nodes(self) -> Mapping[str, Node[Any, Any]]:
        """The nodes by name."""
        return MappingProxyType(self._nodes)

    @property
    def entry(self) -> str:
        """The name of the node a walk starts at; empty until it is set."""
        return self._entry

    @property
    def exits(self) -> tuple[str, ...]:
        """The names of the nodes a walk ends at."""
        return tuple(self._exits)

    def is_exit(self, node: str) -> bool:
        """Whether a walk ends at this node."""
        return node in self._exits

    def edges_from(self, node: str) -> tuple[Edge, ...]:
        """The ways out of a node, in the order in which they are tried."""
        return tuple(self._edges.get(node, ()))

    def add_node(
        self,
        name: str,
        node: Callable[..., Any] | Node[Any, Any] | None,
        *,
        retry: Retry | None = None,
        timeout: float | None = None,
    ) -> None:
        """Add a step. Raises DefinitionError for no node, or a name that is taken or unfit."""
        if not name:
            _refuse(
                "build.empty_name", self, "a node needs a name: give add_node a text."
            )
        if node is None:
            _refuse(
                "build.nil_node", self, f"node “{name}” is None: give it a function."
            )
        if len(name) > MAX_NAME or not name.isprintable():
            _refuse(
                "build.node_name",
                self,
                f"a node cannot be called {name[:MAX_NAME]!r}: use up to {MAX_NAME} characters"
                " that can be shown.",
            )
        if name in self._nodes:
            _refuse(
                "build.duplicate_node",
                self,
                f"node “{name}” is there already: choose another name.",
            )
        self._nodes[name] = as_node(node, name).configured(retry, timeout)

    def add_edge(
        self,
        source: str,
        target: str,
        when: Predicate[Any] | Callable[[Any], bool] | None = None,
        name: str | None = None,
    ) -> None:
        """Add a way from one node to another, tried after those added before it."""
        for side, node in (("source", source), ("target", target)):
            if not node:
                _refuse(
                    "build.empty_name", self, f"an edge needs a {side}: name a node."
                )
        for node in (source, target):
            self._must_know(node, f"the edge from “{source}” to “{target}”")
        predicate = (
            when if isinstance(when, Predicate) or when is None else Predicate.of(when)
        )
        self._edges.setdefault(source, []).append(Edge(source, target, predicate, name))

    def set_entry_point(self, node: str) -> None:
        """Start every walk at this node. Raises DefinitionError when one is set."""
        if not node:
            _refuse(
                "build.empty_name", self, "the entry point needs a name: name a node."
            )
        if self._entry:
            _refuse(
                "build.entry_already_set",
                self,
                f"the entry point is “{self._entry}” already: a graph has one; remove “{node}”.",
            )
        self._must_know(node, "the entry point")
        self._entry = node

    def set_exit_point(self, node: str) -> None:
        """End every walk that reaches this node; several nodes may be exits."""
        if not node:
            _refuse(
                "build.empty_name", self, "an exit point needs a name: name a node."
            )
        self._must_know(node, "an exit point")
        self._exits[node] = None

    def validate(self) -> None:
        """Raises DefinitionError unless a walk can start and end."""
        if not self._nodes:
            _refuse("invalid_graph.no_nodes", self, "it has no nodes: call add_node.")
        if not self._entry:
            _refuse(
                "invalid_graph.no_entry",
                self,
                "no entry point is set: call set_entry_point.",
            )
        if not self._exits:
            _refuse(
                "invalid_graph.no_exit",
                self,
                "no exit point is set: call set_exit_point.",
            )

    def check(self) -> list[str]:
        """What an author should know, as sentences. Raises DefinitionError for mistakes."""
        self.validate()
        shape = self.describe()
        for code, culprits, mistake in (
            (
                "check.unreachable",
                shape.unreachable(),
                "no route leads to {}: add one or remove it.",
            ),
            (
                "check.trapped",
                shape.trapped(),
                "no exit can be reached from {}: add a way out.",
            ),
            (
                "check.exit_with_edges",
                shape.exits_with_edges(),
                "{} is an exit, so its edges are never looked at: remove the edges or the exit.",
            ),
        ):
            if culprits:
                _refuse(code, self, mistake.format(_named(culprits)))
        self._must_be_takeable()
        return [
            f"Graph “{self.name}”: the last edge of “{node}” has a condition, so the run fails "
            "there when none holds: end with an edge without one (`otherwise`)."
            for node in shape.without_otherwise()
        ]

    def describe(self) -> GraphShape:
        """The graph as names and lines."""
        return GraphShape(
            entry=self._entry,
            exits=self.exits,
            nodes=tuple(
                NodeShape(name, n.kind, n.doc) for name, n in self._nodes.items()
            ),
            edges=tuple(
                EdgeShape(
                    edge.source,
                    edge.target,
                    index,
                    edge.predicate_name,
                    edge.name or "",
                )
                for edges in self._edges.values()
                for index, edge in enumerate(edges)
            ),
        )

    def next(
        self, node: Node[Any, Any] | str, state: State
    ) -> tuple[Node[Any, Any] | None, list[Evaluation]]:
        """Where a state would go from a node, and why: the edges that were evaluated.

        None when no edge holds. Raises PredicateFailed when a predicate raises.
        """
        name = node if isinstance(node, str) else self.name_of(node)
        self._must_know(name, "Graph.next")
        decisions: list[Evaluation] = []
        for edge in self.edges_from(name):
            decisions.append(edge.evaluate(state))
            if decisions[-1].result:
                return self._nodes[edge.target], decisions
        return None, decisions

    def name_of(self, node: Node[Any, Any]) -> str:
        """The name under which a node was added. Raises DefinitionError for a stranger."""
        names = [name for name, known in self._nodes.items() if known is node]
        if not names:
            _refuse("build.unknown_node", self, f"{node!r} is not one of its nodes.")
        return names[0]

    async def execute(
        self,
        state: S,
        *,
        runtime: object = None,
        cancellation: Cancellation | None = None,
        deadline: float | None = None,
    ) -> S:
        """Walk from the entry point to an exit; the final state. `deadline` in seconds from now.

        Raises ExecutionError when the run fails, DefinitionError when the graph cannot be walked,
        Paused when it waits for something.
        """
        return await Runner(self, runtime, cancellation, deadline).start(state)

    @overload
    async def resume(
        self,
        run_id: str,
        *,
        runtime: object = ...,
        cancellation: Cancellation | None = ...,
        deadline: float | None = ...,
        enter: str | None = ...,
        answer: Answer | None = ...,
        secrets: Mapping[str, str] | None = ...,
    ) -> State: ...
    @overload
    async def resume(
        self,
        run_id: str,
        *,
        runtime: object = ...,
        cancellation: Cancellation | None = ...,
        deadline: float | None = ...,
        enter: str | None = ...,
        answer: Answer | None = ...,
        secrets: Mapping[str, str] | None = ...,
        state_type: type[S],
    ) -> S: ...
    async def resume(  # noqa: PLR0913 - who, then how it goes on
        self,
        run_id: str,
        *,
        runtime: object = None,
        cancellation: Cancellation | None = None,
        deadline: float | None = None,
        enter: str | None = None,
        answer: Answer | None = None,
        secrets: Mapping[str, str] | None = None,
        state_type: type[State] = State,
    ) -> State:
        """Go on from the last checkpoint of a run, as `execute` would have.

        With `enter`, the node that had paused runs at once and finds `answer` in its context.
        `secrets` are those of this attempt: none is ever stored.
        Raises ResumeError when it cannot go on, else as `execute`.
        """
        walk = Runner(self, runtime, cancellation, deadline)
        how = How(enter, answer, secrets or {})
        return await resume(walk, run_id, state_type, how)

    def _must_be_takeable(self) -> None:
        for edges in self._edges.values():
            if dead := dead_edge(edges):
                edge, earlier = dead
                _refuse(
                    "check.dead_edge",
                    self,
                    f"the edge from “{edge.source}” to “{edge.target}” is never taken: the one to"
                    f" “{earlier.target}” before it is, whenever this one could be. Remove it, put"
                    " it first, or give the other a condition.",
                )

    def _must_know(self, node: str, what: str) -> None:
        if node not in self._nodes:
            known = _named(tuple(self._nodes)) or "none yet"
            _refuse(
                "build.unknown_node",
                self,
                f"{what} names “{node}”, which is not a node: add it first. Nodes: {known}.",
            )


def _store(config: CheckpointConfig) -> CheckpointStore | None:
    """The store its name stands for; none is needed without an interval."""
    if not config.interval:
        return None
    if not config.store:
        raise ConfigurationError(
            f"Checkpoints every {config.interval} steps need a store: name one or give it.",
            code="config.no_store",
        )
    return stores.get(config.store)


def _observer(config: GraphConfig | None) -> Observer:
    """The observer a configuration names; without either, no one listens."""
    return (
        observers.get(config.observer) if config and config.observer else NoOpObserver()
    )


def _named(names: tuple[str, ...]) -> str:
    return ", ".join(f"“{name}”" for name in names)


def _refuse(code: str, graph: Graph, what: str) -> NoReturn:
    raise DefinitionError(f"Graph “{graph.name}”: {what}", code=code)
