"""The declaration of branches: mistakes found at import, names, fingerprint."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from tests.engine.test_branches import (
    Case,
    Parts,
    all_three,
    case_of,
    classify,
    extract,
    finish,
    score,
    summarise,
)
from workflows.engine import (
    DefinitionError,
    Graph,
    State,
    Workflow,
    approval,
    branches,
    node,
    parallel,
    sleep,
)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: branches({}, "parts"), "has no branches"),
        (lambda: branches({"": classify}, "parts"), "cannot be called ''"),
        (lambda: branches({"a\n": classify}, "parts"), "cannot be called"),
        (lambda: branches({"a" * 101: classify}, "parts"), "too long"),
        (lambda: branches({"a": []}, "parts"), "“a” is empty"),
        (
            lambda: branches({"a": len}, "parts"),  # type: ignore[arg-type]
            "not a node",
        ),
        (lambda: branches({"a": classify, "b": classify}, "parts"), "“a” and “b”"),
        (lambda: branches({"a": [classify, classify]}, "parts"), "twice"),
        (lambda: branches({"a": classify}, "parts", need=0), "need=0 of 1"),
        (lambda: branches({"a": classify}, "parts", need=2), "can never hold"),
        (lambda: branches({"a": classify}, "parts", need=True), "no number"),
        (lambda: branches({"a": all_three()}, "parts"), "cannot be nested"),
        (
            lambda: branches({"a": sleep(timedelta(1), name="nap")}, "parts"),
            "cannot wait with the run: put the wait before or after",
        ),
        (
            lambda: branches({"a": approval("Right?", Parts, "parts")}, "parts"),
            "cannot wait with the run: put the approval before or after",
        ),
        (
            lambda: case_of(branches({"category": classify}, "part", name="both")),
            "has no such field",
        ),
        (
            lambda: case_of(branches({"category": classify}, "text", name="both")),
            "a model with a field for each branch",
        ),
        (
            lambda: case_of(branches({"colour": classify}, "parts", name="both")),
            "has the branch “colour”, and Parts has no such field",
        ),
        (
            lambda: case_of(branches({"risk": summarise}, "parts", name="both")),
            "returns a state, so its result is a dict",
        ),
        (
            lambda: case_of(
                branches({"risk": [classify, score]}, "parts", name="both")
            ),
            "node “classify” of branch “risk” returns str, and another node follows",
        ),
        (
            lambda: case_of(branches({"category": finish}, "parts", name="both")),
            "returns a state",
        ),
        (
            lambda: case_of(branches({"summary": finish}, "parts", name="both")),
            "node “finish” exists already",
        ),
    ],
)
def test_mistakes_are_reported_at_import_with_the_remedy(
    make: Any, sentence: str
) -> None:
    with pytest.raises(DefinitionError, match=sentence):
        make()


def test_a_model_whose_field_may_stay_empty_needs_a_default() -> None:
    class Strict(BaseModel):
        a: int
        b: int

    class Held(State):
        parts: Strict | None = None

    @node
    def one(state: Held) -> int:
        return 1

    @node
    def two(state: Held) -> int:
        return 2

    def held(need: int | None, **steps: Any) -> Workflow[Held]:
        both = branches(steps, "parts", need=need, name="both")
        return Workflow("w", state=Held, start=both, routes={})

    held(None, a=one, b=two)
    with pytest.raises(DefinitionError, match="only 1 of 2 branches have a result"):
        held(1, a=one, b=two)
    with pytest.raises(DefinitionError, match="b needs a value, and no branch has"):
        held(None, a=one)


def test_retries_and_a_timeout_belong_to_the_steps() -> None:
    graph = Graph("g")
    with pytest.raises(DefinitionError, match="give them to the nodes of"):
        graph.add_node("both", all_three(), timeout=3)


def test_unnamed_steps_are_named_after_their_variables() -> None:
    many = parallel(classify, over="text", into="words")
    both = branches({"summary": many}, into="parts")
    workflow = Workflow("w", state=Case, start=both, routes={both: finish})
    assert (many.name, both.name) == ("many", "both")
    assert workflow.shape.nodes[0].branches[0].nodes[0].name == "many"


# Fingerprint ------------------------------------------------------------------------------


def test_the_branches_are_part_of_the_fingerprint_and_of_the_differences() -> None:
    before = case_of(all_three())
    after = case_of(
        branches(
            {"category": classify, "risk": [extract, score]},
            into="parts",
            need=1,
            name="both",
        )
    )
    assert before.fingerprint == case_of(all_three()).fingerprint
    assert before.fingerprint != after.fingerprint
    (sentence,) = after.differences(type(after.shape).from_json(before.drawn))
    assert sentence.startswith("the branches of “both” changed from “category”")
    assert sentence.endswith("“risk” (extract → score), of which 1 are needed")
