"""Nodes that launch runs of other workflows.

Subworkflow   runs a workflow and waits for its result
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

from pydantic import BaseModel

from .context import NodeContext
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
        self._check_params_type()

    @property
    def reference(self) -> ChildReference:
        """The workflow that it launches."""
        constant = None if callable(self.params) else self.params
        return ChildReference(self.name, self.workflow, self.child, constant)

    def _check_params_type(self) -> None:
        if callable(self.params):
            if accepts_arguments(self.params, 1):
                return
            problem = "a function of something else than the state"
        elif isinstance(self.params, Mapping | BaseModel):
            return
        else:
            problem = repr(self.params)
        raise DefinitionError(
            f"The params of the workflow “{self.workflow}” are {problem}: give a function"
            " of the state that returns them, or the params themselves."
        )

    def params_for(self, state: Any) -> Any:
        """Return the params of the child, not validated."""
        return self.params(state) if callable(self.params) else self.params

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
        self.into = checked_into(into, self.workflow)

    async def run(self, value: S, runtime: object, context: NodeContext) -> S:  # noqa: ARG002
        """Return the state with the child's result. Raises Paused without a result."""
        answer = context.answer
        if answer is None:
            raise Paused(
                "subworkflow",
                question=f"waits for the workflow “{self.workflow}”",
                workflow=self.workflow,
                params=await self.checked_params(self.params_for(value), context),
            )
        if answer.error or answer.expired:
            why = answer.error or "it did not end in time"
            raise SubworkflowFailed(
                f"The workflow “{self.workflow}” did not complete: {why}"
            )
        return await stored_into(self.into, value, answer.value, context)


async def stored_into(into: Into, state: S, value: Any, context: NodeContext) -> S:
    """Return the state with a value in a field, or as a function of both returns it."""
    if callable(into):
        after: S = await call_function(into, context, state, value)
        return after
    return state.set(into, value)


def checked_into(into: Into, workflow: str) -> Into:
    """Return it. Raises DefinitionError if it is neither a field nor a function of two values."""
    if isinstance(into, str) or accepts_arguments(into, 2):
        return into
    raise DefinitionError(
        f"The result of the workflow “{workflow}” cannot be stored by {into!r}: give the name of"
        " a field, or a function (state, result) that returns the state."
    )


def references(workflow: str, nodes: Iterable[Any]) -> tuple[ChildReference, ...]:
    """Return the workflows that nodes launch.

    Raises DefinitionError if the params of one that is known here are constant and invalid.
    """
    found = tuple(node.reference for node in nodes if isinstance(node, ChildNode))
    for reference in found:
        if reference.workflow is not None:
            reference.check_params(workflow, reference.workflow)
    return found


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
