"""Nodes that launch runs.

- Subworkflow runs another workflow and waits for its result.
- Launch launches a run of another workflow and does not wait for it.
- ContinueAsNew ends its run, and launches another one of the same workflow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

from pydantic import BaseModel

from .author_code import await_contained
from .context import Launcher, NodeContext
from .errors import (
    DefinitionError,
    NotSerialisable,
    Paused,
    RequestError,
    SubworkflowFailed,
    describe,
)
from .frozen import Json, freeze
from .input_validation import check_launch
from .nodes import AnyStep, Kind, Node, accepts_arguments, call_function
from .round_trip import plain
from .routes import Branch, is_exit
from .state import State

if TYPE_CHECKING:
    from .workflow import Workflow

S = TypeVar("S", bound=State)
Into: TypeAlias = str | Callable[[Any, Any], Any]
Child: TypeAlias = "str | Workflow[Any]"
"""A workflow, or the name under which it is registered."""
ParamsValue: TypeAlias = Mapping[str, Any] | BaseModel
Params: TypeAlias = ParamsValue | Callable[[Any], ParamsValue]
"""The params of a child: a constant, or a function of the state."""


@dataclass(frozen=True, slots=True)
class ChildReference:
    """A workflow that a node of another one launches."""

    node: str
    name: str  # of the workflow
    workflow: Workflow[Any] | None  # None: it is referred to by its name
    params: Any  # None: they depend on the state

    def check_params(self, parent: str, workflow: Any) -> None:
        """Raise DefinitionError if the workflow does not accept constant params."""
        if self.params is None:
            return
        try:
            check_launch(workflow, plain(self.params))
        except (RequestError, NotSerialisable) as error:
            raise DefinitionError(
                f"Workflow “{parent}”: node “{self.node}” launches “{self.name}”, which does not"
                f" accept its params: {describe(error)}"
            ) from error


class ChildNode(Node[Any, Any]):
    """A node that launches runs of a workflow, given by itself or by its name."""

    def __init__(self, workflow: Child, params: Any, *, name: str, doc: str) -> None:
        self.workflow = _name_of(workflow)
        super().__init__(name, doc=doc.format(self.workflow))
        self.child = None if isinstance(workflow, str) else workflow
        self.params = params

    @property
    def reference(self) -> ChildReference:
        """The workflow that it launches."""
        constant = None if callable(self.params) else self.params
        return ChildReference(self.name, self.workflow, self.child, constant)

    async def checked_params(self, params: Any, context: NodeContext) -> Json:
        """Return the child's params as they are stored. Raises SubworkflowFailed."""
        try:
            given = plain(params)
            if context.check_child is None:
                return given
            return freeze(await context.check_child(context, self.workflow, given))
        except (RequestError, NotSerialisable) as error:
            raise SubworkflowFailed(
                f"The workflow “{self.workflow}” was not launched: {error}"
            ) from error


class Subworkflow(ChildNode):
    """A node that runs another workflow and waits for its result."""

    kind: ClassVar[Kind] = "subworkflow"

    def __init__(
        self, workflow: Child, params: Params, into: Into, *, name: str
    ) -> None:
        super().__init__(workflow, params, name=name, doc="Run the workflow “{}”.")
        checked_params_type(params, f"the workflow “{self.workflow}”")
        self.into = checked_into(into, self.workflow)

    async def run(self, value: S, runtime: object, context: NodeContext) -> S:  # noqa: ARG002
        """Return the state with the child's result. Raises Paused without a result."""
        answer = context.answer
        if answer is None:
            raise Paused(
                "subworkflow",
                question=f"waits for the workflow “{self.workflow}”",
                workflow=self.workflow,
                params=await self.checked_params(
                    params_for(self.params, value), context
                ),
            )
        if answer.error or answer.expired:
            why = answer.error or "it did not end in time"
            raise SubworkflowFailed(
                f"The workflow “{self.workflow}” did not complete: {why}"
            )
        return await stored_into(self.into, value, answer.value, context)


class Launch(ChildNode):
    """A node that launches a run of another workflow and does not wait for it."""

    kind: ClassVar[Kind] = "launch"

    def __init__(
        self, workflow: Child, params: Params, into: Into | None, *, name: str
    ) -> None:
        super().__init__(workflow, params, name=name, doc="Launch the workflow “{}”.")
        checked_params_type(params, f"the workflow “{self.workflow}”")
        self.into = None if into is None else checked_into(into, self.workflow)

    async def run(self, value: S, runtime: object, context: NodeContext) -> S:  # noqa: ARG002
        """Return the state with the id of the run that this step launched."""
        given = await self.checked_params(params_for(self.params, value), context)
        what = f"The workflow “{self.workflow}”"
        launcher = require_launcher(context, what)
        try:
            run_id = await launcher.launch(context, self.workflow, given)
        except RequestError as error:
            raise SubworkflowFailed(f"{what} was not launched: {error}") from error
        if self.into is None:
            return value
        return await stored_into(self.into, value, run_id, context)


