"""Declared workflows: a table of routes between nodes, validated at import."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, cast

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from .adapters import codec, schema
from .branch_checks import check_branches
from .checks import check_against_state, check_exclusions
from .child_nodes import references
from .config import GraphConfig
from .errors import DefinitionError
from .event_nodes import check_events
from .failure_questions import Ask, questions_of
from .fingerprint import differences, fingerprint, type_text
from .first_of import approval_of, with_parts
from .graph import Graph
from .graph_shape import GraphShape
from .limits import Limits, checked_limits
from .nodes import Node, name_by_variables
from .patterns.branches import BranchesNode
from .predicates import FailurePredicate, Predicate
from .reasons import ReasonAction, checked_reasons
from .resources import Resource
from .routes import Branch, Routes, is_exit, undo_table
from .run_title import RunTitle
from .state import State
from .storable import check_no_secrets, check_storable

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

S = TypeVar("S", bound=State)

Migration: TypeAlias = Callable[[dict[str, Any]], Mapping[str, Any]]


class DefinitionWarning(UserWarning):
    """A valid workflow has a possible failure that its author may have overlooked."""


CONTAINERS = (dict, list, set, tuple, frozenset)  # as the factory of a default: empty


class Workflow(Generic[S]):
    """A named graph with its state and params, which users launch.

    Mistakes in the routes raise DefinitionError at import. A node without a route is an exit.
    """

    def __init__(  # noqa: PLR0913 - the declaration, all by name
        self,
        name: str,
        *,
        state: type[S],
        start: Node[S, S],
        routes: Routes[Node[S, S], Node[S, S] | Sequence[Branch[Callable[[S, S], S]]]],
        title: str = "",
        run_title: str = "",
        description: str = "",
        params: type | None = None,
        undo: Routes[Node[S, S], Node[S, S]] | None = None,
        on_end: Node[S, S] | None = None,
        when_failed: Ask | Routes[Node[S, S], Ask] | None = None,
        deadline: timedelta | None = None,
        limits: Limits | None = None,
        config: GraphConfig | None = None,
        compatible_with: Iterable[str] = (),
        migrations: Mapping[str, Migration] | Iterable[tuple[str, Migration]] = (),
        prompts: Mapping[str, Any] | None = None,
        resources: Iterable[Resource[Any]] = (),
        call_content: bool = False,
        reasons_for: Collection[ReasonAction] | None = None,
    ) -> None:
        """Check the routes and name unnamed nodes after the caller's variables.

        - `undo`: by node, the node that undoes its completed steps if the run fails or is
          cancelled, the newest step first.
        - `on_end`: a node that runs once when the run has ended, with `runtime.outcome`.
        - `when_failed`: `ask()`, for all nodes or by node: a person decides about a failed step
          that no failure route takes.
        - `deadline`: time from the launch after which a run fails; waits and resumes count.
        - `limits`: how many runs are executed at once, and start per minute, for each key.
        - `run_title`: a template for the titles of runs: "{params.employee}, {params.amount} EUR".
          By default, a run is titled by its first document, text or number.
        - `compatible_with`: fingerprints whose runs may continue under this workflow unchanged.
        - `migrations`: by fingerprint, functions that convert the data of such runs.
        - `prompts`: by name, prompts for language models; profiles may replace them.
        - `resources`: opened once per worker, before its first run; `runtime.get(resource)`.
        - `call_content`: store the prompt and the answer of each call of an agent.
        - `reasons_for`: the actions for which people have to enter a reason; None for all.
        """
        self.name, self.limits = _checked_name(name), checked_limits(name, limits)
        self.title = title or name.replace("-", " ").replace("_", " ").capitalize()
        self.description, self.state_type = description, state
        self.params_type: type | None = params or _params_of(state)
        # without a config: the defaults; without reasons: all actions
        self.config, self.reasons_for = config, checked_reasons(name, reasons_for)
        self.compatible_with, self.migrations = (
            frozenset(compatible_with),
            dict(migrations),
        )
        self.prompts: Mapping[str, Any] = dict(prompts or {})
        self._start = start
        self._routes = {
            source: _branches(name, source, to) for source, to in routes.items()
        }
        self.deadline, self.call_content = (
            _checked_deadline(name, deadline),
            _checked_flag(name, "call_content", call_content),
        )
        steps = [*(nodes := self._all_nodes()), *_nodes_of_branches(nodes)]
        self._undo = undo_table(name, steps, undo)
        self._on_end, self.resources = on_end, _checked_resources(name, resources)
        named = [*(every := [*with_parts(steps)]), *self._closing_nodes()]
        caller = sys._getframe(1)  # noqa: SLF001 - where the nodes' variables are
        name_by_variables(named, caller)
        _check_nodes(name, named)
        _check_fields_exist(name, every, state)
        _check_types_storable(name, self.params_type, every, state)
        self.run_title = _checked_run_title(name, run_title, self.params_type)
        _check_has_exit(name, nodes, self._routes)
        self._questions = questions_of(
            name, nodes, _inner_nodes(nodes, steps), when_failed, self._failure_routes()
        )
        self.children, self.graph = references(self, nodes, self._routes), Graph(name)
        self._build(self.graph)
        check_against_state(name, every, self._predicates(), state)
        self._check_graph()
        self.shape: GraphShape = replace(self.graph.describe(), fields=_fields(state))
        self.fingerprint = fingerprint(self.shape)
        self.drawn = self.shape.to_json()  # stored with each run; not to be modified

    def _check_graph(self) -> None:
        edges = [(edge.source, edge.target) for edge in self.graph.describe().edges]
        check_exclusions(self.name, self.graph.nodes, edges)
        for warning in self.graph.check():
            warnings.warn(warning, DefinitionWarning, stacklevel=3)

    def factory(self, graph: Graph, runtime: object, params: Any) -> S:  # noqa: ARG002
        """Build the graph and return the initial state of a run.

        Raises pydantic's ValidationError for invalid params.
        """
        if graph.nodes:  # of a factory that adds to this workflow
            self._build(graph)
        else:
            graph.adopt(self.graph)
        return self.initial(params)

    __call__ = factory

    def initial(self, params: Any = None) -> S:
        """Return the initial state: with a field `params`, or one field per param."""
        return self.state_type(**self._values_of(self.params_of(params)))

    def check_start(self, params: Mapping[str, Any]) -> None:
        """Return if a run can start with these stored params; defaults are not computed.

        Raises StateError, NotSerialisable, pydantic's ValidationError.
        """
        self.state_type.check(self._values_of(self.params_of(params)))

    def _values_of(self, params: Any) -> dict[str, Any]:
        """Return the values of the initial state: the params as one value, or by name."""
        if "params" in self.state_type.fields():
            return {"params": params}
        return _as_mapping(params, self.state_type.fields())

    def params_of(self, params: Any = None) -> Any:
        """Return the params in their type. Raises pydantic's ValidationError."""
        if self.params_type is None:
            return params or {}
        return codec(self.params_type).read({} if params is None else params)

    def accepts(self, fingerprint: str) -> bool:
        """Return whether a run that started under that fingerprint may continue."""
        return (
            fingerprint == self.fingerprint
            or fingerprint in self.compatible_with
            or fingerprint in self.migrations
        )

    def migrated(self, data: Mapping[str, Any], fingerprint: str) -> Mapping[str, Any]:
        """Return the data of a run that started under that fingerprint, migrated."""
        migration = self.migrations.get(fingerprint)
        return data if migration is None else migration(dict(data))

    def differences(self, shape: GraphShape) -> list[str]:
        """Return the changes since a run started with that shape, as sentences."""
        return differences(shape, self.shape)

    def __repr__(self) -> str:
        return f"<Workflow {self.name} {self.fingerprint}>"

    def _all_nodes(self) -> list[Node[S, S]]:
        """Return the start node, then the others in the order of the table."""
        nodes = {self._start: None}
        for source, branches in self._routes.items():
            nodes[source] = None
            nodes.update((branch.target, None) for branch in branches)
        return list(nodes)

    def _failure_routes(self) -> dict[Node[Any, Any], list[FailurePredicate]]:
        """Return the conditions of the failure route of each node."""
        return {
            source: [
                branch.when
                for branch in branches
                if isinstance(branch.when, FailurePredicate)
            ]
            for source, branches in self._routes.items()
        }

    def _closing_nodes(self) -> list[Node[S, S]]:
        """Return the nodes that run after the end of a run was decided."""
        return [*self._undo.values(), *([self._on_end] if self._on_end else [])]

    def _predicates(self) -> list[Predicate[Any]]:
        edges = (
            edge for node in self.graph.nodes for edge in self.graph.edges_from(node)
        )
        return [edge.when for edge in edges if edge.when is not None]

    def _build(self, graph: Graph) -> None:
        nodes = self._all_nodes()
        for node in nodes:
            graph.add_node(node.name, node)
        graph.set_entry_point(self._start.name)
        for source, branches in self._routes.items():
            for branch in branches:
                graph.add_edge(source.name, branch.target.name, branch.when)
        for node in nodes:
            if is_exit(node, self._routes):
                graph.set_exit_point(node.name)
        self._add_reactions(graph)

    def _add_reactions(self, graph: Graph) -> None:
        """Add what follows a failed step or the end of a run."""
        for asked, setting in self._questions.items():
            graph.add_question(asked, setting)
        for source, undo in self._undo.items():
            graph.set_undo(source.name, undo)
        if self._on_end is not None:
            graph.set_on_end(self._on_end)

    @cached_property
    def has_fixed_start(self) -> bool:
        """Whether the params alone decide the initial state."""
        return _is_fixed(self.state_type)

    @cached_property
    def has_personal_approvals(self) -> bool:
        """Whether it depends on the person, not only on permissions, who may respond."""
        found = map(approval_of, self.graph.nodes.values())
        return any(one is not None and one.is_personal for one in found)

    @property
    def has_closing(self) -> bool:
        """Whether nodes run after the end of a run was decided."""
        return bool(self._undo) or self._on_end is not None


