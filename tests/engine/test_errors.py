"""Errors: one tree, sentences for people, codes and attributes for programs."""

from __future__ import annotations

import contextlib
import inspect
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from workflows.engine import errors
from workflows.engine.error_codes import CODES
from workflows.engine.errors import (
    Cancelled,
    ChainError,
    CheckpointMismatch,
    CheckpointNotFound,
    ConditionalError,
    ConfigurationError,
    DeadlinePassed,
    DefinitionError,
    ExecutionError,
    ItemError,
    NodeTimedOut,
    NotSerialisable,
    ParallelError,
    PatternError,
    Paused,
    PredicateFailed,
    RequestError,
    ResumeError,
    RunError,
    Signal,
    Superseded,
    WorkflowError,
)
from workflows.engine.events import EVENT_TYPES
from workflows.engine.predicates import Edge, Evaluation
from workflows.engine.state import State

ENGINE = Path(errors.__file__).parent
CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value)
    and issubclass(value, BaseException)
    and value.__module__ == errors.__name__
}
CODE = re.compile(
    r'"((?:build|invalid_graph|check|state|predicate|config|resume|chain|parallel|conditional)'
    r'\.[a-z_]+|unknown_[a-z]+)"'
)


def caused(error: BaseException, *causes: BaseException) -> Any:
    """Return an error with a chain of causes."""
    current = error
    for cause in causes:
        current.__cause__ = cause
        current = cause
    return error


# The tree ---------------------------------------------------------------------------


def test_the_tree_in_the_module_docstring_has_every_class() -> None:
    reported = set(re.findall(r"\b[A-Z][A-Za-z]+\b", errors.__doc__ or ""))
    assert set(CLASSES) <= reported


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_the_docstring_of_every_class_is_a_sentence(name: str) -> None:
    assert re.fullmatch(r"[A-Z].*\.", (CLASSES[name].__doc__ or "").partition("\n")[0])


def test_every_code_in_the_engine_is_listed_with_its_meaning() -> None:
    used = {
        code
        for file in ENGINE.rglob("*.py")
        if file.name not in {"error_codes.py", "events.py"}
        for code in CODE.findall(file.read_text(encoding="utf-8"))
    }
    assert used - set(EVENT_TYPES) - set(CODES) == set()
    assert {"build.nil_node", "resume.not_found", "unknown_store"} <= set(CODES)


def test_errors_are_mistakes_of_authors_or_callers_or_failures_of_runs() -> None:
    assert issubclass(ConfigurationError, DefinitionError)
    roots: list[type] = [DefinitionError, RequestError, RunError]
    assert {root.__base__ for root in roots} == {WorkflowError}
    ends: list[type] = [ExecutionError, ResumeError, CheckpointMismatch, PatternError]
    assert all(issubclass(end, RunError) for end in ends)


def test_the_docstring_is_the_default_message() -> None:
    assert str(DefinitionError()) == "The workflow is declared wrongly."
    assert (
        str(DefinitionError("Node “a” is there twice.")) == "Node “a” is there twice."
    )
    assert DefinitionError("x", code="build.nil_node").code == "build.nil_node"
    assert (
        str(Cancelled())
        == str(Cancelled(""))
        == "A cancellation of the run was requested."
    )
    assert str(Cancelled("by Alice")) == "by Alice"


@pytest.mark.parametrize("kind", [Cancelled, DeadlinePassed, Paused, Superseded])
def test_an_except_exception_of_a_node_catches_no_signal(kind: type[Signal]) -> None:
    def node() -> None:
        raise kind("x")

    def greedy() -> None:
        with contextlib.suppress(Exception):
            node()

    with pytest.raises(kind):
        greedy()


# Attributes and sentences -----------------------------------------------------------


def test_the_end_of_an_attempt_reports_where_and_why() -> None:
    state = State(a=1)
    error = caused(
        ExecutionError("node_failed", node="b", path=["a", "b"], state=state),
        ValueError("no such page"),
    )
    assert (error.code, error.node, error.path) == ("node_failed", "b", ("a", "b"))
    assert error.state is state
    assert str(error) == "At “b”: the node failed: no such page"
    assert str(caused(ExecutionError("node_failed", node="b"), ValueError())).endswith(
        ": ValueError"
    )


