"""Whether a run may continue under a workflow that has changed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, BeforeValidator, Field

from project.env import ROOT
from workflows.engine import State, Workflow, node, otherwise, predicate, when
from workflows.engine.fingerprint import differences, type_text


class Note(BaseModel):
    text: str
    pages: tuple[int, ...] = ()


class Old(State):
    label: str = ""
    note: Note | None = None


@node
async def read(state: Old) -> Old:
    return state


@node
async def judge(state: Old) -> Old:
    return state


@node
async def stop(state: Old) -> Old:
    return state


@predicate
def is_fine(state: Old) -> bool:
    return True


@predicate
def is_odd(state: Old) -> bool:
    return True


def a_workflow(**changes: Any) -> Workflow[Any]:
    given: dict[str, Any] = {
        "state": Old,
        "start": read,
        "routes": {read: [when(is_fine, judge), otherwise(stop)], judge: stop},
    }
    return Workflow("w", **{**given, **changes})


def test_the_same_declaration_has_the_same_fingerprint() -> None:
    assert (
        a_workflow().fingerprint
        == a_workflow(title="Other", description="StreamPreview").fingerprint
    )
    assert len(a_workflow().fingerprint) == 16


def checked(value: int) -> int:
    return value


Bounded = Annotated[int, BeforeValidator(checked), Field(ge=0)]


class Bounds(BaseModel):
    width: Bounded
    height: Bounded | None = None
    sides: tuple[Bounded, ...] = ()


def test_validators_are_no_part_of_a_type() -> None:
    reported = "Bounds(width: int, height: int | None, sides: tuple[int, ...])"
    assert type_text(Bounds) == reported
    assert type_text(Annotated[str, object()]) == "str"


PRINT_ALL = """
from workflows.definitions.classify_document import classify_document
from workflows.definitions.onboard_supplier import onboard_supplier
from workflows.definitions.reasoning import reasoning
from workflows.definitions.summarize import summarize

for workflow in (classify_document, onboard_supplier, reasoning, summarize):
    print(workflow.name, workflow.fingerprint, workflow.shape)
"""


def test_another_process_finds_the_same_fingerprints() -> None:
    """A run that waited during a restart continues: fingerprints do not depend on the process."""
    message = [
        subprocess.run(
            [sys.executable, "-c", PRINT_ALL],
            capture_output=True,
            check=True,
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert message[0] == message[1]
    assert " at 0x" not in message[0]


def a_state(annotations: dict[str, Any], **defaults: Any) -> type[State]:
    return type("Old", (State,), {"__annotations__": annotations, **defaults})


class Wide(BaseModel):
    text: str
    pages: tuple[int, ...] = ()
    author: str = ""


Wide.__name__ = "Note"


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        (
            {"routes": {read: [when(is_odd, judge), otherwise(stop)], judge: stop}},
            "“read” led to “judge” if is_fine, else to “stop” and leads to “judge” if is_odd",
        ),
        ({"routes": {read: stop}}, "the node “judge” was removed"),
        (
            {
                "start": judge,
                "routes": {judge: read, read: stop},
            },
            "the entry point changed from read to judge",
        ),
        (
            {"state": a_state({"label": int, "note": Note | None}, label=0, note=None)},
            "the field “label” was str and is int now",
        ),
        (
            {"state": a_state({"label": str}, label="")},
            "the field “note” was removed",
        ),
        (
            {
                "state": a_state(
                    {"label": str, "note": Wide | None}, label="", note=None
                )
            },
            "and is Note(text: str, pages: tuple[int, ...], author: str) | None now",
        ),
    ],
)
def test_a_change_is_described_readably(changes: dict[str, Any], reported: str) -> None:
    before, after = a_workflow(), a_workflow(**changes)
    assert before.fingerprint != after.fingerprint
    (sentence,) = [each for each in after.differences(before.shape) if reported in each]
    assert sentence in differences(asdict(before.shape), asdict(after.shape))
    assert sentence in differences(before.shape.to_json(), after.shape)


def test_no_change_has_no_description() -> None:
    assert a_workflow().differences(a_workflow().shape) == []


def test_a_node_that_became_an_approval_is_another_node() -> None:
    shape = a_workflow().shape.to_json()
    shape["nodes"][1]["kind"] = "approval"
    assert "the node “judge” was approval and is node now" in a_workflow().differences(
        type(a_workflow().shape).from_json(shape)
    )


def test_runs_of_the_current_and_of_declared_versions_are_accepted() -> None:
    workflow = a_workflow(compatible_with=["older"], migrations={"oldest": dict})
    assert workflow.accepts(workflow.fingerprint)
    assert workflow.accepts("older")
    assert workflow.accepts("oldest")
    assert not workflow.accepts("another")


def test_a_migration_converts_old_data_to_the_current_version() -> None:
    def rename(data: dict[str, Any]) -> dict[str, Any]:
        data["label"] = data.pop("title")
        return data

    workflow = a_workflow(migrations=[("oldest", rename)])
    stored = {"title": "x", "note": None}
    migrated = workflow.migrated(stored, "oldest")
    assert Old.from_data(migrated).label == "x"
    assert stored == {"title": "x", "note": None}
    assert workflow.migrated(stored, workflow.fingerprint) is stored


class Tree(BaseModel):
    children: tuple[Tree, ...] = ()


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (str, "str"),
        (int | None, "int | None"),
        (dict[str, list[int]], "dict[str, list[int]]"),
        (Literal["a", 1], "Literal['a', 1]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Any, "Any"),
        (Tree, "Tree(children: tuple[Tree, ...])"),
        (Callable[[int], str], "Callable[[<class 'int'>], str]"),
    ],
)
def test_types_are_named_without_their_modules(annotation: Any, text: str) -> None:
    assert type_text(annotation) == text
