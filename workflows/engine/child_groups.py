"""Nodes that run a child workflow for each element of a list, and wait for all or some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

from .child_nodes import Child, ChildNode, Into, checked_into, stored_into
from .context import NodeContext
from .errors import ChildRuns, DefinitionError, Paused, SubworkflowFailed
from .nodes import AnyStep, Kind, accepts_arguments
from .patterns.items import items_of
from .state import State

S = TypeVar("S", bound=State)
Over: TypeAlias = str | Callable[[Any], Iterable[Any]]
ElementParams: TypeAlias = Callable[[Any], Any] | Callable[[Any, Any], Any]
"""A function of the element, or of the state and the element, that returns the params."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of the child runs of a node have which status."""

    total: int
    completed: int = 0
    failed: int = 0  # or cancelled
    active: int = 0  # launched, not ended

    def verdict(
        self, need: int | None, *, fail_fast: bool
    ) -> Literal["", "met", "failed"]:
        """Return whether the node has what it needs, cannot get it any more, or "" to wait."""
        if self.completed >= (self.total if need is None else need):
            return "met"
        if self.failed and fail_fast:
            return "failed"
        if self.completed + self.failed == self.total:
            return "failed"
        return ""


class Subworkflows(ChildNode):
    """A node that runs a child workflow for each element, and waits for the results."""

    kind: ClassVar[Kind] = "subworkflows"

    def __init__(  # noqa: PLR0913 - from `subworkflows` alone
        self,
        workflow: Child,
        over: Over,
        params: ElementParams,
        into: Into,
        *,
        limit: int,
        need: int | None,
        fail_fast: bool,
        name: str,
    ) -> None:
        super().__init__(
            workflow,
            _checked_function(params),
            name=name,
            doc="Run “{}” for each element.",
        )
        self._takes_state = accepts_arguments(params, 2)
        if not isinstance(over, str) and not accepts_arguments(over, 1):
            raise DefinitionError(
                f"The elements of the workflow “{self.workflow}” are {over!r}: give the name of a"
                " field, or a function of the state."
            )
        for what, number in (("limit", limit), ("need", need)):
            is_number = isinstance(number, int) and not isinstance(number, bool)
            if number is not None and (not is_number or number < 1):
                raise DefinitionError(
                    f"The {what} of the workflow “{self.workflow}” is {number!r}: use 1 or more."
                )
        self.over = over
        self.into = checked_into(into, self.workflow)
        self.limit, self.need, self.fail_fast = limit, need, fail_fast

    async def run(self, value: S, runtime: object, context: NodeContext) -> S:  # noqa: ARG002
        """Return the state with the results. Raises Paused before they are there."""
        answer = context.answer
        if answer is None:
            params = [
                await self.checked_params(one, context)
                for one in self._params_of(value, context.node)
            ]
            if params:
                raise Paused(
                    "subworkflow",
                    question=f"waits for {len(params):,} runs of “{self.workflow}”",
                    workflow=self.workflow,
                    children=ChildRuns(params, self.limit, self.need, self.fail_fast),
                )
            return await stored_into(self.into, value, [], context)
        if answer.error or answer.expired:
            why = answer.error or "they did not end in time"
            raise SubworkflowFailed(f"The runs of “{self.workflow}” failed: {why}")
        return await stored_into(self.into, value, answer.value, context)

    def _params_of(self, state: Any, node: str) -> Sequence[Any]:
        """Return the params of the runs, not validated. Raises SubworkflowFailed."""
        elements = items_of(state, self.over, node)
        if self.need is not None and self.need > len(elements):
            raise SubworkflowFailed(
                f"The workflow “{self.workflow}” has to complete {self.need} times, and there are"
                f" {len(elements)} elements."
            )
        given = (state,) if self._takes_state else ()
        return [self.params(*given, element) for element in elements]


def _checked_function(params: Any) -> Any:
    if callable(params) and any(accepts_arguments(params, count) for count in (1, 2)):
        return params
    raise DefinitionError(
        f"The params of the runs are {params!r}: give a function of the element, or of the state"
        " and the element, that returns them."
    )


def failure_text(counts: Counts, need: int | None, first_error: str) -> str:
    """Return why a group of child runs failed."""
    needed = "" if need is None else f", and {need:,} had to complete"
    return (
        f"{counts.failed:,} of {counts.total:,} did not complete{needed}. The first:"
        f" {first_error}"
    )


def subworkflows(  # noqa: PLR0913 - options, all by name
    workflow: Child,
    *,
    over: Over,
    params: ElementParams,
    into: Into,
    limit: int = 5,
    need: int | None = None,
    fail_fast: bool = False,
    name: str = "",
) -> AnyStep:
    """Return a node that runs another workflow for each element, and waits for the results.

    - `workflow`: the Workflow itself, or the name under which it is registered.
    - `over`: the field with the elements, or a function of the state that returns them.
    - `params`: a function of the element, or of the state and the element.
    - `into`: the field for the list of results in the order of the elements, or a function
      `(state, results)` that returns the state.
    - `limit`: so many runs at once.
    - `need`: the node is done when so many have completed: the others are cancelled, and their
      results are None. By default all have to complete.
    - `fail_fast`: the first run that fails cancels the others and fails the node.
    """
    return Subworkflows(
        workflow,
        over,
        params,
        into,
        limit=limit,
        need=need,
        fail_fast=fail_fast,
        name=name,
    )
