"""Nodes that pause the run: for a person or for a time. Those for another workflow: child_nodes.

A paused run occupies no worker: it is a checkpoint and a question. `Graph.resume(enter=node,
answer=…)` runs the node again, with the answer in its context.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from string import Formatter
from typing import Any, ClassVar, Final, Literal, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from .adapters import codec, schema
from .answers import checked_expiry, read_answer, with_answer
from .author_code import call_contained
from .clock import time_after
from .context import Answer, NodeContext
from .errors import (
    ApprovalExpired,
    ApprovalNotRequested,
    DefinitionError,
    NotSerialisable,
    Paused,
    class_name,
    describe,
)
from .escalation import checked_escalation
from .frozen import Json, freeze
from .nodes import Kind, WaitingNode, is_async
from .round_trip import abbreviate, error_text
from .state import State
from .storable import check_storable
from .votes import Vote, checked_veto, is_veto, votes_of

A = TypeVar("A", bound=BaseModel)
Until: TypeAlias = datetime | timedelta | Callable[[Any], datetime | timedelta]
Within: TypeAlias = timedelta | Callable[[Any], timedelta]
NotBy: TypeAlias = Literal["launcher", "previous"]
NOT_BY: Final = get_args(NotBy)
MAX_VOTES: Final = 1_000


class Approval(WaitingNode):
    """A node that waits for the response of a person and puts it into the state."""

    kind: ClassVar[Kind] = "approval"

    def __init__(  # noqa: PLR0913 - from `approval` alone
        self,
        question: str,
        answer: type[BaseModel],
        into: str,
        *,
        within: Within | None,
        groups: Sequence[str],
        on_expiry: BaseModel | Mapping[str, Any] | None,
        show: Callable[[Any], Mapping[str, Any]] | None,
        initial: Callable[[Any], BaseModel | Mapping[str, Any] | None] | None,
        not_by: NotBy | None,
        votes: int,
        veto: Mapping[str, Any] | None,
        escalate_after: timedelta | None,
        escalate_to: str | None,
        name: str,
    ) -> None:
        super().__init__(name, doc=question)
        check_question_template(question)
        _check_options(
            name or question, within=within, initial=initial, not_by=not_by, votes=votes
        )
        self.question = question
        self.answer_type = answer
        self.into = into
        self.within = within
        self.groups = tuple(groups)
        self.show = show
        self.initial = initial
        self.not_by: str = not_by or ""
        self.votes = votes
        where = f"The approval “{name or question}” has"
        self.veto = checked_veto(answer, veto, votes=votes, where=where)
        self.escalation = checked_escalation(
            escalate_after, escalate_to, within=within, where=where
        )
        check_storable(answer, f"The answer to {question!r}")
        self.form: dict[str, Any] = dict(schema(answer))
        self.on_expiry, self._expiry_json = checked_expiry(
            answer, on_expiry, repr(question)
        )

    @property
    def is_personal(self) -> bool:
        """Whether it depends on the person, not only on permissions, who may respond."""
        return bool(self.not_by) or self.votes > 1

    async def run(self, value: Any, runtime: object, context: NodeContext) -> Any:  # noqa: ARG002
        """Return the state with the answer. Raises Paused without enough responses."""
        if context.answer is None or self._is_short(context.answer):
            raise self._pause(value, context)
        given = self._read(context.answer, context.node)
        kind = self.answer_type if self.votes == 1 else votes_of(self.answer_type)
        return with_answer(value, self.into, given, kind)

    def check(self, value: Json, node: str = "") -> BaseModel:
        """Return a person's answer in its type. Raises AnswerInvalid."""
        return read_answer(self.answer_type, value, node or self.name)

    def _is_short(self, answer: Answer) -> bool:
        """Return whether votes are missing, as after a change of the workflow."""
        if self.votes == 1 or answer.expired or len(answer.votes) >= self.votes:
            return False
        return not any(is_veto(self.veto, vote.value) for vote in answer.votes)

    def _read(
        self, answer: Answer, node: str
    ) -> BaseModel | tuple[Vote[BaseModel], ...]:
        if answer.expired and self.on_expiry is None:
            within = self.within if isinstance(self.within, timedelta) else None
            raise ApprovalExpired(node, within, len(answer.votes))
        if self.votes == 1:
            if answer.expired and self.on_expiry is not None:
                return self.on_expiry
            return self.check(answer.value, node)
        votes = [self._vote(one, node) for one in answer.votes]
        if answer.expired:
            votes.append(self._vote(Answer(self._expiry_json), node))
        return tuple(votes)

    def _vote(self, answer: Answer, node: str) -> Vote[BaseModel]:
        given = self.check(answer.value, node)
        kind = Vote[self.answer_type]  # type: ignore[name-defined]  # at run time
        return kind(value=given, by=answer.by, at=answer.at, comment=answer.comment)

    def _pause(self, state: State, context: NodeContext) -> Paused:
        until = self._expiry_time(state, context)
        return Paused(
            "approval",
            question=self.question.format(s=state),
            form=self.form,
            until=until,
            on_expiry=self._expiry_json,
            groups=self.groups,
            show=_json(self.show(state)) if self.show else {},
            initial=self._initial_json(state, context.node),
            not_by=self.not_by,
            votes=self.votes,
            veto=self.veto,
            escalation=self._escalation_at(until, context),
        )

    def _escalation_at(
        self, until: datetime | None, context: NodeContext
    ) -> tuple[datetime, str] | None:
        """Return when the approval goes to which group; None if it expires before.

        Raises ApprovalNotRequested.
        """
        if self.escalation is None:
            return None
        try:
            found = time_after(context.clock.now(), self.escalation.after)
        except ValueError as error:
            raise ApprovalNotRequested(
                context.node, f"escalate_after= of {error}"
            ) from error
        is_before = until is None or found < until
        return (found, self.escalation.to) if is_before else None

    def _expiry_time(self, state: State, context: NodeContext) -> datetime | None:
        """Return when the approval expires. Raises ApprovalNotRequested."""
        within: Any = self.within
        if callable(within):
            within = _called(within, state, context.node, "within")
            if not isinstance(within, timedelta):
                raise ApprovalNotRequested(
                    context.node,
                    f"the function of within= returned {class_name(within)}, which is no"
                    " timedelta",
                )
        if within is None:
            return None
        try:
            return time_after(context.clock.now(), within)
        except ValueError as error:
            raise ApprovalNotRequested(context.node, f"within= of {error}") from error

    def _initial_json(self, state: State, node: str) -> Json:
        """Return the response with which the form begins. Raises ApprovalNotRequested."""
        if self.initial is None:
            return None
        given = _called(self.initial, state, node, "initial")
        if given is None:
            return None
        try:
            encoded, _ = call_contained(partial(codec(self.answer_type).encode, given))
        except Exception as error:  # an author's validators may raise anything
            why = (
                describe(error)
                if isinstance(error, ValidationError | NotSerialisable)
                else error_text(error)
            )
            raise ApprovalNotRequested(
                node,
                f"the function of initial= returned {class_name(given)}, which is no"
                f" {self.answer_type.__name__}: {why}",
            ) from error
        return encoded


