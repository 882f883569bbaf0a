"""The state graph: nodes, edges, entry and exits, validated as they are added.

A call that raises leaves the graph unchanged. `execute` and `resume` run it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar, overload

from .cancellation import Cancellation
from .checkpoints import CheckpointStore, stores
from .clock import Clock, SystemClock
from .config import CheckpointConfig, GraphConfig
from .context import Answer, CheckChild, Launcher
from .errors import ConfigurationError
from .failure_questions import Ask, FailureAsked, FailureQuestion, edges_of_question
from .first_of import FirstOf
from .graph_checks import (
    check_asked,
    check_closing_node,
    check_complete,
    check_graph,
    check_new_node,
    quoted,
    refuse,
)
from .graph_shape import BranchShape, EdgeShape, GraphShape, NodeShape
from .nodes import Node, as_node
from .observers import NoOpObserver, Observer, observers
from .patterns.branches import BranchesNode
from .predicates import Edge, Evaluation, FailurePredicate, Predicate
from .resume import ResumeOptions, resume
from .retries import Retry
from .runner import Runner
from .state import State

S = TypeVar("S", bound=State)


class Graph:
    """A graph of nodes that a state passes through."""

    def __init__(  # noqa: PLR0913, PLR0917 - all dependencies of a run
        self,
        name: str,
        config: GraphConfig | None = None,
        observer: Observer | None = None,
        checkpoints: CheckpointStore | None = None,
        clock: Clock | None = None,
        check_child: CheckChild | None = None,
        launcher: Launcher | None = None,
    ) -> None:
        """Use the given dependencies, or those that `config` names.

        Raises ConfigurationError for unknown names, an interval without a store, limits below 0.
        """
        self.name = name
        self.config = config or GraphConfig(name=name)
        self.clock = clock or SystemClock()
        self.check_child = check_child  # called before a child run is requested
        self.launcher = launcher
        self.config.check()
        self.checkpoints = (
            _default_store(self.config.checkpoint)
            if checkpoints is None
            else checkpoints
        )
        self.observer = _default_observer(config) if observer is None else observer
        self._nodes: dict[str, Node[Any, Any]] = {}
        self._edges: dict[str, tuple[Edge, ...]] = {}
        self._entry = ""
        self._exits: dict[str, None] = {}  # an ordered set
        self._undo: dict[str, Node[Any, Any]] = {}
        self._on_end: Node[Any, Any] | None = None

    @property
    def nodes(self) -> Mapping[str, Node[Any, Any]]:
        """The nodes by name."""
        return MappingProxyType(self._nodes)

    @property
    def all_nodes(self) -> dict[str, Node[Any, Any]]:
        """The nodes by name, with those of branches and the parts of others."""
        inner = (each for node in self._nodes.values() for each in _inner_nodes(node))
        return {**self._nodes, **{node.name: node for node in inner}}

    @property
    def undo(self) -> Mapping[str, Node[Any, Any]]:
        """The nodes that undo a step, by the name of its node."""
        return MappingProxyType(self._undo)

    @property
    def on_end(self) -> Node[Any, Any] | None:
        """The node that runs once when the run has ended."""
        return self._on_end

    @property
    def entry(self) -> str:
        """The name of the entry node; empty until it is set."""
        return self._entry

    @property
    def exits(self) -> tuple[str, ...]:
        """The names of the exit nodes."""
        return tuple(self._exits)

    def is_exit(self, node: str) -> bool:
        """Return whether a run ends at this node."""
        return node in self._exits

    def edges_from(self, node: str) -> tuple[Edge, ...]:
        """Return the edges that leave a node, in the order in which they are evaluated."""
        return self._edges.get(node, ())

    def has_failure_route(self, node: str) -> bool:
        """Return whether a failure of this node may be followed by another node."""
        return any(edge.on_failure for edge in self.edges_from(node))

    def add_node(
        self,
        name: str,
        node: Callable[..., Any] | Node[Any, Any] | None,
        *,
        retry: Retry | None = None,
        timeout: float | None = None,
    ) -> None:
        """Add a node. Raises DefinitionError for None or for a duplicate or invalid name."""
        known = self.all_nodes
        check_new_node(self.name, name, node, known)
        for inner in _inner_nodes(node):
            check_new_node(self.name, inner.name, inner, {*known, name})
            known = {**known, inner.name: inner}
        self._nodes[name] = as_node(node, name).configured(retry, timeout)

    def add_edge(
        self,
        source: str,
        target: str,
        when: Predicate[Any] | Callable[[Any], bool] | None = None,
        name: str | None = None,
    ) -> None:
        """Add an edge; the edges of a node are evaluated in the order of their addition.

        With a FailurePredicate it is part of the failure route of its source.
        """
        for side, node in (("source", source), ("target", target)):
            if not node:
                refuse(
                    "build.empty_name",
                    self.name,
                    f"an edge needs a {side}: name a node.",
                )
        for node in (source, target):
            self._check_known(node, f"the edge from “{source}” to “{target}”")
        predicate = (
            when if isinstance(when, Predicate) or when is None else Predicate.of(when)
        )
        on_failure = isinstance(predicate, FailurePredicate)
        edge = Edge(source, target, predicate, name, on_failure)
        self._edges[source] = (*self.edges_from(source), edge)

    def add_question(self, node: str, setting: Ask) -> None:
        """Ask a person when a node has failed; call it after its edges were added.

        It adds the node “ask about …”, at the end of the failure route of the node.
        """
        self._check_known(node, "ask()")
        edges = self.edges_from(node)
        question = FailureQuestion(node, setting, [edge.target for edge in edges])
        check_new_node(self.name, question.name, question, self.all_nodes)
        self._nodes[question.name] = question
        self.add_edge(node, question.name, FailureAsked())
        self._edges[question.name] = edges_of_question(question.name, node, edges)
        if self.is_exit(node):  # of a step that is skipped
            self.set_exit_point(question.name)

    def set_entry_point(self, node: str) -> None:
        """Start every run at this node. Raises DefinitionError if an entry point is set."""
        if not node:
            refuse(
                "build.empty_name",
                self.name,
                "the entry point needs a name: name a node.",
            )
        if self._entry:
            refuse(
                "build.entry_already_set",
                self.name,
                f"the entry point is “{self._entry}” already: a graph has one; remove “{node}”.",
            )
        self._check_known(node, "the entry point")
        self._entry = node

    def set_exit_point(self, node: str) -> None:
        """End every run that reaches this node; several nodes may be exits."""
        if not node:
            refuse(
                "build.empty_name",
                self.name,
                "an exit point needs a name: name a node.",
            )
        self._check_known(node, "an exit point")
        self._exits[node] = None

    def set_undo(self, node: str, undo: Node[Any, Any]) -> None:
        """Undo the steps of a node with another one if the run fails or is cancelled."""
        if node not in self.all_nodes:
            self._check_known(node, f"the undo of “{node}”")
        check_closing_node(self.name, undo, self.all_nodes, self._undo.values())
        self._undo[node] = undo

    def set_on_end(self, node: Node[Any, Any]) -> None:
        """Run a node when the run has ended; it cannot change how."""
        check_closing_node(self.name, node, self.all_nodes, self._undo.values())
        self._on_end = node

    def adopt(self, other: Graph) -> None:
        """Take nodes, edges, entry and exits from another graph, at once and unchecked.

        For an empty graph: each run of a workflow has a graph of its own, whose nodes were
        checked when the workflow was declared.
        """
        self._nodes, self._edges = dict(other._nodes), dict(other._edges)
        self._entry, self._exits = other._entry, dict(other._exits)
        self._undo, self._on_end = dict(other._undo), other._on_end

    def validate(self) -> None:
        """Raises DefinitionError unless the graph has nodes, an entry and an exit."""
        check_complete(self.name, self._nodes, self._entry, self._exits)
        check_asked(self.name, self._nodes)

    def check(self) -> list[str]:
        """Return warnings for the author. Raises DefinitionError for mistakes."""
        self.validate()
        return check_graph(self.name, self.describe(), self._edges.values())

    def describe(self) -> GraphShape:
        """Return the graph without its code."""
        return GraphShape(
            entry=self._entry,
            exits=self.exits,
            nodes=tuple(_shape_of(n, name) for name, n in self._nodes.items()),
            edges=tuple(
                EdgeShape(
                    edge.source,
                    edge.target,
                    index,
                    edge.predicate_name,
                    edge.name or "",
                    edge.on_failure,
                )
                for edges in self._edges.values()
                for index, edge in enumerate(edges)
            ),
            undo=tuple((name, _shape_of(n)) for name, n in self._undo.items()),
            on_end=None if self._on_end is None else _shape_of(self._on_end),
        )

    def next(
        self, node: Node[Any, Any] | str, state: State
    ) -> tuple[Node[Any, Any] | None, list[Evaluation]]:
        """Return the node that follows for a state, and the edges that were evaluated.

        The node is None if no edge matches. Raises PredicateFailed if a predicate raises.
        For a state with a failure the failure route is evaluated.
        """
        name = node if isinstance(node, str) else self.name_of(node)
        self._check_known(name, "Graph.next")
        decisions: list[Evaluation] = []
        for edge in self.edges_from(name):
            if edge.on_failure is not (state.step_failure is not None):
                continue
            decisions.append(edge.evaluate(state))
            if decisions[-1].result:
                return self._nodes[edge.target], decisions
        return None, decisions

    def name_of(self, node: Node[Any, Any]) -> str:
        """Return the name of a node of this graph. Raises DefinitionError for any other node."""
        names = [name for name, known in self._nodes.items() if known is node]
        if not names:
            refuse(
                "build.unknown_node", self.name, f"{node!r} is not one of its nodes."
            )
        return names[0]

    async def execute(
        self,
        state: S,
        *,
        runtime: object = None,
        cancellation: Cancellation | None = None,
        deadline: float | None = None,
    ) -> S:
        """Run from the entry point to an exit and return the final state.

        `deadline` is in seconds from now. Raises ExecutionError if the run fails, DefinitionError
        if the graph is incomplete, Paused if the run waits.
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
    async def resume(  # noqa: PLR0913 - the run, then options of the attempt
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
        """Continue a run from its last checkpoint and return the final state.

        With `enter`, that paused node runs first, with `answer` in its context.
        `secrets` are those of this attempt: none is ever stored.
        Raises ResumeError if the run cannot be resumed, otherwise as `execute`.
        """
        runner = Runner(self, runtime, cancellation, deadline)
        options = ResumeOptions(enter, answer, secrets or {})
        return await resume(runner, run_id, state_type, options)

    def _check_known(self, node: str, what: str) -> None:
        if node not in self._nodes:
            known = quoted(tuple(self._nodes)) or "none yet"
            refuse(
                "build.unknown_node",
                self.name,
                f"{what} names “{node}”, which is not a node: add it first. Nodes: {known}.",
            )


def _inner_nodes(node: object) -> Iterable[Node[Any, Any]]:
    """Return the nodes of branches, or what a node waits for the first of."""
    if isinstance(node, BranchesNode):
        return [step.node for step in node.steps]
    return node.parts if isinstance(node, FirstOf) else ()


def _shape_of(node: Node[Any, Any], name: str = "") -> NodeShape:
    shape = NodeShape(
        name or node.name,
        node.kind,
        node.doc,
        getattr(node, "votes", 1),
        effects=node.effects,
    )
    if isinstance(node, FirstOf):
        parts = [BranchShape(part.name, (_shape_of(part),)) for part in node.parts]
        return replace(shape, branches=tuple(parts), need=1)
    if not isinstance(node, BranchesNode):
        return shape
    branches = tuple(
        BranchShape(name, tuple(_shape_of(step.node) for step in steps))
        for name, steps in node.branches.items()
    )
    return replace(shape, branches=branches, need=node.need)


def _default_store(config: CheckpointConfig) -> CheckpointStore | None:
    """Return the registered store; None without an interval."""
    if not config.interval:
        return None
    if not config.store:
        raise ConfigurationError(
            f"Checkpoints every {config.interval} steps need a store: name one or give it.",
            code="config.no_store",
        )
    return stores.get(config.store)


def _default_observer(config: GraphConfig | None) -> Observer:
    """Return the observer that a configuration names, or one that ignores all events."""
    return (
        observers.get(config.observer) if config and config.observer else NoOpObserver()
    )