class ContinueAsNew(Node[Any, Any]):
    """An exit that ends the run, and launches a new one of the same workflow."""

    kind: ClassVar[Kind] = "continue"

    def __init__(self, params: Params, *, name: str) -> None:
        super().__init__(name, doc="End this run, and continue as a new one.")
        self.params = checked_params_type(params, "the next run")

    async def run(self, value: S, runtime: object, context: NodeContext) -> S:  # noqa: ARG002
        """Return the state unchanged, with the params of the next run checked."""
        await self.prepare(value, context)
        return value

    async def prepare_again(self, state: Any, context: NodeContext) -> None:
        """Prepare the next run outside of a step; author code is contained as in one."""
        await await_contained(self.prepare(state, context), context)

    async def prepare(self, state: Any, context: NodeContext) -> None:
        """Let the launcher keep the params of the next run. Raises SubworkflowFailed."""
        launcher = require_launcher(context, "The run")
        try:
            given = plain(params_for(self.params, state))
            await launcher.prepare_successor(context, given)
        except (RequestError, NotSerialisable) as error:
            raise SubworkflowFailed(
                f"The run cannot continue as a new one: {error}"
            ) from error


def require_launcher(context: NodeContext, what: str) -> Launcher:
    """Return the launcher. Raises SubworkflowFailed if the graph is executed on its own."""
    if context.launcher is None:
        raise SubworkflowFailed(
            f"{what} was not launched: this graph is executed by itself, without runs."
        )
    return context.launcher


def checked_params_type(params: Any, of: str) -> Any:
    """Return the params. Raises DefinitionError if they cannot be those of a run."""
    if callable(params):
        if accepts_arguments(params, 1):
            return params
        problem = "a function of something else than the state"
    elif isinstance(params, Mapping | BaseModel):
        return params
    else:
        problem = repr(params)
    raise DefinitionError(
        f"The params of {of} are {problem}: give a function of the state that returns them,"
        " or the params themselves."
    )


def params_for(params: Any, state: Any) -> Any:
    """Return the params of a run, not validated: a constant, or those for this state."""
    return params(state) if callable(params) else params


async def stored_into(into: Into, state: S, value: Any, context: NodeContext) -> S:
    """Return the state with a value in a field, or as a function of both returns it."""
    if callable(into):
        after: S = await call_function(into, context, state, value)
        return after
    return state.set(into, value)


def checked_into(into: Into, workflow: str) -> Into:
    """Return `into`. Raises DefinitionError unless it is a field or a function of two values."""
    if isinstance(into, str) or accepts_arguments(into, 2):
        return into
    raise DefinitionError(
        f"The result of the workflow “{workflow}” cannot be stored by {into!r}: give the name of"
        " a field, or a function (state, result) that returns the state."
    )


def references(
    workflow: Workflow[Any],
    nodes: Iterable[Any],
    routes: Mapping[Any, Sequence[Branch[Any]]],
) -> tuple[ChildReference, ...]:
    """Return the other workflows that the nodes of a workflow launch.

    Raises DefinitionError for invalid constant params, if the workflow is known here, and for
    a ContinueAsNew that is no exit.
    """
    found = []
    for node in nodes:
        if isinstance(node, ContinueAsNew):
            _check_continuation(workflow, node, routes)
        if isinstance(node, ChildNode):
            reference = node.reference
            if reference.workflow is not None:
                reference.check_params(workflow.name, reference.workflow)
            found.append(reference)
    return tuple(found)


def _check_continuation(
    workflow: Workflow[Any],
    node: ContinueAsNew,
    routes: Mapping[Any, Sequence[Branch[Any]]],
) -> None:
    if not is_exit(node, routes):
        raise DefinitionError(
            f"Workflow “{workflow.name}”: “{node.name}” ends the run, which continues as a new"
            " one, and has a route: remove it."
        )
    if not callable(node.params):
        itself = ChildReference(node.name, workflow.name, workflow, node.params)
        itself.check_params(workflow.name, workflow)


def subworkflow(
    workflow: Child,
    params: Params,
    into: Into,
    *,
    name: str = "",
) -> AnyStep:
    """Return a node that runs another workflow and waits for its result.

    - `workflow`: the Workflow itself, or the name under which it is registered.
    - `params`: a function of the state, or constant params, which are checked at import.
    - `into`: the field for the result, or a function `(state, result)` that returns the state.
    """
    return Subworkflow(workflow, params, into, name=name)


def launch(
    workflow: Child,
    params: Params,
    into: Into | None = None,
    *,
    name: str = "",
) -> AnyStep:
    """Return a node that launches a run of another workflow and does not wait for it.

    - `workflow` and `params`: as for `subworkflow`.
    - `into`: the field for the id of the run, as text, or a function `(state, id)` that returns
      the state; None to ignore it.

    A step launches its run exactly once, however often it is repeated.
    """
    return Launch(workflow, params, into, name=name)


def continue_as_new(params: Params, *, name: str = "") -> AnyStep:
    """Return an exit that completes the run and launches the next one of the same workflow.

    `params` are those of the next run: a function of the state, or constant params.
    """
    return ContinueAsNew(params, name=name)


def _name_of(workflow: Any) -> str:
    """Return the name of a workflow. Raises DefinitionError."""
    name = workflow if isinstance(workflow, str) else getattr(workflow, "name", None)
    is_workflow = isinstance(workflow, str) or hasattr(workflow, "params_type")
    if isinstance(name, str) and name and is_workflow:
        return name
    raise DefinitionError(
        f"{workflow!r} is no workflow that a node can launch: give the Workflow, or the name"
        " under which it is registered."
    )