SENTENCES: dict[str, WorkflowError] = {
    "At “a”: the run took more steps than it may (3). Give the loop an end, or raise the limit in"
    " the configuration.": ExecutionError("max_iterations", node="a", limit=3),
    "At “a”: no edge leaves the node, and the node is no exit. Give it an edge, or make it an"
    " exit.": ExecutionError("dead_end", node="a"),
    "At “a”: the run was cancelled.": ExecutionError("cancelled", node="a"),
    "Run r1 cannot be resumed: it has no checkpoint.": ResumeError(
        "resume.not_found", "r1"
    ),
    "Run r1 cannot be resumed at “a”: no edge leaves the node it stopped at.": (
        ResumeError("resume.dead_end", "r1", node="a")
    ),
    "The object at “pages.3.author” cannot be stored: a state holds JSON values, and this is"
    " none.": NotSerialisable("pages.3.author", object),
    "There is no checkpoint of run r1.": CheckpointNotFound("r1"),
    "“a” did not finish within 1.5 s.": NodeTimedOut("a", 1.5),
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_messages_are_sentences(sentence: str) -> None:
    assert str(SENTENCES[sentence]) == sentence


def test_a_refused_resume_reports_its_cause() -> None:
    error = caused(ResumeError("resume.load_failed", "r1"), OSError("disk gone"))
    assert (
        str(error)
        == "Run r1 cannot be resumed: its checkpoint cannot be read. disk gone"
    )


def test_a_cancellation_is_distinguished_from_a_deadline() -> None:
    plain = ExecutionError("cancelled", node="a")
    inside = caused(
        ExecutionError("node_failed", node="a"),
        caused(ChainError("chain.cancelled", step=0, item=1, state=[]), Cancelled()),
    )
    late = caused(ExecutionError("node_failed", node="a"), DeadlinePassed())
    assert [(e.is_cancelled, e.is_deadline) for e in (plain, inside, late)] == [
        (True, False), (True, False), (False, True),
    ]  # fmt: skip
    deadline = ExecutionError("deadline", node="a")
    assert (deadline.is_cancelled, deadline.is_deadline) == (False, True)
    failed = caused(ExecutionError("node_failed", node="a"), ValueError())
    assert not failed.is_cancelled
    assert not failed.is_deadline


def test_a_failed_predicate_names_its_edge() -> None:
    evaluation = Evaluation(False, "is_due", "is_due raised KeyError: 'due'")
    error = PredicateFailed(evaluation, Edge("weigh", "publish"))
    assert error.evaluation is evaluation
    assert str(error) == (
        "The predicate “is_due” of weigh → publish failed: is_due raised KeyError: 'due'."
    )


def test_a_chain_reports_its_step() -> None:
    error = caused(
        ChainError("chain.processor", step=1, item="y", state=["x"], result="so far"),
        ValueError("bad y"),
    )
    assert (error.step_index, error.item, error.state, error.result) == (
        1,
        "y",
        ["x"],
        "so far",
    )
    assert str(error) == "The chain failed at step 2. bad y"


def test_several_failures_are_summed_up_the_most_frequent_first() -> None:
    failed = [
        ItemError(index, None, ValueError(text))
        for index, text in enumerate(["late", "odd", "even", "odd", "late", "odd"])
    ]
    error = ParallelError("parallel.failed", errors=failed, results=[1])
    assert str(error) == (
        "6 items failed: odd (item 1 and 2 more); late (item 0 and 1 more); even (item 2)"
    )
    assert errors.summary(failed[::-1][:2]).startswith(
        "2 items failed: late (item 4); odd"
    )
    assert errors.summary(failed[:1]) == "1 item failed: late (item 0)"
    assert errors.summary([]) == ""


def test_a_route_that_failed_has_its_state() -> None:
    error = ConditionalError(
        "conditional.unknown_route", route="zzz", state={"r": "zzz"}
    )
    assert (error.route, error.state) == ("zzz", {"r": "zzz"})
    assert str(error) == "No handler is called “zzz”, and there is no default."


def test_a_pause_carries_its_question_groups_and_evidence() -> None:
    pause = Paused("approval", question="Right?", groups=["legal"], show={"page": 1})
    assert (pause.kind, pause.question, pause.groups) == (
        "approval",
        "Right?",
        ("legal",),
    )
    assert (pause.form, pause.until, pause.params) == (None, None, {})
    assert (pause.node, pause.sequence, pause.state) == ("", 0, None)


@pytest.mark.parametrize(
    "error",
    [
        ExecutionError("dead_end", node="a", path=("a",), state=State(a=1)),
        NotSerialisable("a.b", dict),
        ResumeError("resume.not_found", "r"),
        DefinitionError("x", code="build.nil_node"),
        ChainError("chain.processor", step=1, item="y", state=[]),
        CheckpointNotFound("r"),
        NodeTimedOut("a", 2),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_the_transfer_from_another_process(
    error: WorkflowError,
) -> None:
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
