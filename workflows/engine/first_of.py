"""The deferred choice: a node that waits for whichever comes first of several waits.

Each part is a waiting node of its own, and only one of them ends: the others are withdrawn in the
transaction that records which one came first. The name of that part is put into a field of the
state, so that the routes can depend on it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final, TypeVar

from .context import Answer, NodeContext, set_current_context
from .errors import DefinitionError, Paused
from .event_nodes import CallbackNode, EventNode
from .events import EventType
from .nodes import Kind, Node, WaitingNode, name_by_variables
from .pause_nodes import Approval, Wait
from .predicates import Predicate, all_of, any_of
from .predicates.core import ResultParts
from .retries import Retry, run_with_retries
from .state import State

S = TypeVar("S", bound=State)

PARTS: Final = (Approval, CallbackNode, EventNode, Wait)
MAX_PARTS: Final = 100
MIN_PARTS: Final = 2
TIMER: Final = "timer"  # the name of a wait that has no other one
FIRST_EDGE: Final = 1_000
"""The index of the edge from the first part: decisions on the edges that leave the node have the
same step, and numbers from 0."""


class FirstOf(WaitingNode):
    """A node that waits until one of its parts ends, and puts the name of it into the state."""

    kind: ClassVar[Kind] = "first_of"

    def __init__(self, parts: Sequence[WaitingNode], into: str, *, name: str) -> None:
        """Raises DefinitionError unless the parts are different waiting nodes with names."""
        super().__init__(name, doc="Wait for whichever of these comes first.")
        _check_parts(parts)
        self.parts = tuple(parts)
        self.into = into
        self._predicates: dict[str, CameFirst] = {}

    def was(self, part: WaitingNode) -> CameFirst:
        """Return the condition that this part came first. Raises DefinitionError for another node.

        It is the same object each time, so that a route that has it twice is found.
        """
        if not any(part is one for one in self.parts):
            known = ", ".join(f"“{one.name}”" for one in self.parts)
            raise DefinitionError(
                f"{part!r} can never come first: it is not one of {known}.",
                code="check.first_of",
            )
        made = CameFirst(self.into, part.name)
        return self._predicates.setdefault(part.name, made)

    def configured(self, retry: Retry | None, timeout: float | None) -> FirstOf:
        """Return this node. Raises DefinitionError: retries and timeouts are those of parts."""
        if retry is not None or timeout is not None:
            raise DefinitionError(
                f"{self!r} has no retries and no timeout: give them to its parts."
            )
        return self

    async def run(self, value: Any, runtime: object, context: NodeContext) -> Any:
        """Return the state with the answer of the part that came first. Raises Paused before."""
        answer = context.answer
        part = self._part(answer.choice) if answer is not None else None
        if part is None or answer is None:
            raise await self._pause(value, runtime, context)
        try:
            after = await part.run(value, runtime, replace(context, node=part.name))
        except Paused:  # its votes are missing, as after a change of the workflow
            raise await self._pause(value, runtime, context) from None
        except Exception:
            self._emit_decisions(part, answer, context)
            raise
        self._emit_decisions(part, answer, context)
        return after.set(self.into, part.name)

    def _part(self, name: str) -> WaitingNode | None:
        return next((one for one in self.parts if one.name == name), None)

    async def _pause(self, value: Any, runtime: object, context: NodeContext) -> Paused:
        """Return all that the run waits for; callbacks are given away before.

        A wait whose time has passed is one of them, so that only one place decides what was first.
        """
        pauses = [
            await self._pause_of(part, position, value, runtime, context)
            for position, part in enumerate(self.parts)
        ]
        set_current_context(context)
        ends = [pause.until for pause in pauses if pause.until is not None]
        names = ", ".join(f"“{part.name}”" for part in self.parts)
        return Paused(
            "first_of",
            question=f"waits for the first of {names}",
            until=min(ends, default=None),
            parts=pauses,
        )

    @staticmethod
    async def _pause_of(
        part: WaitingNode,
        position: int,
        value: Any,
        runtime: object,
        context: NodeContext,
    ) -> Paused:
        # an item: the tries of several parts have separate numbers, and their nodes keys
        inner = context.for_item(position, context.cancellation)
        inner = replace(inner, node=part.name, position=position)
        try:
            if isinstance(part, Wait):
                raise part.pause(value, inner)
            await run_with_retries(part, value, runtime, inner)
        except Paused as pause:
            if pause.again:
                raise
            pause.node, pause.sequence = part.name, context.sequence
            return pause
        raise RuntimeError(f"“{part.name}” ended without waiting")

    def _emit_decisions(
        self, first: WaitingNode, answer: Answer, context: NodeContext
    ) -> None:
        """Record which part came first, and that the others were withdrawn."""
        if context.emit is None:
            return
        for position, part in enumerate(self.parts):
            is_first = part is first
            edge = {
                "from": part.name,
                "to": context.node,
                "edge_index": FIRST_EDGE + position,
                "sequence": context.sequence,
            }
            verdict = {"predicate_name": "came first", "predicate_result": is_first}
            reason = (
                _reason(first, answer)
                if is_first
                else f"“{part.name}” was withdrawn: “{first.name}” came first"
            )
            evaluated = {"has_predicate": True, "reason": reason, "values": {}}
            context.emit(EventType.EDGE_EVALUATE, {**edge, **evaluated, **verdict})
            if is_first:
                context.emit(EventType.EDGE_TRANSITION, {**edge, **verdict})


class CameFirst(Predicate[State]):
    """True if a part came first."""

    def __init__(self, into: str, part: str) -> None:
        """`into` is the field with the name of the part that came first."""
        super().__init__(f"{part} came first")
        self.into = into
        self.part = part

    def __call__(self, state: State) -> bool:
        """Return whether the field has the name of the part."""
        return bool(self._first(state) == self.part)

    def __and__(self, other: Predicate[S]) -> Predicate[S]:
        """Both, for the state of the other."""
        return all_of(self, other)

    def __or__(self, other: Predicate[S]) -> Predicate[S]:
        """One of both, or both, for the state of the other."""
        return any_of(self, other)

    def _first(self, state: State) -> Any:
        return state.data[self.into] if self.into in state else None

    def _result(self, state: Any) -> ResultParts:
        first = self._first(state)
        if not isinstance(first, str) or not first:
            return False, "nothing came first yet", ()
        is_first = first == self.part
        reason = f"“{first}” came first" + ("" if is_first else f", not “{self.part}”")
        return is_first, reason, ()


def _reason(part: WaitingNode, answer: Answer) -> str:
    if answer.expired:
        return f"“{part.name}” came first: it expired"
    if isinstance(part, Wait):
        return f"“{part.name}” came first: its time had come"
    by = f", from {answer.by}" if answer.by else ""
    return f"“{part.name}” came first{by}"


def with_parts(nodes: Iterable[Node[Any, Any]]) -> Iterator[Node[Any, Any]]:
    """Yield nodes, those of `first_of` followed by their parts."""
    for node in nodes:
        yield node
        if isinstance(node, FirstOf):
            yield from node.parts


def approval_of(node: Node[Any, Any]) -> Approval | None:
    """Return the approval that a node is, or that is one of its parts."""
    found = (one for one in with_parts([node]) if isinstance(one, Approval))
    return next(found, None)


def _check_parts(parts: Sequence[Any]) -> None:
    """Raise DefinitionError unless they can be waited for together."""
    if not MIN_PARTS <= len(parts) <= MAX_PARTS:
        raise DefinitionError(
            f"first_of waits for {MIN_PARTS} to {MAX_PARTS} nodes, and {len(parts)}"
            f" {'was' if len(parts) == 1 else 'were'} given.",
            code="check.first_of",
        )
    seen: set[str] = set()
    for part in parts:
        _check_part(part)
        if part.name in seen:
            raise DefinitionError(
                f"first_of has two nodes called “{part.name}”: give one another name.",
                code="check.first_of",
            )
        seen.add(part.name)
    approvals = [part for part in parts if isinstance(part, Approval)]
    if len(approvals) > 1:
        names = " and ".join(f"“{one.name}”" for one in approvals[:2])
        raise DefinitionError(
            f"first_of has the approvals {names}, and a run requests one at a time: make one"
            " of them, with the groups= of both.",
            code="check.first_of",
        )


def _check_part(part: Any) -> None:
    if not isinstance(part, PARTS):
        raise DefinitionError(
            f"first_of cannot wait for {part!r}: give it events, callbacks, an approval, waits"
            " or sleeps.",
            code="check.first_of",
        )
    if not part.name:
        raise DefinitionError(
            f"first_of has a {part.kind} node without a name: assign it to a variable before,"
            " or give it name=….",
            code="check.first_of",
        )


def first_of(*parts: WaitingNode, into: str, name: str = "") -> FirstOf:
    """Return a node that waits for whichever of several waiting nodes comes first.

    - `parts`: events, callbacks, one approval, waits and sleeps. They are no steps of their own:
      what comes first stores its answer in its own field, and the others are withdrawn. One that
      expires comes first as well; without `on_expiry` the node fails then.
    - `into`: the field for the name of the part that came first, a text.

    `result.was(part)` is the condition for a route that one part came first.
    """
    caller = sys._getframe(1)  # noqa: SLF001 - where the variables of the parts are
    given: tuple[Any, ...] = parts  # whatever an author has given
    name_by_variables((one for one in given if isinstance(one, WaitingNode)), caller)
    for part in parts:
        if isinstance(part, Wait) and not part.name:
            part.name = TIMER
    return FirstOf(parts, into, name=name)