class Wait(WaitingNode):
    """A node that waits until a time."""

    kind: ClassVar[Kind] = "wait"

    def __init__(self, until: Until, *, name: str) -> None:
        super().__init__(
            name, doc=inspect.getdoc(until) or "" if callable(until) else ""
        )
        self.until = until

    async def run(self, value: Any, runtime: object, context: NodeContext) -> Any:  # noqa: ARG002
        """Return the state after that time, or with an answer. Raises Paused before."""
        pause = self.pause(value, context)
        if context.answer is None and pause.until and context.clock.now() < pause.until:
            raise pause
        return value

    def pause(self, value: State, context: NodeContext) -> Paused:
        """Return the wait, also if its time has passed."""
        until = self._wait_end(value, context)
        question = f"waits until {until:%Y-%m-%d %H:%M:%S %Z}"
        return Paused("wait", question=question, until=until)

    def _wait_end(self, state: State, context: NodeContext) -> datetime:
        """Return the end of the wait: stable, as a timedelta counts from the step before."""
        until = self.until(state) if callable(self.until) else self.until
        if isinstance(until, timedelta):
            try:
                return time_after(state.timestamp or context.clock.now(), until)
            except ValueError as error:
                raise ValueError(
                    f"“{context.node}” waits too long: {error}."
                ) from error
        if until.tzinfo is None:
            raise ValueError(
                f"“{context.node}” waits until {until}, which has no time zone: give it one."
            )
        return until


