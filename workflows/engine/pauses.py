"""Nodes that pause the run: for a person, for a time, for another workflow.

A paused run holds nothing: it is a checkpoint and a question. `Graph.resume(enter=node, answer=…)`
runs the node again, which then finds its answer.
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
    RequestError,
    SubworkflowFailed,
    describe,
)
from .frozen import Json, freeze
from .nodes import AnyStep, Kind, Node, call_function
from .round_trip import plain
from .state import State
from .storable import check_storable

S = TypeVar("S", bound=State)
Into: TypeAlias = str | Callable[[Any, Any], Any]
Until: TypeAlias = datetime | timedelta | Callable[[Any], datetime | timedelta]


class Approval(Node[Any, Any]):
    """A node that asks a person and puts the answer into the state."""

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
        """Without an answer: Paused. With one: the state that holds it."""
        if context.answer is None:
            raise self._pause(value, context)
        given = self._read(context.answer, context.node)
        if self.into in value.fields():
            return value.set(self.into, given)
        # an open bag holds no models
        return value.set(self.into, codec(self.answer_type).encode(given)[0])

    def check(self, value: Json, node: str = "") -> BaseModel:
        """A person's answer, in its type. Raises AnswerInvalid, which tells what is wrong."""
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
    """A node that lets time pass."""

    kind: ClassVar[Kind] = "wait"

    def __init__(self, until: Until, *, name: str) -> None:
        super().__init__(
            name, doc=inspect.getdoc(until) or "" if callable(until) else ""
        )
        self.until = until

    async def run(self, value: S, runtime: object, context: NodeContext) -> S:  # noqa: ARG002
        """The state as it is, once the time has come or an answer was given; else Paused."""
        until = self._wait_end(value, context)
        if context.answer is None and context.clock.now() < until:
            raise Paused(
                "wait",
                question=f"waits until {until:%Y-%m-%d %H:%M:%S %Z}",
                until=until,
            )
        return value

    def _wait_end(self, state: State, context: NodeContext) -> datetime:
        """When to go on, the same however often it is asked: counted from the step before."""
        until = self.until(state) if callable(self.until) else self.until
        if isinstance(until, timedelta):
            return (state.timestamp or context.clock.now()) + until
        if until.tzinfo is None:
            raise ValueError(
                f"“{context.node}” waits until {until}, which has no time zone: give it one."
            )
        return until


class Subworkflow(Node[Any, Any]):
    """A node that runs another workflow and waits for its result."""

    kind: ClassVar[Kind] = "subworkflow"

    def __init__(
        self,
        workflow: str,
        params: Callable[[Any], Mapping[str, Any]],
        into: Into,
        *,
        name: str,
    ) -> None:
        super().__init__(name, doc=f"Run the workflow “{workflow}”.")
        self.workflow = workflow
        self.params = params
        self.into = into

    async def run(self, value: S, runtime: object, context: NodeContext) -> S:  # noqa: ARG002
        """Without the child's result: Paused. With it: the state that holds it."""
        answer = context.answer
        if answer is None:
            raise Paused(
                "subworkflow",
                question=f"waits for the workflow “{self.workflow}”",
                workflow=self.workflow,
                params=await self._checked_params(self.params(value), context),
            )
        if answer.error or answer.expired:
            why = answer.error or "it did not end in time"
            raise SubworkflowFailed(
                f"The workflow “{self.workflow}” did not complete: {why}"
            )
        if callable(self.into):
            state: S = await call_function(self.into, context, value, answer.value)
            return state
        return value.set(self.into, answer.value)

    async def _checked_params(self, params: Any, context: NodeContext) -> Json:
        """The child's params as they will be stored. Raises SubworkflowFailed."""
        try:
            given = plain(params)
            if context.check_child is None:
                return given
            return freeze(await context.check_child(context, self.workflow, given))
        except (RequestError, NotSerialisable) as error:
            raise SubworkflowFailed(
                f"The workflow “{self.workflow}” was not started: {error}"
            ) from error


def _checked_expiry(
    answer: type[BaseModel], on_expiry: Any, question: str
) -> tuple[BaseModel | None, Json]:
    """The answer when time is up, in its type and as JSON. Raises DefinitionError."""
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
    """Raises DefinitionError for a question whose places no state could fill."""
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
    """A node that asks a person `question` and stores the answer in the field `into`.

    - `question`: a template of the state, as in "Is “{s.label}” right?".
    - `answer`: the pydantic model of the answer; it becomes the form.
    - `within`: how long to wait; then `on_expiry` is the answer, or the run fails without one.
    - `groups`: whose members may answer; all who may approve the workflow's runs, if empty.
    - `show`: a function of the state that gives JSON of what the person should look at.
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
    """A node that goes on at a time, or that long after the step before it.

    `until` is an aware datetime, a timedelta, or a function of the state that returns one.
    """
    return Wait(until, name=name)


def sleep(time: timedelta, *, name: str = "") -> AnyStep:
    """A node that goes on that long after the step before it."""
    return Wait(time, name=name)


def subworkflow(
    workflow: str,
    params: Callable[[Any], Mapping[str, Any]],
    into: Into,
    *,
    name: str = "",
) -> AnyStep:
    """A node that runs the workflow of that name with `params(state)`, and waits for its result.

    `into` is the field that gets the result, or a function `(state, result)` that gives the state.
    """
    return Subworkflow(workflow, params, into, name=name)


def _json(values: Mapping[str, Any]) -> Json:
    """Values as JSON, with whatever pydantic can write in them."""
    return freeze(to_jsonable_python(dict(values)))
