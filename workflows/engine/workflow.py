"""A declared workflow: a table of routes between nodes, checked while it is imported."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar, cast

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from .adapters import codec
from .checks import check_against_state
from .config import GraphConfig
from .errors import DefinitionError
from .fingerprint import differences, fingerprint, type_text
from .graph import Graph
from .nodes import Node
from .predicates import Predicate
from .shape import GraphShape
from .state import State
from .storable import check_no_secrets, check_storable

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

S = TypeVar("S", bound=State)
Step_co = TypeVar("Step_co", bound=Callable[..., Any], covariant=True)
Tested = TypeVar("Tested", bound=State)
In = TypeVar("In", bound=State)
Out = TypeVar("Out", bound=State)
Key_co = TypeVar("Key_co", covariant=True)
Value_co = TypeVar("Value_co", covariant=True)

Migration: TypeAlias = Callable[[dict[str, Any]], Mapping[str, Any]]


class DefinitionWarning(UserWarning):
    """A workflow that runs but has a way to fail that its author may not have seen."""


@dataclass(frozen=True, slots=True)
class Branch(Generic[Step_co]):
    """One way out of a node in a table of routes.

    `Branch[Callable[[Tested, In], Out]]` asks about states of the first type and takes and gives
    those of the others. Written as a callable, the types of several branches have a common one:
    a list of them can be assigned to a variable before it is put into the table.
    """

    when: Predicate[Any] | Callable[[Any], bool] | None  # None: always
    target: Node[Any, Any]


def when(
    predicate: Predicate[Tested] | Callable[[Tested], bool], target: Node[In, Out]
) -> Branch[Callable[[Tested, In], Out]]:
    """Go to `target` if the predicate holds and no branch before it did."""
    return Branch(predicate, target)


def otherwise(target: Node[In, Out]) -> Branch[Callable[[State, In], Out]]:
    """Go to `target` if no branch before it held."""
    return Branch(None, target)


class Routes(Protocol[Key_co, Value_co]):
    """A table of routes; a mapping's own type would not let a step of any state be a key."""

    def items(self) -> Iterable[tuple[Key_co, Value_co]]:
        """Return the rows."""


class Workflow(Generic[S]):
    """A named graph, its state and its params: what a person launches.

    Wiring mistakes raise DefinitionError at once. A node without a route is an exit.
    """

    def __init__(  # noqa: PLR0913 - the declaration, all by name
        self,
        name: str,
        *,
        state: type[S],
        start: Node[S, S],
        routes: Routes[Node[S, S], Node[S, S] | Sequence[Branch[Callable[[S, S], S]]]],
        title: str = "",
        description: str = "",
        params: type | None = None,
        config: GraphConfig | None = None,
        compatible_with: Iterable[str] = (),
        migrations: Mapping[str, Migration] | Iterable[tuple[str, Migration]] = (),
        stages: Mapping[str, Any] | None = None,
    ) -> None:
        """Check the routes and name the pattern nodes after the caller's variables.

        - `compatible_with`: fingerprints whose runs may go on under this workflow as they are.
        - `migrations`: by fingerprint, what turns the data of such a run into today's.
        - `stages`: by name, how it asks language models; whoever runs it may offer others.
        """
        _check_name(name)
        self.name = name
        self.title = title or name.replace("-", " ").replace("_", " ").capitalize()
        self.description = description
        self.state_type = state
        self.params_type: type | None = params or _params_of(state)
        self.config = config  # None: the defaults
        self.compatible_with = frozenset(compatible_with)
        self.migrations = dict(migrations)
        self.stages: Mapping[str, Any] = dict(stages or {})
        self._start = start
        self._routes = {
            source: _branches(name, source, to) for source, to in routes.items()
        }
        caller = sys._getframe(1)  # noqa: SLF001 - where the nodes' variables are
        nodes = self._all_nodes()
        _name_nodes(nodes, caller.f_locals, caller.f_globals)
        _check_nodes(name, nodes)
        _check_fields_exist(name, nodes, state)
        _check_types_storable(name, self.params_type, nodes, state)
        _check_has_exit(name, nodes, self._routes)
        self.graph = Graph(name)
        self._build(self.graph)
        check_against_state(name, nodes, self._predicates(), state)
        for warning in self.graph.check():
            warnings.warn(warning, DefinitionWarning, stacklevel=2)
        self.shape: GraphShape = replace(self.graph.describe(), fields=_fields(state))
        self.fingerprint = fingerprint(self.shape)
        self.drawn = self.shape.to_json()  # stored with each run: nobody changes it

    def factory(self, graph: Graph, runtime: object, params: Any) -> S:  # noqa: ARG002
        """Build the graph and return the initial state: the form in which a run starts.

        Raises pydantic's ValidationError for params that do not fit.
        """
        self._build(graph)
        return self.initial(params)

    __call__ = factory

    def initial(self, params: Any = None) -> S:
        """The state a run starts with: its field `params`, or a field for each of the params."""
        return self.state_type(**self._values_of(self.params_of(params)))

    def check_start(self, params: Mapping[str, Any]) -> None:
        """Return if a run can start with these params, as they are stored.

        No default of the state is made for it. Raises StateError, NotSerialisable, pydantic's
        ValidationError.
        """
        self.state_type.check(self._values_of(self.params_of(params)))

    def _values_of(self, params: Any) -> dict[str, Any]:
        """What the first state is given: the params whole, or each under its name."""
        if "params" in self.state_type.fields():
            return {"params": params}
        return _as_mapping(params, self.state_type.fields())

    def params_of(self, params: Any = None) -> Any:
        """The params in their type. Raises pydantic's ValidationError."""
        if self.params_type is None:
            return params or {}
        return codec(self.params_type).read({} if params is None else params)

    def accepts(self, fingerprint: str) -> bool:
        """Whether a run that began under that fingerprint may go on under this workflow."""
        return (
            fingerprint == self.fingerprint
            or fingerprint in self.compatible_with
            or fingerprint in self.migrations
        )

    def migrated(self, data: Mapping[str, Any], fingerprint: str) -> Mapping[str, Any]:
        """The state's data of a run that began under that fingerprint, as today's."""
        migration = self.migrations.get(fingerprint)
        return data if migration is None else migration(dict(data))

    def differences(self, shape: GraphShape) -> list[str]:
        """What changed since a run began with that shape, in words."""
        return differences(shape, self.shape)

    def __repr__(self) -> str:
        return f"<Workflow {self.name} {self.fingerprint}>"

    def _all_nodes(self) -> list[Node[S, S]]:
        """Start first, then the others as the table names them."""
        nodes = {self._start: None}
        for source, branches in self._routes.items():
            nodes[source] = None
            nodes.update((branch.target, None) for branch in branches)
        return list(nodes)

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
            if node not in self._routes:
                graph.set_exit_point(node.name)


