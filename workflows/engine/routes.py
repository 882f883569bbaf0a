"""The table of routes of a declared workflow: which node follows which, on what condition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from .errors import DefinitionError
from .nodes import Node
from .predicates import FailurePredicate, FailureTest, Predicate
from .state import State

S = TypeVar("S", bound=State)
Step_co = TypeVar("Step_co", bound=Callable[..., Any], covariant=True)
Tested = TypeVar("Tested", bound=State)
In = TypeVar("In", bound=State)
Out = TypeVar("Out", bound=State)
Key_co = TypeVar("Key_co", covariant=True)
Value_co = TypeVar("Value_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Branch(Generic[Step_co]):
    """One edge in a table of routes.

    `Branch[Callable[[Tested, In], Out]]` has a condition on states of the first type and a target
    that takes and returns those of the others. Written as a callable, the types of several
    branches have a common supertype: a list of them can be assigned to a variable.
    """

    when: Predicate[Any] | Callable[[Any], bool] | None  # None: always
    target: Node[Any, Any]


def when(
    predicate: Predicate[Tested] | Callable[[Tested], bool], target: Node[In, Out]
) -> Branch[Callable[[Tested, In], Out]]:
    """Follow this branch to `target` if its condition is met and no earlier one was."""
    return Branch(predicate, target)


def otherwise(target: Node[In, Out]) -> Branch[Callable[[State, In], Out]]:
    """Follow this branch to `target` if the condition of no earlier branch was met."""
    return Branch(None, target)


def when_failed(
    target: Node[In, Out], on: FailureTest | None = None
) -> Branch[Callable[[State, In], Out]]:
    """Follow this branch to `target` if the node failed, and no earlier `when_failed` matched.

    `on` is a class of errors, or a tuple of them, of which the error or one of its causes has
    to be one; or a function of the `Failure`. The target gets the input of the failed node,
    with `state.failure`. Without a match the run fails.
    """
    return Branch(FailurePredicate(on), target)


class Routes(Protocol[Key_co, Value_co]):
    """A table of routes; the type of Mapping is invariant and would reject `AnyStep` as a key."""

    def items(self) -> Iterable[tuple[Key_co, Value_co]]:
        """Return the rows of the table."""


def is_exit(
    node: Node[Any, Any], routes: Mapping[Node[Any, Any], Sequence[Branch[Any]]]
) -> bool:
    """Return whether a run ends when this node succeeds."""
    branches = routes.get(node, ())
    return all(isinstance(branch.when, FailurePredicate) for branch in branches)


def undo_table(
    workflow: str,
    nodes: Iterable[Node[S, S]],
    declared: Routes[Node[S, S], Node[S, S]] | None,
) -> dict[Node[S, S], Node[S, S]]:
    """Return the undo of each node: that of the table, else that of `@node(undo=…)`."""
    table = dict(declared.items()) if declared is not None else {}
    for node in table:
        if not any(node is known for known in nodes):
            raise DefinitionError(
                f"Workflow “{workflow}”: undo={{…}} names {node!r}, which is not one of its nodes."
            )
    own: dict[Node[S, S], Node[S, S]] = {
        node: undo
        for node in nodes
        if (undo := getattr(node, "undo", None)) is not None
    }
    return {**own, **table}