def _called(
    function: Callable[[Any], Any], state: State, node: str, option: str
) -> Any:
    """Return what an author's function returns. Raises ApprovalNotRequested."""
    try:
        return call_contained(partial(function, state))
    except Exception as error:
        raise ApprovalNotRequested(
            node, f"the function of {option}= failed: {error_text(error)}"
        ) from error


def _check_options(
    name: str, *, within: object, initial: object, not_by: object, votes: object
) -> None:
    """Raise DefinitionError for a wrong option of an approval."""
    where = f"The approval “{name}” has"
    if not (within is None or isinstance(within, timedelta) or callable(within)):
        raise DefinitionError(
            f"{where} within={abbreviate(within)}: give a timedelta, or a function of the state"
            " that returns one."
        )
    if not (initial is None or callable(initial)):
        raise DefinitionError(
            f"{where} initial={abbreviate(initial)}: give a function of the state that returns"
            " a response."
        )
    for option, function in (("within", within), ("initial", initial)):
        if callable(function) and is_async(function):
            raise DefinitionError(
                f"{where} an async function as {option}=: make it a plain `def`, and do what"
                " has to be awaited in a node before."
            )
    if not_by is not None and not_by not in NOT_BY:
        raise DefinitionError(
            f"{where} not_by={abbreviate(not_by)}: use {' or '.join(map(repr, NOT_BY))}."
        )
    if type(votes) is not int or not 1 <= votes <= MAX_VOTES:
        raise DefinitionError(
            f"{where} votes={abbreviate(votes)}: use the number of persons who have to respond,"
            f" from 1 to {MAX_VOTES:,}."
        )


def check_question_template(question: str) -> None:
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
    answer: type[A],
    into: str,
    *,
    within: Within | None = None,
    on_expiry: A | Mapping[str, Any] | None = None,
    groups: Sequence[str] = (),
    show: Callable[[Any], Mapping[str, Any]] | None = None,
    initial: Callable[[Any], A | Mapping[str, Any] | None] | None = None,
    not_by: NotBy | None = None,
    votes: int = 1,
    veto: Mapping[str, Any] | None = None,
    escalate_after: timedelta | None = None,
    escalate_to: str | None = None,
    name: str = "",
) -> WaitingNode:
    """Return a node that shows `question` to a person and stores the answer in field `into`.

    - `question`: a template of the state, as in "Is “{s.label}” right?".
    - `answer`: the pydantic model of the answer, from which the form is generated.
    - `within`: how long to wait, or a function of the state that returns it; then `on_expiry` is
      the answer, or the run fails without one.
    - `groups`: whose members may answer; if empty, all who may approve runs of the workflow.
    - `show`: a function of the state that returns JSON to show to the person.
    - `initial`: a function of the state that returns the answer with which the form begins; None
      for an empty form.
    - `not_by`: who may not answer: who launched the run ("launcher"), or who answered its previous
      approval ("previous").
    - `votes`: how many persons have to answer; from 2 on, the field is a `tuple[Vote[…], ...]`.
    - `veto`: values by field, such as `{"outcome": "reject"}`: one answer with all of them ends
      the vote.
    - `escalate_after`, `escalate_to`: for how long it waits before it goes to a group, whose
      members are notified and may answer then.
    """
    return Approval(
        question,
        answer,
        into,
        within=within,
        groups=groups,
        on_expiry=on_expiry,
        show=show,
        initial=initial,
        not_by=not_by,
        votes=votes,
        veto=veto,
        escalate_after=escalate_after,
        escalate_to=escalate_to,
        name=name,
    )


def wait(until: Until, *, name: str = "") -> WaitingNode:
    """Return a node that waits until a time, or for a time after the step before it.

    `until` is an aware datetime, a timedelta, or a function of the state that returns one.
    """
    return Wait(until, name=name)


def sleep(time: timedelta, *, name: str = "") -> WaitingNode:
    """Return a node that waits for that time after the step before it."""
    return Wait(time, name=name)


def _json(values: Mapping[str, Any]) -> Json:
    """Return values as JSON; they may contain anything that pydantic can serialise."""
    return freeze(to_jsonable_python(dict(values)))
