"""Questions about failed steps: a person decides how the run continues after a failure.

`@node(when_failed=ask())` adds a node “ask about …” to the graph, at the end of the failure route
of the node. It waits like an approval. What the person chose is kept with the failure that the
state carries, and the edges that leave the node depend on it, so that a run that is resumed there
follows the same edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, create_model

from .adapters import schema
from .answers import read_answer
from .author_code import call_contained
from .clock import time_after
from .context import Answer, NodeContext
from .errors import AnswerInvalid, DefinitionError, Paused, RunError
from .failures import Failure
from .frozen import Json, freeze
from .nodes import Kind, Node, WaitingNode
from .pause_nodes import check_question_template
from .predicates import Edge, Evaluation, FailurePredicate, Predicate
from .predicates.core import ResultParts
from .round_trip import abbreviate
from .state import State

Choice: TypeAlias = Literal["retry", "skip", "route", "give_up"]

CHOICES: Final[Mapping[str, str]] = {
    "retry": "Run the step again",
    "skip": "Skip the step",
    "route": "Continue at another step",
    "give_up": "Give up: the run fails",
}
QUESTION: Final = "“{}” failed. How does the run continue?"
ROUTE: Final = "route:"  # before the target, in what a failure keeps of the choice


class GivenUp(RunError):
    """A person gave up after a failed step, or no one responded in time."""

    def __init__(self, failure: Failure, why: str) -> None:
        self.failure = failure
        super().__init__(f"{failure.text} ({why})")


class FailureResponse(BaseModel):
    """The response of a person to the failure of a step."""

    model_config = ConfigDict(extra="forbid")

    choice: Choice = Field(
        description="; ".join(f"{k}: {v}" for k, v in CHOICES.items())
    )
    route: str = Field("", description="For “route”: the node at which it continues.")
    changes: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Fields of the state with other values: of the input for “retry”, of the"
        " output for “skip” and “route”.",
    )
    removed: tuple[str, ...] = Field(
        (), description="Keys that an untyped state loses."
    )


@dataclass(frozen=True, slots=True)
class Ask:
    """How a person is asked about a failed step."""

    question: str = ""  # a template of the state; "": a standard text
    within: timedelta | None = None  # then the run fails
    groups: tuple[str, ...] = ()  # whose members may respond; empty: all approvers


def ask(
    question: str = "",
    *,
    within: timedelta | None = None,
    groups: Sequence[str] = (),
) -> Ask:
    """Return that a person decides about a failed step: `@node(when_failed=ask())`.

    - `question`: a template of the state, as in "The order {s.number} failed. What next?".
    - `within`: how long to wait; then the run fails as it would have without the question.
    - `groups`: whose members may respond; if empty, all who may approve runs of the workflow.
    """
    check_question_template(question)
    given: Any = within
    if given is not None and not (
        isinstance(given, timedelta) and given > timedelta(0)
    ):
        raise DefinitionError(
            f"ask(within={abbreviate(given)}): give a timedelta above 0, or leave it out."
        )
    return Ask(question, within, tuple(groups))


class FailureQuestion(WaitingNode):
    """The node that asks a person about a failed step."""

    kind: ClassVar[Kind] = "ask"
    answer_type = FailureResponse

    def __init__(self, about: str, setting: Ask, targets: Sequence[str]) -> None:
        """`targets` are the nodes to which the edges of the node `about` lead."""
        question = setting.question or QUESTION.format(about.replace("_", " "))
        super().__init__(name_of_question(about), doc=question)
        self.about = about
        self.setting = setting
        self.targets = tuple(dict.fromkeys(targets))

    async def run(self, value: Any, runtime: object, context: NodeContext) -> Any:  # noqa: ARG002
        """Return the state with the choice, and with what was edited.

        Raises Paused without a response, GivenUp, AnswerInvalid.
        """
        state: State = value
        failure = state.step_failure
        if failure is None:
            raise RunError(
                f"“{self.name}” was entered without a failed step before it."
            )
        answer = context.answer
        if answer is None:
            raise self._pause(state, failure, context)
        if answer.expired:
            raise GivenUp(failure, "no one responded in time")
        response = self.check(answer.value, context.node)
        if response.choice == "give_up":
            raise GivenUp(failure, _given_up_by(answer))
        edited = self.edited(state, response)
        is_route = response.choice == "route"
        chosen = f"{ROUTE}{response.route}" if is_route else response.choice
        return edited.stamped(failure=replace(failure, chosen=chosen))

    def check(self, value: Json, node: str = "") -> FailureResponse:
        """Return a response in its type. Raises AnswerInvalid."""
        response: Any = read_answer(FailureResponse, value, node or self.name)
        if mistake := self.mistake_in(response):
            raise AnswerInvalid(node or self.name, ValueError(mistake[1]))
        given: FailureResponse = response
        return given

    def mistake_in(self, response: FailureResponse) -> tuple[str, str] | None:
        """Return the field of a mistake and a message, None for a response that fits."""
        if response.choice == "route" and response.route not in self.targets:
            known = ", ".join(self.targets) or "none"
            return (
                "route",
                f"No edge of “{self.about}” leads there. The edges of the node: {known}.",
            )
        if response.choice != "route" and response.route:
            return "route", "Only the choice “route” names a node."
        if response.choice == "give_up" and (response.changes or response.removed):
            return "changes", "The run fails: nothing reads a changed state."
        return None

    def edited(self, state: State, response: FailureResponse) -> State:
        """Return the state with the changes of a response. Raises what its validators raise."""
        if not response.changes and not response.removed:
            return state
        return call_contained(
            partial(
                type(state).from_data,
                edited_data(state.data, response),
                run_id=state.run_id,
                checkpoint_node=state.checkpoint_node,
                sequence=state.sequence,
                timestamp=state.timestamp,
                secrets=state.secrets,
            )
        )

    def _pause(self, state: State, failure: Failure, context: NodeContext) -> Paused:
        within = self.setting.within
        until = None if within is None else time_after(context.clock.now(), within)
        return FailurePause(
            "approval",
            question=self.doc.format(s=state),
            form=form_of(type(state), self.targets),
            until=until,
            groups=self.setting.groups,
            show=freeze({"failure": failure.shown()}),
        )


class FailurePause(Paused):
    """The run waits for a person to decide about a failed step."""


def name_of_question(node: str) -> str:
    """Return the name of the node that asks about the failures of another one."""
    return f"ask about {node}"


def edited_data(data: Mapping[str, Any], response: FailureResponse) -> dict[str, Any]:
    """Return the data of a state with the changes of a response."""
    kept = {name: value for name, value in data.items() if name not in response.removed}
    return {**kept, **response.changes}


def form_of(kind: type[State], targets: Sequence[str]) -> dict[str, Any]:
    """Return the JSON schema of a response: `changes` has the fields of a typed state."""
    form: dict[str, Any] = dict(FailureResponse.model_json_schema())
    properties = {name: dict(part) for name, part in form["properties"].items()}
    if targets:
        properties["route"]["enum"] = ["", *targets]
    else:
        del properties["route"]
        choices = [choice for choice in CHOICES if choice != "route"]
        properties["choice"]["enum"] = choices
    fields: dict[str, Any] = {
        name: (info.annotation, info) for name, info in kind.fields().items()
    }
    if fields:
        state = dict(schema(create_model("Changes", **fields)))
        form["$defs"] = {**form.get("$defs", {}), **state.pop("$defs", {})}
        state.pop("required", None)
        state["additionalProperties"] = False
        properties["changes"] = {**properties["changes"], **state}
        del properties["removed"]
    return {**form, "properties": properties}


def _given_up_by(answer: Answer) -> str:
    who = answer.by or "A person"
    return f"{who} gave up{f': {answer.comment}' if answer.comment else ''}"


# Edges --------------------------------------------------------------------------------------


class FailureAsked(FailurePredicate):
    """Whether a step failed otherwise than by the deadline of the run."""

    def covers(self, other: FailurePredicate) -> bool:
        """Return False: it is the last one of its node."""
        return self is other

    def _result(self, state: Any) -> ResultParts:
        failure: Failure | None = state.step_failure
        if failure is not None and failure.is_deadline:
            return (
                False,
                f"{failure.text}; after the deadline, no approval is requested",
                (),
            )
        return super()._result(state)


class Chosen(FailurePredicate):
    """Whether a person chose an edge: to the failed step again, or one that leaves it."""

    def __init__(
        self, target: str, *, retries: bool = False, skipped: Edge | None = None
    ) -> None:
        """`skipped` is the edge that is followed if it matches after the step was skipped."""
        super().__init__()
        self.target = target
        self.retries = retries
        self.skipped = skipped
        self.name = "retry" if retries else "chosen"
        if skipped is not None:
            tested = skipped.predicate_name
            self.name = f"skip{f' and {tested}' if tested else ''}, or chosen"

    def covers(self, other: FailurePredicate) -> bool:
        """Return whether it is the same: choices exclude each other."""
        return self is other

    def evaluate(self, state: State) -> Evaluation:
        """Return the result; after a skip, that of the edge of the skipped step."""
        failure = state.step_failure
        is_skipped = failure is not None and failure.chosen == "skip"
        if self.skipped is None or not is_skipped:
            return super().evaluate(state)
        found = self.skipped.evaluate(state)
        reason = f"skip was chosen; {found.reason}"
        return replace(found, name=self.name, reason=reason)

    def _result(self, state: Any) -> ResultParts:
        failure: Failure | None = state.step_failure
        chosen = "" if failure is None else failure.chosen
        wanted = "retry" if self.retries else f"{ROUTE}{self.target}"
        what = chosen.removeprefix(ROUTE)
        shown = f"“{what}”" if chosen.startswith(ROUTE) else what
        return chosen == wanted, f"{shown or 'nothing'} was chosen", ()


def edges_of_question(name: str, about: str, edges: Iterable[Edge]) -> tuple[Edge, ...]:
    """Return the edges that leave a question: to the failed node, and where its edges lead."""
    ordinary = [edge for edge in edges if not edge.on_failure]
    known = {edge.target for edge in ordinary}
    others = dict.fromkeys(
        edge.target for edge in edges if edge.on_failure and edge.target not in known
    )
    conditions: list[Chosen] = [
        Chosen(about, retries=True),
        *(Chosen(edge.target, skipped=edge) for edge in ordinary),
        *(Chosen(target) for target in others if target != name),
    ]
    return tuple(Edge(name, one.target, one, None, True) for one in conditions)


# Settings -----------------------------------------------------------------------------------


def questions_of(
    workflow: str,
    nodes: Sequence[Node[Any, Any]],
    inner: Iterable[Node[Any, Any]],
    given: Any,
    failing: Mapping[Node[Any, Any], Sequence[Predicate[Any]]],
) -> dict[str, Ask]:
    """Return how a person is asked, by the name of the node. Raises DefinitionError.

    `inner` are nodes that are no steps of the graph themselves; `given` is the setting of the
    workflow, for all nodes or by node; `failing` are the conditions of the failure routes.
    """
    where = f"Workflow “{workflow}”"
    table: dict[Node[Any, Any], Any] = {
        node: own
        for node in nodes
        if (own := getattr(node, "when_failed", None)) is not None
    }
    for node in inner:
        _check_not_asked(where, node, getattr(node, "when_failed", None))
    if isinstance(given, Ask):
        rest = [one for one in nodes if one not in table]
        table |= {node: given for node in rest if not _takes_all(failing.get(node, ()))}
    elif given is not None:
        table |= _checked_table(where, nodes, given)
    for node, setting in table.items():
        if not isinstance(setting, Ask):
            raise DefinitionError(
                f"{where}: “{node.name}” has when_failed={abbreviate(setting)}: give it ask()."
            )
        if _takes_all(failing.get(node, ())):
            raise DefinitionError(
                f"{where}: no approval is ever requested for “{node.name}”, since a"
                " when_failed(…) in its row takes every failure: give that one on=…, or leave"
                " out ask().",
                code="check.ask",
            )
    return {node.name: setting for node, setting in table.items()}


def _checked_table(
    where: str, nodes: Sequence[Node[Any, Any]], given: Any
) -> dict[Node[Any, Any], Any]:
    items = getattr(given, "items", None)
    if items is None:
        raise DefinitionError(
            f"{where} has when_failed={abbreviate(given)}: give it ask() for all nodes, or"
            " {node: ask(), …} for some."
        )
    table = dict(items())
    for node in table:
        if not any(node is known for known in nodes):
            raise DefinitionError(
                f"{where}: when_failed={{…}} names {node!r}, which is not a node of its routes:"
                " a step of a branch fails its branches, which can ask.",
                code="check.ask",
            )
    return table


def _check_not_asked(where: str, node: Node[Any, Any], setting: object) -> None:
    if setting is not None:
        raise DefinitionError(
            f"{where}: “{node.name}” has when_failed=ask(), and is no step of the routes, where"
            " a run can wait: give ask() to the node that runs it.",
            code="check.ask",
        )


def _takes_all(conditions: Iterable[Predicate[Any]]) -> bool:
    every = FailurePredicate()
    return any(
        isinstance(one, FailurePredicate) and one.covers(every) for one in conditions
    )
