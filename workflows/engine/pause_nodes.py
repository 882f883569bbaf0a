"""Nodes that pause the run: for a person or for a time. Those for another workflow: child_nodes.

A paused run occupies no worker: it is a checkpoint and a question. `Graph.resume(enter=node,
answer=…)` runs the node again, with the answer in its context.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from string import Formatter
from typing import Any, ClassVar, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from .adapters import codec, schema
from .context import Answer, NodeContext
from .errors import (
    AnswerInvalid,
    ApprovalExpired,
    DefinitionError,
    NotSerialisable,
    Paused,
    describe,
)
from .frozen import Json, freeze
from .nodes import AnyStep, Kind, Node
from .state import State
from .storable import check_storable

S = TypeVar("S", bound=State)
Until: TypeAlias = datetime | timedelta | Callable[[Any], datetime | timedelta]


class Approval(Node[Any, Any]):
    """A node that waits for the response of a person and puts it into the state."""

    kind: ClassVar[Kind] = "approval"

    def __init__(  # noqa: PLR0913 - from `approval` alone
        self,
        question: str,
        answer: type[BaseModel],
        into: str,
        *,
        within: timedelta | None,
        groups: Sequence[str],
        on_expiry: BaseModel | Mapping[str, Any] | None,
        show: Callable[[Any], Mapping[str, Any]] | None,
        name: str,
    ) -> None:
        super().__init__(name, doc=question)
        _check_question_template(question)
        self.question = question
        self.answer_type = answer
        self.into = into
        self.within = within
        self.groups = tuple(groups)
        self.show = show
        check_storable(answer, f"The answer to {question!r}")
        self.form: dict[str, Any] = dict(schema(answer))
        self.on_expiry, self._expiry_json = _checked_expiry(answer, on_expiry, question)

    async def run(self, value: S, runtime: object, context: NodeContext) -> S:  # noqa: ARG002
        """Return the state with the answer. Raises Paused without an answer."""
        if context.answer is None:
            raise self._pause(value, context)
        given = self._read(context.answer, context.node)
        if self.into in value.fields():
            return value.set(self.into, given)
        # an untyped state holds JSON only
        return value.set(self.into, codec(self.answer_type).encode(given)[0])

    def check(self, value: Json, node: str = "") -> BaseModel:
        """Return a person's answer in its type. Raises AnswerInvalid."""
        try:
            answer: BaseModel = codec(self.answer_type).read(value)
        except ValidationError as error:
            raise AnswerInvalid(node or self.name, error) from error
        return answer

    def _read(self, answer: Answer, node: str) -> BaseModel:
        if not answer.expired:
            return self.check(answer.value, node)
        if self.on_expiry is None:
            raise ApprovalExpired(node, self.within)
        return self.on_expiry

    def _pause(self, state: S, context: NodeContext) -> Paused:
        until = None if self.within is None else context.clock.now() + self.within
        return Paused(
            "approval",
            question=self.question.format(s=state),
            form=self.form,
            until=until,
            on_expiry=self._expiry_json,
            groups=self.groups,
            show=_json(self.show(state)) if self.show else {},
        )


class Wait(Node[Any, Any]):
    """A node that waits until a time."""

    kind: ClassVar[Kind] = "wait"

    def __init__(self, until: Until, *, name: str) -> None:
        super().__init__(
            name, doc=inspect.getdoc(until) or "" if callable(until) else ""
        )
        self.until = until

    async def run(self, value: S, runtime: object, context: NodeContext) -> S:  # noqa: ARG002
        """Return the state after that time, or with an answer. Raises Paused before."""
        until = self._wait_end(value, context)
        if context.answer is None and context.clock.now() < until:
            raise Paused(
                "wait",
                question=f"waits until {until:%Y-%m-%d %H:%M:%S %Z}",
                until=until,
            )
        return value

    def _wait_end(self, state: State, context: NodeContext) -> datetime:
        """Return the end of the wait; a timedelta counts from the step before, so it is stable."""
        until = self.until(state) if callable(self.until) else self.until
        if isinstance(until, timedelta):
            return (state.timestamp or context.clock.now()) + until
        if until.tzinfo is None:
            raise ValueError(
                f"“{context.node}” waits until {until}, which has no time zone: give it one."
            )
        return until


def _checked_expiry(
    answer: type[BaseModel], on_expiry: Any, question: str
) -> tuple[BaseModel | None, Json]:
    """Return the answer on expiry, in its type and as JSON. Raises DefinitionError."""
    if on_expiry is None:
        return None, None
    try:
        encoded, value = codec(answer).encode(on_expiry)
    except (ValidationError, NotSerialisable) as error:
        raise DefinitionError(
            f"on_expiry of {question!r} is no answer to it: {describe(error)}"
        ) from error
    return value, encoded


def _check_question_template(question: str) -> None:
    """Raise DefinitionError for a question with placeholders other than the state `s`."""
    try:
        places = [part[1] for part in Formatter().parse(question)]
    except ValueError as error:
        raise DefinitionError(
            f"The question {question!r} is not well formed: {error}."
        ) from error
    for place in places:
        if place is not None and place.partition(".")[0].partition("[")[0] != "s":
            raise DefinitionError(
                f"The question {question!r} has “{{{place}}}”; it knows the state only,"
                " as “{s.…}”."
            )


def approval(  # noqa: PLR0913 - all but the first three are options
    question: str,
    answer: type[BaseModel],
    into: str,
    *,
    within: timedelta | None = None,
    on_expiry: BaseModel | Mapping[str, Any] | None = None,
    groups: Sequence[str] = (),
    show: Callable[[Any], Mapping[str, Any]] | None = None,
    name: str = "",
) -> AnyStep:
    """Return a node that shows `question` to a person and stores the answer in field `into`.

    - `question`: a template of the state, as in "Is “{s.label}” right?".
    - `answer`: the pydantic model of the answer, from which the form is generated.
    - `within`: how long to wait; then `on_expiry` is the answer, or the run fails without one.
    - `groups`: whose members may answer; if empty, all who may approve runs of the workflow.
    - `show`: a function of the state that returns JSON to show to the person.
    """
    return Approval(
        question,
        answer,
        into,
        within=within,
        groups=groups,
        on_expiry=on_expiry,
        show=show,
        name=name,
    )


def wait(until: Until, *, name: str = "") -> AnyStep:
    """Return a node that waits until a time, or for a time after the step before it.

    `until` is an aware datetime, a timedelta, or a function of the state that returns one.
    """
    return Wait(until, name=name)


def sleep(time: timedelta, *, name: str = "") -> AnyStep:
    """Return a node that waits for that time after the step before it."""
    return Wait(time, name=name)


def _json(values: Mapping[str, Any]) -> Json:
    """Return values as JSON; they may contain anything that pydantic can serialise."""
    return freeze(to_jsonable_python(dict(values)))