def _checked_flag(workflow: str, option: str, given: object) -> bool:
    if not isinstance(given, bool):
        raise DefinitionError(
            f"Workflow “{workflow}”: {option}={given!r} is neither True nor False."
        )
    return given


def _checked_resources(
    workflow: str, resources: Iterable[Resource[Any]]
) -> tuple[Resource[Any], ...]:
    given = tuple(resources)
    for one in given:
        if not isinstance(one, Resource):
            raise DefinitionError(
                f"Workflow “{workflow}”: {one!r} is no resource: decorate its function with"
                " @resource."
            )
    return given


def _nodes_of_branches(nodes: Iterable[Any]) -> list[Node[Any, Any]]:
    return [
        step.node
        for node in nodes
        if isinstance(node, BranchesNode)
        for step in node.steps
    ]


def _inner_nodes(
    nodes: Sequence[Node[Any, Any]], steps: Sequence[Node[Any, Any]]
) -> list[Node[Any, Any]]:
    """Return the nodes that others run: of branches, items, chains, and what is waited for."""
    run_by_patterns = [
        inner
        for node in steps
        for inner in (
            getattr(node, "item", None),
            getattr(node, "step", None),
            *getattr(node, "handlers", {}).values(),
            getattr(node, "default", None),
        )
        if isinstance(inner, Node)
    ]
    top = {id(node) for node in nodes}
    every = [*with_parts(steps), *run_by_patterns]
    return [node for node in every if id(node) not in top]