def _branches(
    workflow: str,
    source: Node[S, S],
    to: Node[S, S] | Sequence[Branch[Callable[[S, S], S]]],
) -> list[Branch[Callable[[S, S], S]]]:
    """The ways out of a node, whichever way the table tells them."""
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


def _name_nodes(nodes: Iterable[Node[Any, Any]], *scopes: Mapping[str, Any]) -> None:
    """Give each node without a name that of the variable it is assigned to."""
    for node in nodes:
        if getattr(node, "name", node):
            continue
        names = (
            name for scope in scopes for name, value in scope.items() if value is node
        )
        node.name = next(names, "")


def _check_nodes(workflow: str, nodes: Iterable[Any]) -> None:
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


def _check_fields_exist(
    workflow: str, nodes: Iterable[Node[Any, Any]], state: type[State]
) -> None:
    """Look up the fields that nodes name: a slip would show only when a run gets there."""
    fields = state.fields()
    for node in nodes:
        for role, does in (("over", "works on"), ("into", "puts what it gets into")):
            field = getattr(node, role, None)
            if fields and isinstance(field, str) and field not in fields:
                raise DefinitionError(
                    f"Workflow “{workflow}”: node “{node.name}” {does} “{field}”, and "
                    f"{state.__name__} has no such field: it has {', '.join(fields)}."
                )


def _check_types_storable(
    workflow: str,
    params: type | None,
    nodes: Iterable[Node[Any, Any]],
    state: type[State],
) -> None:
    """Look at the types of what people fill in and of what a state holds."""
    if params is not None:
        check_storable(params, f"Workflow “{workflow}”: its params")
    for node in nodes:
        if (answer := getattr(node, "answer_type", None)) is not None:
            where = f"Workflow “{workflow}”: the answer to “{node.name}”"
            check_storable(answer, where)
    for name, info in state.fields().items():
        where = f"Workflow “{workflow}”: the field “{name}” of {state.__name__}"
        check_no_secrets(info.annotation, where)


def _check_has_exit(
    workflow: str, nodes: Iterable[Node[Any, Any]], routes: Mapping[Node[Any, Any], Any]
) -> None:
    if all(node in routes for node in nodes):
        names = ", ".join(f"“{node.name}”" for node in nodes)
        raise DefinitionError(
            f"Workflow “{workflow}”: no run can end, for every node has a route ({names}). A node "
            "without one is an exit."
        )


def _check_name(name: str) -> None:
    if not name or name != name.strip():
        raise DefinitionError(
            f"A workflow needs a name without spaces around it, not {name!r}."
        )


def _params_of(state: type[State]) -> type | None:
    field = state.fields().get("params")
    return None if field is None else cast("type | None", field.annotation)


def _fields(state: type[State]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, type_text(info.annotation)) for name, info in state.fields().items()
    )


def _as_mapping(params: Any, fields: Mapping[str, FieldInfo]) -> dict[str, Any]:
    """Params by the names of their fields, each as it is, or as JSON.

    JSON is what an open bag can hold, and what a field of another type than the param's is
    given; a field of the same type gets the value itself.
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
