"""Branches: named sequences of nodes that run at the same time, between a split and a join."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Never, NoReturn, TypeVar, get_type_hints

from workflows.engine.context import NodeContext
from workflows.engine.errors import DefinitionError
from workflows.engine.frozen import Json
from workflows.engine.nodes import FunctionNode, Kind, Node
from workflows.engine.retries import Retry
from workflows.engine.state import State

from .items import ResultCodec

S = TypeVar("S", bound=State)

MAX_NAME_CHARS = 100  # of a branch; a database column has no room for more
ALLOWED = ("node", "parallel", "chain", "conditional")  # kinds of steps


@dataclass(frozen=True, slots=True, eq=False)
class BranchStep:
    """One node of a branch."""

    branch: str
    node: Node[Any, Any]
    index: int  # among the steps of all branches, from 0
    is_last: bool  # its result is that of the branch


class BranchesNode(Node[Any, Any]):
    """A node whose branches run at the same time, and which ends when enough have finished.

    The number of a step in the run is fixed when the node begins: the steps of the branches come
    first, in the order of the declaration, then the node itself, which joins them.
    """

    kind: ClassVar[Kind] = "branches"

    def __init__(
        self,
        given: Mapping[str, Any],
        into: str,
        *,
        need: int | None,
        name: str,
    ) -> None:
        super().__init__(name)
        self.into = into
        self.branches = _steps_of(given)
        self.need = _checked_need(need, self.branches)
        self.steps = tuple(step for steps in self.branches.values() for step in steps)
        self.steps_before = len(self.steps)
        self.doc = "Run at the same time: " + ", ".join(self.branches) + "."
        _check_once(self.steps)
        self._codecs: dict[str, ResultCodec] = {}

    @property
    def needs_all(self) -> bool:
        """Whether the join waits for every branch."""
        return self.need == len(self.branches)

    async def run(
        self,
        value: Any,  # noqa: ARG002
        runtime: object,  # noqa: ARG002
        context: NodeContext,
    ) -> NoReturn:
        """Raise TypeError: the runner executes the steps, which it records."""
        raise TypeError(
            f"“{context.node}” has branches: only the graph of a workflow can run it."
        )

    def configured(self, retry: Retry | None, timeout: float | None) -> Node[Any, Any]:
        """Return this node. Raises DefinitionError: retries and timeouts are those of steps."""
        if retry is not None or timeout is not None:
            raise DefinitionError(
                f"{self!r} has no retries and no timeout: give them to the nodes of its"
                " branches."
            )
        return self

    def codec(self, branch: str) -> ResultCodec:
        """Return the codec of the result of a branch whose last node returns no state."""
        if branch not in self._codecs:
            self._codecs[branch] = ResultCodec(self.branches[branch][-1].node)
        return self._codecs[branch]

    def joined(self, before: S, results: Mapping[str, tuple[Any, Json]]) -> S:
        """Return the state after the join; `results` has each value, and its JSON.

        Raises StateError if the field does not accept them.
        """
        is_typed = self.into in before.fields()  # an untyped state holds JSON only
        values = {name: two[not is_typed] for name, two in results.items()}
        return before.set(self.into, values)


def returned_type(node: Node[Any, Any]) -> Any:
    """Return the annotated return type of a node's function; Any if it is not known."""
    if not isinstance(node, FunctionNode):
        return State
    try:
        return get_type_hints(inspect.unwrap(node.function)).get("return", Any)
    except (NameError, TypeError):  # a name known to type checkers only
        return Any


def branches(
    steps: Mapping[str, Iterable[Node[S, Any]]],
    into: str,
    *,
    need: int | None = None,
    name: str = "",
) -> Node[S, Never]:
    """Return a node that runs named branches at the same time and joins their results.

    - `steps`: by name of the branch, a node or a list of nodes that run one after another. A
      branch reads the state before the split, with the changes of its own earlier nodes.
    - `into`: the field for `{branch: result}`. The result of a branch is what its last node
      returns; where that is a state, the fields that the branch has changed, by name.
    - `need`: how many branches have to finish, all by default. The others are cancelled then,
      and have no result.

    Every node of a branch is a step of its own, with its retries and its timeout. A finished step
    does not run again when the run is resumed. The node fails as soon as too few branches are
    left that can finish.
    """
    return BranchesNode(steps, into, need=need, name=name)


def _steps_of(given: Any) -> dict[str, tuple[BranchStep, ...]]:
    """Return the steps of each branch. Raises DefinitionError."""
    if not isinstance(given, Mapping) or not given:
        raise DefinitionError(
            f"branches({given!r}) has no branches: give a dict of nodes by name of the branch."
        )
    found: dict[str, tuple[BranchStep, ...]] = {}
    index = 0
    for branch, value in given.items():
        _check_name(branch)
        nodes = list(value) if isinstance(value, list | tuple) else [value]
        if not nodes:
            raise DefinitionError(
                f"Branch “{branch}” is empty: give it a node or a list of nodes."
            )
        for node in nodes:
            _check_step(branch, node)
        last = len(nodes) - 1
        found[branch] = tuple(
            BranchStep(branch, node, index + place, place == last)
            for place, node in enumerate(nodes)
        )
        index += len(nodes)
    return found


def _check_name(branch: Any) -> None:
    is_text = isinstance(branch, str) and branch.isprintable()
    if not (is_text and branch and branch == branch.strip()):
        raise DefinitionError(
            f"A branch cannot be called {branch!r}: use a text without spaces around it."
        )
    if len(branch) > MAX_NAME_CHARS:
        raise DefinitionError(
            f"The name of branch “{branch[:MAX_NAME_CHARS]}…” is too long: use up to"
            f" {MAX_NAME_CHARS} characters."
        )


def _check_step(branch: str, node: object) -> None:
    if not isinstance(node, Node):
        raise DefinitionError(
            f"Branch “{branch}” has {node!r}, which is not a node: put @node above the function."
        )
    if node.kind == "branches":
        raise DefinitionError(
            f"Branch “{branch}” has {node!r}, and branches cannot be nested: list its branches"
            " next to this one, or put it before or after."
        )
    if node.kind not in ALLOWED:
        raise DefinitionError(
            f"Branch “{branch}” has {node!r}, and a branch cannot wait with the run: put the"
            f" {node.kind} before or after the branches."
        )


def _check_once(steps: Sequence[BranchStep]) -> None:
    seen: dict[Node[Any, Any], str] = {}
    for step in steps:
        if step.node in seen:
            where = " and ".join(
                f"“{name}”" for name in dict.fromkeys((seen[step.node], step.branch))
            )
            raise DefinitionError(
                f"{step.node!r} is twice in the branches, in {where}: make a separate node for"
                " each place, with another name."
            )
        seen[step.node] = step.branch


def _checked_need(need: object, branches: Mapping[str, object]) -> int:
    if need is None:
        return len(branches)
    if isinstance(need, bool) or not isinstance(need, int):
        raise DefinitionError(f"need={need!r} is no number of branches: give an int.")
    if not 1 <= need <= len(branches):
        raise DefinitionError(
            f"need={need} of {len(branches)} branches can never hold: give a number from 1 to"
            f" {len(branches)}, or leave it out to need all."
        )
    return need