def _checked_deadline(workflow: str, deadline: timedelta | None) -> timedelta | None:
    if deadline is not None and deadline <= timedelta(0):
        raise DefinitionError(
            f"Workflow “{workflow}” has a deadline of {deadline}, which no run can meet: use more."
        )
    return deadline


def _is_fixed(state: type[State]) -> bool:
    """Return whether the params alone decide the initial state: no default is computed."""
    factories = (info.default_factory for info in state.fields().values())
    return all(made is None or made in CONTAINERS for made in factories)


def _branches(
    workflow: str,
    source: Node[S, S],
    to: Node[S, S] | Sequence[Branch[Callable[[S, S], S]]],
) -> list[Branch[Callable[[S, S], S]]]:
    """Return the branches of a node from a row of the table. Raises DefinitionError."""
    targets: list[Any] = list(to) if isinstance(to, list | tuple) else [to]
    if not targets:
        raise DefinitionError(
            f"Workflow “{workflow}”: the route of {source!r} is empty. Leave it out if the node is "
            "an exit."
        )
    return [
        target if isinstance(target, Branch) else Branch(None, target)
        for target in targets
    ]


def _check_nodes(workflow: str, nodes: Sequence[Any]) -> None:
    for node in nodes:
        if not isinstance(node, Node):
            raise DefinitionError(
                f"Workflow “{workflow}”: {node!r} is in its routes and is not a node: put @node "
                "above the function."
            )
        if not node.name:
            raise DefinitionError(
                f"Workflow “{workflow}”: a {node.kind} node has no name: assign it to a variable "
                "before, or give it name=…."
            )
    check_events(workflow, nodes)


def _check_fields_exist(
    workflow: str, nodes: Sequence[Node[Any, Any]], state: type[State]
) -> None:
    """Raise DefinitionError for nodes that refer to unknown or unfit fields."""
    fields = state.fields()
    for node in nodes:
        for role, does in (("over", "works on"), ("into", "stores its result in")):
            field = getattr(node, role, None)
            if fields and isinstance(field, str) and field not in fields:
                raise DefinitionError(
                    f"Workflow “{workflow}”: node “{node.name}” {does} “{field}”, and "
                    f"{state.__name__} has no such field: it has {', '.join(fields)}."
                )
    check_branches(workflow, nodes, state)


def _check_types_storable(
    workflow: str,
    params: type | None,
    nodes: Iterable[Node[Any, Any]],
    state: type[State],
) -> None:
    """Raise DefinitionError if user input or fields of the state cannot be stored."""
    if params is not None:
        check_storable(params, f"Workflow “{workflow}”: its params")
    for node in nodes:
        if (answer := getattr(node, "answer_type", None)) is not None:
            where = f"Workflow “{workflow}”: the answer to “{node.name}”"
            check_storable(answer, where)
    for name, info in state.fields().items():
        where = f"Workflow “{workflow}”: the field “{name}” of {state.__name__}"
        check_no_secrets(info.annotation, where)


def _checked_run_title(
    workflow: str, template: str, params: type | None
) -> RunTitle | None:
    if not template:
        return None
    title = RunTitle(workflow, template)
    if params is not None:
        title.check(schema(params).get("properties", ()))
    return title


def _check_has_exit(
    workflow: str,
    nodes: Iterable[Node[Any, Any]],
    routes: Mapping[Node[Any, Any], Sequence[Branch[Any]]],
) -> None:
    if not any(is_exit(node, routes) for node in nodes):
        names = ", ".join(f"“{node.name}”" for node in nodes)
        raise DefinitionError(
            f"Workflow “{workflow}”: no run can end, for every node has a route ({names}). A node "
            "without one is an exit."
        )


def _checked_name(name: str) -> str:
    if not name or name != name.strip():
        raise DefinitionError(
            f"A workflow needs a name without spaces around it, not {name!r}."
        )
    return name


def _params_of(state: type[State]) -> type | None:
    field = state.fields().get("params")
    return None if field is None else cast("type | None", field.annotation)


def _fields(state: type[State]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, type_text(info.annotation)) for name, info in state.fields().items()
    )


def _as_mapping(params: Any, fields: Mapping[str, FieldInfo]) -> dict[str, Any]:
    """Return params by the names of their fields.

    A field of the state with the same type gets the value itself; an untyped state, or a field of
    another type, gets JSON.
    """
    if not isinstance(params, BaseModel) or type(params).__pydantic_root_model__:
        values: dict[str, Any] = to_jsonable_python(params)
        return values
    encoded, _ = codec(type(params)).encode(params)
    keys = codec(type(params)).keys_of(type(params))
    values = {key: value for key, value in encoded.items() if key not in keys}
    for key, name in keys.items():
        mine, field = type(params).model_fields[name], fields.get(name)
        if field is not None and field.annotation == mine.annotation:
            values[name] = getattr(params, name)
        elif key in encoded:
            values[name] = encoded[key]
    return values
